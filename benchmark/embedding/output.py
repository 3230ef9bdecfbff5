"""Reading what a model's process wrote, as hostile input.

Nothing here trusts the worker: names, kinds and sizes of files, shapes, types and values are
checked against what submission.yaml declares before an array reaches the rest of the benchmark.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.features import ENERGIES, LAYER_PREFIX, LayerArray
from benchmark.files import remove_tree
from benchmark.submission import LayerDeclaration

HEADER_BYTES = 1_000_000
MESSAGES = ("progress.json", "error.json")


@dataclass(frozen=True)
class Part:
    """Checked features of some inputs, in the order `inputs`; `left_out` says why there are none of others."""

    inputs: tuple[int, ...]
    lengths: NDArray[np.int64]  # atoms of each input
    layers: Mapping[str, LayerArray]
    energies: NDArray[np.float64] | None
    left_out: Mapping[int, str] = field(default_factory=dict)

    def rows(self, layer: str) -> dict[int, NDArray[np.float32]]:
        """Input -> its rows of `layer`. An input that was embedded twice counts once, the last time."""
        found = self.layers[layer]
        if found.level == "structure":
            return {index: found.values[row : row + 1] for row, index in enumerate(self.inputs)}
        ends = np.cumsum(self.lengths)
        spans = zip(self.inputs, ends - self.lengths, ends, strict=True)
        return {index: found.values[start:end] for index, start, end in spans}


def refuse_strangers(place: Path, folder: Path, expected: Sequence[str]) -> None:
    """Raise EmbeddingError when the output folder holds anything but `expected` and the worker's messages."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name not in expected and entry.name not in MESSAGES:
            raise EmbeddingError(place, "output", f"unexpected file {entry.name!r} in the output folder")


def sweep(folder: Path, kept: Sequence[str]) -> None:
    """Remove everything in `folder` but `kept`: half-written files of an interrupted run."""
    for entry in list(os.scandir(folder)) if folder.is_dir() else []:
        if entry.name not in kept:
            remove_tree(Path(entry.path))


def read_part(
    place: Path,
    path: Path,
    inputs: Sequence[int],
    lengths: NDArray[np.int64],
    declared: Mapping[str, LayerDeclaration],
) -> Part:
    """Read and check the file of an embed step. Raises EmbeddingError naming layer and trouble.

    place: the adapter, for messages; inputs: what the step embedded, in order; lengths: atoms of
    each of them.
    """
    whole = {"atom": int(lengths.sum()), "structure": len(inputs)}
    values = sum(layer.dimension * whole[layer.level] for layer in declared.values())
    arrays, metadata = read_arrays(place, path, 4 * values + 8 * len(inputs) + HEADER_BYTES)
    left_out = read_left_out(place, metadata, inputs)
    kept = np.array([index not in left_out for index in inputs], dtype=bool)
    inputs, lengths = [index for index in inputs if index not in left_out], lengths[kept]
    if not inputs:
        return _nothing(declared, left_out)
    rows = {"atom": int(lengths.sum()), "structure": len(inputs)}
    described = _described_layers(place, metadata)
    wanted = {LAYER_PREFIX + name for name in declared}
    found = set(arrays) - {ENERGIES}
    if found != wanted:
        names = sorted(name.removeprefix(LAYER_PREFIX) for name in found)
        raise EmbeddingError(place, "layers", f"the adapter gives {names}, submission.yaml declares {sorted(declared)}")
    layers = {}
    for name, declaration in declared.items():
        array = arrays[LAYER_PREFIX + name]
        _check_layer(place, name, array, described.get(name, {}), declaration, rows[declaration.level])
        layers[name] = LayerArray(array, declaration.level, declaration.irreps)
        owners = np.repeat(inputs, lengths) if declaration.level == "atom" else np.asarray(inputs)
        _check_finite(place, f"layer {name}", array, owners)
    energies = arrays.get(ENERGIES)
    if energies is not None:
        if energies.dtype != np.float64 or energies.shape != (len(inputs),):
            raise EmbeddingError(place, "energies", f"have shape {energies.shape}, ({len(inputs)},) is needed")
        _check_finite(place, "energies", energies[:, None], np.asarray(inputs))
    return Part(tuple(inputs), lengths, layers, energies, left_out)


def _nothing(declared: Mapping[str, LayerDeclaration], left_out: Mapping[int, str]) -> Part:
    """The part of a step whose inputs were all left out."""
    layers = {
        name: LayerArray(np.empty((0, layer.dimension), dtype=np.float32), layer.level, layer.irreps)
        for name, layer in declared.items()
    }
    return Part((), np.empty(0, dtype=np.int64), layers, None, left_out)


def read_left_out(place: Path, metadata: Mapping[str, str], inputs: Sequence[int]) -> dict[int, str]:
    """Which of `inputs` the adapter cannot embed, and why. Raises EmbeddingError for anything else."""
    try:
        told = json.loads(metadata.get("left_out", "{}"))
        left_out = {int(index): " ".join(str(why).split())[:200] for index, why in told.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise EmbeddingError(place, "unsupported", f"unreadable: {error}") from error
    strangers = sorted(set(left_out) - set(inputs))
    if strangers:
        raise EmbeddingError(place, "unsupported", f"names inputs that the step does not have: {strangers[:3]}")
    return left_out


def read_arrays(place: Path, path: Path, limit: int) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays and metadata of a safetensors file of at most `limit` bytes. Raises EmbeddingError."""
    content = _read_regular(place, path, limit)
    try:
        length = int.from_bytes(content[:8], "little")
        if not 0 < length <= HEADER_BYTES:
            raise ValueError(f"header of {length} bytes")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        return load(content), {str(key): str(value) for key, value in metadata.items()}
    except Exception as error:  # the parsers raise whatever they like on hostile bytes
        raise EmbeddingError(place, "output", f"{path.name} is no safetensors file: {error}") from error


def _read_regular(place: Path, path: Path, limit: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise EmbeddingError(place, "output", f"the worker ended without writing {path.name}") from None
    except OSError as error:
        raise EmbeddingError(place, "output", f"{path.name} is not a regular file ({error.strerror})") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise EmbeddingError(place, "output", f"{path.name} is not a regular file")
    with os.fdopen(descriptor, "rb") as stream:
        if status.st_size > limit:
            raise EmbeddingError(place, "output", f"{path.name} has {status.st_size} bytes, at most {limit} fit")
        return stream.read(limit + 1)


def _described_layers(place: Path, metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    try:
        described = json.loads(metadata["layers"])
        return {str(name): dict(layer) for name, layer in described.items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise EmbeddingError(place, "output", "levels and irreps of the layers are missing") from None


def _check_layer(
    place: Path,
    name: str,
    array: NDArray[Any],
    described: Mapping[str, Any],
    declaration: LayerDeclaration,
    rows: int,
) -> None:
    level: Literal["atom", "structure"] = declaration.level
    if described.get("level") != level:
        raise EmbeddingError(
            place, f"layer {name}", f"level is {described.get('level')!r}, submission.yaml declares {level!r}"
        )
    if array.dtype != np.float32 or array.ndim != 2 or array.shape[0] != rows:
        raise EmbeddingError(place, f"layer {name}", f"{array.dtype} of shape {array.shape} for {rows} {level}s")
    if array.shape[1] != declaration.dimension:
        raise EmbeddingError(
            place,
            f"layer {name}",
            f"has {array.shape[1]} columns, submission.yaml declares dimension {declaration.dimension}",
        )
    scalars = f"{declaration.dimension}x0e"
    if (described.get("irreps") or scalars) != (declaration.irreps or scalars):
        raise EmbeddingError(
            place, f"layer {name}", f"irreps are {described['irreps']}, submission.yaml declares {declaration.irreps}"
        )


def _check_finite(place: Path, what: str, values: NDArray[Any], owners: NDArray[np.int64]) -> None:
    wrong = ~np.isfinite(values).all(axis=1)
    if wrong.any():
        structures = np.unique(owners[wrong]).tolist()
        error = EmbeddingError(
            place, what, f"NaN or infinite for {len(structures)} of {len(np.unique(owners))} structures"
        )
        error.inputs = structures
        raise error
