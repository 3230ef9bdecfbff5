"""Composition-free linear probes of a model on a data set's targets (PROTOCOL section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.metrics.composition import isomer_order
from benchmark.metrics.probes import cpd_many, cpd_subsample, shuffled_null
from benchmark.results.records import Score
from benchmark.scoring.data import (
    Cache,
    FloatArray,
    IntArray,
    ModelFeatures,
    ScoringData,
    array_of,
    derived_seed,
    digest,
    numbers,
)
from benchmark.scoring.measured import measured, missing, null_of
from benchmark.suite import Suite

R2 = ("r2_partial", "r2_geometry", "r2_composition")
COMPONENTS = 64
"""Width at which models of unequal width are compared."""
NO_ISOMERS = "no two structures have one formula"


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """The probe of one target: R^2 on all structures and on the suite's subsamples, and on shuffled targets.

    found: what the cache holds.
    """

    target: str
    found: Mapping[str, Any]

    def value(self, id: str) -> float:
        """`id` is one of r2_partial, r2_geometry, r2_composition. NaN where the target does not vary."""
        return float(array_of([self.found[id]])[0])

    def subsamples(self, id: str) -> FloatArray:
        """The same on each subsample, (subsamples,); empty where they were not asked for."""
        return array_of(self.found["subsamples"][id])

    @property
    def shuffled(self) -> FloatArray:
        """r2_partial on shuffled targets, (permutations,); empty where they were not asked for."""
        return array_of(self.found["shuffled"])


def targets_of(suite: Suite, dataset: str) -> list[str]:
    """The labels that are probed on `dataset`: its energy, and the suite's targets where it is the probes' data set."""
    energy = [suite.energy_targets[dataset]] if dataset in suite.energy_targets else []
    probed = suite.probe.targets if dataset == suite.probe.dataset else []
    return list(dict.fromkeys([*energy, *probed]))


def probe(
    suite: Suite,
    cache: Cache,
    model: ModelFeatures,
    *,
    components: int | None = None,
    resampled: bool = True,
) -> dict[str, ProbeResult]:
    """All probes of one model on one data set, by target; they share the decompositions of the features.

    components: use the leading principal components only. resampled: with subsamples and shuffled targets.
    """
    data = model.data
    targets = targets_of(suite, data.id)
    labels = np.column_stack([data.label(target) for target in targets])
    seed = derived_seed(suite.seed, "folds", data.id)
    inputs = {
        "model": model.key,
        "targets": targets,
        "labels": digest(labels),
        "folds": suite.folds,
        "components": components,
        "seed": seed,
        "suite_seed": suite.seed,
        "subsamples": suite.subsamples if resampled else 0,
        "permutations": suite.permutations if resampled else 0,
        **suite.subsample_limit,
    }

    def compute() -> list[dict[str, Any]]:
        return _probe(suite, model, labels, components, seed, resampled)

    found = cache("probe", inputs, compute)
    return {target: ProbeResult(target, result) for target, result in zip(targets, found, strict=True)}


def _probe(
    suite: Suite, model: ModelFeatures, labels: FloatArray, components: int | None, seed: int, resampled: bool
) -> list[dict[str, Any]]:
    data = model.data
    groups = np.array(data.groups)
    settings: dict[str, Any] = {"groups": groups, "folds": suite.folds, "seed": seed, "n_components": components}
    whole = cpd_many(model.matrix, data.composition, labels, **settings)
    drawn = data.subsamples(suite)
    parts = cpd_subsample(model.matrix, data.composition, labels, subsets=drawn.rows, **settings) if resampled else None
    isomers = resampled and data.id == suite.probe.dataset
    results = []
    for column, result in enumerate(whole):
        shuffled: Sequence[float] | FloatArray = []
        if resampled:
            null = shuffled_null(
                model.matrix, data.composition, labels[:, column], permutations=suite.permutations, **settings
            )
            shuffled = null.samples
        results.append(
            {
                **{id: numbers([getattr(result, id)])[0] for id in R2},
                "subsamples": {id: drawn.numbers(getattr(parts, id)[:, column]) if parts else [] for id in R2},
                "shuffled": numbers(shuffled),
                "isomers": _isomer_order(suite, data, labels[:, column], result.partial_prediction)
                if isomers
                else None,
                "projection": result.projection,
            }
        )
    return results


def probe_scores(suite: Suite, model: ModelFeatures, probes: Mapping[str, ProbeResult]) -> list[Score]:
    """R^2s and selectivity of every probed target of one data set, and isomer order on the suite's probe data set."""
    scores = []
    for target, found in probes.items():
        fields: dict[str, Any] = {
            "dataset": model.data.id,
            "target": target,
            "layer": model.layer,
            "n": model.n,
            "d": model.d,
        }
        partial = found.value("r2_partial")
        shuffled = found.shuffled
        for id in R2:
            null = null_of(id, partial, shuffled) if id == "r2_partial" else None
            scores.append(measured(id, found.value(id), subsamples=found.subsamples(id), null=null, **fields))
        if shuffled.size:
            mean = float(np.nanmean(shuffled))
            subsamples = found.subsamples("r2_partial") - mean
            scores.append(measured("selectivity", partial - mean, subsamples=subsamples, **fields))
        if model.data.id == suite.probe.dataset and shuffled.size:
            scores.append(_isomer_score(found.found["isomers"], fields))
    return scores


def narrow_scores(model: ModelFeatures, probes: Mapping[str, ProbeResult]) -> list[Score]:
    """The R^2s of the probes on the first 64 principal components."""
    scores = []
    for target, found in probes.items():
        fields: dict[str, Any] = {"dataset": model.data.id, "target": target, "layer": model.layer, "n": model.n}
        for id in ("r2_partial", "r2_geometry"):
            subsamples = found.subsamples(id)
            d = min(model.d, COMPONENTS)
            scores.append(measured(f"{id}_{COMPONENTS}", found.value(id), subsamples=subsamples, d=d, **fields))
    return scores


def cpd_score(id: str, suite: Suite, model: ModelFeatures, probes: Mapping[str, ProbeResult]) -> Score:
    """Mean r2_partial over the suite's targets; the null is that of the mean under one shuffle of all targets."""
    chosen = [probes[target] for target in suite.probe.targets]
    value = float(np.mean([found.value("r2_partial") for found in chosen]))
    subsamples = np.mean([found.subsamples("r2_partial") for found in chosen], axis=0)
    shuffled = np.mean([found.shuffled for found in chosen], axis=0)
    d = model.d if id == "cpd" else min(model.d, COMPONENTS)
    fields: dict[str, Any] = {"dataset": model.data.id, "layer": model.layer, "n": model.n, "d": d}
    return measured(id, value, subsamples=subsamples, null=null_of(id, value, shuffled), **fields)


def _isomer_order(suite: Suite, data: ScoringData, y: FloatArray, prediction: FloatArray) -> dict[str, Any] | None:
    """Share of same-formula pairs in the right order, whole, on the subsamples, and with predictions shuffled.

    Predictions are shuffled within each formula. None where no two structures have one formula.
    """
    formulas = np.unique(np.array(data.isomers), return_inverse=True)[1]
    several = np.bincount(formulas)[formulas] > 1

    def share(rows: IntArray, values: FloatArray) -> float:
        kept = rows[several[rows]]
        return isomer_order(y[kept], values[kept], formulas[kept]).share if kept.size > 1 else float("nan")

    everything = np.arange(data.n)
    value = share(everything, prediction)
    if not np.isfinite(value):
        return None
    rng = np.random.default_rng(derived_seed(suite.seed, "isomers", data.id))
    order = np.argsort(formulas, kind="stable")
    draws = []
    for _ in range(suite.permutations):
        shuffled = np.empty_like(prediction)
        shuffled[order] = prediction[np.lexsort((rng.random(data.n), formulas))]
        draws.append(share(everything, shuffled))
    drawn = data.subsamples(suite)
    return {
        "value": value,
        "subsamples": drawn.numbers([share(rows, prediction) for rows in drawn.rows]),
        "shuffled": draws,
    }


def _isomer_score(found: Mapping[str, Any] | None, fields: Mapping[str, Any]) -> Score:
    if found is None:
        return missing("isomer_order", NO_ISOMERS, **fields)
    null = null_of("isomer_order", found["value"], found["shuffled"])
    return measured("isomer_order", found["value"], subsamples=found["subsamples"], null=null, **fields)
