"""Symmetric questions: do two models place the same structures alike?

CKNNA, mutual kNN, linear CKA and distance correlation of two feature arrays over the same n structures. None of
them is clamped: an unbiased estimate of a similarity that is 0 must be allowed to fall below 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .neighbours import Edges, Neighbours, row_tiles
from .representation import Representation
from .streaming import stream
from .validation import FloatArray, IntArray, features, positive_int, same_rows

MINIMUM_ROWS = 4
"""The unbiased estimators divide by n - 3."""


def cknna(A: ArrayLike, B: ArrayLike, *, k: int = 25) -> float:
    """Centred kernel nearest-neighbour alignment of A (n, d_A) and B (n, d_B); 1 for identical features.

    Linear CKA from the unbiased HSIC of Song et al. (2012) that sees only pairs which are k-nearest neighbours in
    both representations, on centred rows of unit length. As in its authors' code the first term of the HSIC is
    sum(K * L^T) over masks that need not be symmetric, so swapping A and B can change the third digit; their
    regularisation 1e-6 of the denominator is left out. NaN where a self-similarity is not positive.

    ValueError: not finite 2-D arrays of equal length, fewer than 4 rows, k not in 1..n-1.
    Source: Huh et al., The Platonic Representation Hypothesis, arXiv:2405.07987.

    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(cknna(X, 2 * X + 1, k=5), 12)
    1.0
    """
    first, second = _neighbour_pair(A, B, k)
    return cknna_of(first, second)


def mutual_knn(A: ArrayLike, B: ArrayLike, *, k: int = 25) -> float:
    """Mean share of the k nearest neighbours (cosine, centred) that A (n, d_A) and B (n, d_B) have in common.

    0 to 1; about k / n for unrelated features. ValueError as for `cknna`.
    Source: Huh et al., arXiv:2405.07987.

    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> mutual_knn(X, X, k=5)
    1.0
    """
    first, second = _neighbour_pair(A, B, k)
    return mutual_knn_of(first, second)


def linear_cka(A: ArrayLike, B: ArrayLike) -> float:
    """Linear centred kernel alignment of A (n, d_A) and B (n, d_B) from the unbiased HSIC; at most 1, may be < 0.

    Computed from feature covariances, O(n d_A d_B), or from n x n inner products where those are smaller.
    NaN where a self-similarity is not positive. ValueError: not finite 2-D arrays of equal length, n < 4.
    Source: Kornblith et al., arXiv:1905.00414; unbiased HSIC: Song et al. (2012).

    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(linear_cka(X, -3 * X), 12)
    1.0
    """
    a, b = features("A", A, minimum_rows=MINIMUM_ROWS), features("B", B, minimum_rows=MINIMUM_ROWS)
    same_rows(A=a, B=b)
    return _ratio(_linear_hsic(a, b), _linear_hsic(a, a), _linear_hsic(b, b))


def distance_correlation(A: ArrayLike, B: ArrayLike, *, biased: bool = False) -> float:
    """Squared distance correlation of A (n, d_A) and B (n, d_B), Euclidean, bias-corrected by U-centring.

    1 for features that differ by a similarity transform, 0 in the mean for independent ones (may be < 0).
    `biased=True` gives the V-statistic in [0, 1], which grows with the width of independent features and is only
    for comparison with literature. NaN where a self-similarity is not positive.
    ValueError: not finite 2-D arrays of equal length, n < 4.
    Source: Szekely and Rizzo (2013, 2014).

    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(distance_correlation(X, 5 - X), 12)
    1.0
    """
    found = stream({"A": A, "B": B}, cosine=0, euclidean=0)
    return found.distance_correlation("A", "B", biased=biased)


def cknna_of(first: Neighbours, second: Neighbours) -> float:
    """`cknna` from cosine neighbours of the same k, O(n k) after the search."""
    return _ratio(
        edge_hsic(common_edges(first.edges, second.edges)),
        edge_hsic(common_edges(first.edges, first.edges)),
        edge_hsic(common_edges(second.edges, second.edges)),
    )


def mutual_knn_of(first: Neighbours, second: Neighbours) -> float:
    """`mutual_knn` from neighbours of the same k."""
    return float(
        np.count_nonzero(second.edges.positions(first.edges.sources, first.edges.targets) >= 0) / (first.n * first.k)
    )


def neighbour_nulls(first: Neighbours, second: Neighbours, permutations: int, seed: int = 0) -> dict[str, FloatArray]:
    """cknna and mutual_knn (permutations,) each with the rows of `second` permuted; NaN where cknna is not defined.

    No neighbour is searched again: a permutation relabels edges, and those in common cost O(n k).
    """
    rng = np.random.default_rng(seed)
    edges, others = first.edges, second.edges
    own = edge_hsic(common_edges(edges, edges)), edge_hsic(common_edges(others, others))
    found = np.empty((2, permutations))
    for i in range(permutations):
        common = common_edges(edges, others, rng.permutation(first.n))
        found[:, i] = _ratio(edge_hsic(common), *own), common[1].size / (first.n * first.k)
    return {"cknna": found[0], "mutual_knn": found[1]}


def common_edges(edges: Edges, others: Edges, permutation: IntArray | None = None) -> tuple[Edges, FloatArray]:
    """The edges that `others` has too, and the values that it gives them.

    With `permutation` the rows of `others` are permuted first (its row i is then row `permutation[i]`): no
    neighbour is searched again.
    """
    kept, where = edges.joined(others, np.arange(edges.n) if permutation is None else permutation)
    common = Edges(edges.n, edges.sources[kept], edges.targets[kept], edges.values[kept])
    return common, others.values[where]


def edge_hsic(common: tuple[Edges, FloatArray]) -> float:
    """Unbiased HSIC of two n x n matrices that are 0 off the given edges, which need not be symmetric.

    The matrices' entries are the values of the edges and the values beside them. Entries of edges i -> j and
    j -> i are equal, as inner products are.
    """
    edges, other = common
    n = edges.n
    keys = edges.sources * n + edges.targets
    reverse = edges.targets * n + edges.sources
    where = np.minimum(np.searchsorted(keys, reverse), max(0, keys.size - 1))
    mutual = np.flatnonzero(keys[where] == reverse) if keys.size else where
    trace = float(edges.values[mutual] @ other[where[mutual]])
    column_sums = np.bincount(edges.targets, weights=edges.values, minlength=n)
    row_sums = np.bincount(edges.sources, weights=other, minlength=n)
    total = float(edges.values.sum() * other.sum()) / ((n - 1) * (n - 2))
    return (trace + total - 2.0 * float(column_sums @ row_sums) / (n - 2)) / (n * (n - 3))


def _neighbour_pair(A: ArrayLike, B: ArrayLike, k: int) -> tuple[Neighbours, Neighbours]:
    a, b = Representation(A, name="A"), Representation(B, name="B")
    n = same_rows(A=a.array, B=b.array)
    if n < MINIMUM_ROWS:
        raise ValueError(f"A: expected at least {MINIMUM_ROWS} rows, found {n}")
    positive_int("k", k, maximum=n - 1, why=" (rows - 1)")
    return a.neighbours(k), b.neighbours(k)


def _ratio(cross: float, first: float, second: float) -> float:
    """cross / sqrt(first * second), NaN where a self-similarity is not positive."""
    return cross / float(np.sqrt(first * second)) if first > 0 and second > 0 else float("nan")


def _linear_hsic(a: FloatArray, b: FloatArray) -> float:
    """Unbiased HSIC of the inner products of two arrays with centred columns, without the factor 1 / (n (n - 3)).

    With the diagonals taken out, K 1 = -diag(K), because rows sum to 0 over centred columns.
    """
    n = len(a)
    diagonal_a, diagonal_b = (a * a).sum(axis=1), (b * b).sum(axis=1)
    if a.shape[1] * b.shape[1] <= n * n:
        inner = float(np.square(a.T @ b).sum())
    else:
        inner = sum(float(np.vdot(a[tile] @ a.T, b[tile] @ b.T)) for tile in row_tiles(n, n))
    dot = float(diagonal_a @ diagonal_b)
    return inner - dot + float(diagonal_a.sum() * diagonal_b.sum()) / ((n - 1) * (n - 2)) - 2.0 * dot / (n - 2)
