"""Reading a file with a reader of the package, and comparing what it gives."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from benchmark.datasets.readers import READERS, Damaged, Shard, SourceStructure


def read(kind: str, path: Path, options: dict[str, Any] | None = None, **shard: Any) -> list[SourceStructure | Damaged]:
    return list(READERS[kind].read(Shard(path.name, path, **shard), options or {}))


def whole(kind: str, path: Path, options: dict[str, Any] | None = None, **shard: Any) -> list[SourceStructure]:
    found = read(kind, path, options, **shard)
    assert not [each for each in found if isinstance(each, Damaged)]
    return [each for each in found if isinstance(each, SourceStructure)]


def same(found: Atoms, expected: Atoms) -> None:
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    np.testing.assert_allclose(found.positions, expected.positions, atol=1e-8)
    np.testing.assert_allclose(found.cell, expected.cell, atol=1e-8)
    np.testing.assert_array_equal(found.pbc, expected.pbc)


def labelled(count: int) -> Iterator[Atoms]:
    """Rattled crystals and molecules in turn, each with an energy, forces and a stress."""
    for number in range(count):
        atoms = bulk("NaCl", "rocksalt", a=5.0 + 0.05 * number) if number % 2 else molecule("CH3OH")
        atoms.rattle(0.05, seed=number)
        atoms.calc = SinglePointCalculator(
            atoms, energy=-1.5 * number, forces=np.ones((len(atoms), 3)), stress=np.zeros(6)
        )
        yield atoms
