"""Nearest neighbours with a fixed tie rule.

Two similarities rank the rows around a row: the cosine of centred features (`"cosine"`, used by CKNNA and mutual
kNN) and the Euclidean distance (`"euclidean"`, used by information imbalance and intrinsic dimension). Values that
differ only by rounding (relative 1e-12) count as tied, and of tied rows the one with the smaller index comes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from . import tiles
from .validation import FloatArray, IntArray, features, positive_int

Metric = Literal["cosine", "euclidean"]
TABLE_ROWS = 4096
"""Up to so many rows edges are looked up in a table (64 MB), which permutations do thousands of times."""
TILE_ENTRIES = 4_000_000
"""Entries of one row tile of an n x n matrix: 32 MB of float64."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The k nearest rows of every row, nearest first; a row is not its own neighbour.

    `indices` (n, k) int64; `values` (n, k) float64 are cosines (falling) or Euclidean distances (rising).
    """

    indices: IntArray
    values: FloatArray

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.indices.shape[0])

    @property
    def k(self) -> int:
        """Neighbours a row."""
        return int(self.indices.shape[1])

    def first(self, k: int) -> Neighbours:
        """The k nearest of these neighbours: lists for a smaller k are the beginnings of lists for a larger one."""
        return self if k == self.k else Neighbours(self.indices[:, :k], self.values[:, :k])

    @cached_property
    def edges(self) -> Edges:
        """The directed edges from every row to its neighbours."""
        order = np.argsort(self.indices, axis=1)
        return Edges(
            n=self.n,
            sources=np.repeat(np.arange(self.n), self.k),
            targets=np.take_along_axis(self.indices, order, axis=1).ravel(),
            values=np.take_along_axis(self.values, order, axis=1).ravel(),
        )


@dataclass(frozen=True, eq=False)
class Edges:
    """Directed edges source -> target with values, sorted by (source, target), among `n` rows."""

    n: int
    sources: IntArray
    targets: IntArray
    values: FloatArray

    @cached_property
    def _keys(self) -> IntArray:
        """The edges as one rising number each, source * n + target."""
        keys: IntArray = self.sources * self.n + self.targets
        return keys

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        table = np.full(self.n * self.n, -1, dtype=np.int32)
        table[self._keys] = np.arange(self.targets.size)
        return table

    def positions(self, sources: IntArray, targets: IntArray) -> IntArray:
        """(m,) positions of the edges sources -> targets, -1 where there is none."""
        wanted = sources * self.n + targets
        if self.n <= TABLE_ROWS:
            return np.asarray(self._table[wanted], dtype=np.int64)
        if not self.targets.size:
            return np.full(wanted.shape, -1)
        found = np.minimum(np.searchsorted(self._keys, wanted), self.targets.size - 1)
        return np.asarray(np.where(self._keys[found] == wanted, found, -1), dtype=np.int64)

    def joined(self, others: Edges, permutation: IntArray) -> tuple[IntArray, IntArray]:
        """Positions (m,) of the edges that `others` has too, its rows permuted, and their positions there.

        Row i of `others` is then row `permutation[i]`. Beyond the table's rows it is compiled code that looks at row
        after row: a search for each of n k edges in as many takes tens of times as long at n = 50,000.
        """
        if self.n <= TABLE_ROWS:
            where = others.positions(permutation[self.sources], permutation[self.targets])
            kept = np.flatnonzero(where >= 0)
            return kept, where[kept]
        from .compiled import shared_edges  # compiling it takes a second, which small data sets need not wait for

        return shared_edges(self.starts, self.targets, others.starts, others.targets, permutation)

    @cached_property
    def starts(self) -> IntArray:
        """(n + 1,) where the edges of each row begin, and where the last ones end."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.sources, minlength=self.n))])


def row_tiles(n: int, columns: int) -> Iterator[slice]:
    """Slices that cut n rows into tiles of about `TILE_ENTRIES` entries of an (n, columns) matrix."""
    step = max(1, TILE_ENTRIES // max(1, columns))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def round_to_ties(values: FloatArray) -> FloatArray:
    """Round to 40 significant bits (relative 1e-12), so that what differs only by rounding becomes equal."""
    spread = values * 8193.0  # 2**13 + 1: Veltkamp's splitting keeps the upper 53 - 13 bits
    rounded: FloatArray = spread - (spread - values)
    return rounded


def squared_distances(rows: FloatArray, others: FloatArray) -> FloatArray:
    """Squared Euclidean distances (rows, others) from differences, never from inner products.

    Differences keep duplicates at exactly 0 and ties tied; |a|^2 + |b|^2 - 2ab does neither.
    """
    squared: FloatArray = cdist(rows, others, "sqeuclidean")
    return round_to_ties(squared)


def smallest(keys: FloatArray, k: int) -> IntArray:
    """Column indices (rows, k) of each row's k smallest keys, rising; the smaller index first at ties."""
    if k >= keys.shape[1]:
        return np.argsort(keys, axis=1, kind="stable")[:, :k]
    chosen = np.argpartition(keys, k - 1, axis=1)[:, :k]
    last = np.take_along_axis(keys, chosen, axis=1).max(axis=1)
    for row in np.flatnonzero((keys <= last[:, None]).sum(axis=1) > k):
        chosen[row] = np.argsort(keys[row], kind="stable")[:k]
    chosen.sort(axis=1)
    order = np.argsort(np.take_along_axis(keys, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)


def nearest(array: FloatArray, k: int, metric: Metric) -> Neighbours:
    """Neighbours of features already in standard form, row tile by row tile."""
    rows = tiles.Rows.of(array, torch.device("cpu"))
    indices, values = np.empty((rows.n, k), dtype=np.int64), np.empty((rows.n, k))
    with torch.inference_mode():
        for tile in row_tiles(rows.n, rows.n):
            inner = rows.array[tile] @ rows.array.T
            if metric == "cosine":
                found = tiles.nearest_by_cosine(rows, tile.start, inner, k, torch.empty_like(inner))
            else:
                found = tiles.nearest_by_distance(rows, tile.start, tiles.squared_distances(rows, tile.start, inner), k)
            indices[tile], values[tile] = found[0].numpy(), found[1].numpy()
    return Neighbours(indices, values)


def neighbours(A: ArrayLike, k: int, *, metric: Metric = "cosine") -> Neighbours:
    """The k nearest rows of every row of A (n, d).

    `metric="cosine"`: inner products of centred rows of unit length; `"euclidean"`: distances.
    ValueError: A not a finite 2-D array, k not in 1..n-1, another metric.

    >>> neighbours([[0.0], [1.0], [3.0]], 1, metric="euclidean").indices.ravel().tolist()
    [1, 0, 1]
    """
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric: expected 'cosine' or 'euclidean', found {metric!r}")
    array = features("A", A)
    return nearest(array, positive_int("k", k, maximum=len(array) - 1, why=" (rows - 1)"), metric)
