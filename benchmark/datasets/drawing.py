"""The draw: of any number of structures, the n whose random number is smallest, kept on disk.

A structure's random number is a hash of seed and id, so that the draw depends neither on the order of the source nor on
how often it was interrupted. Among structures at the same places the one with the smallest number stays. Both need
only as many as are kept: what was dropped once could never have come back. They lie in an SQLite file, which is
committed after each shard, so memory stays small and what an interrupted run has read is not read again.

Repeats that are turned, shifted or in another order (repeats.py) are found at the end, among the RESERVE times n with
the smallest numbers, and the next ones take their places.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.formula import Formula
from numpy.typing import NDArray

from benchmark.datasets.columns import ROW_GROUP, DatasetError
from benchmark.datasets.readers import Shard, SourceStructure
from benchmark.datasets.repeats import repeats
from benchmark.datasets.structures import Structures, reduced_formula, residue_formula

SAME_POSITION = 1e-3  # Angstrom
RESERVE = 2  # times n are kept while shards are read: where more than half repeat others, fewer than n are drawn
SLACK = 1000  # how many more than these are held, beside n, before they are dropped
DIGEST = 16  # bytes
NOT_DRAWN, REPEATED = "not drawn", "repeats another structure"

SCHEMA = """
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS shard (number INTEGER PRIMARY KEY, name TEXT UNIQUE, sha256 TEXT);
CREATE TABLE IF NOT EXISTS candidate (
    row INTEGER PRIMARY KEY, shard INTEGER, entry INTEGER, rank BLOB UNIQUE, places BLOB UNIQUE,
    formula TEXT, id TEXT, numbers BLOB, positions BLOB, cell BLOB, pbc BLOB, smiles TEXT, sequence TEXT,
    charge INTEGER, spin INTEGER, labels BLOB
);
CREATE INDEX IF NOT EXISTS by_formula ON candidate (formula, rank);
"""


class ChangedShardError(Exception):
    """A shard that was read before is another one now, so the draw has to begin anew."""


class Draw:
    """A draw of `n` structures with `labels` labels each, in the file `path`; goes on where it was interrupted."""

    def __init__(self, path: Path, n: int, seed: int, labels: int, key: str) -> None:
        self.n, self.seed, self._labels = n, seed, labels
        self._connection = sqlite3.connect(path)
        self._connection.executescript(SCHEMA)
        self._connection.execute("PRAGMA cache_size = -200000")  # 200 MB
        state = dict(self._connection.execute("SELECT name, value FROM state"))
        if state.get("key", key) != key:
            raise ChangedShardError
        self.left_out: Counter[str] = Counter(json.loads(state.get("left_out", "{}")))
        self.damaged: dict[str, str] = json.loads(state.get("damaged", "{}"))
        self._limit = bytes.fromhex(state.get("limit", "ff" * DIGEST))
        self._key = key
        self._kept = self._count()
        self._shard = 0

    def begin(self, shard: Shard) -> bool:
        """Start to read a shard; False when it was read to its end before. Raises ChangedShardError."""
        known = self._connection.execute("SELECT sha256 FROM shard WHERE name = ?", [shard.name]).fetchone()
        if known is not None:
            if known[0] != shard.sha256:
                raise ChangedShardError
            return False
        cursor = self._connection.execute("INSERT INTO shard (name, sha256) VALUES (?, ?)", [shard.name, shard.sha256])
        self._shard = int(cursor.lastrowid or 0)
        return True

    def add(self, entry: int, structure: SourceStructure, labels: Sequence[float]) -> None:
        """Offer a structure. Raises DatasetError when its id was there before."""
        rank = hashlib.sha256(f"{self.seed}:{structure.id}".encode()).digest()[:DIGEST]
        if rank > self._limit:
            self.left_out[NOT_DRAWN] += 1
            return
        places = places_digest(structure)
        find = "SELECT row, rank, id FROM candidate WHERE rank = ? OR places = ? ORDER BY rank = ? DESC"
        known = self._connection.execute(find, [rank, places, rank]).fetchone()
        if known is not None and known[1] == rank:
            raise DatasetError(f"id {structure.id!r} occurs more than once")
        if known is not None:
            self.left_out[REPEATED] += 1
            if known[1] < rank:
                return
            self._connection.execute("DELETE FROM candidate WHERE row = ?", [known[0]])
            self._kept -= 1
        self._insert(entry, rank, places, structure, labels)
        self._kept += 1
        if self._kept >= (RESERVE + 1) * self.n + SLACK:
            self._drop(RESERVE * self.n)

    def finish(self) -> None:
        """The shard is read to its end, or as far as it can be: what it gave stays, whatever happens next."""
        state = {
            "key": self._key,
            "left_out": json.dumps(self.left_out),
            "damaged": json.dumps(self.damaged),
            "limit": self._limit.hex(),
        }
        self._connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", state.items())
        self._connection.commit()

    def close(self) -> None:
        """Forget what the unfinished shard gave."""
        self._connection.rollback()
        self._connection.close()

    def drawn(self) -> int:
        """Drop repeats and all but the n that are drawn, and say how many there are."""
        self._drop(RESERVE * self.n)
        repeated = self._repeated()
        self._connection.executemany("DELETE FROM candidate WHERE rank = ?", [[rank] for rank in repeated])
        self._kept -= len(repeated)
        self._drop(self.n)
        # Repeats of a larger number than the last one drawn would not have been drawn anyway.
        before = sum(rank <= self._limit for rank in repeated)
        self.left_out[REPEATED] += before
        self.left_out[NOT_DRAWN] += len(repeated) - before
        return self._kept

    def parts(self) -> Iterator[tuple[Structures, NDArray[np.float64]]]:
        """Structures and labels (structures, labels) by name of the shard and place in it, a row group at a time."""
        select = "SELECT row FROM candidate JOIN shard ON shard = number ORDER BY name, entry"
        rows = [row for (row,) in self._connection.execute(select)]
        counts = "SELECT COUNT(smiles), COUNT(sequence), COUNT(charge), COUNT(spin) FROM candidate"
        complete = [count == len(rows) for count in self._connection.execute(counts).fetchone()]
        for start in range(0, len(rows), ROW_GROUP):
            yield self._part(rows[start : start + ROW_GROUP], complete)

    def _part(self, rows: Sequence[int], complete: Sequence[bool]) -> tuple[Structures, NDArray[np.float64]]:
        columns = "row, id, numbers, positions, cell, pbc, smiles, sequence, charge, spin, labels"
        # As text, because they are integers of ours, and too many for placeholders.
        select = f"SELECT {columns} FROM candidate WHERE row IN ({','.join(map(str, rows))})"
        found = {each[0]: each[1:] for each in self._connection.execute(select)}
        ids, numbers, positions, cells, pbc, *optional, labels = zip(*(found[row] for row in rows), strict=True)
        smiles, sequences, charges, spins = (
            values if whole else None for values, whole in zip(optional, complete, strict=True)
        )
        lengths = [len(each) // 2 for each in numbers]
        formulas = [_formula(each) for each in numbers]
        if sequences is not None:
            formulas = [formula or residue_formula(text) for formula, text in zip(formulas, sequences, strict=True)]
        structures = Structures(
            ids=ids,
            formulas=tuple(formulas),
            numbers=np.frombuffer(b"".join(numbers), dtype=np.int16),
            positions=np.frombuffer(b"".join(positions), dtype=np.float64).reshape(-1, 3),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            cells=np.frombuffer(b"".join(cells), dtype=np.float64).reshape(-1, 3, 3),
            pbc=np.frombuffer(b"".join(pbc), dtype=np.bool_).reshape(-1, 3),
            smiles=smiles,
            sequences=sequences,
            charges=None if charges is None else np.array(charges, dtype=np.int64),
            spins=None if spins is None else np.array(spins, dtype=np.int64),
        )
        return structures, np.frombuffer(b"".join(labels), dtype=np.float64).reshape(len(rows), self._labels)

    def _insert(
        self, entry: int, rank: bytes, places: bytes, structure: SourceStructure, labels: Sequence[float]
    ) -> None:
        atoms = structure.atoms
        values = (
            self._shard,
            entry,
            rank,
            places,
            reduced_formula(atoms.numbers),
            structure.id,
            np.asarray(atoms.numbers, dtype=np.int16).tobytes(),
            np.round(np.asarray(atoms.positions, dtype=np.float64), 6).tobytes(),
            np.round(np.asarray(atoms.cell, dtype=np.float64), 6).tobytes(),
            np.asarray(atoms.pbc, dtype=np.bool_).tobytes(),
            structure.smiles,
            structure.sequence,
            atoms.info.get("charge"),
            atoms.info.get("spin"),
            np.asarray(labels, dtype=np.float64).tobytes(),
        )
        self._connection.execute(
            "INSERT INTO candidate (shard, entry, rank, places, formula, id, numbers, positions, cell, pbc, smiles, "
            f"sequence, charge, spin, labels) VALUES ({', '.join('?' * len(values))})",
            values,
        )

    def _repeated(self) -> list[bytes]:
        """Numbers of the candidates that repeat one with a smaller number."""
        formulas = "SELECT formula FROM candidate WHERE formula != '' GROUP BY formula HAVING COUNT(*) > 1"
        select = "SELECT rank, numbers, positions, cell, pbc FROM candidate WHERE formula = ? ORDER BY rank"
        found: list[bytes] = []
        for (formula,) in self._connection.execute(formulas).fetchall():
            rows = self._connection.execute(select, [formula]).fetchall()
            again = repeats([_atoms(*geometry) for _, *geometry in rows])
            found += [rows[index][0] for index in np.flatnonzero(again)]
        return found

    def _drop(self, keep: int) -> None:
        """Keep the smallest ranks."""
        if self._kept <= keep:
            return
        find = "SELECT rank FROM candidate ORDER BY rank LIMIT 1 OFFSET ?"
        self._limit = self._connection.execute(find, [keep - 1]).fetchone()[0]
        self._connection.execute("DELETE FROM candidate WHERE rank > ?", [self._limit])
        self.left_out[NOT_DRAWN] += self._kept - keep
        self._kept = keep

    def _count(self) -> int:
        return int(self._connection.execute("SELECT COUNT(*) FROM candidate").fetchone()[0])


def places_digest(structure: SourceStructure) -> bytes:
    """Digest of elements, cell and positions to SAME_POSITION, in the order of the atoms; else of the sequence."""
    atoms = structure.atoms
    rounded = [np.round(np.asarray(part) / SAME_POSITION).astype(np.int64) for part in (atoms.positions, atoms.cell)]
    digest = hashlib.sha256(np.asarray(atoms.numbers, dtype=np.int64).tobytes())
    for part in rounded:
        digest.update(part.tobytes())
    if not len(atoms):
        digest.update((structure.sequence or "").encode())
    return digest.digest()[:DIGEST]


def _atoms(numbers: bytes, positions: bytes, cell: bytes, pbc: bytes) -> Atoms:
    return Atoms(
        numbers=np.frombuffer(numbers, dtype=np.int16),
        positions=np.frombuffer(positions).reshape(-1, 3),
        cell=np.frombuffer(cell).reshape(3, 3),
        pbc=np.frombuffer(pbc, dtype=np.bool_),
    )


def _formula(numbers: bytes) -> str:
    return _hill(bytes(np.sort(np.frombuffer(numbers, dtype=np.int16)).tobytes()))


@lru_cache(maxsize=100_000)
def _hill(sorted_numbers: bytes) -> str:
    kinds, counts = np.unique(np.frombuffer(sorted_numbers, dtype=np.int16), return_counts=True)
    count = {chemical_symbols[kind]: int(each) for kind, each in zip(kinds, counts, strict=True)}
    return str(Formula.from_dict(count).format("hill")) if count else ""
