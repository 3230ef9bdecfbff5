"""Readers of source files: each yields the structures of a file in its order, with the numbers it holds of them.

A reader is a generator function (shard, options) -> `SourceStructure`s and one line in `READERS`. It holds one
structure at a time, checks the options that the data set's spec gives it, and raises InvalidFileError naming the file
and the entry for whatever it cannot read. What is drawn, converted and kept is decided in prepare.py. None of them
unpickles anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.datasets.readers.ase_db import read_ase_db
from benchmark.datasets.readers.ase_lmdb import read_ase_lmdb
from benchmark.datasets.readers.cif_table import read_cif_table
from benchmark.datasets.readers.extxyz import read_extxyz
from benchmark.datasets.readers.fasta import read_fasta
from benchmark.datasets.readers.molecule_arrays import read_molecule_arrays
from benchmark.datasets.readers.parquet import read_parquet
from benchmark.datasets.readers.pymatgen_json import read_computed_entries, read_materials_project, read_mptrj
from benchmark.datasets.readers.qm9 import read_gdb9, read_qm9
from benchmark.datasets.readers.source import Damaged, DamagedShardError, Format, Shard, SourceStructure

XYZ = tuple(f"{kind}{packed}" for kind in (".xyz", ".extxyz") for packed in ("", ".gz", ".bz2", ".xz"))
JSON = (".json", ".json.gz", ".json.bz2")

READERS: dict[str, Format] = {
    "extxyz": Format(read_extxyz, XYZ),
    "aselmdb": Format(read_ase_lmdb, (".aselmdb", ".lmdb")),
    "ase-db": Format(read_ase_db, (".db", ".json")),
    "parquet": Format(read_parquet, (".parquet",)),
    "molecule-arrays": Format(read_molecule_arrays, (".npz",)),
    "qm9": Format(read_qm9, (".tar.bz2",)),
    "gdb9": Format(read_gdb9, (".tar.gz",)),
    "mptrj": Format(read_mptrj, JSON),
    "computed-entries": Format(read_computed_entries, JSON),
    "materials-project": Format(read_materials_project, JSON),
    "fasta": Format(read_fasta, (".fasta", ".fasta.gz", ".txt", ".txt.gz")),
    "cif-table": Format(read_cif_table, (".csv",)),
}
FOLDER = ("extxyz", "aselmdb", "ase-db", "parquet")


def read_any(shard: Shard, options: Mapping[str, Any]) -> Iterator[SourceStructure | Damaged]:
    """A file of a local folder, read by what its name says it is; options as the reader of that format takes them."""
    kind = next(kind for kind in FOLDER if shard.path.name.endswith(READERS[kind].suffixes))
    return READERS[kind].read(shard, options)


READERS["folder"] = Format(read_any, tuple(suffix for kind in FOLDER for suffix in READERS[kind].suffixes))

__all__ = ["READERS", "Damaged", "DamagedShardError", "Format", "Shard", "SourceStructure"]
