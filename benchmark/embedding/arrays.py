"""Arrays in a safetensors file that are written and read in parts: features of a large data set never fit in memory.

The format: 8 bytes with the length of the header, the header in JSON, the arrays one after another
(https://huggingface.co/docs/safetensors). The package writes whole arrays only, and reads them whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import safe_open

NAMES: dict[np.dtype[Any], str] = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64"}
TYPES: dict[str, np.dtype[Any]] = {name: dtype for dtype, name in NAMES.items()}
LENGTH = 8  # bytes that state the header's length; the header is padded to a multiple


class ArrayWriter:
    """Writes arrays of known shapes in blocks of rows; the file is the one that `save_file` of safetensors writes.

    Room for all is reserved at once, so that a full disk is an OSError here and not in the middle.
    """

    def __init__(self, path: Path, arrays: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]) -> None:
        """arrays: name -> type (float32 or float64) and shape."""
        header, self._places, end = {}, {}, 0
        # As safetensors orders them: wide types first, so that all are aligned.
        for name, (dtype, shape) in sorted(arrays.items(), key=lambda item: (-item[1][0].itemsize, item[0])):
            begin, end = end, end + dtype.itemsize * int(np.prod(shape))
            header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
            self._places[name] = (begin, dtype, shape)
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % LENGTH)
        self._begin = LENGTH + len(text)
        self._stream = path.open("w+b")
        try:
            self._stream.write(len(text).to_bytes(LENGTH, "little") + text)
            self._stream.flush()
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._stream.fileno(), 0, self._begin + end)
            else:
                self._stream.truncate(self._begin + end)
        except BaseException:
            self._stream.close()
            raise

    def write(self, name: str, row: int, values: ArrayLike) -> None:
        """Put `values` (rows, ...) into the array `name`, from `row` on. ValueError: they do not fit into it."""
        begin, dtype, shape = self._places[name]
        block = np.ascontiguousarray(values, dtype=dtype)
        if block.shape[1:] != shape[1:] or row + len(block) > shape[0]:
            raise ValueError(f"{name}: block of shape {block.shape} at row {row} of an array of shape {shape}")
        self._stream.seek(self._begin + begin + row * dtype.itemsize * int(np.prod(shape[1:])))
        self._stream.write(block.data)

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stream.close()


def map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file, read from disk where they are touched. They cannot be written to.

    SafetensorError: not such a file. ValueError: a type other than float32 and float64.
    """
    with safe_open(path, framework="numpy") as checked:  # checks header, offsets and size
        names = list(checked.keys())
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(LENGTH), "little")
        header = json.loads(stream.read(length))
    found: dict[str, NDArray[Any]] = {}
    for name in names:
        entry = header[name]
        if entry["dtype"] not in TYPES:
            raise ValueError(f"array {name} has the type {entry['dtype']}, accepted: {', '.join(TYPES)}")
        dtype, shape = TYPES[entry["dtype"]], tuple(entry["shape"])
        if 0 in shape:  # there is nothing to map
            found[name] = np.empty(shape, dtype=dtype)
            continue
        begin = LENGTH + length + entry["data_offsets"][0]
        found[name] = np.asarray(np.memmap(path, dtype=dtype, mode="r", offset=begin, shape=shape))
    return found
