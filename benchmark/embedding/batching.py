"""Which structures go through the model together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def pack(indices: Sequence[int], atoms: NDArray[np.int64], limit: int) -> list[list[int]]:
    """Batches of at most `limit` atoms, similar sizes together, largest first.

    indices: structures to pack; atoms: atoms of every structure, by index. A structure larger than
    `limit` is a batch of its own. The result depends on the arguments alone, so an interrupted
    run packs the same batches again.
    """
    batches: list[list[int]] = []
    filled = limit
    for index in sorted(indices, key=lambda index: (-int(atoms[index]), index)):
        size = int(atoms[index])
        if not batches or filled + size > limit:
            batches.append([])
            filled = 0
        batches[-1].append(index)
        filled += size
    return batches


def shards(count: int, size: int) -> list[range]:
    """`range(count)` in consecutive parts of `size`: what is kept when a run is interrupted."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
