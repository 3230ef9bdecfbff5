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

from .composition import Projection, compositional_control
from .probes import checked_targets, residual_fold
from .ridge import grouped_folds, r_squared
from .validation import FloatArray, positive_int

Model = Literal["mlp", "trees"]


@dataclass(frozen=True, eq=False)
class NonlinearProbe:
    """Pooled out-of-fold R^2 of one nonlinear model on composition-free features.

    `r2_geometry` predicts the target, `r2_partial` the part of it that composition does not (as in `cpd`);
    `r2_control` predicts composition itself: the higher, the less the other two mean. After a ridge projection (few
    structures, many elements) all of them find its remainders, and `r2_partial` is the one to compare with `cpd`.
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

    `"mlp"`: one hidden layer of 128 rectified units, Adam, early stopping; `"trees"`: histogram gradient boosting,
    200 trees, early stopping. scikit-learn's, seeded. Three models a fold. `r2_geometry` less that of `cpd` is the
    entanglement: what of the target is left in the features, but not linearly.
    ValueError: arrays as in `cpd`, another model.
    """
    if model not in ("mlp", "trees"):
        raise ValueError(f"model: expected 'mlp' or 'trees', found {model!r}")
    data = checked_targets(H, C, np.asarray(y)[:, None], groups)
    targets = np.column_stack([data.Y[:, 0], compositional_control(data.C)])
    fold_of = grouped_folds(data.codes, positive_int("folds", folds), seed)
    truth, predicted = np.empty((len(targets), 3)), np.empty((len(targets), 3))
    for number in range(folds):
        train, test = np.flatnonzero(fold_of != number), np.flatnonzero(fold_of == number)
        fold = residual_fold(data.H, data.C, targets, train, test, projection=projection, n_components=n_components)
        wanted = np.column_stack([targets[train, 0], fold.residual_train[:, 0], targets[train, 1]])
        truth[test] = np.column_stack([targets[test, 0], fold.residual_test[:, 0], targets[test, 1]])
        for column in range(3):
            predicted[test, column] = _fitted(model, fold.features_train, wanted[:, column], fold.features_test, seed)
    geometry, partial, control = (float(value) for value in r_squared(truth, predicted))
    return NonlinearProbe(geometry, partial, control)


def _fitted(model: Model, X: FloatArray, y: FloatArray, X_new: FloatArray, seed: int) -> FloatArray:
    mean, spread = float(y.mean()), float(y.std())
    if X.shape[1] == 0 or spread == 0.0:
        return np.full(len(X_new), mean)
    if model == "mlp":
        regressor = MLPRegressor(
            hidden_layer_sizes=(128,), alpha=1e-3, learning_rate_init=3e-3, max_iter=300,
            early_stopping=len(X) >= 50, n_iter_no_change=20, random_state=seed,
        )  # fmt: skip
    else:
        regressor = HistGradientBoostingRegressor(
            max_iter=200, learning_rate=0.1, early_stopping=len(X) >= 50, n_iter_no_change=20, random_state=seed
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed budget of passes is part of the definition
        regressor.fit(X, (y - mean) / spread)
    prediction: FloatArray = np.asarray(regressor.predict(X_new), dtype=np.float64) * spread + mean
    return prediction
