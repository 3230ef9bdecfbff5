"""The canonical store of a data set: structures and labels in two Parquet files, described by a card.

A data set is a folder with

- `dataset.yaml`: the card (`DatasetCard`): identity, source, licence, labels with units, fingerprint;
- `structures.parquet`: what a model may see. One row a structure: `id`, `formula`, `numbers`,
  `positions` (3n values, Angstrom), `cell` (9 values, Angstrom), `pbc` (3 flags), optionally `smiles`;
- `labels.parquet`: what a model never sees. `id` and one float64 column a label.

Labels never enter a model's process: `load_structures` does not open the labels file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import yaml
from ase import Atoms
from numpy.typing import NDArray
from pydantic import Field

from benchmark.files import atomic_path, content_key, write_text
from benchmark.schema import Identifier, InvalidFileError, Sha256, Strict, read_yaml

STRUCTURE_COLUMNS = ("id", "formula", "numbers", "positions", "cell", "pbc")
EMBEDDED = Path(__file__).parent / "embedded"
SPECS = Path(__file__).parent / "specs"
DATASETS_VARIABLE = "LATENT_MATTER_DATASETS"


class DatasetError(InvalidFileError):
    """A data set on disk is not what its card or the format says."""


class Label(Strict):
    """One label column: its unit and what it is."""

    unit: str
    description: str


class Source(Strict):
    """Where the structures and labels come from; `revision` and `sha256` pin a download."""

    description: str
    url: str | None = None
    revision: str | None = None
    sha256: str | None = None


class DatasetCard(Strict):
    """What a data set says of itself (dataset.yaml)."""

    id: Identifier
    version: int = Field(ge=1)
    title: str
    description: str
    source: Source
    licence: str
    structures: int = Field(ge=1, description="number of structures")
    periodic: bool
    labels: dict[str, Label]
    composition_basis: Literal["counts", "fractions"]
    overlaps: dict[str, str] = Field(
        default_factory=dict, description="training set -> how this data set overlaps it, in one sentence"
    )
    left_out: dict[str, int] = Field(default_factory=dict, description="reason -> entries left out")
    fingerprint: Sha256


@dataclass(frozen=True)
class Structures:
    """Structures in their fixed order, flattened. `offsets[i]:offsets[i+1]` are the atoms of structure i."""

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

    def composition(self, basis: Literal["counts", "fractions"]) -> NDArray[np.float64]:
        """Element counts or fractions, (structures, elements present in the set), columns by atomic number."""
        elements, columns = np.unique(self.numbers, return_inverse=True)
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        counts = np.zeros((len(self), len(elements)))
        np.add.at(counts, (rows, columns), 1.0)
        return counts if basis == "counts" else counts / counts.sum(axis=1, keepdims=True)

    def reduced_formulas(self) -> tuple[str, ...]:
        """Formulas reduced to smallest integers: the groups that cross-validation keeps together."""
        reduced = []
        for index in range(len(self)):
            span = slice(self.offsets[index], self.offsets[index + 1])
            elements, counts = np.unique(self.numbers[span], return_counts=True)
            divisor = int(np.gcd.reduce(counts))
            reduced.append(" ".join(f"{z}:{c // divisor}" for z, c in zip(elements, counts, strict=True)))
        return tuple(reduced)

    def fingerprint(self) -> str:
        """SHA-256 over ids, elements, cells and positions at 1e-6 Angstrom; labels do not count."""
        rounded = np.round(self.positions * 1e6).astype(np.int64).tolist()
        cells = np.round(self.cells.reshape(-1) * 1e6).astype(np.int64).tolist()
        parts = [list(self.ids), self.numbers.tolist(), self.offsets.tolist(), rounded, cells, self.pbc.tolist()]
        states = {"charges": self.charges, "spins": self.spins}
        given = {name: values.tolist() for name, values in states.items() if values is not None}
        return content_key([*parts, given] if given else parts)


@dataclass(frozen=True)
class Dataset:
    """A data set's folder and its card."""

    folder: Path
    card: DatasetCard

    def structures(self) -> Structures:
        """What a model may see. Raises DatasetError when file and card disagree."""
        structures = _read_structures(self.folder / "structures.parquet")
        if structures.fingerprint() != self.card.fingerprint:
            raise DatasetError(
                f"{self.folder / 'structures.parquet'}: fingerprint is {structures.fingerprint()}, "
                f"dataset.yaml says {self.card.fingerprint}"
            )
        return structures

    def labels(self) -> pd.DataFrame:
        """Labels indexed by id, in the order of the structures. Raises DatasetError when a label is missing."""
        path = self.folder / "labels.parquet"
        labels = _read_parquet(path)
        missing = {"id", *self.card.labels} - set(labels.columns)
        if missing:
            raise DatasetError(f"{path}: columns {sorted(missing)} are missing; found {sorted(labels.columns)}")
        ids = list(self.structures().ids)
        indexed = labels.set_index("id")
        absent = [name for name in ids if name not in indexed.index]
        if absent:
            raise DatasetError(f"{path}: {len(absent)} structures have no labels, first {absent[0]!r}")
        try:
            return indexed.loc[ids, list(self.card.labels)].astype(np.float64)
        except (ValueError, TypeError) as error:
            raise DatasetError(f"{path}: labels are not numbers: {error}") from error

    def labels_fingerprint(self) -> str:
        """SHA-256 over the label values, so that a changed label recomputes the scores that use it."""
        labels = self.labels()
        return content_key({name: [repr(value) for value in labels[name]] for name in labels.columns})


def load_dataset(folder: Path) -> Dataset:
    """Read and validate `folder`/dataset.yaml. Raises DatasetError naming file and field."""
    try:
        card = read_yaml(Path(folder) / "dataset.yaml", DatasetCard)
    except InvalidFileError as error:
        raise DatasetError(str(error)) from error
    return Dataset(Path(folder), card)


def dataset_folders() -> list[Path]:
    """Where prepared data sets lie: $LATENT_MATTER_DATASETS (folders separated as in PATH), else the user's cache."""
    given = [Path(root) for root in os.environ.get(DATASETS_VARIABLE, "").split(os.pathsep) if root]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return given or [caches / "latent-matter" / "datasets"]


def known_datasets() -> dict[str, Dataset]:
    """Data sets by id: those shipped inside the package, and those prepared in `dataset_folders()`."""
    roots = [EMBEDDED, *dataset_folders()]
    found = [load_dataset(card.parent) for root in roots for card in sorted(root.glob("*/dataset.yaml"))]
    return {dataset.card.id: dataset for dataset in found}


def find_dataset(name: str) -> Dataset:
    """The data set called `name`. Raises DatasetError listing what there is."""
    known = known_datasets()
    if name not in known:
        if (SPECS / f"{name}.yaml").is_file():
            raise DatasetError(f"data set {name!r} is not prepared; run `latent-matter data prepare {name}`")
        raise DatasetError(f"data set {name!r} is unknown; known: {', '.join(sorted(known)) or 'none'}")
    return known[name]


def structures_from_atoms(ids: list[str], images: list[Atoms], smiles: list[str] | None = None) -> Structures:
    """Flatten ase.Atoms into `Structures`, rounded to 1e-6 Angstrom (what the fingerprint resolves).

    Integers "charge" and "spin" in the `info` of all of them are kept.
    """
    lengths = [len(atoms) for atoms in images]
    return Structures(
        ids=tuple(ids),
        formulas=tuple(str(atoms.symbols.formula.format("hill")) for atoms in images),
        numbers=np.concatenate([atoms.numbers for atoms in images]).astype(np.int16),
        positions=np.round(np.concatenate([atoms.positions for atoms in images]), 6),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        cells=np.round(np.stack([np.asarray(atoms.cell) for atoms in images]), 6),
        pbc=np.stack([np.asarray(atoms.pbc, dtype=bool) for atoms in images]),
        smiles=None if smiles is None else tuple(smiles),
        charges=_of_all(images, "charge"),
        spins=_of_all(images, "spin"),
    )


def _of_all(images: list[Atoms], name: str) -> NDArray[np.int64] | None:
    values = [atoms.info.get(name) for atoms in images]
    return np.array(values, dtype=np.int64) if values and all(isinstance(each, int) for each in values) else None


def write_dataset(folder: Path, card: dict[str, object], structures: Structures, labels: pd.DataFrame) -> Dataset:
    """Write structures, labels and card (whose count and fingerprint are filled in here), each atomically.

    `labels` is indexed by id, one float column a label. The card is written last, so that a
    reader never finds a card without its files.
    """
    folder = Path(folder)
    spans = list(zip(structures.offsets[:-1], structures.offsets[1:], strict=True))
    frame = pd.DataFrame(
        {
            "id": structures.ids,
            "formula": structures.formulas,
            "numbers": [structures.numbers[a:b] for a, b in spans],
            "positions": [structures.positions[a:b].reshape(-1) for a, b in spans],
            "cell": [cell.reshape(-1) for cell in structures.cells],
            "pbc": list(structures.pbc),
        }
    )
    if structures.smiles is not None:
        frame["smiles"] = structures.smiles
    if structures.sequences is not None:
        frame["sequence"] = structures.sequences
    if structures.charges is not None:
        frame["charge"] = structures.charges
    if structures.spins is not None:
        frame["spin"] = structures.spins
    _write_parquet(folder / "structures.parquet", frame)
    ordered = labels.loc[list(structures.ids)].astype(np.float64)
    _write_parquet(folder / "labels.parquet", ordered.rename_axis("id").reset_index())
    filled = DatasetCard.model_validate(
        {**card, "structures": len(structures), "fingerprint": structures.fingerprint()}
    )
    write_text(folder / "dataset.yaml", yaml.safe_dump(filled.model_dump(), sort_keys=False, allow_unicode=True))
    return load_dataset(folder)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except (OSError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise DatasetError(f"{path}: not a readable Parquet file: {error}") from error


def _write_parquet(path: Path, frame: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, index=False, compression="zstd")


def _read_structures(path: Path) -> Structures:
    frame = _read_parquet(path)
    missing = set(STRUCTURE_COLUMNS) - set(frame.columns)
    if missing:
        raise DatasetError(f"{path}: columns {sorted(missing)} are missing; found {sorted(frame.columns)}")
    try:
        return _structures_of(path, frame)
    except DatasetError:
        raise
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path}: columns are not of the format: {error}") from error


def _structures_of(path: Path, frame: pd.DataFrame) -> Structures:
    if frame["id"].duplicated().any():
        raise DatasetError(f"{path}: id {frame['id'][frame['id'].duplicated()].iloc[0]!r} occurs more than once")
    lengths = frame["numbers"].map(len).to_numpy()
    wrong = np.flatnonzero(frame["positions"].map(len).to_numpy() != 3 * lengths)
    if len(wrong):
        raise DatasetError(f"{path}: row {frame['id'].iloc[wrong[0]]!r} has not three coordinates an atom")
    return Structures(
        ids=tuple(frame["id"]),
        formulas=tuple(frame["formula"]),
        numbers=np.concatenate(frame["numbers"].to_list()).astype(np.int16),
        positions=np.concatenate(frame["positions"].to_list()).reshape(-1, 3).astype(np.float64),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        cells=np.stack(frame["cell"].to_list()).reshape(-1, 3, 3).astype(np.float64),
        pbc=np.stack(frame["pbc"].to_list()).astype(bool),
        smiles=tuple(frame["smiles"]) if "smiles" in frame.columns else None,
        sequences=tuple(frame["sequence"]) if "sequence" in frame.columns else None,
        charges=frame["charge"].to_numpy(np.int64) if "charge" in frame.columns else None,
        spins=frame["spin"].to_numpy(np.int64) if "spin" in frame.columns else None,
    )
