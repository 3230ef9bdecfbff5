"""What is lost in A that B knows: linear reconstruction of B from A, globally and in neighbourhoods.

Goscinski et al., The role of feature space in atomistic learning, arXiv:2009.02741. The conventions (one global
scale, singular values cut off by a 2-fold cross-validation over 20 relative thresholds, splits with a fixed seed)
are those of scikit-matter, whose values are reproduced where no groups are given.
"""

from __future__ import annotations

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
    half = _halves(A, B, groups, seed)
    inner = _folds(len(half.a_train), half.groups_train, seed)
    predicted = half.a_test @ _cut_off_map(half.a_train, half.b_train, inner)
    return _root_mean_square(half.b_test - predicted)


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
    `max_test_rows`: an evenly spaced choice of test rows where all would take too long (two small SVDs a row).

    ValueError: as for the global error; n_neighbours not in 2..training rows.

    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> local_reconstruction_error(X, X, n_neighbours=20) < 1e-9
    True
    """
    half = _halves(A, B, groups, seed)
    n_train = len(half.a_train)
    if n_neighbours is None:
        k = max(2, min(half.a_train.shape[1], half.b_train.shape[1], n_train))
    else:
        k = positive_int("n_neighbours", n_neighbours, maximum=n_train, why=" (training rows)")
        if k < 2:
            raise ValueError(f"n_neighbours: expected at least 2, found {k}")
    rows = np.arange(len(half.a_test))
    if max_test_rows is not None and positive_int("max_test_rows", max_test_rows) < rows.size:
        rows = rows[np.linspace(0, rows.size - 1, max_test_rows).round().astype(np.int64)]
    inner = _folds(k, None, seed)
    residual = np.empty((rows.size, half.b_test.shape[1]))
    for tile in row_tiles(rows.size, n_train):
        near = smallest(squared_distances(half.a_test[rows[tile]], half.a_train), k)
        for offset, neighbourhood in enumerate(near):
            row = rows[tile.start + offset]
            a, b = half.a_train[neighbourhood], half.b_train[neighbourhood]
            weights = _cut_off_map(a - a.mean(axis=0), b - b.mean(axis=0), inner)
            predicted = b.mean(axis=0) + (half.a_test[row] - a.mean(axis=0)) @ weights
            residual[tile.start + offset] = half.b_test[row] - predicted
    return _root_mean_square(residual)


@dataclass(frozen=True, eq=False)
class _Halves:
    a_train: FloatArray
    a_test: FloatArray
    b_train: FloatArray
    b_test: FloatArray
    groups_train: IntArray | None


def _halves(A: ArrayLike, B: ArrayLike, groups: ArrayLike | None, seed: int) -> _Halves:
    a, b = features("A", A, minimum_rows=4), features("B", B, minimum_rows=4)
    n = same_rows(A=a, B=b)
    codes = None if groups is None else group_codes("groups", groups, n)
    units = n if codes is None else int(codes.max()) + 1
    if units < 4:
        raise ValueError(f"groups: expected at least 4 different groups, found {units}")
    train, test = train_test_split(np.arange(units), test_size=0.5, train_size=0.5, random_state=seed, shuffle=True)
    if codes is not None:
        train, test = np.flatnonzero(np.isin(codes, train)), np.flatnonzero(np.isin(codes, test))
    a_train, a_test = _scaled("A", a, train, test)
    b_train, b_test = _scaled("B", b, train, test)
    return _Halves(a_train, a_test, b_train, b_test, None if codes is None else codes[train])


def _scaled(name: str, array: FloatArray, train: IntArray, test: IntArray) -> tuple[FloatArray, FloatArray]:
    mean = array[train].mean(axis=0)
    scale = float(np.sqrt(array[train].var(axis=0).sum()))
    if scale <= 1e-12 * float(np.abs(array).max()) or scale == 0.0:
        raise ValueError(f"{name}: expected features that vary over the training half, found constant ones")
    return (array[train] - mean) / scale, (array[test] - mean) / scale


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


def _root_mean_square(residual: FloatArray) -> float:
    return float(np.sqrt(np.square(residual).sum(axis=1).mean()))
