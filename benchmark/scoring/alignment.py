"""Alignment: how far a model and the suite's reference agree on which structures are alike (PROTOCOL section 3.1)."""

from __future__ import annotations

from typing import Any

from benchmark.metrics.calibration import Similarity
from benchmark.results.records import Null, Score
from benchmark.scoring.catalogue import RESIDUAL_SUFFIX
from benchmark.scoring.comparisons import Agreement, Comparisons
from benchmark.scoring.data import ModelFeatures
from benchmark.scoring.measured import measured, missing

SYMMETRIC: tuple[Similarity, ...] = ("cknna", "mutual_knn", "cka", "dcor")
NO_RESIDUAL = "composition explains the features of one of the two completely"
NOT_PER_ATOM = "needs features per atom of both models"
IS_REFERENCE = "is the reference"


def alignment_scores(comparisons: Comparisons, model: ModelFeatures, reference: ModelFeatures) -> list[Score]:
    """`alignment`, its residual variant, and the similarities shown beside them, on one data set."""
    fields: dict[str, Any] = {
        "dataset": model.data.id,
        "versus": reference.model,
        "layer": model.layer,
        "n": model.n,
        "d": model.d,
    }
    if model.model == reference.model:
        return [missing(id, IS_REFERENCE, **fields) for id in ("alignment", "alignment_residual")]
    scores = []
    for residual in (False, True):
        scores += _symmetric(comparisons, model, reference, residual, fields)
        scores += _imbalances(comparisons, model, reference, residual, fields)
    scores += _k_sweep(comparisons, model, reference, fields)
    biased = comparisons.biased_distance_correlation(model, reference)
    shared = comparisons.dimension_correlation(model, reference)
    scores.append(measured("dcor_biased", biased, **fields))
    scores.append(_of_agreement("id_cor", shared, **fields))
    return scores + _reconstructions(comparisons, model, reference, fields)


def _symmetric(
    comparisons: Comparisons, model: ModelFeatures, reference: ModelFeatures, residual: bool, fields: dict[str, Any]
) -> list[Score]:
    suffix = RESIDUAL_SUFFIX if residual else ""
    reason = NO_RESIDUAL if residual else "not defined for these features"
    scores = []
    for metric in SYMMETRIC:
        agreement = comparisons.agreement(metric, model, reference, residual=residual)
        subsamples = comparisons.resampled(metric, model, reference, residual=residual)
        k = comparisons.suite.k if metric in ("cknna", "mutual_knn") else None
        raw = _of_agreement(metric + suffix, agreement, subsamples=subsamples, reason=reason, k=k, **fields)
        if metric == "cknna" and agreement is not None:
            # kept on the calibrated scale throughout, so that value, interval and null can be compared
            null = agreement.null
            ends = agreement.on_calibrated_scale(null.mean), agreement.on_calibrated_scale(null.quantile95)
            calibrated = null.model_copy(update={"mean": float(ends[0]), "quantile95": float(ends[1])})
            scores.append(
                measured(
                    "alignment" + suffix,
                    agreement.calibrated,
                    subsamples=agreement.on_calibrated_scale(subsamples),
                    null=calibrated,
                    k=k,
                    **fields,
                )
            )
        elif metric == "cknna":
            scores.append(missing("alignment" + suffix, reason, k=k, **fields))
        scores.append(raw)
    return scores


def _imbalances(
    comparisons: Comparisons, model: ModelFeatures, reference: ModelFeatures, residual: bool, fields: dict[str, Any]
) -> list[Score]:
    suffix = RESIDUAL_SUFFIX if residual else ""
    scores = []
    for way, a, b in (("to", model, reference), ("from", reference, model)):
        scores.append(
            measured(
                f"information_imbalance_{way}_reference{suffix}",
                comparisons.imbalance(a, b, residual=residual),
                subsamples=comparisons.resampled("information_imbalance", a, b, residual=residual),
                reason=NO_RESIDUAL,
                k=1,
                **fields,
            )
        )
    return scores


def _k_sweep(
    comparisons: Comparisons, model: ModelFeatures, reference: ModelFeatures, fields: dict[str, Any]
) -> list[Score]:
    suite = comparisons.suite
    others = [k for k in suite.k_sweep if k != suite.k and k < model.n]
    return [
        _of_agreement("cknna", comparisons.agreement("cknna", model, reference, k=k), k=k, **fields) for k in others
    ]


def _reconstructions(
    comparisons: Comparisons, model: ModelFeatures, reference: ModelFeatures, fields: dict[str, Any]
) -> list[Score]:
    atoms: dict[str, Any] = {**fields, "n": int(model.data.offsets[-1])}
    return [
        measured("gfre_to_reference", comparisons.reconstruction(model, reference), reason=NOT_PER_ATOM, **atoms),
        measured("gfre_from_reference", comparisons.reconstruction(reference, model), reason=NOT_PER_ATOM, **atoms),
    ]


def _of_agreement(id: str, agreement: Agreement | None, **fields: Any) -> Score:
    null: Null | None = None if agreement is None else agreement.null
    return measured(id, None if agreement is None else agreement.value, null=null, **fields)
