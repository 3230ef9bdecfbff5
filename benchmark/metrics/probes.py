"""Composition Projection Decomposition: what a representation knows beyond the composition.

Steier, arXiv:2603.03155. Features H and target y are split by a linear fit on composition C, made inside each
training fold and applied to its test fold (a fit over all structures would leak). What the residual features predict
is held against the target (`r2_geometry`) and against the part of it that composition does not explain
(`r2_partial`). Structures of one formula stay in one fold.

One regression serves both: it is fitted to the residual target. After an exact projection the residual features are
orthogonal to composition in the training fold, so the raw target would give the same weights. After a ridge
projection they are not, and a probe of the raw target would blow their remainder of composition up again: features
that are nothing but composition then reach an R^2 of 0.8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .composition import DEAD, EXPLAINED, Projection, composition_projection
from .ridge import RidgePath, grouped_folds, r_squared, ridge_predictions
from .validation import (
    FloatArray,
    IntArray,
    finite_matrix,
    group_codes,
    positive_int,
    row_indices,
    same_rows,
    standard_form,
)


@dataclass(frozen=True, eq=False)
class CpdResult:
    """Composition Projection Decomposition of one target over n structures.

    `r2_*` are pooled over all out-of-fold predictions; `*_folds` (folds,) are those of the folds alone. Predictions
    and `residual` (the target less its composition fit, out of fold) are (n,), in the units of the target.
    `alpha` (folds,): ridge penalty of the r2_partial probe in units of training rows. R^2 is NaN where the target
    does not vary.
    """

    r2_composition: float
    r2_geometry: float
    r2_partial: float
    r2_composition_folds: FloatArray
    r2_geometry_folds: FloatArray
    r2_partial_folds: FloatArray
    composition_prediction: FloatArray
    geometry_prediction: FloatArray
    partial_prediction: FloatArray
    residual: FloatArray
    fold: IntArray
    alpha: FloatArray
    n: int
    d: int
    dead_columns: int
    projection: Literal["exact", "ridge"]


def cpd(
    H: ArrayLike,
    C: ArrayLike,
    y: ArrayLike,
    *,
    groups: ArrayLike,
    folds: int = 5,
    seed: int = 0,
    projection: Projection = "auto",
    n_components: int | None = None,
    inner_folds: int = 4,
) -> CpdResult:
    """Linear probe of the target y (n,) from features H (n, d) with composition C (n, c) projected out.

    In each of `folds` training folds, grouped by `groups` (the formula) and shuffled by `seed`: project H and y (see
    `composition_projection`), standardise the residual features, choose a ridge penalty by `inner_folds` inner folds
    (grouped too), predict the test fold. `n_components`: use only that many leading principal components of the
    training fold's standardised residual features. Dead columns are dropped and counted.
    ValueError: not finite arrays of equal length, fewer groups than folds, n_components not positive.
    """
    return cpd_many(
        H, C, _one_target(y), groups=groups, folds=folds, seed=seed, projection=projection,
        n_components=n_components, inner_folds=inner_folds,
    )[0]  # fmt: skip


def cpd_many(
    H: ArrayLike,
    C: ArrayLike,
    Y: ArrayLike,
    *,
    groups: ArrayLike,
    folds: int = 5,
    seed: int = 0,
    projection: Projection = "auto",
    n_components: int | None = None,
    inner_folds: int = 4,
) -> list[CpdResult]:
    """`cpd` of each column of Y (n, t): the same numbers, one decomposition of the features for all targets."""
    data = checked_targets(H, C, Y, groups)
    run = _decompose(data, folds, seed, projection, n_components, inner_folds)
    results = []
    for column in range(data.Y.shape[1]):
        y, residual = data.Y[:, column], run.residual[:, column]
        mean = run.mean[:, column]
        # What each probe predicts, its predictions, and what it would predict without features.
        triples = {
            "composition": (y, run.composition[:, column], mean),
            "geometry": (y, run.geometry[:, column], mean),
            "partial": (residual, run.partial[:, column], np.zeros_like(mean)),
        }
        pooled = {name: float(r_squared(*triple)) for name, triple in triples.items()}
        by_fold = {
            name: np.array([float(r_squared(*(part[run.fold == f] for part in triple))) for f in range(folds)])
            for name, triple in triples.items()
        }
        results.append(
            CpdResult(
                r2_composition=pooled["composition"],
                r2_geometry=pooled["geometry"],
                r2_partial=pooled["partial"],
                r2_composition_folds=by_fold["composition"],
                r2_geometry_folds=by_fold["geometry"],
                r2_partial_folds=by_fold["partial"],
                composition_prediction=run.composition[:, column],
                geometry_prediction=run.geometry[:, column],
                partial_prediction=run.partial[:, column],
                residual=residual,
                fold=run.fold,
                alpha=run.alpha[:, column],
                n=len(data.Y),
                d=data.H.shape[1],
                dead_columns=data.dead_columns,
                projection=run.projection,
            )
        )
    return results


@dataclass(frozen=True, eq=False)
class CpdSubsamples:
    """R^2 of `cpd` on each subset of structures: arrays (subsets, t), (subsets,) for a single target y (n,)."""

    r2_composition: FloatArray
    r2_geometry: FloatArray
    r2_partial: FloatArray


def cpd_subsample(
    H: ArrayLike,
    C: ArrayLike,
    y: ArrayLike,
    *,
    groups: ArrayLike,
    subsets: Sequence[ArrayLike],
    folds: int = 5,
    seed: int = 0,
    projection: Projection = "auto",
    n_components: int | None = None,
    inner_folds: int = 3,
) -> CpdSubsamples:
    """`cpd` repeated on subsets of the structures (arrays of row numbers), for y (n,) or many targets (n, t)."""
    targets = np.asarray(y)
    data = checked_targets(H, C, targets[:, None] if targets.ndim == 1 else targets, groups)
    values = np.empty((3, len(subsets), data.Y.shape[1]))
    for i, subset in enumerate(subsets):
        rows = row_indices(f"subsets[{i}]", subset, len(data.Y), minimum=2 * folds)
        part = ProbeData(data.H[rows], data.C[rows], data.Y[rows], data.codes[rows], data.dead_columns)
        run = _decompose(part, folds, seed, projection, n_components, inner_folds)
        values[0, i] = r_squared(part.Y, run.composition, run.mean)
        values[1, i] = r_squared(part.Y, run.geometry, run.mean)
        values[2, i] = r_squared(run.residual, run.partial, np.zeros_like(run.residual))
    if targets.ndim == 1:
        values = values[:, :, 0]
    return CpdSubsamples(*values)


@dataclass(frozen=True, eq=False)
class ShuffledNull:
    """r2_partial against the same probe on permuted targets; `selectivity` is r2_partial less the null's mean."""

    r2_partial: float
    mean: float
    quantile95: float
    p_value: float
    selectivity: float
    samples: FloatArray


def shuffled_null(
    H: ArrayLike,
    C: ArrayLike,
    y: ArrayLike,
    *,
    groups: ArrayLike,
    permutations: int = 200,
    folds: int = 5,
    seed: int = 0,
    projection: Projection = "auto",
    n_components: int | None = None,
    inner_folds: int = 4,
) -> ShuffledNull:
    """r2_partial of y (n,) and of `permutations` shuffles of it, each with penalties of its own.

    All share the folds, the projection and the decompositions, so 200 shuffles cost little more than one probe.
    """
    target = finite_matrix("y", _one_target(y))
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(target)) for _ in range(positive_int("permutations", permutations))]
    data = checked_targets(H, C, np.column_stack([target[:, 0], *(target[order, 0] for order in orders)]), groups)
    run = _decompose(data, folds, seed, projection, n_components, inner_folds)
    values = r_squared(run.residual, run.partial, np.zeros_like(run.residual))
    value, samples = float(values[0]), values[1:]
    return ShuffledNull(
        r2_partial=value,
        mean=float(samples.mean()),
        quantile95=float(np.quantile(samples, 0.95)),
        p_value=float((1 + np.count_nonzero(samples >= value)) / (1 + samples.size)),
        selectivity=value - float(samples.mean()),
        samples=samples,
    )


@dataclass(frozen=True, eq=False)
class ResidualFold:
    """One fold with composition projected out: standardised residual features, and targets split by composition."""

    features_train: FloatArray
    features_test: FloatArray
    composition_test: FloatArray
    residual_train: FloatArray
    residual_test: FloatArray
    projection: Literal["exact", "ridge"]


def residual_fold(
    H: FloatArray,
    C: FloatArray,
    Y: FloatArray,
    train: IntArray,
    test: IntArray,
    *,
    projection: Projection = "auto",
    n_components: int | None = None,
) -> ResidualFold:
    """Project composition out of H (n, d) and Y (n, t) with the fit of the rows `train`; standardise by them."""
    d = H.shape[1]
    both = np.concatenate([H, Y], axis=1)
    fit = composition_projection(C[train], both[train], method=projection)
    part_train, part_test = fit.predict(C[train]), fit.predict(C[test])
    x_train, x_test = H[train] - part_train[:, :d], H[test] - part_test[:, :d]
    spread = x_train.std(axis=0)
    alive = spread > EXPLAINED * H[train].std(axis=0)
    mean = x_train[:, alive].mean(axis=0)
    x_train, x_test = (x_train[:, alive] - mean) / spread[alive], (x_test[:, alive] - mean) / spread[alive]
    if n_components is not None and alive.any():
        basis = RidgePath(x_train).basis[:, ::-1][:, : positive_int("n_components", n_components)]
        x_train, x_test = x_train @ basis, x_test @ basis
    return ResidualFold(
        features_train=x_train,
        features_test=x_test,
        composition_test=part_test[:, d:],
        residual_train=Y[train] - part_train[:, d:],
        residual_test=Y[test] - part_test[:, d:],
        projection=fit.method,
    )


@dataclass(frozen=True, eq=False)
class ProbeData:
    H: FloatArray
    C: FloatArray
    Y: FloatArray
    codes: IntArray
    dead_columns: int


@dataclass(frozen=True, eq=False)
class _Run:
    composition: FloatArray
    geometry: FloatArray
    partial: FloatArray
    residual: FloatArray
    mean: FloatArray
    fold: IntArray
    alpha: FloatArray
    projection: Literal["exact", "ridge"]


def _one_target(y: ArrayLike) -> FloatArray:
    target = np.asarray(y)
    if target.ndim != 1:
        raise ValueError(f"y: expected one target of shape (n,), found shape {target.shape}")
    return np.asarray(target[:, None])


def checked_targets(H: ArrayLike, C: ArrayLike, Y: ArrayLike, groups: ArrayLike) -> ProbeData:
    features = standard_form(finite_matrix("H", H, minimum_rows=4))
    composition, targets = finite_matrix("C", C), finite_matrix("y", Y)
    n = same_rows(H=features, C=composition, y=targets)
    spread = features.std(axis=0)
    alive = spread > DEAD * float(spread.max(initial=0.0))
    dead = int(alive.size - np.count_nonzero(alive))
    return ProbeData(features[:, alive], composition, targets, group_codes("groups", groups, n), dead)


def _decompose(
    data: ProbeData,
    folds: int,
    seed: int,
    projection: Projection,
    n_components: int | None,
    inner_folds: int,
) -> _Run:
    if positive_int("folds", folds) < 2 or positive_int("inner_folds", inner_folds) < 2:
        raise ValueError(f"folds, inner_folds: expected at least 2, found {folds} and {inner_folds}")
    n, t = data.Y.shape
    fold_of = grouped_folds(data.codes, folds, seed)
    composition, geometry, partial, residual, mean = (np.empty((n, t)) for _ in range(5))
    alpha = np.empty((folds, t))
    methods = set()
    for number in range(folds):
        train, test = np.flatnonzero(fold_of != number), np.flatnonzero(fold_of == number)
        fold = residual_fold(data.H, data.C, data.Y, train, test, projection=projection, n_components=n_components)
        partial[test], alpha[number] = ridge_predictions(
            fold.features_train,
            fold.residual_train,
            fold.features_test,
            data.codes[train],
            inner_folds=inner_folds,
            seed=seed,
        )
        mean[test] = data.Y[train].mean(axis=0)
        geometry[test] = partial[test] + mean[test]
        composition[test], residual[test] = fold.composition_test, fold.residual_test
        methods.add(fold.projection)
    method: Literal["exact", "ridge"] = "ridge" if "ridge" in methods else "exact"
    return _Run(composition, geometry, partial, residual, mean, fold_of, alpha, method)
