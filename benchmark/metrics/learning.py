"""How many structures a probe needs: R^2 over the number of training structures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .composition import Projection
from .probes import checked_targets, residual_fold
from .ridge import grouped_folds, r_squared, ridge_predictions
from .validation import positive_int

SMALLEST = 32
TEST_SHARE = 5
"""One fold of five is the test set of a draw."""


@dataclass(frozen=True)
class LearningCurve:
    """r2_geometry at `sizes` training structures: mean and standard deviation over draws.

    `area`: area under the mean over log(size), divided by the range of log(size), so in the units of R^2.
    """

    sizes: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    area: float


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
    """r2_geometry of `cpd` for y (n,) from 32, 64, ... training structures, `draws` times each.

    Each draw holds out a fifth of the structures, by formula, and takes its training sets at random from the rest,
    the smaller ones inside the larger. `sizes`: other training sizes, at least 8 and at most what every draw leaves.
    ValueError: arrays as in `cpd`, a size out of range, too few structures for 32.
    """
    data = checked_targets(H, C, np.asarray(y)[:, None], groups)
    n = len(data.Y)
    tests = [grouped_folds(data.codes, TEST_SHARE, seed + draw) == 0 for draw in range(positive_int("draws", draws))]
    available = min(n - int(test.sum()) for test in tests)
    if sizes is None:
        sizes = tuple(SMALLEST * 2**i for i in range(20) if SMALLEST * 2**i <= available)
    if not sizes or min(sizes) < 8 or max(sizes) > available or list(sizes) != sorted(set(sizes)):
        raise ValueError(f"sizes: expected rising sizes from 8 to {available}, found {sizes or f'n={n}'}")
    values = np.empty((len(tests), len(sizes)))
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
            values[draw, i] = r_squared(data.Y[test], predicted + data.Y[train].mean(axis=0))[0]
    mean = values.mean(axis=0)
    logs = np.log(sizes)
    area = float(np.trapezoid(mean, logs) / (logs[-1] - logs[0])) if len(sizes) > 1 else float(mean[0])
    return LearningCurve(
        sizes=tuple(int(size) for size in sizes),
        mean=tuple(float(value) for value in mean),
        std=tuple(float(value) for value in values.std(axis=0)),
        area=area,
    )
