"""How many structures a model's probes need: learning curves and the area under them (PROTOCOL section 4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.metrics.learning import SMALLEST, LearningCurve, learning_curve_many
from benchmark.results.records import LearningPoint, Score
from benchmark.scoring.data import Cache, ModelFeatures, derived_seed, digest, numbers
from benchmark.scoring.measured import measured, missing
from benchmark.scoring.probes import targets_of
from benchmark.suite import Suite

DRAWS = 10
AREAS = {"r2_geometry": "learning_area", "r2_partial": "learning_area_partial"}
"""R^2 of the curve -> score of the area under it."""


def learning_points(suite: Suite, cache: Cache, model: ModelFeatures) -> list[LearningPoint]:
    """Learning curves of every probed target of one data set, point by point; none where it is too small."""
    return _curves(suite, cache, model)[0]


def learning_scores(suite: Suite, cache: Cache, model: ModelFeatures) -> list[Score]:
    """The areas under the learning curves of every probed target."""
    fields: dict[str, Any] = {"dataset": model.data.id, "layer": model.layer, "n": model.n, "d": model.d}
    areas = _curves(suite, cache, model)[1]
    if not areas:
        reason = f"fewer than {SMALLEST} training structures"
        return [missing(id, reason, **fields) for id in AREAS.values()]
    return [
        measured(AREAS[measure], area, target=target, **fields)
        for target, both in areas.items()
        for measure, area in both.items()
    ]


def _curves(
    suite: Suite, cache: Cache, model: ModelFeatures
) -> tuple[list[LearningPoint], dict[str, dict[str, float | None]]]:
    data = model.data
    targets = targets_of(suite, data.id)
    labels = np.column_stack([data.label(target) for target in targets])
    seed = derived_seed(suite.seed, "learning", data.id)
    inputs = {"model": model.key, "targets": targets, "labels": digest(labels), "draws": DRAWS, "seed": seed}

    def compute() -> list[dict[str, Any]]:
        try:
            curves = learning_curve_many(
                model.matrix, data.composition, labels, groups=np.array(data.groups), draws=DRAWS, seed=seed
            )
        except ValueError as error:
            if "sizes" not in str(error):
                raise
            return []
        return [_product(curve) for curve in curves]

    points, areas = [], {}
    for target, found in zip(targets, cache("learning", inputs, compute), strict=False):
        areas[target] = {measure: found[measure]["area"] for measure in AREAS}
        for measure in AREAS:
            columns = found[measure]["mean"], found[measure]["std"]
            for size, mean, std in zip(found["sizes"], *columns, strict=True):
                points.append(
                    LearningPoint(
                        dataset=data.id,
                        layer=model.layer,
                        target=target,
                        measure=measure,
                        n_train=size,
                        mean=mean,
                        standard_error=None if std is None else std / np.sqrt(found["draws"]),
                        draws=found["draws"],
                    )
                )
    return points, areas


def _product(curve: LearningCurve) -> dict[str, Any]:
    return {
        "sizes": list(curve.sizes),
        "draws": curve.draws,
        "r2_geometry": {
            "mean": numbers(curve.mean),
            "std": numbers(curve.std),
            "area": numbers([curve.area])[0],
        },
        "r2_partial": {
            "mean": numbers(curve.partial_mean),
            "std": numbers(curve.partial_std),
            "area": numbers([curve.partial_area])[0],
        },
    }
