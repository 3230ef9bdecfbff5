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
    channels = channel_array(V)
    target = finite_matrix("y", y)
    if target.shape[1] != 3:
        raise ValueError(f"y: expected vectors of shape (n, 3), found shape {target.shape}")
    n = same_rows(V=channels, y=target)
    codes = group_codes("groups", groups, n)
    fold_of = grouped_folds(codes, positive_int("folds", folds), seed)
    prediction = np.empty((n, 3))
    for fold in range(folds):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        size = np.sqrt(np.square(channels[train]).mean(axis=(0, 2)))
        alive = size > 1e-8 * float(size.max(initial=0.0))
        x_train, x_test = (_stacked(channels[rows][:, alive] / size[alive, None]) for rows in (train, test))
        stacked, _ = ridge_predictions(
            x_train, target[train].reshape(-1, 1), x_test, np.repeat(codes[train], 3),
            inner_folds=inner_folds, seed=seed, intercept=False,
        )  # fmt: skip
        prediction[test] = stacked.reshape(-1, 3)
    total = float(np.square(target).sum())
    residual = float(np.square(target - prediction).sum())
    return VectorProbe(1.0 - residual / total if total > 0 else float("nan"), prediction, fold_of)


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
