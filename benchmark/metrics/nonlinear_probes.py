"""Nonlinear probes of composition-free features, with the control that shows what they re-learn.

Linear projection takes out what is linear in composition. A network or a boosted tree finds much of the rest, so
their R^2 on a target that is composition and nothing else is reported beside them, and nothing is ranked by them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from .composition import Projection, compositional_control
from .probes import checked_targets, residual_fold
from .ridge import grouped_folds, r_squared
from .validation import FloatArray, positive_int

Model = Literal["mlp", "trees"]


@dataclass(frozen=True, eq=False)
class NonlinearProbe:
    """Pooled out-of-fold R^2 of one nonlinear model on composition-free features.

    `r2_geometry` predicts the target, `r2_partial` the part of it that composition does not, both against what `cpd`
    holds them against; `r2_control` predicts composition itself: the higher, the less the other two mean. After a
    ridge projection (few structures, many elements) all of them find its remainders, and `r2_partial` is the one to
    compare with `cpd`.
    """

    r2_geometry: float
    r2_partial: float
    r2_control: float


def nonlinear_probe(
    H: ArrayLike,
    C: ArrayLike,
    y: ArrayLike,
    *,
    groups: ArrayLike,
    model: Model = "mlp",
    folds: int = 5,
    seed: int = 0,
    projection: Projection = "auto",
    n_components: int | None = None,
) -> NonlinearProbe:
    """Probe y (n,) from H (n, d), composition C (n, c) projected out, with the folds and residuals of `cpd`.

    `"mlp"`: one hidden layer of 64 rectified units, weight decay 10, at most 100 steps of L-BFGS; `"trees"`:
    histogram gradient boosting, 200 trees of depth 4, 31 bins, early stopping. scikit-learn's, seeded. On a few
    hundred structures both predict as well as larger ones (L-BFGS better than Adam) at a fraction of the time.
    R^2 less that of `cpd` on the same target is the entanglement: what is in the features, but not linearly.
    ValueError: arrays as in `cpd`, another model.
    """
    return nonlinear_probe_many(
        H, C, np.asarray(y)[:, None], groups=groups, model=model, folds=folds, seed=seed, projection=projection,
        n_components=n_components,
    )[0]  # fmt: skip


def nonlinear_probe_many(
    H: ArrayLike,
    C: ArrayLike,
    Y: ArrayLike,
    *,
    groups: ArrayLike,
    model: Model = "mlp",
    folds: int = 5,
    seed: int = 0,
    projection: Projection = "auto",
    n_components: int | None = None,
) -> list[NonlinearProbe]:
    """`nonlinear_probe` of each column of Y (n, t): the same numbers, the control target fitted once."""
    if model not in ("mlp", "trees"):
        raise ValueError(f"model: expected 'mlp' or 'trees', found {model!r}")
    data = checked_targets(H, C, Y, groups)
    t = data.Y.shape[1]
    control = compositional_control(data.C)
    fold_of = grouped_folds(data.codes, positive_int("folds", folds), seed)
    # columns: the t targets, their t composition-free parts, the control
    truth, predicted, baseline = (np.empty((len(control), 2 * t + 1)) for _ in range(3))
    for number in range(folds):
        train, test = np.flatnonzero(fold_of != number), np.flatnonzero(fold_of == number)
        fold = residual_fold(data.H, data.C, data.Y, train, test, projection=projection, n_components=n_components)
        wanted = np.column_stack([data.Y[train], fold.residual_train, control[train]])
        truth[test] = np.column_stack([data.Y[test], fold.residual_test, control[test]])
        baseline[test] = wanted.mean(axis=0)
        baseline[test, t : 2 * t] = 0.0
        for column in range(2 * t + 1):
            predicted[test, column] = _fitted(model, fold.features_train, wanted[:, column], fold.features_test, seed)
    values = r_squared(truth, predicted, baseline)
    return [NonlinearProbe(float(values[i]), float(values[t + i]), float(values[-1])) for i in range(t)]


def _fitted(model: Model, X: FloatArray, y: FloatArray, X_new: FloatArray, seed: int) -> FloatArray:
    mean, spread = float(y.mean()), float(y.std())
    if X.shape[1] == 0 or spread == 0.0:
        return np.full(len(X_new), mean)
    if model == "mlp":
        regressor = MLPRegressor(
            hidden_layer_sizes=(64,), solver="lbfgs", alpha=10.0, max_iter=100, random_state=seed,
        )  # fmt: skip
    else:
        regressor = HistGradientBoostingRegressor(
            max_iter=200, max_depth=4, max_bins=31, early_stopping=len(X) >= 50, n_iter_no_change=15,
            random_state=seed,
        )  # fmt: skip
    # fits this small are slower on several threads, and the order of their sums must not depend on the machine
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed budget of steps is part of the definition
        regressor.fit(X, (y - mean) / spread)
    prediction: FloatArray = np.asarray(regressor.predict(X_new), dtype=np.float64) * spread + mean
    return prediction
