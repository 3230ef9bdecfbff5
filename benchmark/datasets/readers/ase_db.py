"""ASE databases in one file: SQLite (`.db`) and JSON (`.json`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ase.db import connect

from benchmark.datasets.readers.ase_lmdb import read_row
from benchmark.datasets.readers.source import Damaged, Shard, SourceStructure, guarded, refuse_unknown_options


def read_ase_db(shard: Shard, options: Mapping[str, Any]) -> Iterator[SourceStructure | Damaged]:
    """Rows of a database in the order of their ids; options and values are those of `.aselmdb` shards."""
    refuse_unknown_options("ase-db", options, ("id", "charge", "spin"))
    kind = "json" if shard.path.suffix == ".json" else "db"
    rows = (read_row(shard, row, options) for row in connect(shard.path, type=kind, use_lock_file=False).select())
    yield from guarded(shard, rows, "entry")
