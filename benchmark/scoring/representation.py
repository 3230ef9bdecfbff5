"""What one representation is like by itself: dimension, rank, share of composition, energy error (PROTOCOL 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmark.metrics import effective_rank, gride_scales, intrinsic_dimension
from benchmark.metrics.composition import composition_corrected_mae, composition_share
from benchmark.results.records import Score
from benchmark.scoring.data import Cache, IntArray, ModelFeatures, derived_seed, number, numbers
from benchmark.scoring.measured import measured, missing
from benchmark.suite import Suite

MLE_NEIGHBOURS = 50
LARGEST_SCALE = 1024
NO_ENERGIES = "the model gives no energies"


def representation_scores(suite: Suite, cache: Cache, model: ModelFeatures, *, intervals: bool = True) -> list[Score]:
    """Intrinsic dimensions, effective rank and composition's share of the variance of one layer on one data set."""
    data = model.data
    seed = derived_seed(suite.seed, "composition_share", data.id)
    drawn = data.subsamples(suite)
    subsets = drawn.rows if intervals else []

    def share(rows: IntArray) -> float:
        groups = np.array(data.groups)[rows]
        return composition_share(
            model.matrix[rows], data.composition[rows], groups=groups, folds=suite.folds, seed=seed
        )

    measures: dict[str, Callable[[IntArray], float]] = {
        "intrinsic_dimension": lambda rows: intrinsic_dimension(model.matrix[rows], method="twonn"),
        "effective_rank": lambda rows: effective_rank(model.matrix[rows]),
        "composition_share": share,
    }
    fields: dict[str, Any] = {"dataset": data.id, "layer": model.layer, "n": model.n, "d": model.d}
    inputs = {"model": model.key, "folds": suite.folds, "seed": suite.seed, "subsamples": len(subsets)}
    inputs |= suite.subsample_limit
    scores = []
    for id, measure in measures.items():

        def compute(measure: Callable[[IntArray], float] = measure) -> list[float | None]:
            whole = number(_or_nan(measure, np.arange(model.n)))
            return [whole, *drawn.numbers([_or_nan(measure, rows) for rows in subsets])]

        value, *subsamples = cache("representation", {**inputs, "measure": id}, compute)
        scores.append(measured(id, value, subsamples=subsamples, **fields))
    k = min(MLE_NEIGHBOURS, model.n - 1 - model.duplicates)

    def maximum_likelihood(rows: IntArray) -> float:
        return intrinsic_dimension(model.matrix[rows], method="mle", k=k)

    # Kept: every task needs those of all controls, and the neighbours of 50,000 structures take a minute.
    (dimension,) = cache(
        "representation",
        {"model": model.key, "measure": "intrinsic_dimension_mle", "k": k},
        lambda: [number(_or_nan(maximum_likelihood, np.arange(model.n)))],
    )
    return [*scores, measured("intrinsic_dimension_mle", dimension, **{**fields, "k": k})]


def dimension_scales(cache: Cache, model: ModelFeatures) -> list[Score]:
    """GRIDE intrinsic dimension at neighbours k = 1, 2, 4, ... up to a quarter of the structures, without intervals.

    Of many structures up to neighbour 512: the distances to all neighbours of twice that are in memory at once.
    """
    fields: dict[str, Any] = {"dataset": model.data.id, "layer": model.layer, "n": model.n, "d": model.d}
    id = "intrinsic_dimension_gride"

    def compute() -> dict[str, list[Any]]:
        largest = min((model.n - model.duplicates) // 2, LARGEST_SCALE)
        if largest < 2:
            return {"k": [], "dimension": []}
        scales = gride_scales(model.matrix, largest=largest)
        return {"k": list(scales.neighbour), "dimension": numbers(scales.dimension)}

    found = cache("dimension_scales", {"model": model.key}, compute)
    if not found["k"]:
        return [missing(id, "fewer than 4 structures differ", **fields)]
    scales = zip(found["k"], found["dimension"], strict=True)
    return [measured(id, value, **{**fields, "k": k}) for k, value in scales]


def energy_score(suite: Suite, model: ModelFeatures, target: str) -> Score:
    """Composition-corrected mean absolute error of the model's energies against the label `target`, in eV/atom."""
    data = model.data
    fields: dict[str, Any] = {"dataset": data.id, "target": target, "layer": model.layer, "n": model.n}
    if model.energies is None:
        return missing("energy_mae_corrected", NO_ENERGIES, **fields)
    if not np.isfinite(model.energies).all():
        return missing("energy_mae_corrected", "the model gives energies that are not finite", **fields)
    truth, predicted = data.label(target), model.energies / np.diff(data.offsets)

    def error(rows: IntArray) -> float:
        # per atom a linear fit on element counts is one on element fractions
        return composition_corrected_mae(truth[rows], predicted[rows], data.fractions[rows])

    drawn = data.subsamples(suite)
    subsamples = drawn.numbers([error(rows) for rows in drawn.rows])
    return measured("energy_mae_corrected", error(np.arange(model.n)), subsamples=subsamples, **fields)


def _or_nan(measure: Callable[[IntArray], float], rows: IntArray) -> float:
    """NaN where the features leave a measure undefined (too few distinct rows, constant features)."""
    try:
        return measure(rows)
    except ValueError:
        return float("nan")
