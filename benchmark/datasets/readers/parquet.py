"""Parquet files of structures: those of this benchmark's own store, and those of ColabFit.

A row is a structure: `numbers` or `atomic_numbers`, `positions` (3n values, or n of 3), `cell` (9 values, or 3 of 3)
and `pbc` (3 flags), and any further columns of numbers, which become its values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from ase import Atoms

from benchmark.datasets.columns import READ_ERRORS
from benchmark.datasets.readers.source import (
    Damaged,
    DamagedShardError,
    Shard,
    SourceStructure,
    guarded,
    named,
    numbers_of,
    refuse_unknown_options,
    with_state,
)
from benchmark.schema import InvalidFileError

BATCH = 1000  # rows in memory at once


def read_parquet(shard: Shard, options: Mapping[str, Any]) -> Iterator[SourceStructure | Damaged]:
    """Rows of a file. Options: `id`, `smiles`, `sequence`, `charge`, `spin`: the columns that hold these.

    Raises InvalidFileError naming file and row or column.
    """
    refuse_unknown_options("parquet", options, ("id", "smiles", "sequence", "charge", "spin"))
    try:
        file = pq.ParquetFile(shard.path)
    except READ_ERRORS as error:
        raise DamagedShardError(f"{shard.name}: not a readable Parquet file: {error}") from error
    with file:
        names = set(file.schema_arrow.names)
        numbers = next((name for name in ("numbers", "atomic_numbers") if name in names), None)
        if numbers is None or "positions" not in names:
            needed = "needs the columns positions and numbers or atomic_numbers"
            raise InvalidFileError(f"{shard.name}: {needed}; found {sorted(names)}")
        rows = (row for batch in file.iter_batches(batch_size=BATCH) for row in batch.to_pylist())
        structures = (_structure(shard, index, row, numbers, options) for index, row in enumerate(rows))
        yield from guarded(shard, structures, "row")


def _structure(
    shard: Shard, index: int, row: Mapping[str, Any], numbers: str, options: Mapping[str, Any]
) -> SourceStructure:
    entry = f"row {index}"
    texts = {key: str(named(shard, entry, row, options[key])) for key in ("id", "smiles", "sequence") if key in options}
    atoms = Atoms(
        numbers=row[numbers],
        positions=np.asarray(row["positions"], dtype=np.float64).reshape(-1, 3),
        cell=np.asarray(row["cell"], dtype=np.float64).reshape(3, 3) if row.get("cell") is not None else None,
        pbc=row.get("pbc"),
    )
    return SourceStructure(
        texts.get("id", f"{shard.prefix}{index}"),
        with_state(shard, entry, atoms, row, options),
        numbers_of({key: value for key, value in row.items() if key not in (numbers, "positions", "cell", "pbc")}),
        texts.get("smiles"),
        texts.get("sequence"),
    )
