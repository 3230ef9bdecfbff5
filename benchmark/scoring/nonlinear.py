"""Nonlinear probes of a model's composition-free features, beside the linear ones (PROTOCOL section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from benchmark.metrics.nonlinear_probes import Model, nonlinear_probe_many
from benchmark.results.records import Score
from benchmark.scoring.data import Cache, ModelFeatures, derived_seed, digest, numbers
from benchmark.scoring.measured import measured
from benchmark.scoring.probes import ProbeResult
from benchmark.suite import Suite

MEASURES = ("r2_geometry", "r2_partial", "r2_control")


def nonlinear_scores(
    suite: Suite, cache: Cache, model: ModelFeatures, probes: Mapping[str, ProbeResult]
) -> list[Score]:
    """R^2s of network and trees, their entanglement, and what they re-learn of composition, for every probed target.

    Folds, residuals and baselines are those of the linear `probes`, by target; without intervals.
    """
    data = model.data
    targets = list(probes)
    labels = np.column_stack([data.label(target) for target in targets])
    seed = derived_seed(suite.seed, "folds", data.id)
    inputs = {"model": model.key, "targets": targets, "labels": digest(labels), "folds": suite.folds, "seed": seed}
    fields: dict[str, Any] = {"dataset": data.id, "layer": model.layer, "n": model.n, "d": model.d}
    scores = []
    for kind in get_args(Model):

        def compute(kind: Model = kind) -> list[dict[str, float | None]]:
            found = nonlinear_probe_many(
                model.matrix,
                data.composition,
                labels,
                groups=np.array(data.groups),
                model=kind,
                folds=suite.folds,
                seed=seed,
            )
            return [{id: numbers([getattr(result, id)])[0] for id in MEASURES} for result in found]

        for target, found in zip(targets, cache(f"probe_{kind}", inputs, compute), strict=True):
            for id in ("r2_partial", "r2_geometry"):
                scores.append(measured(f"{id}_{kind}", found[id], target=target, **fields))
            gained = None if found["r2_partial"] is None else found["r2_partial"] - probes[target].value("r2_partial")
            scores.append(measured(f"entanglement_{kind}", gained, target=target, **fields))
        # The control target is the same whatever the other target.
        scores.append(measured(f"r2_control_{kind}", found["r2_control"], **fields))
    return scores
