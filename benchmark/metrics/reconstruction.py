"""What is lost in A that B knows: linear reconstruction of B from A, globally and in neighbourhoods.

Goscinski et al., The role of feature space in atomistic learning, arXiv:2009.02741. The conventions (one global
scale, singular values cut off by a 2-fold cross-validation over 20 relative thresholds, splits with a fixed seed)
are those of scikit-matter, whose values are reproduced where no groups are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import KFold, train_test_split

from .neighbours import row_tiles, smallest, squared_distances
from .validation import FloatArray, IntArray, features, group_codes, positive_int, same_rows

CUTOFFS = np.geomspace(1e-9, 0.9, 20)
"""Thresholds on singular values, relative to the largest, from which cross-validation chooses."""
SPLIT_SEED = 0x5F3759DF
"""Seed of the split into halves: scikit-matter's."""
NEIGHBOURHOOD_ENTRIES = 1_000_000
"""Entries of the neighbourhoods that are factorised together: 8 MB of float64."""


def global_reconstruction_error(
    A: ArrayLike, B: ArrayLike, *, groups: ArrayLike | None = None, seed: int = SPLIT_SEED
) -> float:
    """Global feature reconstruction error GFRE(A -> B): 0 if B is a linear image of A, about 1 if unrelated.

    A (n, d_A), B (n, d_B); rows are structures or atoms. Both halves are centred and scaled by the training half's
    mean and total standard deviation; B's test rows are predicted by a linear map with small singular values cut
    off; the error is the root mean square over test rows. R^2 is about 1 - GFRE^2.

    `groups` (n,): structure of each row. Rows of one group then stay together, both in the split into halves and in
    the choice of the cutoff. Without groups rows are split one by one.

    ValueError: not finite 2-D arrays of equal length, n < 4, fewer than 4 groups, constant features in a half.

    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> global_reconstruction_error(X, X @ [[1, 2], [0, 1], [1, 1]]) < 1e-9
    True
    """
    a, b, split = _pair(A, B, groups, seed)
    return _root_mean_square(b.test - a.test @ _cut_off_map(a.train, b.train, split.folds))


def local_reconstruction_error(
    A: ArrayLike,
    B: ArrayLike,
    *,
    n_neighbours: int | None = None,
    groups: ArrayLike | None = None,
    seed: int = SPLIT_SEED,
    max_test_rows: int | None = None,
) -> float:
    """Local feature reconstruction error LFRE(A -> B): as the global one, with a map of its own for each test row.

    A (n, d_A), B (n, d_B). The map of a test row is fitted to its `n_neighbours` nearest training rows in A, centred
    on their means. Default: min(d_A, d_B), at most the number of training rows. `groups` splits by structure as in
    `global_reconstruction_error` (the cutoff inside a neighbourhood is chosen over single rows).
    `max_test_rows`: an evenly spaced choice of test rows where all would take too long (three small SVDs a row).

    ValueError: as for the global error; n_neighbours not in 2..training rows.

    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> local_reconstruction_error(X, X, n_neighbours=20) < 1e-9
    True
    """
    found = local_reconstruction_errors(
        A, {"B": B}, n_neighbours=n_neighbours, groups=groups, seed=seed, max_test_rows=max_test_rows
    )
    return found["B"]


def local_reconstruction_errors(
    A: ArrayLike,
    targets: Mapping[str, ArrayLike],
    *,
    n_neighbours: int | None = None,
    groups: ArrayLike | None = None,
    seed: int = SPLIT_SEED,
    max_test_rows: int | None = None,
) -> dict[str, float]:
    """`local_reconstruction_error` from A (n, d_A) to each of several `targets` (n, d_B), by the targets' names.

    The neighbours of A's test rows are found once, and each neighbourhood is factorised once for all targets that
    use the same number of neighbours. ValueError: as for `local_reconstruction_error`, with the target's name.

    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> sorted(local_reconstruction_errors(X, {"same": X, "double": 2 * X}, n_neighbours=20))
    ['double', 'same']
    """
    array = features("A", A, minimum_rows=4)
    split = split_rows(len(array), groups, seed)
    a = _scaled("A", array, split)
    n_train = len(a.train)
    if n_neighbours is not None:
        positive_int("n_neighbours", n_neighbours, maximum=n_train, why=" (training rows)")
    if n_neighbours == 1:
        raise ValueError("n_neighbours: expected at least 2, found 1")
    rows = np.arange(len(a.test))
    if max_test_rows is not None and positive_int("max_test_rows", max_test_rows) < rows.size:
        rows = rows[np.linspace(0, rows.size - 1, max_test_rows).round().astype(np.int64)]
    halves: dict[str, _Halves] = {}
    sizes: dict[str, int] = {}
    for name, target in targets.items():
        b = features(name, target, minimum_rows=4)
        same_rows(**{"A": array, name: b})
        halves[name] = _scaled(name, b, split)
        sizes[name] = n_neighbours or max(2, min(array.shape[1], b.shape[1], n_train))
    squares = dict.fromkeys(halves, 0.0)
    for tile in row_tiles(rows.size, n_train):
        near = smallest(squared_distances(a.test[rows[tile]], a.train), max(sizes.values(), default=2))
        for size in set(sizes.values()):
            step = max(1, NEIGHBOURHOOD_ENTRIES // (size * array.shape[1]))
            for start in range(0, len(near), step):
                chosen, nearby = rows[tile][start : start + step], near[start : start + step, :size]
                factors = _neighbourhood_factors(a.train[nearby], a.test[chosen], _folds(size, None, seed))
                for name, half in halves.items():
                    if sizes[name] == size:
                        residual = half.test[chosen] - _local_prediction(factors, half.train[nearby])
                        squares[name] += float(np.square(residual).sum())
    return {name: float(np.sqrt(square / rows.size)) for name, square in squares.items()}


@dataclass(frozen=True, eq=False)
class RowSplit:
    """Rows of the training half and of the test half; `folds`: positions in `train` of the two inner halves."""

    train: IntArray
    test: IntArray
    folds: tuple[IntArray, IntArray]


def split_rows(n: int, groups: ArrayLike | None, seed: int) -> RowSplit:
    """The split of n rows that both reconstruction errors use, by group where groups (n,) are given.

    ValueError: `groups` not of shape (n,), fewer than 4 of them.
    """
    codes = None if groups is None else group_codes("groups", groups, n)
    units = n if codes is None else int(codes.max()) + 1
    if units < 4:
        raise ValueError(f"groups: expected at least 4 different groups, found {units}")
    train, test = train_test_split(np.arange(units), test_size=0.5, train_size=0.5, random_state=seed, shuffle=True)
    if codes is None:
        return RowSplit(train, test, _folds(train.size, None, seed))
    train, test = np.flatnonzero(np.isin(codes, train)), np.flatnonzero(np.isin(codes, test))
    return RowSplit(train, test, _folds(train.size, codes[train], seed))


@dataclass(frozen=True, eq=False)
class _Halves:
    train: FloatArray
    test: FloatArray


def _pair(A: ArrayLike, B: ArrayLike, groups: ArrayLike | None, seed: int) -> tuple[_Halves, _Halves, RowSplit]:
    a, b = features("A", A, minimum_rows=4), features("B", B, minimum_rows=4)
    split = split_rows(same_rows(A=a, B=b), groups, seed)
    return _scaled("A", a, split), _scaled("B", b, split), split


def _scaled(name: str, array: FloatArray, split: RowSplit) -> _Halves:
    train = array[split.train]
    mean = train.mean(axis=0)
    scale = float(np.sqrt(train.var(axis=0).sum()))
    if scale <= 1e-12 * float(np.abs(array).max()) or scale == 0.0:
        raise ValueError(f"{name}: expected features that vary over the training half, found constant ones")
    return _Halves((train - mean) / scale, (array[split.test] - mean) / scale)


def _folds(n: int, codes: IntArray | None, seed: int) -> tuple[IntArray, IntArray]:
    """Two halves for the choice of the cutoff, by group where groups are given."""
    unique = None if codes is None else np.unique(codes)
    halves = KFold(n_splits=2, shuffle=True, random_state=seed).split(np.arange(n if unique is None else unique.size))
    first, second = next(halves)
    if unique is None or codes is None:
        return first, second
    return np.flatnonzero(np.isin(codes, unique[first])), np.flatnonzero(np.isin(codes, unique[second]))


def _cut_off_map(a: FloatArray, b: FloatArray, folds: tuple[IntArray, IntArray]) -> FloatArray:
    """Weights (d_A, d_B) of the least-squares map a -> b without the singular values below the chosen cutoff."""
    floor = max(a.shape) * float(np.spacing(1.0))
    decompositions = [np.linalg.svd(a[fold], full_matrices=False) for fold in folds]
    largest = max(float(s[0]) for _, s, _ in decompositions)
    losses = np.zeros(CUTOFFS.size)
    for (u, s, vt), fold, other in zip(decompositions, folds, folds[::-1], strict=True):
        ranks = [int(np.count_nonzero(s > max(cutoff * largest, floor))) for cutoff in CUTOFFS]
        projected, targets = a[other] @ vt.T, u.T @ b[fold]
        loss = {}
        for rank in set(ranks):
            predicted = (projected[:, :rank] / s[:rank]) @ targets[:rank]
            loss[rank] = float(np.sqrt(np.square(b[other] - predicted).mean(axis=0)).mean())
        losses += [loss[rank] for rank in ranks]
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    rank = int(np.count_nonzero(s > max(CUTOFFS[int(np.argmin(losses))] * largest, floor)))
    weights: FloatArray = (vt[:rank].T / s[:rank]) @ (u.T[:rank] @ b)
    return weights


@dataclass(frozen=True, eq=False)
class _FoldFactors:
    """The SVD of one inner half of t neighbourhoods, ready to predict the other half."""

    fold: IntArray
    other: IntArray
    left: FloatArray
    """(t, m, fold rows): transposed left singular vectors."""
    predictors: FloatArray
    """(t, other rows, m): the other half's rows on the right singular vectors, over the singular values."""
    ranks: IntArray
    """(t, cutoffs): singular values kept."""


@dataclass(frozen=True, eq=False)
class _NeighbourhoodFactors:
    """What t neighbourhoods of k training rows need to predict any target at their t test rows."""

    folds: tuple[_FoldFactors, _FoldFactors]
    left: FloatArray
    """(t, m, k)."""
    predictors: FloatArray
    """(t, m): the test rows on the right singular vectors, over the singular values."""
    ranks: IntArray


def _neighbourhood_factors(a: FloatArray, test: FloatArray, folds: tuple[IntArray, IntArray]) -> _NeighbourhoodFactors:
    """Factorise neighbourhoods a (t, k, d_A) around test rows (t, d_A)."""
    centre = a.mean(axis=1)
    a, test = a - centre[:, None], test - centre
    floor = max(a.shape[1:]) * float(np.spacing(1.0))
    left, values, right = np.linalg.svd(a, full_matrices=False)
    # From here on in the coordinates of the right singular vectors: no more than k of them, however wide A is.
    projected = left * values[:, None]
    halves = [np.linalg.svd(projected[:, fold], full_matrices=False) for fold in folds]
    largest = np.maximum(halves[0][1][:, 0], halves[1][1][:, 0])
    thresholds = np.maximum(CUTOFFS * largest[:, None], floor)
    inner = []
    for (u, s, vt), fold, other in zip(halves, folds, folds[::-1], strict=True):
        predictors = _over(projected[:, other] @ vt.transpose(0, 2, 1), s[:, None])
        inner.append(_FoldFactors(fold, other, u.transpose(0, 2, 1), predictors, _kept(s, thresholds)))
    onto = (right @ test[:, :, None])[:, :, 0]
    return _NeighbourhoodFactors(
        (inner[0], inner[1]), left.transpose(0, 2, 1), _over(onto, values), _kept(values, thresholds)
    )


def _local_prediction(factors: _NeighbourhoodFactors, b: FloatArray) -> FloatArray:
    """Predictions (t, d_B) at the test rows from the neighbourhoods' targets b (t, k, d_B)."""
    centre = b.mean(axis=1)
    b = b - centre[:, None]
    losses = np.zeros(factors.ranks.shape)
    for half in factors.folds:
        coefficients = half.left @ b[:, half.fold]
        residual = b[:, half.other]
        done = 0
        for rank in np.unique(half.ranks):
            residual -= half.predictors[:, :, done:rank] @ coefficients[:, done:rank]
            done = int(rank)
            loss = np.sqrt(np.einsum("tij,tij->tj", residual, residual) / residual.shape[1]).mean(axis=1)
            losses += np.where(half.ranks == rank, loss[:, None], 0.0)
    chosen = np.take_along_axis(factors.ranks, losses.argmin(axis=1)[:, None], axis=1)
    weights = np.where(np.arange(factors.predictors.shape[1]) < chosen, factors.predictors, 0.0)
    predicted: FloatArray = centre + ((weights[:, None] @ factors.left) @ b)[:, 0]
    return predicted


def _over(array: FloatArray, values: FloatArray) -> FloatArray:
    """array / values, 0 where the singular value is 0."""
    return np.divide(array, values, out=np.zeros_like(array), where=values > 0)


def _kept(values: FloatArray, thresholds: FloatArray) -> IntArray:
    """How many singular values (t, m) lie above each threshold (t, cutoffs)."""
    kept: IntArray = (values[:, None] > thresholds[:, :, None]).sum(axis=2)
    return kept


def _root_mean_square(residual: FloatArray) -> float:
    return float(np.sqrt(np.square(residual).sum(axis=1).mean()))
