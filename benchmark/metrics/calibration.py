"""What a score would be by chance, and how far it would move with other structures.

Permuting the rows of B breaks every link to A and keeps each representation as it is: the scores of 200 permutations
are the null that a score has to beat [Groeger et al., arXiv:2602.14486]. Subsamples without replacement give the
spread (a bootstrap's duplicates break nearest-neighbour scores). Neither repeats a neighbour search of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from .imbalance import imbalance_of_rank_sum, information_imbalance, rank_sum
from .representation import MATRIX_ROWS, Representation, u_centred
from .similarity import (
    MINIMUM_ROWS,
    cknna_of,
    common_edges,
    distance_correlation,
    edge_hsic,
    linear_cka,
    mutual_knn_of,
)
from .streaming import stream
from .validation import FloatArray, IntArray, positive_int, row_indices, same_rows

Similarity = Literal["cknna", "mutual_knn", "cka", "dcor"]
Resampled = Literal["cknna", "mutual_knn", "cka", "dcor", "information_imbalance"]
SIMILARITIES: tuple[str, ...] = get_args(Similarity)
RESAMPLED: tuple[str, ...] = get_args(Resampled)


@dataclass(frozen=True, eq=False)
class NullDistribution:
    """A score and what it is for unrelated rows.

    `samples` (permutations,); `quantile95` is tau, which a chance score exceeds once in twenty; `p_value` is
    (1 + samples at or above the value) / (1 + permutations).
    """

    value: float
    mean: float
    quantile95: float
    p_value: float
    samples: FloatArray

    @property
    def calibrated(self) -> float:
        """(value - tau) / (1 - tau): 0 at the edge of chance, 1 for identical features."""
        return (self.value - self.quantile95) / (1.0 - self.quantile95)


def calibrate(
    metric_id: Similarity,
    A: ArrayLike | Representation,
    B: ArrayLike | Representation,
    *,
    permutations: int = 200,
    seed: int = 0,
    k: int = 25,
) -> NullDistribution:
    """Score of A (n, d_A) and B (n, d_B) with its null over row permutations of B.

    Hand in `Representation`s to share neighbours and distances between pairs. `k` is used by cknna and mutual_knn.
    The same seed and n give the same permutations for every pair. Of more than `MATRIX_ROWS` rows, cka and dcor have
    the null of `unbiased_null` and no samples: permuting their n x n matrices would not fit into memory.
    ValueError: an unknown metric, not finite 2-D arrays of equal length, n < 4, k not in 1..n-1.

    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> calibrate("cknna", X, X, permutations=99, k=5).p_value
    0.01
    """
    return calibrate_many(metric_id, [A], B, permutations=permutations, seed=seed, k=k)[0]


def calibrate_many(
    metric_id: Similarity,
    sources: Sequence[ArrayLike | Representation],
    B: ArrayLike | Representation,
    *,
    permutations: int = 200,
    seed: int = 0,
    k: int = 25,
) -> list[NullDistribution]:
    """`calibrate` of each of `sources` against the same B, whose rows are permuted once for all of them.

    The results are those of single calls; for cka and dcor this is several times quicker. Errors as there.

    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> [round(null.value, 12) for null in calibrate_many("dcor", [X, -X], X, permutations=9)]
    [1.0, 1.0]
    """
    if metric_id not in SIMILARITIES:
        raise ValueError(f"metric_id: expected one of {', '.join(SIMILARITIES)}, found {metric_id!r}")
    pairs = [_pair(A, B) for A in sources]
    if not pairs:
        return []
    positive_int("permutations", permutations)
    if has_unbiased_null(metric_id, pairs[0][1].n):
        return [without_samples(_value(metric_id, a.array, b.array), b.n) for a, b in pairs]
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(pairs[0][1].n) for _ in range(permutations)]
    if metric_id in ("cknna", "mutual_knn"):
        found = [_neighbour_null(metric_id, a, b, orders, k) for a, b in pairs]
    else:
        matrices = [_matrices(metric_id, a, b) for a, b in pairs]
        found = _matrix_null([first for first, _ in matrices], matrices[0][1], orders)
    return [null_distribution(value, samples) for value, samples in found]


def has_unbiased_null(metric_id: Similarity, n: int) -> bool:
    """Whether `calibrate` takes the null of `unbiased_null` for so many rows: cka and dcor beyond `MATRIX_ROWS`."""
    return metric_id in ("cka", "dcor") and n > MATRIX_ROWS


def without_samples(value: float, n: int) -> NullDistribution:
    """A value of cka or dcor of n rows with the null of `unbiased_null`."""
    return NullDistribution(value, *unbiased_null(value, n), samples=np.empty(0))


def _value(metric_id: str, a: FloatArray, b: FloatArray, k: int = 1) -> float:
    if metric_id == "cka":
        return linear_cka(a, b)
    return distance_correlation(a, b) if metric_id == "dcor" else information_imbalance(a, b, k=k)


def subsample_values(
    metric_id: Resampled,
    A: ArrayLike | Representation,
    B: ArrayLike | Representation,
    subsets: Sequence[ArrayLike],
    *,
    k: int | None = None,
) -> FloatArray:
    """Score of A and B on each subset of rows, exactly as if the subset were the whole data set; shape (subsets,).

    `k` (default 25; 1 for the information imbalance A -> B) is scaled with the subset, see `scaled_k`.
    ValueError: an unknown metric, arrays as in `calibrate`, a subset with repeated or missing rows or fewer than 4.

    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> subsample_values("mutual_knn", X, X, [np.arange(30), np.arange(30, 60)]).tolist()
    [1.0, 1.0]
    """
    if metric_id not in RESAMPLED:
        raise ValueError(f"metric_id: expected one of {', '.join(RESAMPLED)}, found {metric_id!r}")
    a, b = _pair(A, B)
    neighbours_of_whole = k if k is not None else (1 if metric_id == "information_imbalance" else 25)
    values = np.empty(len(subsets))
    for i, subset in enumerate(subsets):
        rows = row_indices(f"subsets[{i}]", subset, a.n, minimum=MINIMUM_ROWS)
        values[i] = _subsample_value(metric_id, a, b, rows, scaled_k(neighbours_of_whole, len(rows), a.n))
    return values


@dataclass(frozen=True, eq=False)
class DistanceSubsamples:
    """What distances in A and B say of each subset, (subsets,) each: the distance correlation, and A -> B, B -> A."""

    dcor: FloatArray
    imbalance: FloatArray
    imbalance_back: FloatArray


def distance_subsamples(A: Representation, B: Representation, subsets: Sequence[ArrayLike]) -> DistanceSubsamples:
    """`subsample_values` of dcor and of the information imbalance both ways, k = 1: the same numbers.

    The distances of each are found once a subset and not for each number: less than half of the time.
    """
    a, b = _pair(A, B)
    found = []
    for i, subset in enumerate(subsets):
        rows = row_indices(f"subsets[{i}]", subset, a.n, minimum=MINIMUM_ROWS)
        streamed = stream({"a": a.array[rows], "b": b.array[rows]}, cosine=0, euclidean=1, device="cpu")
        ways = (streamed.information_imbalance(*way) for way in (("a", "b"), ("b", "a")))
        found.append((streamed.distance_correlation("a", "b"), *ways))
    return DistanceSubsamples(*np.array(found).T.reshape(3, -1))


def scaled_k(k: int, m: int, n: int) -> int:
    """Neighbours in a subsample of m of n rows that reach as far as k in the whole: max(1, round(k m / n)).

    In a subsample of less than half of the rows as many as in half of them: a few neighbours would spread by far more
    than those of the whole, whose spread the subsample is to tell.
    """
    return max(1, round(k * max(m, n // 2) / n))


def half_subsets(n: int, *, subsets: int = 50, seed: int = 0, largest: int | None = None) -> list[IntArray]:
    """`subsets` draws of n // 2 of n rows without replacement, or of `largest` if that is less; each in rising order.

    What is measured on smaller ones spreads by more than the whole does: `spread_of_whole` puts that right.
    """
    rng = np.random.default_rng(seed)
    size = n // 2 if largest is None else min(n // 2, largest)
    return [np.sort(rng.permutation(n)[:size]) for _ in range(positive_int("subsets", subsets))]


def spread_of_whole(values: ArrayLike, m: int, n: int) -> FloatArray:
    """`values` (subsamples,) on m of n rows with their deviations from the mean scaled to those of the whole.

    A mean over m of n rows drawn without replacement has the variance s^2 / m (1 - m / n), one over n rows of their
    population s^2 / n: the factor is sqrt(m / (n - m)), 1 for halves (m out of n subsampling: Politis, Romano, Wolf,
    Subsampling, 1999, for statistics that converge as 1 / sqrt(n)). NaN stays NaN and is left out of the mean.

    >>> spread_of_whole([1.0, 3.0], m=20, n=100).tolist()
    [1.5, 2.5]
    """
    found = np.asarray(values, dtype=np.float64)
    if 2 * m >= n - 1 or not np.isfinite(found).any():
        return found
    mean = np.nanmean(found)
    scaled: FloatArray = mean + np.sqrt(m / (n - m)) * (found - mean)
    return scaled


def _pair(A: ArrayLike | Representation, B: ArrayLike | Representation) -> tuple[Representation, Representation]:
    a = A if isinstance(A, Representation) else Representation(A, name="A")
    b = B if isinstance(B, Representation) else Representation(B, name="B")
    if same_rows(A=a.array, B=b.array) < MINIMUM_ROWS:
        raise ValueError(f"A: expected at least {MINIMUM_ROWS} rows, found {a.n}")
    return a, b


def null_distribution(value: float, samples: FloatArray) -> NullDistribution:
    """The null of a score from its `samples` (permutations,)."""
    return NullDistribution(
        value=value,
        mean=float(samples.mean()),
        quantile95=float(np.quantile(samples, 0.95)),
        p_value=float((1 + np.count_nonzero(samples >= value)) / (1 + samples.size)),
        samples=samples,
    )


def _neighbour_null(
    metric_id: str, a: Representation, b: Representation, orders: list[NDArray[np.int64]], k: int
) -> tuple[float, FloatArray]:
    """Only edges that the permuted neighbourhoods share are ever touched: O(n k) a permutation."""
    first, second = a.neighbours(k), b.neighbours(k)
    edges, others = first.edges, second.edges
    if metric_id == "mutual_knn":
        shared = [common_edges(edges, others, order)[1].size for order in orders]
        return mutual_knn_of(first, second), np.array(shared) / (a.n * k)
    own = (edge_hsic(common_edges(edges, edges)), edge_hsic(common_edges(others, others)))
    hsic = np.array([edge_hsic(common_edges(edges, others, order)) for order in orders])
    scale = float(np.sqrt(own[0] * own[1])) if min(own) > 0 else float("nan")
    return cknna_of(first, second), hsic / scale


def unbiased_null(value: float, n: int) -> tuple[float, float, float]:
    """(mean, 95 % quantile, p-value) of cka or dcor of n unrelated rows, without permutations.

    U-centred matrices have permutation mean 0 and variance 2 / (n (n - 3)) whatever is in them; n r + 1 is at most a
    chi-square of one degree in the upper tail, so the quantile is conservative: (3.84 - 1) / n.
    Source: Shen, Panda and Vogelstein, The chi-square test of distance correlation, arXiv:1912.12150.

    >>> [round(number, 4) for number in unbiased_null(0.0, 1000)]
    [0.0, 0.0028, 0.3173]
    """
    return 0.0, float(chi2.ppf(0.95, 1) - 1.0) / n, float(chi2.sf(max(0.0, n * value + 1.0), 1))


def _matrices(metric_id: str, a: Representation, b: Representation) -> tuple[FloatArray, FloatArray]:
    if metric_id == "cka":
        return a.centred_gram, b.centred_gram
    return a.centred_distances, b.centred_distances


def _correlation(first: FloatArray, second: FloatArray) -> tuple[float, float]:
    """(normalised inner product of two U-centred matrices, the norm it was divided by); NaN where that is 0."""
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return (float(np.vdot(first, second)) / norm if norm > 0 else float("nan")), norm


def _matrix_null(
    firsts: list[FloatArray], second: FloatArray, orders: list[NDArray[np.int64]]
) -> list[tuple[float, FloatArray]]:
    """Permuting rows and columns of a U-centred matrix leaves it U-centred: only the inner product is repeated."""
    n = len(second)
    found = [_correlation(first, second) for first in firsts]
    norms = np.array([norm if norm > 0 else np.nan for _, norm in found])
    rows, columns = np.triu_indices(n, 1)
    uppers = [first[rows, columns] for first in firsts]
    flat = second.ravel()
    samples = np.empty((len(firsts), len(orders)))
    for i, order in enumerate(orders):
        permuted = flat[order[rows] * n + order[columns]]
        # one dot product each, not a matrix product, whose last bits depend on how many there are
        samples[:, i] = [upper @ permuted for upper in uppers]
    samples *= 2.0 / norms[:, None]
    return [(value, row) for (value, _), row in zip(found, samples, strict=True)]


def _subsample_value(metric_id: str, a: Representation, b: Representation, rows: IntArray, k: int) -> float:
    if metric_id == "cknna":
        return cknna_of(a.neighbours(k, rows=rows), b.neighbours(k, rows=rows))
    if metric_id == "mutual_knn":
        return mutual_knn_of(a.neighbours(k, rows=rows), b.neighbours(k, rows=rows))
    if a.n > MATRIX_ROWS:
        return _value(metric_id, a.array[rows], b.array[rows], k)
    block = np.ix_(rows, rows)
    if metric_id == "cka":
        # unbiased HSIC does not see a common shift, so products centred over all rows serve every subset
        return _correlation(u_centred(a.gram[block]), u_centred(b.gram[block]))[0]
    if metric_id == "dcor":
        distances = (np.sqrt(x.squared_distances[block]) for x in (a, b))
        return _correlation(*(u_centred(matrix) for matrix in distances))[0]
    indices = a.neighbours(k, "euclidean", rows).indices
    return imbalance_of_rank_sum(rank_sum(indices, b.squared_distances[block]), len(rows), k)
