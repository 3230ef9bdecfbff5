"""A directed question: do neighbours in A stay neighbours in B?"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from . import tiles
from .neighbours import nearest, row_tiles
from .validation import FloatArray, IntArray, features, positive_int, same_rows


def information_imbalance(A: ArrayLike, B: ArrayLike, *, k: int = 1) -> float:
    """Information imbalance D(A -> B) of A (n, d_A) and B (n, d_B): 0 if A predicts B's neighbours, 1 if unrelated.

    2 / n times the mean, over all points, of the ranks in B (self 0, mid-ranks at ties) of their k nearest
    neighbours in A, by Euclidean distance. Exact; 2 / n for identical features at k=1. A constant B has all ranks
    tied and gives 1.

    ValueError: not finite 2-D arrays of equal length, n < 2, k not in 1..n-1.
    Source: Glielmo et al., Ranking the information content of distance measures, PNAS Nexus (2022),
    arXiv:2104.15079.

    >>> X = np.random.default_rng(0).normal(size=(40, 2))
    >>> information_imbalance(X, X) * 40 / 2
    1.0
    """
    a, b = features("A", A), features("B", B)
    n = same_rows(A=a, B=b)
    indices = nearest(a, positive_int("k", k, maximum=n - 1, why=" (rows - 1)"), "euclidean").indices
    return imbalance_of_rank_sum(rank_sum_of(indices, b), n, k)


def rank_sum_of(indices: IntArray, b: FloatArray) -> float:
    """Sum of the mid-ranks that the neighbours `indices` (n, k) have in features (n, d) in standard form."""
    n = len(b)
    rows = tiles.Rows.of(b, torch.device("cpu"))
    if not rows.squares.any():  # constant features: all others tied
        return indices.size * n / 2.0
    total = 0.0
    with torch.inference_mode():
        for tile in row_tiles(n, n):
            q = tiles.squared_distances(rows, tile.start, rows.array[tile] @ rows.array.T)
            ordered = tiles.sorted_rows(q, torch.empty(q.shape, dtype=torch.float32))
            total += float(tiles.rank_sums(rows, tile.start, q, ordered, torch.from_numpy(indices[tile])).sum())
    return total


def rank_sum(indices: IntArray, distances: FloatArray, first_row: int = 0) -> float:
    """Sum of the mid-ranks that the columns `indices` (m, k) have in `distances` (m, n).

    Row r of the tile is point `first_row + r`, whose distance to itself has rank 0. The rank of an entry is the
    number of smaller ones plus half of the number equal to it, so no row is ever sorted.
    """
    m = len(indices)
    others = distances.copy()
    others[np.arange(m), first_row + np.arange(m)] = np.inf
    total = 0.0
    for column in indices.T:
        reference = others[np.arange(m), column][:, None]
        below = np.count_nonzero(others < reference)
        tied = np.count_nonzero(others == reference)
        total += float(below) + (float(tied) + m) / 2.0
    return total


def imbalance_of_rank_sum(total: float, n: int, k: int) -> float:
    """2 / n times the mean rank."""
    return 2.0 * total / (n * n * k)
