"""CSV files with a structure a row as CIF, such as those of perov-5 and MP-20 (https://github.com/txie-93/cdvae)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from ase import Atoms
from ase.io import read

from benchmark.datasets.readers.source import (
    Damaged,
    DamagedShardError,
    Shard,
    SourceStructure,
    named,
    refuse_unknown_options,
)

LONGEST_CELL = 10_000_000  # characters


def read_cif_table(shard: Shard, options: Mapping[str, Any]) -> Iterator[SourceStructure | Damaged]:
    """Rows of a table; its columns of numbers are their values.

    Options: `id`, the column that names a row (without it rows are numbered); `cif`, the column of the structure,
    "cif" by default. A row whose CIF cannot be read is `Damaged`. Raises DamagedShardError naming file and row.
    """
    refuse_unknown_options("cif-table", options, ("id", "cif"))
    column = options.get("cif", "cif")
    csv.field_size_limit(LONGEST_CELL)
    with shard.path.open(encoding="utf-8", newline="") as stream:
        try:
            for index, row in enumerate(csv.DictReader(stream)):
                entry = f"row {index}"
                text = named(shard, entry, row, column)
                name = str(named(shard, entry, row, options["id"])) if "id" in options else f"{shard.prefix}{index}"
                try:
                    atoms: Any = read(io.StringIO(text), format="cif")
                except Exception as error:  # ase raises whatever its parser stumbles over
                    yield Damaged(entry, f"{type(error).__name__}: {error}")
                    continue
                plain = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
                yield SourceStructure(name, plain, _numbers(row))
        except (csv.Error, UnicodeDecodeError) as error:
            raise DamagedShardError(f"{shard.name}: {type(error).__name__}: {error}") from error


def _numbers(row: Mapping[str, str | None]) -> dict[str, float]:
    found = {}
    for key, text in row.items():
        try:
            found[key] = float(text or "")
        except (ValueError, TypeError):
            continue
    return found
