"""The feature store: what one model makes of one data set, on disk and in memory.

A product is two files, `<name>.safetensors` (arrays, float32 as the model made them) and
`<name>.json` (the sidecar: keys, layers, provenance, SHA-256 of the arrays). The sidecar is
written last; a product without a matching sidecar does not exist.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from benchmark.datasets.store import Structures
from benchmark.embedding.arrays import ArrayWriter, map_arrays
from benchmark.files import atomic_path, sha256_of_file, write_text
from benchmark.schema import InvalidFileError, Sha256, Strict

ENERGIES = "energies"
LAYER_PREFIX = "layer."
STRUCTURES_AT_ONCE = 1_000
ROWS_AT_ONCE = 16_384
"""Features are converted to float64 in blocks of so many: a data set's features may be larger than the memory."""


class LayerSidecar(Strict):
    """One layer as it was stored."""

    level: Literal["atom", "structure"]
    dimension: int
    irreps: str | None


class Provenance(Strict):
    """How features were made: enough to make them again."""

    adapter_tree: Sha256
    checkpoint_sha256: Sha256 | None
    environment: Sha256
    packages: dict[str, str]
    python: str
    device: str
    hardware: str
    sandbox: str
    dtype: str = "float32"
    wall_seconds: float
    peak_memory_mb: float
    code: str


class Sidecar(Strict):
    """The JSON beside the arrays."""

    format: Literal[1] = 1
    key: Sha256
    model: str
    dataset: str
    dataset_fingerprint: Sha256
    structures: int
    atoms: int
    layers: dict[str, LayerSidecar]
    has_energies: bool
    left_out: dict[str, str] = {}  # structure id -> why the model cannot embed it
    arrays_sha256: Sha256
    provenance: Provenance


@dataclass(frozen=True)
class LayerArray:
    """Values of one layer, (atoms, d) or (structures, d)."""

    values: NDArray[np.float32]
    level: Literal["atom", "structure"]
    irreps: str | None


@dataclass(frozen=True)
class FeatureSet:
    """Features of the structures of a data set. `offsets[i]:offsets[i+1]` are the atoms of structure i.

    positions: which structures of the data set these are, in its order; None where they are all.
    """

    model: str
    dataset: str
    layers: Mapping[str, LayerArray]
    energies: NDArray[np.float64] | None  # eV, one a structure
    offsets: NDArray[np.int64]
    key: str = ""
    positions: NDArray[np.int64] | None = None

    def take(self, positions: NDArray[np.int64]) -> FeatureSet:
        """The features of the structures at `positions` of the data set, all of which must be here."""
        rows = positions if self.positions is None else np.searchsorted(self.positions, positions)
        if len(rows) == len(self.offsets) - 1:
            return self
        lengths = np.diff(self.offsets)
        atoms = np.repeat(np.isin(np.arange(len(lengths)), rows), lengths)
        layers = {
            name: LayerArray(layer.values[atoms if layer.level == "atom" else rows], layer.level, layer.irreps)
            for name, layer in self.layers.items()
        }
        energies = None if self.energies is None else self.energies[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths[rows])])
        return FeatureSet(self.model, self.dataset, layers, energies, offsets, self.key, positions)

    def structures(self, layer: str) -> NDArray[np.float64]:
        """Structure features as float64, (structures, d): the mean over atoms (PROTOCOL section 1)."""
        found = self.layers[layer]
        if found.level == "structure":
            return found.values.astype(np.float64)
        lengths = np.diff(self.offsets)
        means = np.empty((len(lengths), found.values.shape[1]))
        for block in blocks(len(lengths), STRUCTURES_AT_ONCE):
            starts = self.offsets[block]
            rows = found.values[starts[0] : self.offsets[block.stop]].astype(np.float64)
            means[block] = np.add.reduceat(rows, starts - starts[0], axis=0) / lengths[block, None]
        return means


def blocks(count: int, size: int) -> Iterator[slice]:
    """Slices of `size` that cover `count` rows, the last one perhaps shorter."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def column_deviations(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Standard deviation of each column of (rows, d), in float64, without a copy of the whole."""
    if not len(values):
        return np.full(values.shape[1], np.nan)
    parts = list(blocks(len(values), ROWS_AT_ONCE))
    mean = sum(values[part].sum(axis=0, dtype=np.float64) for part in parts) / len(values)
    squares = sum(np.square(values[part] - mean).sum(axis=0) for part in parts)
    deviations: NDArray[np.float64] = np.sqrt(squares / len(values))
    return deviations


def product_paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Paths of arrays and sidecar of the product `name`."""
    return folder / f"{name}.safetensors", folder / f"{name}.json"


def save_features(folder: Path, name: str, features: FeatureSet, described: dict[str, Any]) -> Sidecar:
    """Write a product. `described` gives the sidecar's remaining fields (key, fingerprint, provenance)."""
    arrays_path, _ = product_paths(folder, name)
    with atomic_path(arrays_path) as temporary:
        shapes = {layer: (found.level, found.values.shape[1]) for layer, found in features.layers.items()}
        with feature_writer(temporary, shapes, features.offsets, features.energies is not None) as writer:
            for layer, found in features.layers.items():
                writer.write(LAYER_PREFIX + layer, 0, found.values)
            if features.energies is not None:
                writer.write(ENERGIES, 0, features.energies)
    return save_sidecar(folder, name, features, described)


def feature_writer(
    path: Path, layers: Mapping[str, tuple[str, int]], offsets: NDArray[np.int64], energies: bool
) -> ArrayWriter:
    """A writer of the arrays of a product. layers: name -> level and dimension; `offsets` as in `FeatureSet`."""
    rows = {"atom": int(offsets[-1]), "structure": len(offsets) - 1}
    shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
        LAYER_PREFIX + name: (np.dtype(np.float32), (rows[level], dimension))
        for name, (level, dimension) in layers.items()
    }
    if energies:
        shapes[ENERGIES] = (np.dtype(np.float64), (rows["structure"],))
    return ArrayWriter(path, shapes)


def save_sidecar(folder: Path, name: str, features: FeatureSet, described: dict[str, Any]) -> Sidecar:
    """Write the sidecar of a product whose arrays are in place: from now on it exists."""
    arrays_path, sidecar_path = product_paths(folder, name)
    sidecar = Sidecar(
        model=features.model,
        dataset=features.dataset,
        structures=len(features.offsets) - 1,  # those that have features
        atoms=int(features.offsets[-1]),
        layers={
            layer: LayerSidecar(level=found.level, dimension=found.values.shape[1], irreps=found.irreps)
            for layer, found in sorted(features.layers.items())
        },
        has_energies=features.energies is not None,
        arrays_sha256=sha256_of_file(arrays_path),
        **described,
    )
    write_text(sidecar_path, sidecar.model_dump_json(indent=2) + "\n")
    return sidecar


def read_sidecar(folder: Path, name: str) -> Sidecar | None:
    """The sidecar of a whole product, or None when there is none."""
    arrays_path, sidecar_path = product_paths(folder, name)
    if not (arrays_path.is_file() and sidecar_path.is_file()):
        return None
    try:
        return Sidecar.model_validate_json(sidecar_path.read_text())
    except ValueError as error:
        raise InvalidFileError(f"{sidecar_path}: not a feature sidecar: {' '.join(str(error).split())}") from error


def load_features(folder: Path, name: str, structures: Structures) -> FeatureSet:
    """Read and verify a product of `structures`. Raises InvalidFileError when arrays and sidecar disagree."""
    sidecar = read_sidecar(folder, name)
    arrays_path, _ = product_paths(folder, name)
    if sidecar is None:
        raise InvalidFileError(f"{arrays_path}: no such product")
    if sha256_of_file(arrays_path) != sidecar.arrays_sha256:
        raise InvalidFileError(f"{arrays_path}: contents do not have the SHA-256 that the sidecar states")
    try:
        arrays = map_arrays(arrays_path)
    except (SafetensorError, ValueError) as error:
        raise InvalidFileError(f"{arrays_path}: not a safetensors file: {error}") from error
    positions = kept_positions(structures.ids, sidecar.left_out)
    lengths = np.diff(structures.offsets)[positions]
    rows = {"atom": int(lengths.sum()), "structure": len(positions)}
    layers = {}
    for layer, found in sidecar.layers.items():
        values = arrays.get(LAYER_PREFIX + layer)
        shape = (rows[found.level], found.dimension)
        if values is None or values.dtype != np.float32 or values.shape != shape:
            raise InvalidFileError(f"{arrays_path}: layer {layer} is not an array of float32 of shape {shape}")
        layers[layer] = LayerArray(values, found.level, found.irreps)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    energies = arrays.get(ENERGIES)
    return FeatureSet(sidecar.model, sidecar.dataset, layers, energies, offsets, sidecar.key, positions)


def kept_positions(ids: Sequence[str], left_out: Collection[str]) -> NDArray[np.int64]:
    """Positions of the structures of a data set that are not left out, in its order."""
    return np.array([place for place, name in enumerate(ids) if name not in left_out], dtype=np.int64)
