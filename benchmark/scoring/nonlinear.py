"""Nonlinear probes of a model's composition-free features, beside the linear ones (PROTOCOL section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from benchmark.metrics.nonlinear_probes import Model, nonlinear_probe_many
from benchmark.metrics.probes import cpd_many
from benchmark.results.records import Score
from benchmark.scoring.data import Cache, ModelFeatures, derived_seed, digest, numbers
from benchmark.scoring.measured import measured
from benchmark.scoring.probes import ProbeResult
from benchmark.suite import Suite

MEASURES = ("r2_geometry", "r2_partial", "r2_control")
MOST_STRUCTURES = 5000
"""On 50,000 structures with 864 features a network alone would take an hour of one core."""


def nonlinear_scores(
    suite: Suite, cache: Cache, model: ModelFeatures, probes: Mapping[str, ProbeResult]
) -> list[Score]:
    """R^2s of network and trees, their entanglement, and what they re-learn of composition, for every probed target.

    Folds, residuals and baselines are those of the linear `probes`, by target; without intervals. Of a large data set
    all of it, the linear probe that entanglement is held against too, is found on a draw of its structures.
    """
    data = model.data
    targets = list(probes)
    labels = np.column_stack([data.label(target) for target in targets])
    seed = derived_seed(suite.seed, "folds", data.id)
    rows = data.drawn(MOST_STRUCTURES, derived_seed(suite.seed, "nonlinear", data.id))
    arrays = (model.matrix[rows], data.composition[rows], labels[rows])
    settings: dict[str, Any] = {"groups": np.array(data.groups)[rows], "folds": suite.folds, "seed": seed}
    inputs = {"model": model.key, "targets": targets, "labels": digest(labels), "folds": suite.folds, "seed": seed}
    fields: dict[str, Any] = {"dataset": data.id, "layer": model.layer, "n": len(rows), "d": model.d}
    linear = numbers([probes[target].value("r2_partial") for target in targets])
    if len(rows) < data.n:
        linear = cache("probe_drawn", inputs, lambda: numbers([r.r2_partial for r in cpd_many(*arrays, **settings)]))
    scores = []
    for kind in get_args(Model):

        def compute(kind: Model = kind) -> list[dict[str, float | None]]:
            found = nonlinear_probe_many(*arrays, model=kind, **settings)
            return [{id: numbers([getattr(result, id)])[0] for id in MEASURES} for result in found]

        for target, same, found in zip(targets, linear, cache(f"probe_{kind}", inputs, compute), strict=True):
            for id in ("r2_partial", "r2_geometry"):
                scores.append(measured(f"{id}_{kind}", found[id], target=target, **fields))
            gained = None if found["r2_partial"] is None or same is None else found["r2_partial"] - same
            scores.append(measured(f"entanglement_{kind}", gained, target=target, **fields))
        # The control target is the same whatever the other target.
        scores.append(measured(f"r2_control_{kind}", found["r2_control"], **fields))
    return scores
