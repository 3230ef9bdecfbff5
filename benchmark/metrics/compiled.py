"""Loops that array operations cannot spare, compiled by numba on their first call."""

from __future__ import annotations

import numba
import numpy as np

from .validation import IntArray


@numba.njit(nogil=True)
def shared_edges(
    starts: IntArray, targets: IntArray, other_starts: IntArray, other_targets: IntArray, permutation: IntArray
) -> tuple[IntArray, IntArray]:
    """Positions (m,), rising, of edges i -> j where the others have permutation[i] -> permutation[j], and of those.

    starts: (n + 1,) where the edges of each row begin among `targets`. Time and memory grow with the edges alone.
    """
    n = permutation.size
    renamed = permutation.astype(np.int32)
    place = np.full(n, -1, dtype=np.int32)  # of the others' edge of one row to each target, counted from its first
    kept, where = np.empty(targets.size, dtype=np.int64), np.empty(targets.size, dtype=np.int64)
    found = 0
    for row in range(n):
        first, last = other_starts[permutation[row]], other_starts[permutation[row] + 1]
        for edge in range(first, last):
            place[other_targets[edge]] = edge - first
        for edge in range(starts[row], starts[row + 1]):
            other = place[renamed[targets[edge]]]
            if other >= 0:
                kept[found], where[found] = edge, first + other
                found += 1
        for edge in range(first, last):
            place[other_targets[edge]] = -1
    return kept[:found].copy(), where[:found].copy()
