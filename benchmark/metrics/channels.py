"""Vector targets from vector channels: probes that respect rotations.

L=1 channels are arrays (n, channels, 3) whose last axis rotates as the target's does. The order of the three
components (x, y, z or e3nn's y, z, x) does not matter as long as features and target share it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .ridge import grouped_folds, ridge_predictions
from .validation import FloatArray, IntArray, finite_matrix, group_codes, positive_int, same_rows


@dataclass(frozen=True, eq=False)
class VectorProbe:
    """Equivariant probe of a vector target: `r2` pooled over folds, `prediction` (n, 3) out of fold."""

    r2: float
    prediction: FloatArray
    fold: IntArray


def vector_probe(
    V: ArrayLike, y: ArrayLike, *, groups: ArrayLike, folds: int = 5, seed: int = 0, inner_folds: int = 4
) -> VectorProbe:
    """Predict the vectors y (n, 3) from the vector channels V (n, channels, 3), one weight a channel.

    Ridge over the stacked components without an intercept (a constant vector is not equivariant); channels are
    divided by their training root mean square, not centred. Composition, being scalar, has nothing to project out.
    R^2 is 1 - sum |y - prediction|^2 / sum |y|^2, against the only equivariant constant, 0. Rotating V and y
    together rotates the prediction. ValueError: shapes, values that are not finite, fewer groups than folds.
    """
    channels, target = _checked_vectors(V, y)
    prediction, fold_of = _vector_predictions(channels, target[:, :, None], groups, folds, seed, inner_folds)
    return VectorProbe(float(_vector_r2(target[:, :, None], prediction)[0]), prediction[:, :, 0], fold_of)


def vector_null(
    V: ArrayLike,
    y: ArrayLike,
    *,
    groups: ArrayLike,
    permutations: int = 200,
    folds: int = 5,
    seed: int = 0,
    inner_folds: int = 4,
) -> FloatArray:
    """R^2 (permutations,) of `vector_probe` with the vectors dealt to other structures; penalties of their own."""
    channels, target = _checked_vectors(V, y)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(target)) for _ in range(positive_int("permutations", permutations))]
    shuffled = np.stack([target[order] for order in orders], axis=2)
    prediction, _ = _vector_predictions(channels, shuffled, groups, folds, seed, inner_folds)
    return _vector_r2(shuffled, prediction)


def _checked_vectors(V: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    channels, target = channel_array(V), finite_matrix("y", y)
    if target.shape[1] != 3:
        raise ValueError(f"y: expected vectors of shape (n, 3), found shape {target.shape}")
    same_rows(V=channels, y=target)
    return channels, target


def _vector_predictions(
    channels: FloatArray, targets: FloatArray, groups: ArrayLike, folds: int, seed: int, inner_folds: int
) -> tuple[FloatArray, IntArray]:
    """Out-of-fold predictions (n, 3, t) of vector targets (n, 3, t), and the fold of each structure."""
    n, _, t = targets.shape
    codes = group_codes("groups", groups, n)
    fold_of = grouped_folds(codes, positive_int("folds", folds), seed)
    prediction = np.zeros(targets.shape)
    for fold in range(folds):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        size = np.sqrt(np.square(channels[train]).mean(axis=(0, 2)))
        alive = size > 1e-8 * float(size.max(initial=0.0))
        if not alive.any():
            continue  # channels that are all zero tell nothing: the prediction stays 0
        x_train, x_test = (_stacked(channels[rows][:, alive] / size[alive, None]) for rows in (train, test))
        stacked, _ = ridge_predictions(
            x_train, targets[train].reshape(-1, t), x_test, np.repeat(codes[train], 3),
            inner_folds=inner_folds, seed=seed, intercept=False,
        )  # fmt: skip
        prediction[test] = stacked.reshape(-1, 3, t)
    return prediction, fold_of


def _vector_r2(targets: FloatArray, prediction: FloatArray) -> FloatArray:
    """(t,) for vectors (n, 3, t); NaN where all vectors are 0."""
    total = np.square(targets).sum(axis=(0, 1))
    residual = np.square(targets - prediction).sum(axis=(0, 1))
    return np.asarray(np.where(total > 0, 1.0 - residual / np.where(total > 0, total, 1.0), np.nan))


def channel_norms(V: ArrayLike) -> FloatArray:
    """Norms (n, channels) of vector channels V (n, channels, 3): invariant features for magnitudes.

    ValueError: not a finite array of that shape.

    >>> channel_norms([[[3.0, 4.0, 0.0]]]).tolist()
    [[5.0]]
    """
    norms: FloatArray = np.linalg.norm(channel_array(V), axis=2)
    return norms


def channel_array(V: ArrayLike) -> FloatArray:
    """`V` as a finite float64 array (n, channels, 3)."""
    array = np.asarray(V, dtype=np.float64)
    if array.ndim != 3 or array.shape[2] != 3 or array.shape[1] < 1:
        raise ValueError(f"V: expected vector channels of shape (n, channels, 3), found shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("V: expected finite values, found some that are NaN or infinite")
    return array


def _stacked(channels: FloatArray) -> FloatArray:
    """(n, channels, 3) -> (3 n, channels): structure by structure, component by component."""
    return channels.transpose(0, 2, 1).reshape(-1, channels.shape[1])
