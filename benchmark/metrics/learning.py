"""How many structures a probe needs: R^2 over the number of training structures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .composition import Projection
from .probes import checked_targets, residual_fold
from .ridge import grouped_folds, r_squared, ridge_predictions
from .validation import FloatArray, positive_int

SMALLEST = 32
TEST_SHARE = 5
"""One fold of five is the test set of a draw."""


@dataclass(frozen=True)
class LearningCurve:
    """R^2 at `sizes` training structures over `draws` draws: mean and standard deviation over the draws.

    `mean`, `std` and `area` are of r2_geometry, `partial_*` of r2_partial. `area`: area under the mean over
    log(size), divided by the range of log(size), so in the units of R^2.
    """

    sizes: tuple[int, ...]
    draws: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    area: float
    partial_mean: tuple[float, ...]
    partial_std: tuple[float, ...]
    partial_area: float


def learning_curve(
    H: ArrayLike,
    C: ArrayLike,
    y: ArrayLike,
    *,
    groups: ArrayLike,
    sizes: tuple[int, ...] | None = None,
    draws: int = 10,
    seed: int = 0,
    projection: Projection = "auto",
    inner_folds: int = 4,
) -> LearningCurve:
    """r2_geometry and r2_partial of `cpd` for y (n,) from 32, 64, ... training structures, `draws` times each.

    Each draw holds out a fifth of the structures, by formula, and takes its training sets at random from the rest,
    the smaller ones inside the larger. `sizes`: other training sizes, at least 8 and at most what every draw leaves.
    ValueError: arrays as in `cpd`, a size out of range, too few structures for 32.
    """
    return learning_curve_many(
        H, C, np.asarray(y)[:, None], groups=groups, sizes=sizes, draws=draws, seed=seed, projection=projection,
        inner_folds=inner_folds,
    )[0]  # fmt: skip


def learning_curve_many(
    H: ArrayLike,
    C: ArrayLike,
    Y: ArrayLike,
    *,
    groups: ArrayLike,
    sizes: tuple[int, ...] | None = None,
    draws: int = 10,
    seed: int = 0,
    projection: Projection = "auto",
    inner_folds: int = 4,
) -> list[LearningCurve]:
    """`learning_curve` of each column of Y (n, t): the same numbers, one decomposition of the features for all."""
    data = checked_targets(H, C, Y, groups)
    n, t = data.Y.shape
    tests = [grouped_folds(data.codes, TEST_SHARE, seed + draw) == 0 for draw in range(positive_int("draws", draws))]
    available = min(n - int(test.sum()) for test in tests)
    if sizes is None:
        sizes = tuple(SMALLEST * 2**i for i in range(20) if SMALLEST * 2**i <= available)
    if not sizes or min(sizes) < 8 or max(sizes) > available or list(sizes) != sorted(set(sizes)):
        raise ValueError(f"sizes: expected rising sizes from 8 to {available}, found {sizes or f'n={n}'}")
    values = np.empty((2, len(tests), len(sizes), t))
    for draw, held_out in enumerate(tests):
        test = np.flatnonzero(held_out)
        order = np.random.default_rng(seed + draw).permutation(np.flatnonzero(~held_out))
        for i, size in enumerate(sizes):
            train = order[:size]
            fold = residual_fold(data.H, data.C, data.Y, train, test, projection=projection)
            predicted, _ = ridge_predictions(
                fold.features_train, fold.residual_train, fold.features_test, data.codes[train],
                inner_folds=inner_folds, seed=seed,
            )  # fmt: skip
            # what the probes would predict without features: the mean of the training set, and nothing
            mean = np.broadcast_to(data.Y[train].mean(axis=0), predicted.shape)
            values[0, draw, i] = r_squared(data.Y[test], predicted + mean, mean)
            values[1, draw, i] = r_squared(fold.residual_test, predicted, np.zeros_like(predicted))
    return [_curve(sizes, values[..., column]) for column in range(t)]


def _curve(sizes: tuple[int, ...], values: FloatArray) -> LearningCurve:
    """values: (2, draws, sizes), r2_geometry and r2_partial."""
    means, deviations = values.mean(axis=1), values.std(axis=1, ddof=1 if values.shape[1] > 1 else 0)
    logs = np.log(sizes)
    areas = np.trapezoid(means, logs, axis=1) / (logs[-1] - logs[0]) if len(sizes) > 1 else means[:, 0]
    return LearningCurve(
        sizes=tuple(int(size) for size in sizes),
        draws=values.shape[1],
        mean=tuple(means[0].tolist()),
        std=tuple(deviations[0].tolist()),
        area=float(areas[0]),
        partial_mean=tuple(means[1].tolist()),
        partial_std=tuple(deviations[1].tolist()),
        partial_area=float(areas[1]),
    )
