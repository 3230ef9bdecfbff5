"""One feature array with everything the similarity metrics derive from it, computed once.

Comparing M models means M * (M - 1) / 2 pairs, 200 permutations and 50 subsamples each. What depends on one model
only (neighbours, distances, centred matrices) is computed here on first use and shared by all of its pairs. The
n x n matrices serve the resampling of small data sets; nothing asks for them beyond `MATRIX_ROWS`.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from .neighbours import Metric, Neighbours, nearest, row_tiles, smallest, squared_distances
from .validation import FloatArray, IntArray, features, positive_int, standard_form

MATRIX_ROWS = 4000
"""Up to so many rows resampling keeps n x n matrices of a model, 128 MB each, which serve all pairs and draws.

A model has up to eight, and permutations take as much again: at 5,000 rows the scores of two models took 5.7 GB.
"""


KEPT_EDGES_ROWS = 1000
"""Edges of the neighbours in larger subsamples are found anew by each pair: tables of fifty take gigabytes."""


Known = dict[tuple[Metric, bytes], Neighbours]
"""Neighbours by metric and rows; no rows: all."""


class Representation:
    """Features of n structures by one model, with cached derived quantities.

    `array` (n, d) is float64 with centred columns. known: where the neighbours that were searched are kept, if they
    shall outlive this object, for others of the same features. ValueError: not a finite 2-D array, fewer than 2 rows.

    >>> Representation([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]).n
    3
    """

    def __init__(self, features_: ArrayLike, *, name: str = "features", known: Known | None = None) -> None:
        self.array: FloatArray = features(name, features_)
        self._neighbours: Known = {} if known is None else known

    @property
    def n(self) -> int:
        """Number of structures."""
        return int(self.array.shape[0])

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.array.shape[1])

    @cached_property
    def squared_distances(self) -> FloatArray:
        """Squared Euclidean distances (n, n)."""
        matrix = np.empty((self.n, self.n))
        for tile in row_tiles(self.n, self.n):
            matrix[tile] = squared_distances(self.array[tile], self.array)
        return matrix

    @cached_property
    def gram(self) -> FloatArray:
        """Inner products of the centred rows (n, n)."""
        matrix: FloatArray = self.array @ self.array.T
        return matrix

    @cached_property
    def centred_gram(self) -> FloatArray:
        """U-centred inner products (n, n)."""
        return u_centred(self.gram)

    @cached_property
    def centred_distances(self) -> FloatArray:
        """U-centred Euclidean distances (n, n)."""
        return u_centred(np.sqrt(self.squared_distances))

    def neighbours(self, k: int, metric: Metric = "cosine", rows: IntArray | None = None) -> Neighbours:
        """The k nearest rows of each row; with `rows`, those of the subsample as if it were the whole data set.

        The longest list asked for is kept, and shorter ones are its beginnings. ValueError: k not in 1..n-1.
        """
        n = self.n if rows is None else len(rows)
        positive_int("k", k, maximum=n - 1, why=" (rows - 1)")
        key = (metric, b"" if rows is None else rows.tobytes())
        known = self._neighbours.get(key)
        if known is None or known.k < k:
            known = self._search(k, metric, rows)
            self._neighbours[key] = known
        if rows is not None and n > KEPT_EDGES_ROWS:
            return Neighbours(known.indices[:, :k], known.values[:, :k])
        return known.first(k)

    def _search(self, k: int, metric: Metric, rows: IntArray | None) -> Neighbours:
        if rows is None:
            return nearest(self.array, k, metric)
        if metric == "cosine":  # directions depend on the subsample's own mean
            return nearest(standard_form(self.array[rows]), k, metric)
        if self.n > MATRIX_ROWS:
            return nearest(standard_form(self.array[rows]), k, metric)
        distances = self.squared_distances[np.ix_(rows, rows)]
        np.fill_diagonal(distances, np.inf)
        indices = smallest(distances, k)
        return Neighbours(indices, np.sqrt(np.take_along_axis(distances, indices, axis=1)))


def u_centred(matrix: FloatArray) -> FloatArray:
    """U-centring of a symmetric (n, n) matrix, n >= 3: off-diagonal rows and columns sum to 0, the diagonal is 0.

    Szekely and Rizzo, Partial distance correlation with methods for dissimilarities (2014).
    """
    n = len(matrix)
    hollow = matrix.copy()
    np.fill_diagonal(hollow, 0.0)
    sums = hollow.sum(axis=1)
    hollow -= sums[:, None] / (n - 2)
    hollow -= sums[None, :] / (n - 2)
    hollow += sums.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(hollow, 0.0)
    return hollow
