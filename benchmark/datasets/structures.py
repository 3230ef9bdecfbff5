"""Structures in memory: flat arrays in a fixed order, and what of them needs no file (composition, fingerprint)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

CHUNK = 50_000  # rows of a text that is hashed piece by piece


@dataclass(frozen=True)
class Structures:
    """Structures in their fixed order, flattened. `offsets[i]:offsets[i+1]` are the atoms of structure i.

    A protein known by its sequence alone has no atoms: its residues take their place in formula and composition.
    """

    ids: tuple[str, ...]
    formulas: tuple[str, ...]
    numbers: NDArray[np.int16]  # (atoms,)
    positions: NDArray[np.float64]  # (atoms, 3), Angstrom
    offsets: NDArray[np.int64]  # (structures + 1,)
    cells: NDArray[np.float64]  # (structures, 3, 3), Angstrom
    pbc: NDArray[np.bool_]  # (structures, 3)
    smiles: tuple[str, ...] | None
    sequences: tuple[str, ...] | None = None  # one-letter codes of proteins
    charges: NDArray[np.int64] | None = None  # (structures,), total charge in elementary charges
    spins: NDArray[np.int64] | None = None  # (structures,), spin multiplicity 2S + 1

    def strings(self, modality: str) -> tuple[str, ...] | None:
        """What models of `modality` ("smiles" or "sequence") read, one a structure; None where the set has none."""
        return self.smiles if modality == "smiles" else self.sequences

    def __len__(self) -> int:
        return len(self.ids)

    def atoms(self, index: int) -> Atoms:
        """Structure `index` as ase.Atoms: no label, name or calculator; `info` holds charge and spin where known."""
        span = slice(self.offsets[index], self.offsets[index + 1])
        atoms = Atoms(
            numbers=self.numbers[span], positions=self.positions[span], cell=self.cells[index], pbc=self.pbc[index]
        )
        for name, values in (("charge", self.charges), ("spin", self.spins)):
            if values is not None:
                atoms.info[name] = int(values[index])
        return atoms

    def take(self, positions: NDArray[np.int64]) -> Structures:
        """The structures at `positions`, in that order."""
        lengths = np.diff(self.offsets)[positions]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.repeat(self.offsets[positions] - offsets[:-1], lengths) + np.arange(offsets[-1])

        def texts(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[index] for index in positions)

        return Structures(
            ids=texts(self.ids),
            formulas=texts(self.formulas),
            smiles=None if self.smiles is None else texts(self.smiles),
            sequences=None if self.sequences is None else texts(self.sequences),
            charges=None if self.charges is None else self.charges[positions],
            spins=None if self.spins is None else self.spins[positions],
            numbers=self.numbers[rows],
            positions=self.positions[rows],
            offsets=offsets,
            cells=self.cells[positions],
            pbc=self.pbc[positions],
        )

    def composition(self, basis: Literal["counts", "fractions"]) -> NDArray[np.float64]:
        """Counts or fractions of elements, (structures, elements present in the set), columns by atomic number.

        Of sequences without atoms: of residues, columns by letter.
        """
        parts, offsets = self._parts()
        kinds, columns = np.unique(parts, return_inverse=True)
        rows = np.repeat(np.arange(len(self)), np.diff(offsets))
        counts = np.zeros((len(self), len(kinds)))
        np.add.at(counts, (rows, columns), 1.0)
        return counts if basis == "counts" else counts / counts.sum(axis=1, keepdims=True)

    def reduced_formulas(self) -> tuple[str, ...]:
        """Formulas reduced to smallest integers: the groups that cross-validation keeps together."""
        parts, offsets = self._parts()
        return tuple(reduced_formula(parts[offsets[index] : offsets[index + 1]]) for index in range(len(self)))

    def fingerprint(self) -> str:
        """SHA-256 over ids, elements, cells and positions at 1e-6 Angstrom; labels do not count.

        Charges and spins count where there are any, sequences where there are no atoms.
        """
        digest = hashlib.sha256(b"[")
        parts: list[tuple[Any, Callable[[Any], Any]]] = [
            (self.ids, list),
            (self.numbers, _plain),
            (self.offsets, _plain),
            (self.positions, _millionths),
            (self.cells.reshape(-1), _millionths),
            (self.pbc, _plain),
        ]
        for number, (values, convert) in enumerate(parts):
            digest.update(b"," if number else b"")
            feed_list(digest, values, convert)
        states = {"charges": self.charges, "spins": self.spins}
        given: dict[str, Any] = {name: values.tolist() for name, values in states.items() if values is not None}
        if len(self.numbers) == 0 and self.sequences is not None:
            given["sequences"] = list(self.sequences)
        if given:
            digest.update(("," + json.dumps(given, sort_keys=True, separators=(",", ":"))).encode())
        digest.update(b"]")
        return digest.hexdigest()

    def _parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What structures are made of and where each begins: atomic numbers of atoms, else letters of residues."""
        if len(self.numbers) or self.sequences is None:
            return self.numbers.astype(np.int64), self.offsets
        letters = np.frombuffer("".join(self.sequences).encode("utf-32-le"), dtype="<u4").astype(np.int64)
        return letters, np.concatenate([[0], np.cumsum([len(each) for each in self.sequences])]).astype(np.int64)


def feed_list(digest: Any, values: Any, convert: Callable[[Any], Any]) -> None:
    """Update the hash with `values` as a list in canonical JSON, as `content_key` would see it, a piece at a time."""
    digest.update(b"[")
    for start in range(0, len(values), CHUNK):
        text = json.dumps(convert(values[start : start + CHUNK]), separators=(",", ":"), allow_nan=False)
        digest.update((("," if start else "") + text[1:-1]).encode())
    digest.update(b"]")


def _plain(values: NDArray[Any]) -> Any:
    return values.tolist()


def _millionths(values: NDArray[np.float64]) -> Any:
    return np.round(values * 1e6).astype(np.int64).tolist()


def structures_from_atoms(
    ids: list[str], images: list[Atoms], smiles: list[str] | None = None, sequences: list[str] | None = None
) -> Structures:
    """Flatten ase.Atoms into `Structures`, rounded to 1e-6 Angstrom (what the fingerprint resolves).

    Integers "charge" and "spin" in the `info` of all of them are kept. A formula is Hill's, or where there are no
    atoms the counts of residues by letter.
    """
    lengths = [len(atoms) for atoms in images]
    formulas = [str(atoms.symbols.formula.format("hill")) for atoms in images]
    if sequences is not None:
        formulas = [formula or residue_formula(text) for formula, text in zip(formulas, sequences, strict=True)]
    return Structures(
        ids=tuple(ids),
        formulas=tuple(formulas),
        numbers=np.concatenate([atoms.numbers for atoms in images]).astype(np.int16),
        positions=np.round(np.concatenate([atoms.positions for atoms in images]), 6),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        cells=np.round(np.stack([np.asarray(atoms.cell) for atoms in images]), 6),
        pbc=np.stack([np.asarray(atoms.pbc, dtype=bool) for atoms in images]),
        smiles=None if smiles is None else tuple(smiles),
        sequences=None if sequences is None else tuple(sequences),
        charges=_of_all(images, "charge"),
        spins=_of_all(images, "spin"),
    )


def reduced_formula(parts: NDArray[Any]) -> str:
    """Atomic numbers, or letters of residues, with their counts divided by what all have in common.

    >>> reduced_formula(np.array([8, 1, 1, 8, 1, 1]))
    '1:2 8:1'
    """
    kinds, counts = np.unique(parts, return_counts=True)
    divisor = int(np.gcd.reduce(counts))
    return " ".join(f"{kind}:{count // divisor}" for kind, count in zip(kinds, counts, strict=True))


def residue_formula(sequence: str) -> str:
    """Residues by letter with their counts.

    >>> residue_formula("GAGA")
    'A2G2'
    """
    return "".join(f"{letter}{sequence.count(letter)}" for letter in sorted(set(sequence)))


def _of_all(images: list[Atoms], name: str) -> NDArray[np.int64] | None:
    values = [atoms.info.get(name) for atoms in images]
    return np.array(values, dtype=np.int64) if values and all(isinstance(each, int) for each in values) else None
