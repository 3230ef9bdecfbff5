"""Extended XYZ: frames one after the other, read by ase."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import iread

from benchmark.datasets.readers.source import SourceStructure, refuse_unknown_options
from benchmark.schema import InvalidFileError


def read_extxyz(path: Path, options: Mapping[str, Any]) -> Iterator[SourceStructure]:
    """Frames of `path`; their values are the numbers of the comment line, the energy among them.

    Options: `id`, the key of the comment line that names a frame (without it frames are numbered),
    `smiles`, the key that holds its SMILES. Raises InvalidFileError naming file and frame.
    """
    refuse_unknown_options("extxyz", options, ("id", "smiles"))
    frames = enumerate(iread(path, index=":", format="extxyz"))
    number = -1
    while True:
        try:
            number, atoms = next(frames)
        except StopIteration:
            return
        except Exception as error:  # ase raises whatever its parser stumbles over
            raise InvalidFileError(f"{path}: frame {number + 1}: not extended XYZ: {error}") from error
        smiles = _text(path, number, atoms, options["smiles"]) if "smiles" in options else None
        name = _text(path, number, atoms, options["id"]) if "id" in options else f"frame-{number:06d}"
        plain = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        yield SourceStructure(name, plain, _numbers(atoms), smiles)


def _text(path: Path, number: int, atoms: Atoms, key: str) -> str:
    if key not in atoms.info:
        raise InvalidFileError(f"{path}: frame {number} has no {key!r}; found {sorted(atoms.info)}")
    return str(atoms.info[key])


def _numbers(atoms: Atoms) -> dict[str, float]:
    """Numbers of the comment line. ase hands those it knows, such as `energy`, to a calculator."""
    found = dict(atoms.info) | (atoms.calc.results if atoms.calc is not None else {})
    return {
        key: float(value)
        for key, value in found.items()
        if isinstance(value, numbers.Real) and not isinstance(value, bool)
    }
