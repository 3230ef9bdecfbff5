"""What the vector (L=1) channels of an equivariant model know, apart from its invariant ones (PROTOCOL section 4).

Structures are embedded as their data set stores them, so features and vector labels share the Cartesian frame. e3nn
takes y as the polar axis, which puts the three components of L=1 in the order x, y, z: that of the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmark.embedding.features import FeatureSet
from benchmark.metrics.channels import channel_norms, vector_null, vector_probe
from benchmark.metrics.probes import cpd_many, cpd_subsample, shuffled_null
from benchmark.results.records import Score
from benchmark.scoring.data import Cache, FloatArray, IntArray, ModelFeatures, derived_seed, digest, numbers
from benchmark.scoring.measured import measured, missing, null_of
from benchmark.suite import Suite

NO_VECTORS = "the model stores no L=1 channels"


def vector_channels(values: FloatArray, irreps: str) -> FloatArray | None:
    """The L=1 channels (n, channels, 3) of features (n, d) with e3nn `irreps`; None where there is none.

    Polar vectors (1o) where there are any, else the 1e of models that do not track parity.
    """
    blocks: dict[str, list[FloatArray]] = {"1o": [], "1e": []}
    start = 0
    for term in irreps.split("+"):
        multiplicity, _, kind = term.strip().partition("x")
        width = int(multiplicity) * (2 * int(kind[:-1]) + 1)
        if kind in blocks:
            blocks[kind].append(values[:, start : start + width].reshape(len(values), -1, 3))
        start += width
    chosen = blocks["1o"] or blocks["1e"]
    return np.concatenate(chosen, axis=1) if chosen else None


def channel_scores(suite: Suite, cache: Cache, model: ModelFeatures, features: FeatureSet) -> list[Score]:
    """Vector targets from L=1 channels and from invariants, scalar targets from the norms of the L=1 channels.

    model: the suite's layer on the probe data set; features: all layers of the same model there.
    """
    found = _vectors_of(features)
    fields: dict[str, Any] = {"dataset": model.data.id, "layer": model.layer, "n": model.n, "d": model.d}
    scores = []
    for target, labels in suite.probe.vector_targets.items():
        y = np.column_stack([model.data.label(label) for label in labels])
        scores.append(_vector_score("r2_vector_scalars", suite, cache, model, model.matrix, y, fields, target))
        if found is None:
            scores.append(missing("r2_vector", NO_VECTORS, dataset=model.data.id, target=target))
            continue
        layer, vectors = found
        own = {**fields, "layer": layer, "d": vectors.shape[1]}
        scores.append(_vector_score("r2_vector", suite, cache, model, vectors, y, own, target))
    if found is None:
        return [*scores, *(_no_norms(model, target) for target in suite.probe.targets)]
    return scores + _norm_scores(suite, cache, model, *found)


def _no_norms(model: ModelFeatures, target: str) -> Score:
    return missing("r2_partial_vectors", NO_VECTORS, dataset=model.data.id, target=target)


def _vectors_of(features: FeatureSet) -> tuple[str, FloatArray] | None:
    """The first layer with L=1 channels, and these pooled over atoms, (structures, channels, 3)."""
    for name, layer in sorted(features.layers.items()):
        vectors = vector_channels(features.structures(name), layer.irreps) if layer.irreps is not None else None
        if vectors is not None:
            return name, vectors
    return None


def _vector_score(
    id: str,
    suite: Suite,
    cache: Cache,
    model: ModelFeatures,
    values: FloatArray,
    y: FloatArray,
    fields: Mapping[str, Any],
    target: str,
) -> Score:
    """R^2 of the vectors y (n, 3). values: (n, channels, 3), with null and subsamples; or (n, d), the control."""
    data = model.data
    groups = np.array(data.groups)
    seed = derived_seed(suite.seed, "folds", data.id)
    settings: dict[str, Any] = {"folds": suite.folds, "seed": seed}
    equivariant = values.ndim == 3

    def r2(rows: IntArray) -> float:
        if equivariant:
            return vector_probe(values[rows], y[rows], groups=groups[rows], **settings).r2
        return _by_component(values[rows], data.composition[rows], y[rows], groups[rows], settings)

    def compute() -> dict[str, Any]:
        value = numbers([r2(np.arange(data.n))])[0]
        if not equivariant:
            return {"value": value, "subsamples": [], "shuffled": []}
        drawn = data.subsamples(suite)
        shuffled = vector_null(values, y, groups=groups, permutations=suite.permutations, **settings)
        return {
            "value": value,
            "subsamples": drawn.numbers([r2(rows) for rows in drawn.rows]),
            "shuffled": numbers(shuffled),
        }

    inputs = _inputs(suite, model, seed, values=digest(values), labels=digest(y))
    found = cache("probe_vectors", inputs, compute)
    null = None if found["value"] is None else null_of(id, found["value"], found["shuffled"])
    return measured(id, found["value"], subsamples=found["subsamples"], null=null, target=target, **fields)


def _by_component(H: FloatArray, C: FloatArray, y: FloatArray, groups: Any, settings: Mapping[str, Any]) -> float:
    """R^2 of the vectors y (n, 3), each component probed on its own from invariants and composition, against 0.

    Invariants do not turn with a structure: what they tell of a component is how the data set orients structures.
    """
    found = cpd_many(H, C, y, groups=groups, **settings)
    predicted = np.column_stack([result.composition_prediction + result.partial_prediction for result in found])
    return 1.0 - float(np.square(y - predicted).sum()) / float(np.square(y).sum()) if y.any() else float("nan")


def _norm_scores(suite: Suite, cache: Cache, model: ModelFeatures, layer: str, vectors: FloatArray) -> list[Score]:
    """r2_partial of the suite's probe targets from the norms of the pooled L=1 channels."""
    data = model.data
    norms = channel_norms(vectors)
    targets = suite.probe.targets
    labels = np.column_stack([data.label(target) for target in targets])
    seed = derived_seed(suite.seed, "folds", data.id)
    settings: dict[str, Any] = {"groups": np.array(data.groups), "folds": suite.folds, "seed": seed}

    def compute() -> list[dict[str, Any]]:
        whole = cpd_many(norms, data.composition, labels, **settings)
        drawn = data.subsamples(suite)
        parts = cpd_subsample(norms, data.composition, labels, subsets=drawn.rows, **settings)
        nulls = [
            shuffled_null(norms, data.composition, y, permutations=suite.permutations, **settings) for y in labels.T
        ]
        return [
            {
                "value": numbers([result.r2_partial])[0],
                "subsamples": drawn.numbers(parts.r2_partial[:, column]),
                "shuffled": numbers(nulls[column].samples),
            }
            for column, result in enumerate(whole)
        ]

    id = "r2_partial_vectors"
    inputs = _inputs(suite, model, seed, values=digest(norms), labels=digest(labels))
    fields: dict[str, Any] = {"dataset": data.id, "layer": layer, "n": data.n, "d": norms.shape[1]}
    scores = []
    for target, found in zip(targets, cache("probe_norms", inputs, compute), strict=True):
        null = None if found["value"] is None else null_of(id, found["value"], found["shuffled"])
        scores.append(measured(id, found["value"], subsamples=found["subsamples"], null=null, target=target, **fields))
    return scores


def _inputs(suite: Suite, model: ModelFeatures, seed: int, **arrays: str) -> dict[str, Any]:
    return {
        **arrays,
        "data": model.data.key,
        "folds": suite.folds,
        "seed": seed,
        "suite_seed": suite.seed,
        "subsamples": suite.subsamples,
        "permutations": suite.permutations,
        **suite.subsample_limit,
    }
