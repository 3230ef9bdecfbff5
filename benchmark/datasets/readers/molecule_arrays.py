"""Molecules as flat NumPy arrays in one .npz file, the layout in which QM9 is often handed on.

For m molecules with a atoms in all: `N` (m,) atoms of each molecule, `Z` (a,) atomic numbers, `R` (a, 3)
positions in Angstrom, molecule after molecule, and any number of (m,) arrays of labels.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from benchmark.datasets.readers.source import (
    Damaged,
    DamagedShardError,
    Shard,
    SourceStructure,
    refuse_unknown_options,
)
from benchmark.schema import InvalidFileError


def read_molecule_arrays(shard: Shard, options: Mapping[str, Any]) -> Iterator[SourceStructure | Damaged]:
    """Molecules of a file, without a cell; their values are all (m,) arrays of numbers.

    Options: `id`, the array that names a molecule, and `prefix`, put before it; without `id` molecules
    are numbered. Raises InvalidFileError naming file and array.
    """
    refuse_unknown_options("molecule-arrays", options, ("id", "prefix"))
    arrays = _load(shard)
    counts = arrays["N"].astype(np.int64)
    ends = np.cumsum(counts)
    columns = {
        name: values
        for name, values in arrays.items()
        if values.shape == counts.shape and values.dtype.kind in "iuf" and name not in ("N", "Z")
    }
    names = np.arange(len(counts)) if "id" not in options else arrays.get(options["id"])
    prefix = options.get("prefix", "" if "id" in options else shard.prefix)
    if names is None or names.shape != counts.shape:
        raise InvalidFileError(f"{shard.name}: array {options['id']!r} names no molecules; found {sorted(arrays)}")
    for index, (start, end) in enumerate(zip(ends - counts, ends, strict=True)):
        atoms = Atoms(numbers=arrays["Z"][start:end], positions=arrays["R"][start:end])
        values = {name: float(column[index]) for name, column in columns.items()}
        yield SourceStructure(f"{prefix}{names[index]}", atoms, values)


def _load(shard: Shard) -> dict[str, NDArray[Any]]:
    try:
        with np.load(shard.path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise DamagedShardError(f"{shard.name}: not a readable .npz file: {error}") from error
    missing = {"N", "Z", "R"} - set(arrays)
    if missing:
        raise InvalidFileError(f"{shard.name}: arrays {sorted(missing)} are missing; found {sorted(arrays)}")
    atoms = int(arrays["N"].sum())
    if arrays["Z"].shape != (atoms,) or arrays["R"].shape != (atoms, 3):
        found = f"Z {arrays['Z'].shape}, R {arrays['R'].shape}"
        raise InvalidFileError(
            f"{shard.name}: N counts {atoms} atoms, so Z ({atoms},) and R ({atoms}, 3) are needed: {found}"
        )
    return arrays
