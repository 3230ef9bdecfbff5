"""Ridge regression of many targets at once: one eigendecomposition, every penalty, a penalty of its own a target."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .validation import FloatArray, IntArray

ALPHAS = np.logspace(-6, 4, 21)
"""Penalties tried, in units of the number of training rows: for standardised columns 1 is one column's variance."""


class RidgePath:
    """All ridge solutions for a design X (n, d) whose columns are centred, without an intercept.

    Directions whose variance is below 1e-12 of the largest are left out.
    """

    def __init__(self, X: FloatArray) -> None:
        self.X = X
        self.rows = len(X)
        self.wide = X.shape[1] > len(X)
        squares, vectors = np.linalg.eigh(X @ X.T if self.wide else X.T @ X)
        kept = squares > 1e-12 * max(float(squares.max(initial=0.0)), np.finfo(float).tiny)
        self.squares: FloatArray = squares[kept]
        self._vectors: FloatArray = vectors[:, kept]
        self.scores: FloatArray = self._vectors * np.sqrt(self.squares) if self.wide else X @ self._vectors

    @cached_property
    def basis(self) -> FloatArray:
        """Principal directions (d, r), of rising variance."""
        return self.X.T @ (self._vectors / np.sqrt(self.squares)) if self.wide else self._vectors

    def project(self, X_new: FloatArray) -> FloatArray:
        """Scores (m, r) of new rows; for wide designs by inner products, without the directions themselves."""
        if self.wide:
            return (X_new @ self.X.T) @ (self._vectors / np.sqrt(self.squares))
        return X_new @ self._vectors

    def weights(self, Y: FloatArray, alphas: FloatArray) -> FloatArray:
        """Weights (directions, t) for the targets Y (n, t), `alphas` (t,) or one for all, in units of rows."""
        weights: FloatArray = (self.scores.T @ Y) / (self.squares[:, None] + alphas * self.rows)
        return weights

    def generalised_cross_validation(self, Y: FloatArray) -> FloatArray:
        """The penalty (t,) of `ALPHAS` with the least generalised cross-validation error for each centred target."""
        projected = np.square((self.scores / np.sqrt(self.squares)).T @ Y)
        outside = np.maximum(np.square(Y).sum(axis=0) - projected.sum(axis=0), 0.0)
        errors = np.empty((ALPHAS.size, Y.shape[1]))
        for i, alpha in enumerate(ALPHAS):
            left = alpha * self.rows / (self.squares + alpha * self.rows)
            freedom = self.rows - 1 - float((1.0 - left).sum())
            residual = np.square(left) @ projected + outside
            errors[i] = residual / freedom**2 if freedom > 0.5 else np.inf
        chosen: FloatArray = ALPHAS[errors.argmin(axis=0)]
        return chosen


def grouped_folds(codes: IntArray, folds: int, seed: int) -> IntArray:
    """Fold number (n,) of each row; rows of one group share a fold, groups are dealt in random order.

    Each group goes to the fold that has the fewest rows so far, so folds are about equal. Depends on the group
    codes and the seed, not on the order of the rows. ValueError: fewer groups than folds.
    """
    sizes = np.bincount(codes)
    present = np.flatnonzero(sizes)
    if present.size < folds:
        raise ValueError(f"groups: expected at least {folds} different groups for {folds} folds, found {present.size}")
    assigned = np.zeros(sizes.size, dtype=np.int64)
    filled = np.zeros(folds, dtype=np.int64)
    for group in np.random.default_rng(seed).permutation(present):
        assigned[group] = int(filled.argmin())
        filled[assigned[group]] += sizes[group]
    return assigned[codes]


def r_squared(truth: FloatArray, predicted: FloatArray, baseline: FloatArray | None = None) -> FloatArray:
    """1 - residual / total sum of squares about the baseline, for each column; NaN where the truth does not vary.

    baseline: what a model without features predicts, like `truth`; the mean of `truth` where not given. With grouped
    folds the mean of the training fold is the fair one: about the mean of all, knowing nothing has a negative R^2.
    """
    total = np.square(truth - (truth.mean(axis=0) if baseline is None else baseline)).sum(axis=0)
    residual = np.square(truth - predicted).sum(axis=0)
    constant = total <= 1e-24 * np.maximum(np.square(truth).sum(axis=0), np.finfo(float).tiny)
    return np.asarray(np.where(constant, np.nan, 1.0 - residual / np.where(constant, 1.0, total)))


def ridge_predictions(
    X: FloatArray,
    Y: FloatArray,
    X_new: FloatArray,
    codes: IntArray,
    *,
    inner_folds: int,
    seed: int,
    intercept: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Predictions (m, t) for `X_new` (m, d) and the penalty (t,) of each target.

    The penalty has the least squared error over `inner_folds` inner folds, grouped by `codes` (rows one by one where
    there are too few groups). X is taken as standardised; the inner folds centre again but do not rescale.
    """
    alphas = _cross_validated(X, Y, codes, inner_folds, seed, intercept)
    x_mean, y_mean = _means(X, Y, intercept)
    path = RidgePath(X - x_mean)
    return path.project(X_new - x_mean) @ path.weights(Y - y_mean, alphas) + y_mean, alphas


def _cross_validated(
    X: FloatArray, Y: FloatArray, codes: IntArray, folds: int, seed: int, intercept: bool
) -> FloatArray:
    if np.unique(codes).size < folds:
        codes = np.arange(len(X))
    fold_of = grouped_folds(codes, min(folds, len(X)), seed)
    errors = np.zeros((ALPHAS.size, Y.shape[1]))
    for fold in range(int(fold_of.max()) + 1):
        train, test = fold_of != fold, fold_of == fold
        x_mean, y_mean = _means(X[train], Y[train], intercept)
        path = RidgePath(X[train] - x_mean)
        targets = path.scores.T @ (Y[train] - y_mean)
        projected = path.project(X[test] - x_mean)
        truth = Y[test] - y_mean
        for i, alpha in enumerate(ALPHAS):
            predicted = projected @ (targets / (path.squares + alpha * path.rows)[:, None])
            errors[i] += np.square(truth - predicted).sum(axis=0)
    # the largest penalty among equals: argmin over the reversed grid
    chosen: FloatArray = ALPHAS[::-1][errors[::-1].argmin(axis=0)]
    return chosen


def _means(X: FloatArray, Y: FloatArray, intercept: bool) -> tuple[FloatArray, FloatArray]:
    if intercept:
        return X.mean(axis=0), Y.mean(axis=0)
    return np.zeros(X.shape[1]), np.zeros(Y.shape[1])
