"""Composition as a baseline: what it explains of features, targets and energies, and what order it leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .ridge import RidgePath, grouped_folds
from .validation import FloatArray, IntArray, finite_matrix, group_codes, positive_int, same_rows, standard_form

Projection = Literal["auto", "exact", "ridge"]
STRUCTURES_A_COLUMN = 20
"""With fewer training structures a varying composition column, `"auto"` projects by ridge."""
DEAD = 1e-8
"""Columns whose standard deviation is below this share of the largest are dropped."""
EXPLAINED = 1e-3
"""A column of which the fit on composition leaves less than this share of its own standard deviation is composition:
what is left is the ridge penalty or the rounding of single precision, and standardising it would make noise of it."""


@dataclass(frozen=True, eq=False)
class CompositionFit:
    """A linear fit on composition: `predict(C)` is `(C - centre) @ weights + mean`."""

    method: Literal["exact", "ridge"]
    centre: FloatArray
    weights: FloatArray
    mean: FloatArray

    def predict(self, C: FloatArray) -> FloatArray:
        """The part of the fitted columns that composition C (m, c) explains: (m, t)."""
        return (C - self.centre) @ self.weights + self.mean


def composition_projection(C: ArrayLike, values: ArrayLike, *, method: Projection = "auto") -> CompositionFit:
    """Least-squares fit with intercept of `values` (n, t), features or targets, on composition C (n, c).

    `"exact"`: orthogonal projection onto [1, C] (columns without variation and linear dependences are harmless).
    `"ridge"`: C standardised, a penalty for each column of `values` by generalised cross-validation; the exact fit
    is its limit of no penalty. `"auto"`: ridge where there are fewer than 20 rows a varying column of C.
    ValueError: not finite 2-D arrays of equal length, another method.

    >>> fit = composition_projection([[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]], method="exact")
    >>> np.round(fit.predict(np.array([[3.0]])), 12).tolist()
    [[7.0]]
    """
    composition, columns = finite_matrix("C", C), finite_matrix("values", values)
    n = same_rows(C=composition, values=columns)
    if method not in ("auto", "exact", "ridge"):
        raise ValueError(f"method: expected 'auto', 'exact' or 'ridge', found {method!r}")
    centre, spread = composition.mean(axis=0), composition.std(axis=0)
    alive = spread > DEAD * float(spread.max(initial=0.0))
    mean = columns.mean(axis=0)
    weights = np.zeros((composition.shape[1], columns.shape[1]))
    exact = method == "exact" or (method == "auto" and n >= STRUCTURES_A_COLUMN * np.count_nonzero(alive))
    if alive.any():
        path = RidgePath((composition[:, alive] - centre[alive]) / spread[alive])
        targets = columns - mean
        alphas = np.zeros(1) if exact else path.generalised_cross_validation(targets)
        weights[alive] = path.basis @ path.weights(targets, alphas) / spread[alive, None]
    return CompositionFit("exact" if exact else "ridge", centre, weights, mean)


def composition_share(
    H: ArrayLike,
    C: ArrayLike,
    *,
    groups: ArrayLike,
    folds: int = 5,
    seed: int = 0,
    projection: Projection = "ridge",
) -> float:
    """Share of the total variance of H (n, d) that a linear fit on composition C (n, c) predicts out of fold.

    R^2 pooled over all columns of H, in their own units; folds grouped by `groups` (n,). At most 1, may be < 0; NaN
    for constant features. ValueError: not finite arrays of equal length, fewer groups than folds.
    """
    features, composition = standard_form(finite_matrix("H", H, minimum_rows=4)), finite_matrix("C", C)
    n = same_rows(H=features, C=composition)
    fold_of = grouped_folds(group_codes("groups", groups, n), positive_int("folds", folds), seed)
    residual = np.empty_like(features)
    for fold in range(folds):
        train, test = fold_of != fold, fold_of == fold
        fit = composition_projection(composition[train], features[train], method=projection)
        residual[test] = features[test] - fit.predict(composition[test])
    total = float(np.square(features).sum())
    return 1.0 - float(np.square(residual).sum()) / total if total > 0 else float("nan")


def composition_corrected_mae(reference: ArrayLike, predicted: ArrayLike, C: ArrayLike) -> float:
    """Mean absolute deviation of two energies (n,) after each has lost its own linear fit on composition C (n, c).

    In the units of the energies. A difference of reference energies (isolated atoms, pseudopotentials, functionals)
    is linear in the element counts and drops out. ValueError: not finite arrays of equal length.

    >>> composition_corrected_mae([1.0, 2.0, 4.0], [11.0, 22.0, 34.0], [[1.0], [2.0], [3.0]]) < 2
    True
    """
    return float(composition_corrected_errors(reference, predicted, C).mean())


def composition_corrected_errors(reference: ArrayLike, predicted: ArrayLike, C: ArrayLike) -> FloatArray:
    """The absolute deviations (n,) whose mean is `composition_corrected_mae`, structure by structure."""
    first, second = (
        finite_matrix(name, np.asarray(value)[:, None] if np.ndim(value) == 1 else value)
        for name, value in (("reference", reference), ("predicted", predicted))
    )
    composition = finite_matrix("C", C)
    same_rows(reference=first, predicted=second, C=composition)
    difference = first - second
    fit = composition_projection(composition, difference, method="exact")
    errors: FloatArray = np.abs(difference - fit.predict(composition))[:, 0]
    return errors


@dataclass(frozen=True)
class IsomerOrder:
    """`share` of `pairs` same-formula pairs in the right order; NaN where there is no such pair."""

    share: float
    pairs: int


def isomer_order(y: ArrayLike, prediction: ArrayLike, groups: ArrayLike) -> IsomerOrder:
    """Share of same-formula pairs whose order in y (n,) a prediction (n,) gets right; chance 0.5.

    `groups` (n,): formulas. Pairs with equal y do not count; equal predictions count half. Use the out-of-fold
    `partial_prediction` of `cpd`: within a formula composition has no say. ValueError: not finite, unequal lengths.

    >>> isomer_order([1.0, 2.0, 5.0], [0.1, 0.3, 0.0], ["CH4O", "CH4O", "N2"])
    IsomerOrder(share=1.0, pairs=1)
    """
    truth, predicted = finite_matrix("y", np.asarray(y)[:, None])[:, 0], np.asarray(prediction, dtype=np.float64)
    if predicted.shape != truth.shape or not np.isfinite(predicted).all():
        raise ValueError(f"prediction: expected {truth.size} finite values, found shape {predicted.shape}")
    codes = group_codes("groups", groups, truth.size)
    of_truth, of_prediction = _dense_ranks(codes, truth), _dense_ranks(codes, predicted)
    ordered = np.lexsort((of_prediction, of_truth))
    both = of_truth * (int(of_prediction.max(initial=0)) + 1) + of_prediction
    same_truth = _equal_pairs(of_truth)
    pairs = _equal_pairs(codes) - same_truth
    undecided = _equal_pairs(of_prediction) - _equal_pairs(both)
    right = pairs - undecided - _inversions(of_prediction[ordered]) + 0.5 * undecided
    return IsomerOrder(share=right / pairs if pairs else float("nan"), pairs=pairs)


def _dense_ranks(codes: IntArray, values: FloatArray) -> IntArray:
    """Rank of each value among all, ordered by group first; equal values of one group have one rank."""
    order = np.lexsort((values, codes))
    steps = (np.diff(codes[order]) != 0) | (np.diff(values[order]) != 0)
    ranks = np.empty(codes.size, dtype=np.int64)
    ranks[order] = np.concatenate([[0], np.cumsum(steps)]) if codes.size else order
    return ranks


def _equal_pairs(codes: IntArray) -> int:
    """Pairs of entries that are equal."""
    counts = np.unique(codes, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _inversions(ranks: IntArray) -> int:
    """Pairs i < j with ranks[i] > ranks[j], bit after bit from the highest: O(n log n), where a loop takes O(n^2)."""
    found = 0
    for bit in reversed(range(int(ranks.max(initial=0)).bit_length())):
        # Ranks that agree above this bit lie together, in their first order.
        ones = (ranks >> bit) & 1
        before = np.cumsum(ones) - ones
        starts = np.flatnonzero(np.diff(ranks >> (bit + 1), prepend=-1))
        lengths = np.diff(starts, append=ranks.size)
        before -= np.repeat(before[starts], lengths)
        found += int(before[ones == 0].sum())
        ranks = ranks[np.argsort(ranks >> bit, kind="stable")]
    return found


def compositional_control(C: ArrayLike) -> FloatArray:
    """A target (n,) that is composition and nothing else: the first principal component of C (n, c), of variance 1.

    Composition-free features must not predict it; a probe that does has learned composition back.
    ValueError: not a finite 2-D array, composition without variation.
    """
    composition = standard_form(finite_matrix("C", C, minimum_rows=2))
    path = RidgePath(composition)
    if not path.squares.size:
        raise ValueError("C: expected compositions that differ, found equal rows")
    component = path.scores[:, -1]
    control: FloatArray = component / component.std()
    return control
