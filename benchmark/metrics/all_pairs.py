"""All pairs of many feature arrays at once: every similarity as one table."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .calibration import null_distribution, unbiased_null
from .cross_gram import feature_space_pairs
from .dimension import dimensions_of, effective_rank
from .neighbours import Neighbours
from .similarity import cknna_of, mutual_knn_of, neighbour_nulls
from .streaming import Streamed, find_device, stream
from .validation import positive_int

if TYPE_CHECKING:
    import pandas as pd

PAIRWISE = ("cknna", "mutual_knn", "cka", "dcor", "information_imbalance", "gfre")
"""Metrics of a pair. The last two are directed: a -> b and b -> a."""
ALONE = ("intrinsic_dimension", "intrinsic_dimension_mle", "intrinsic_dimension_gride", "effective_rank")
"""Metrics of one array."""
COLUMNS = ("metric", "a", "b", "value", "null_mean", "null_quantile95", "p_value", "calibrated", "n", "k")
MLE_NEIGHBOURS = 50


def compare_all(
    models: Mapping[str, ArrayLike],
    *,
    k: int = 25,
    metrics: Collection[str] = (*PAIRWISE, *ALONE),
    permutations: int = 0,
    groups: ArrayLike | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Every metric of every pair of feature arrays (n, d_m) whose rows are the same structures.

    A row a value, with columns `COLUMNS`: symmetric metrics once a pair, directed ones both ways, metrics of one
    array with `b` empty. One model alone has no pairs. `groups` (n,) keeps rows of one structure together in gfre's
    split. permutations: with so many row permutations as the null of cknna and mutual_knn, which costs as many
    O(n k) sums a pair; cka and dcor always have their null (`unbiased_null`). NaN where a metric is not defined
    (constant features, too few distinct rows). progress: called with rows done and n.

    ValueError: not finite 2-D arrays of equal length, fewer than 4 rows, k not in 1..n-1, an unknown metric.

    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> table = compare_all({"a": X, "b": 2 * X}, k=5, metrics=["cknna", "information_imbalance"])
    >>> [(row.metric, row.a, row.b, round(row.value, 3)) for row in table.itertuples()][:2]
    [('cknna', 'a', 'b', 1.0), ('information_imbalance', 'a', 'b', 0.033)]
    """
    import pandas as pd  # the numbers need none

    unknown = sorted(set(metrics) - {*PAIRWISE, *ALONE})
    if unknown:
        raise ValueError(f"metrics: expected some of {', '.join((*PAIRWISE, *ALONE))}, found {', '.join(unknown)}")
    positive_int("k", k)
    of_distances = {"information_imbalance", "dcor", *ALONE[:3]}
    rows: list[dict[str, Any]] = []
    if {"cknna", "mutual_knn", *of_distances} & set(metrics):
        n = len(np.asarray(next(iter(models.values()))))
        found = stream(
            models,
            cosine=k if {"cknna", "mutual_knn"} & set(metrics) else 0,
            euclidean=min(MLE_NEIGHBOURS, n - 1) if set(ALONE[:3]) & set(metrics) else 1,
            pairs=bool({"information_imbalance", "dcor"} & set(metrics)),
            device=device,
            progress=progress,
        )
        rows += _streamed(found, metrics, k, permutations, seed)
        rows += _dimensions(models, found, metrics)
    if {"cka", "gfre"} & set(metrics):
        rows += _of_features(models, metrics, groups, device)
    if "effective_rank" in metrics:
        rows += [{"metric": "effective_rank", "a": a, "value": effective_rank(x), "n": len(np.asarray(x))}
                 for a, x in models.items()]  # fmt: skip
    order = {name: i for i, name in enumerate((*PAIRWISE, *ALONE))}
    rows.sort(key=lambda row: order[row["metric"]])
    return pd.DataFrame([{**dict.fromkeys(COLUMNS), **row} for row in rows], columns=list(COLUMNS))


def _streamed(
    found: Streamed, metrics: Collection[str], k: int, permutations: int, seed: int
) -> Iterator[dict[str, Any]]:
    for a, b in itertools.combinations(found.names, 2):
        fields = {"a": a, "b": b, "n": found.n}
        first, second = found.models[a].cosine, found.models[b].cosine
        if first is not None and second is not None:
            yield from _of_neighbours(first, second, metrics, permutations, seed, {**fields, "k": k})
        if "dcor" in metrics:
            yield {"metric": "dcor", **fields, **_with_unbiased_null(found.distance_correlation(a, b), found.n)}
    if "information_imbalance" in metrics:
        for a, b in itertools.permutations(found.names, 2):
            value = found.information_imbalance(a, b)
            yield {"metric": "information_imbalance", "a": a, "b": b, "value": value, "n": found.n, "k": 1}


def _of_neighbours(
    first: Neighbours,
    second: Neighbours,
    metrics: Collection[str],
    permutations: int,
    seed: int,
    fields: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    values = {"cknna": cknna_of(first, second), "mutual_knn": mutual_knn_of(first, second)}
    samples = neighbour_nulls(first, second, permutations, seed) if permutations else {}
    for metric in ("cknna", "mutual_knn"):
        if metric not in metrics:
            continue
        row = {"metric": metric, **fields, "value": values[metric]}
        if permutations and np.isfinite(samples[metric]).all():
            null = null_distribution(values[metric], samples[metric])
            row |= {"null_mean": null.mean, "null_quantile95": null.quantile95}
            row |= {"p_value": null.p_value, "calibrated": null.calibrated}
        yield row


def _with_unbiased_null(value: float, n: int) -> dict[str, float]:
    if not np.isfinite(value):
        return {"value": value}
    mean, quantile, p_value = unbiased_null(value, n)
    calibrated = (value - quantile) / (1.0 - quantile)
    null = {"null_mean": mean, "null_quantile95": quantile, "p_value": p_value}
    return {"value": value, **null, "calibrated": calibrated}


def _of_features(
    models: Mapping[str, ArrayLike], metrics: Collection[str], groups: ArrayLike | None, device: str
) -> Iterator[dict[str, Any]]:
    found = feature_space_pairs(models, groups=groups, device=find_device(device).type)
    n = len(np.asarray(next(iter(models.values()))))
    if "cka" in metrics:
        for (a, b), value in found.cka.items():
            yield {"metric": "cka", "a": a, "b": b, "n": n, **_with_unbiased_null(value, n)}
    if "gfre" in metrics:
        for (a, b), value in found.gfre.items():
            yield {"metric": "gfre", "a": a, "b": b, "value": value, "n": n}


def _dimensions(models: Mapping[str, ArrayLike], found: Streamed, metrics: Collection[str]) -> Iterator[dict[str, Any]]:
    for a, model in found.models.items():
        if model.euclidean is None or not set(ALONE[:3]) & set(metrics):
            continue
        values = dimensions_of(model.euclidean, models[a], MLE_NEIGHBOURS)
        for metric, (value, k) in values.items():
            if metric in metrics:
                yield {"metric": metric, "a": a, "value": value, "n": found.n, "k": k}
