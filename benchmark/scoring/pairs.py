"""Every similarity of two models on one data set, for the model x model tables and the compare page."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.metrics.calibration import Similarity
from benchmark.results.records import PairValue
from benchmark.scoring.alignment import NO_RESIDUAL, NOT_PER_ATOM, SYMMETRIC
from benchmark.scoring.catalogue import RESIDUAL_SUFFIX
from benchmark.scoring.comparisons import Agreement, Comparisons
from benchmark.scoring.data import LayerFeatures, ModelFeatures
from benchmark.scoring.measured import spread
from benchmark.suite import Suite

NOT_DEFINED = "not defined for these features"


def in_order(suite: Suite, a: ModelFeatures, b: ModelFeatures) -> tuple[ModelFeatures, ModelFeatures]:
    """The two models in the one order in which a pair is measured: the suite's reference last, then by name, falling.

    CKNNA changes its third digit when its arguments are swapped, and permuting the rows of the one or of the other
    draws different nulls; a pair has one value.
    """
    first, second = sorted((a, b), key=lambda m: (m.model != suite.reference, m.model), reverse=True)
    return first, second


def pair_values(comparisons: Comparisons, a: ModelFeatures, b: ModelFeatures) -> list[PairValue]:
    """Symmetric similarities once, directed ones as a -> b and b -> a."""
    a, b = in_order(comparisons.suite, a, b)
    rows = [_symmetric(comparisons, metric, a, b, residual=False) for metric in SYMMETRIC]
    rows.append(_symmetric(comparisons, "cknna", a, b, residual=True))
    for first, second in ((a, b), (b, a)):
        value = comparisons.imbalance(first, second)
        rows.append(_row(first, second, "information_imbalance", value, k=1))
        error = comparisons.reconstruction(first, second)
        rows.append(_row(first, second, "gfre", error, reason=None if error is not None else NOT_PER_ATOM))
    rows.append(_row(a, b, "dcor_biased", comparisons.biased_distance_correlation(a, b)))
    return rows


def last_layer_values(
    comparisons: Comparisons, a: ModelFeatures, b: ModelFeatures, last_layers: Mapping[str, LayerFeatures]
) -> list[PairValue]:
    """Reconstruction of last layers (by model) from each other and from the other model's features, both ways.

    No row where there is no last layer: many models have none, and that is no gap.
    """
    rows = []
    for first, second in itertools.permutations(in_order(comparisons.suite, a, b)):
        source, target = last_layers.get(first.model), last_layers.get(second.model)
        if target is None:
            continue
        if source is not None:
            rows.append(_row(first, second, "gfre_last_layer", comparisons.reconstruction(source, target)))
        if first.per_atom:
            rows.append(_row(first, second, "gfre_backbone_last_layer", comparisons.reconstruction(first, target)))
    return rows


def prepare_pairs(comparisons: Comparisons, model: ModelFeatures, others: Sequence[ModelFeatures]) -> None:
    """Compare `model` with all `others` that come before it in a pair's order at once, which is several times quicker.

    Only what `pair_values` will find remembered: the numbers are the same to the bit.
    """
    before = [other for other in others if in_order(comparisons.suite, other, model)[1] is model]
    for metric in SYMMETRIC:
        comparisons.agreements(metric, before, model)
    comparisons.agreements("cknna", before, model, residual=True)


def _symmetric(
    comparisons: Comparisons, metric: Similarity, a: ModelFeatures, b: ModelFeatures, *, residual: bool
) -> PairValue:
    found: Agreement | None = comparisons.agreement(metric, a, b, residual=residual)
    id = metric + (RESIDUAL_SUFFIX if residual else "")
    k = comparisons.suite.k if metric in ("cknna", "mutual_knn") else None
    if found is None:
        return _row(a, b, id, None, reason=NO_RESIDUAL if residual else NOT_DEFINED, k=k)
    error = spread(comparisons.resampled(metric, a, b)) if metric == "cknna" and not residual else None
    return _row(
        a,
        b,
        id,
        found.value,
        null_mean=found.null.mean,
        null_quantile95=found.null.quantile95,
        p_value=found.null.p_value,
        calibrated=found.calibrated,
        standard_error=error,
        k=k,
    )


def _row(a: ModelFeatures, b: ModelFeatures, metric: str, value: float | None, **fields: Any) -> PairValue:
    if value is None:
        fields.setdefault("reason", NOT_DEFINED)
    return PairValue(a=a.model, b=b.model, dataset=a.data.id, metric=metric, value=value, n=a.n, **fields)
