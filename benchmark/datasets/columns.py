"""Structures in Parquet files: written and read in row groups, one column at a time.

Columns: `id`, `formula`, `numbers`, `positions` (3n values, Angstrom), `cell` (9 values, Angstrom), `pbc` (3 flags),
and where a set has them `smiles`, `sequence`, `charge`, `spin`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmark.datasets.structures import Structures
from benchmark.files import atomic_path
from benchmark.schema import InvalidFileError

STRUCTURE_COLUMNS = ("id", "formula", "numbers", "positions", "cell", "pbc")
ROW_GROUP = 20_000
# What pyarrow raises on a file that is damaged or not of the format.
READ_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    MemoryError,
    NotImplementedError,
    pa.ArrowException,
)


class DatasetError(InvalidFileError):
    """A data set on disk is not what its card or the format says."""


def structures_table(structures: Structures) -> pa.Table:
    """Structures as columns."""
    count = len(structures)
    columns = {
        "id": pa.array(structures.ids, pa.string()),
        "formula": pa.array(structures.formulas, pa.string()),
        "numbers": _lists(structures.numbers, structures.offsets, pa.int16()),
        "positions": _lists(structures.positions.reshape(-1), 3 * structures.offsets, pa.float64()),
        "cell": _lists(structures.cells.reshape(-1), 9 * np.arange(count + 1), pa.float64()),
        "pbc": _lists(structures.pbc.reshape(-1), 3 * np.arange(count + 1), pa.bool_()),
    }
    optional = {
        "smiles": (structures.smiles, pa.string()),
        "sequence": (structures.sequences, pa.string()),
        "charge": (structures.charges, pa.int64()),
        "spin": (structures.spins, pa.int64()),
    }
    columns |= {name: pa.array(values, kind) for name, (values, kind) in optional.items() if values is not None}
    return pa.table(columns)


def _lists(values: NDArray[Any], offsets: NDArray[np.int64], kind: pa.DataType) -> pa.ListArray:
    # Large offsets would change the column's type; a row group never needs them.
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, kind))


def write_tables(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write tables of one schema to `path`, a row group each, atomically. Raises ValueError when there is none."""
    with atomic_path(path) as temporary:
        writer: pq.ParquetWriter | None = None
        try:
            for table in tables:
                if writer is None:
                    writer = pq.ParquetWriter(temporary, table.schema, compression="zstd")
                writer.write_table(table, row_group_size=max(1, len(table)))
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise ValueError(f"{path}: nothing to write")


def read_structures(path: Path) -> Structures:
    """The structures in the Parquet file `path`. Raises DatasetError naming file and column."""
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            missing = set(STRUCTURE_COLUMNS) - set(names)
            if missing:
                raise DatasetError(f"{path}: columns {sorted(missing)} are missing; found {sorted(names)}")
            return _structures(path, file)
    except DatasetError:
        raise
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except READ_ERRORS as error:
        raise DatasetError(f"{path}: not a readable Parquet file of structures: {error}") from error


def _structures(path: Path, file: pq.ParquetFile) -> Structures:
    ids = _texts(path, file, "id")
    if len(set(ids)) != len(ids):
        raise DatasetError(f"{path}: id {Counter(ids).most_common(1)[0][0]!r} occurs more than once")
    numbers, lengths = _flat(path, file, "numbers", np.int16)
    positions, coordinates = _flat(path, file, "positions", np.float64)
    wrong = np.flatnonzero(coordinates != 3 * lengths)
    if len(wrong):
        raise DatasetError(f"{path}: row {ids[wrong[0]]!r} has not three coordinates an atom")
    cells, _ = _flat(path, file, "cell", np.float64)
    pbc, _ = _flat(path, file, "pbc", np.bool_)
    names = file.schema_arrow.names
    return Structures(
        ids=ids,
        formulas=_texts(path, file, "formula"),
        numbers=numbers,
        positions=positions.reshape(-1, 3),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        cells=cells.reshape(len(ids), 3, 3),
        pbc=pbc.reshape(len(ids), 3),
        smiles=_texts(path, file, "smiles") if "smiles" in names else None,
        sequences=_texts(path, file, "sequence") if "sequence" in names else None,
        charges=_integers(path, file, "charge") if "charge" in names else None,
        spins=_integers(path, file, "spin") if "spin" in names else None,
    )


def _column(path: Path, file: pq.ParquetFile, name: str) -> pa.ChunkedArray:
    column = file.read(columns=[name]).column(name)
    if column.null_count:
        raise DatasetError(f"{path}: column {name} has empty cells")
    return column


def _texts(path: Path, file: pq.ParquetFile, name: str) -> tuple[str, ...]:
    return tuple(_column(path, file, name).cast(pa.large_string()).to_pylist())


def _integers(path: Path, file: pq.ParquetFile, name: str) -> NDArray[np.int64]:
    return np.asarray(_column(path, file, name).cast(pa.int64()).to_numpy(), dtype=np.int64)


def _flat(path: Path, file: pq.ParquetFile, name: str, kind: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """All values of a column of lists, and the length of each list."""
    values, lengths = [np.empty(0, kind)], [np.empty(0, np.int64)]
    for chunk in _column(path, file, name).chunks:
        lengths.append(np.asarray(chunk.value_lengths(), dtype=np.int64))
        flat = chunk.flatten()
        if flat.null_count:
            raise DatasetError(f"{path}: column {name} has empty cells")
        values.append(flat.to_numpy(zero_copy_only=False).astype(kind, copy=False))
    return np.concatenate(values), np.concatenate(lengths)
