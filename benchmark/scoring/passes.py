"""A pass over many models laid out in a folder, so that any process can compute a block of its rows.

The feature arrays lie there once in standard form and are mapped into memory: the processes of a machine share
them. A block that is there is whole, so an interrupted pass goes on where it stopped.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmark.files import atomic_path, remove_tree, write_json
from benchmark.metrics.streaming import Block, RowPass, Streamed
from benchmark.scoring.data import FloatArray

NAMES = "names.json"


class PassFolder:
    """A pass for all pairs of the arrays in `folder`, without neighbour lists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def laid_out(self) -> bool:
        """Whether the arrays are there."""
        return (self.folder / NAMES).is_file()

    def lay_out(self, arrays: Mapping[str, FloatArray]) -> None:
        """Write the arrays (n, d) in standard form, unless they are there."""
        if self.laid_out:
            return
        for number, array in enumerate(arrays.values()):
            with atomic_path(self.folder / f"{number:04d}.npy") as temporary, temporary.open("wb") as stream:
                np.save(stream, np.ascontiguousarray(array))
        write_json(self.folder / NAMES, list(arrays))

    def missing(self) -> list[tuple[int, int]]:
        """The blocks that are not computed yet."""
        return [block for block in row_pass(self.folder).blocks if not self._path(block).is_file()]

    def compute(self, block: tuple[int, int]) -> None:
        """Compute one block, unless it is there."""
        if not self._path(block).is_file():
            (found,) = row_pass(self.folder).compute([block])
            with atomic_path(self._path(block)) as temporary, temporary.open("wb") as stream:
                np.savez(stream, sums=found.sums, rank_sums=found.rank_sums, products=found.products)

    def reduce(self) -> Streamed:
        """The result; blocks that are missing are computed here."""
        whole = row_pass(self.folder)
        for block in self.missing():
            self.compute(block)
        return whole.reduce(map(self._read, whole.blocks))

    def remove(self) -> None:
        """Remove the folder."""
        row_pass.cache_clear()
        remove_tree(self.folder)

    def _path(self, block: tuple[int, int]) -> Path:
        return self.folder / f"block-{block[0]:08d}.npz"

    def _read(self, block: tuple[int, int]) -> Block:
        with np.load(self._path(block)) as found:
            return Block(*block, found["sums"], found["rank_sums"], found["products"], {})


@functools.lru_cache(maxsize=1)
def row_pass(folder: Path) -> RowPass:
    """The pass in `folder`, kept by the process for the next block. On the CPU: workers of one machine share no GPU."""
    names = json.loads((folder / NAMES).read_text())
    # Copy on write, because torch wants arrays that could be written to; none is.
    arrays = {name: np.load(folder / f"{number:04d}.npy", mmap_mode="c") for number, name in enumerate(names)}
    return RowPass.of(arrays, device="cpu")
