"""How many coordinates a representation uses: intrinsic dimension and effective rank, and what two of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from .neighbours import Neighbours, nearest, round_to_ties, row_tiles, squared_distances
from .validation import FloatArray, IntArray, features, positive_int, same_rows

DIMENSIONS = ("intrinsic_dimension", "intrinsic_dimension_mle", "intrinsic_dimension_gride")
Method = Literal["twonn", "mle", "gride"]
ID_CORRELATION_ROWS = 5000
"""`id_correlation` looks at no more rows: its permutations cost n^2 each."""
ID_CORRELATION_SEED = 0
"""Seed of the draw of these rows."""


def intrinsic_dimension(
    A: ArrayLike, *, method: Method = "twonn", k: int = 50, fraction: float = 0.9, scale: int = 1
) -> float:
    """Intrinsic dimension of the n points A (n, d). Exact repeats of a point are counted once.

    - `"twonn"`: slope through the origin of -log(1 - F) over log(r2 / r1), lowest `fraction` of the ratios
      [Facco et al. 2017].
    - `"mle"`: Levina-Bickel over the `k` nearest neighbours, local inverse dimensions averaged
      [MacKay and Ghahramani 2005].
    - `"gride"`: maximum likelihood from the distances to neighbours `scale` and 2 * `scale`
      [Denti et al. 2022, arXiv:2104.13832].

    NaN or infinite where the distances leave it undefined (all ratios 1).
    ValueError: not a finite 2-D array, fewer distinct rows than the method needs, fraction not in (0, 1].

    >>> X = np.random.default_rng(0).normal(size=(2000, 2))
    >>> round(intrinsic_dimension(X))
    2
    """
    if method == "twonn":
        return _twonn(_distances(A, 2), fraction)
    if method == "mle":
        return _levina_bickel(_distances(A, positive_int("k", k)))
    if method == "gride":
        n1 = positive_int("scale", scale)
        return _gride(_distances(A, 2 * n1)[:, [n1 - 1, 2 * n1 - 1]], n1)
    raise ValueError(f"method: expected 'twonn', 'mle' or 'gride', found {method!r}")


def dimensions_of(neighbours_: Neighbours, A: ArrayLike, k: int = 50) -> dict[str, tuple[float, int]]:
    """TwoNN, Levina-Bickel and GRIDE dimensions of A (n, d) from its Euclidean neighbours, searched already.

    Each with the neighbours that it rests on, at most `k` and those that are there. The values are those of
    `intrinsic_dimension`: where A repeats rows, neighbours are searched again without the repeats. NaN where too
    few rows are distinct.
    """
    distances = neighbours_.values
    if not distances.all():  # a repeated row is its copy's neighbour at distance 0
        distinct = np.unique(features("A", A), axis=0)
        if len(distinct) < 3:
            return {id: (float("nan"), 2) for id in DIMENSIONS}
        distances = nearest(distinct, min(neighbours_.k, len(distinct) - 1), "euclidean").values
    most = min(k, distances.shape[1])
    values = (_twonn(distances[:, :2], 0.9), _levina_bickel(distances[:, :most]), _gride(distances[:, :2], 1))
    return dict(zip(DIMENSIONS, zip(values, (2, most, 2), strict=True), strict=True))


@dataclass(frozen=True)
class GrideScales:
    """Intrinsic dimension over scales: at `neighbour[i]` and twice that, at mean `distance[i]`."""

    neighbour: tuple[int, ...]
    distance: tuple[float, ...]
    dimension: tuple[float, ...]


def gride_scales(A: ArrayLike, *, largest: int = 64) -> GrideScales:
    """GRIDE intrinsic dimension of A (n, d) at neighbours 1, 2, 4, ... with 2 * neighbour <= `largest` and < n.

    Distances are in the units of A. A plateau is the dimension; a fall is noise giving way to the manifold.
    ValueError: not a finite 2-D array, fewer than 3 distinct rows, largest < 2.

    >>> gride_scales(np.random.default_rng(0).normal(size=(100, 2)), largest=8).neighbour
    (1, 2, 4)
    """
    if positive_int("largest", largest) < 2:
        raise ValueError(f"largest: expected at least 2, found {largest}")
    points = _distinct("A", A, 2)
    steps = 2 ** np.arange(int(np.log2(min(largest, len(points) - 1))))
    distances = nearest(points, int(2 * steps[-1]), "euclidean").values
    original = np.asarray(A, dtype=np.float64)
    unit = np.ptp(original, axis=0).max() / np.ptp(points, axis=0).max()
    return GrideScales(
        neighbour=tuple(int(step) for step in steps),
        distance=tuple(float(unit * distances[:, [s - 1, 2 * s - 1]].mean()) for s in steps),
        dimension=tuple(_gride(distances[:, [s - 1, 2 * s - 1]], int(s)) for s in steps),
    )


def effective_rank(A: ArrayLike) -> float:
    """Participation ratio (sum l)^2 / sum l^2 of the covariance eigenvalues l of A (n, d); 1 to min(n - 1, d).

    0 for constant features. ValueError: not a finite 2-D array, fewer than 2 rows.

    >>> round(effective_rank([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]), 12)
    2.0
    """
    array = features("A", A)
    small = array.T @ array if array.shape[1] <= array.shape[0] else array @ array.T
    square = float(np.square(small).sum())
    return float(np.trace(small)) ** 2 / square if square > 0 else 0.0


@dataclass(frozen=True)
class IdCorrelation:
    """Intrinsic-dimension correlation with its permutation null."""

    value: float
    p_value: float
    null_mean: float
    null_quantile95: float
    dimension_a: float
    dimension_b: float
    dimension_joint: float
    n: int
    """Rows that were used: at most `ID_CORRELATION_ROWS`."""


def id_correlation(A: ArrayLike, B: ArrayLike, *, permutations: int = 100, seed: int = 0) -> IdCorrelation:
    """(I_A + I_B - I_AB) / max(I_A, I_B) by TwoNN on z-scored features; 0 independent, 1 one determines the other.

    A (n, d_A), B (n, d_B). I_AB is the dimension of the concatenated features, whose squared distances are the sums
    of the two. p: share of permuted joint dimensions at or below the observed one, (1 + count) / (1 + permutations).
    Columns without spread count as 0. Not clamped. Distances are computed tile by tile. Of more than 5000 rows a
    draw of 5000 with a fixed seed is used, the same for all models; the result's `n` says how many were.
    ValueError: not finite 2-D arrays of equal length, n < 4.
    Source: Basile et al., arXiv:2406.15812.

    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> id_correlation(X, X @ [[1, 1], [0, 1]], permutations=19).p_value
    0.05
    """
    a, b = features("A", A, minimum_rows=4), features("B", B, minimum_rows=4)
    n = same_rows(A=a, B=b)
    positive_int("permutations", permutations)
    if n > ID_CORRELATION_ROWS:
        rows = np.sort(np.random.default_rng(ID_CORRELATION_SEED).choice(n, ID_CORRELATION_ROWS, replace=False))
        a, b, n = a[rows], b[rows], ID_CORRELATION_ROWS
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(n) for _ in range(permutations)]
    two_a, two_b, joints = _two_nearest(_z_scored(a), _z_scored(b), orders)
    dimension_a, dimension_b = _twonn_of_two(two_a), _twonn_of_two(two_b)
    joint, *permuted = (_twonn_of_two(two) for two in joints)
    null = np.array(permuted)
    largest = max(dimension_a, dimension_b)
    null_values = (dimension_a + dimension_b - null) / largest
    return IdCorrelation(
        value=(dimension_a + dimension_b - joint) / largest,
        p_value=float((1 + np.count_nonzero(null <= joint)) / (1 + permutations)),
        null_mean=float(null_values.mean()),
        null_quantile95=float(np.quantile(null_values, 0.95)),
        dimension_a=dimension_a,
        dimension_b=dimension_b,
        dimension_joint=joint,
        n=n,
    )


def _distinct(name: str, value: ArrayLike, k: int) -> FloatArray:
    """Features in standard form without repeated rows, checked to have k neighbours each."""
    array = np.unique(features(name, value), axis=0)
    if len(array) <= k:
        raise ValueError(f"{name}: expected more than {k} distinct rows for {k} neighbours, found {len(array)}")
    return array


def _distances(A: ArrayLike, k: int) -> FloatArray:
    return nearest(_distinct("A", A, k), k, "euclidean").values


def _z_scored(array: FloatArray) -> FloatArray:
    """Columns divided by their standard deviation; those below 1e-8 of the largest become 0."""
    spread = array.std(axis=0)
    alive = spread > 1e-8 * spread.max(initial=0.0)
    scored: FloatArray = np.divide(array, spread, out=np.zeros_like(array), where=alive)
    return scored


def _two_nearest(
    a: FloatArray, b: FloatArray, orders: list[IntArray]
) -> tuple[FloatArray, FloatArray, list[FloatArray]]:
    """Squared distances (n, 2) to the two nearest rows: in A, in B, and in A beside B, as it is and in `orders`."""
    n = len(a)
    two_a, two_b = np.empty((n, 2)), np.empty((n, 2))
    joints = [np.empty((n, 2)) for _ in range(1 + len(orders))]
    for tile in row_tiles(n, n):
        rows = np.arange(tile.start, tile.stop)
        squared_a, squared_b = squared_distances(a[tile], a), squared_distances(b[tile], b)
        for squared in (squared_a, squared_b):
            squared[rows - tile.start, rows] = np.inf
        two_a[tile], two_b[tile] = _two_smallest(squared_a), _two_smallest(squared_b)
        joints[0][tile] = _two_smallest(squared_a + squared_b)
        for order, joint in zip(orders, joints[1:], strict=True):
            joint[tile] = _two_nearest_joint(squared_a, b[order], tile)
    return two_a, two_b, joints


def _two_nearest_joint(squared_a: FloatArray, b: FloatArray, tile: slice) -> FloatArray:
    """Squared distances (rows, 2) in A beside B of a tile's rows, found by inner products, taken from differences."""
    rows = np.arange(tile.start, tile.stop)[:, None]
    joint = b[tile] @ (-2.0 * b.T)
    joint += np.square(b).sum(axis=1)
    joint += squared_a  # the tile rows' own norms would not change which are nearest
    first = joint.argmin(axis=1)[:, None]
    np.put_along_axis(joint, first, np.inf, axis=1)
    near = np.concatenate([first, joint.argmin(axis=1)[:, None]], axis=1)
    total = np.take_along_axis(squared_a, near, axis=1)
    total += round_to_ties(np.square(b[rows] - b[near]).sum(axis=2))
    return np.sort(total, axis=1)


def _two_smallest(squared: FloatArray) -> FloatArray:
    """The two smallest entries (rows, 2) of each row, rising."""
    first = squared.argmin(axis=1)[:, None]
    least = np.take_along_axis(squared, first, axis=1)
    np.put_along_axis(squared, first, np.inf, axis=1)
    second = squared.min(axis=1, keepdims=True)
    np.put_along_axis(squared, first, least, axis=1)
    return np.concatenate([least, second], axis=1)


def _twonn_of_two(squared: FloatArray) -> float:
    """TwoNN from the squared distances (n, 2) to the two nearest rows; rows with an exact repeat are left out."""
    two = np.sqrt(squared)
    return _twonn(two[two[:, 0] > 0], 0.9)


def _twonn(distances: FloatArray, fraction: float) -> float:
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"fraction: expected a number in (0, 1], found {fraction}")
    n = len(distances)
    kept = min(int(n * fraction), n - 1)  # at F = 1 the logarithm diverges
    logs = np.sort(np.log(distances[:, 1] / distances[:, 0]))[:kept]
    square = float(logs @ logs)
    heights = -np.log1p(-np.arange(1, kept + 1) / n)
    return float(logs @ heights) / square if square > 0 else float("nan")


def _levina_bickel(distances: FloatArray) -> float:
    k = distances.shape[1]
    if k < 2:
        raise ValueError(f"k: expected at least 2, found {k}")
    mean = float(np.log(distances[:, -1:] / distances).sum(axis=1).mean()) / (k - 1)
    return 1.0 / mean if mean > 0 else float("nan")


def _gride(pair: FloatArray, n1: int) -> float:
    """Root of the score of the likelihood d (mu^d - 1)^(n1 - 1) / mu^(d (2 n1 - 1) + 1), mu = r_2n1 / r_n1."""
    logs = np.log(pair[:, 1] / pair[:, 0])
    n = len(logs)
    if not logs.any():
        return float("nan")

    def score(d: float) -> float:
        # log(mu) / (1 - mu^-d) tends to 1 / d as mu tends to 1
        shrunk = -np.expm1(-d * logs)
        term = np.divide(logs, shrunk, out=np.full(n, 1.0 / d), where=shrunk > 0)
        return float((n - 1) / d - (2 * n1 - 1) * logs.sum() + (n1 - 1) * term.sum())

    if score(1e6) > 0:
        return float("inf")
    return float(brentq(score, 1e-6, 1e6, xtol=1e-12, rtol=1e-14))
