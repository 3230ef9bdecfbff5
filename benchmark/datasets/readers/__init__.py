"""Readers of source files: each yields the structures of a file in its order, with the numbers it holds of them.

A reader is a generator function (file, options) -> `SourceStructure`s and one line in `READERS`. It holds one
structure at a time, checks the options that the data set's spec gives it, and raises InvalidFileError
naming the file for whatever it cannot read. What is drawn, converted and kept is decided in prepare.py.
"""

from __future__ import annotations

from benchmark.datasets.readers.extxyz import read_extxyz
from benchmark.datasets.readers.molecule_arrays import read_molecule_arrays
from benchmark.datasets.readers.source import Reader, SourceStructure

READERS: dict[str, Reader] = {
    "extxyz": read_extxyz,
    "molecule-arrays": read_molecule_arrays,
}

__all__ = ["READERS", "Reader", "SourceStructure"]
