"""OOD collapse: what is lost from the in-distribution set I to the out-of-distribution set O (PROTOCOL section 3.2).

Convergence: all models come to say the same. Information: less of the energy can be read. Both are shown; the second
is ranked, because noise is best at not converging.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.results.records import Score
from benchmark.scoring.comparisons import Comparisons
from benchmark.scoring.data import FloatArray, ModelFeatures
from benchmark.scoring.measured import measured, missing, null_of
from benchmark.scoring.probes import ProbeResult

NO_SKILL = "no skill to lose"


@dataclass(frozen=True, eq=False)
class Distance:
    """Mean symmetrised information imbalance to the panel on one data set, whole and on the subsamples."""

    value: float
    subsamples: FloatArray


def distance_to_panel(
    comparisons: Comparisons, model: ModelFeatures, members: Sequence[ModelFeatures]
) -> Distance | None:
    """s_D of the protocol; `members` are the unrelated panel models. None without any, or where undefined."""
    values, subsamples = [], []
    for member in members:
        for a, b in ((model, member), (member, model)):
            value = comparisons.imbalance(a, b)
            if value is None:
                return None
            values.append(value)
            subsamples.append(comparisons.resampled("information_imbalance", a, b))
    return Distance(float(np.mean(values)), np.mean(subsamples, axis=0)) if values else None


def convergence_scores(
    model: Sequence[Distance], composition: Sequence[Distance], datasets: Sequence[str]
) -> list[Score]:
    """Raw and calibrated convergence, each with its values on I and on O.

    model, composition: (s_I, s_O) of the model and (c_I, c_O) of the composition-only control; datasets: (I, O).
    """
    raw = _convergence(*(d.value for d in model))
    raw_subsamples = _convergence(*(d.subsamples for d in model))
    # 1 - (s_O / c_O) / (s_I / c_I), written with the two raw ratios
    expected = 1.0 - _convergence(*(d.value for d in composition))
    expected_subsamples = 1.0 - _convergence(*(d.subsamples for d in composition))
    calibrated = 1.0 - (1.0 - raw) / expected
    calibrated_subsamples = 1.0 - (1.0 - raw_subsamples) / expected_subsamples
    scores = [
        measured("collapse_convergence", float(calibrated), subsamples=calibrated_subsamples, k=1),
        measured("collapse_convergence_raw", float(raw), subsamples=raw_subsamples, k=1),
    ]
    for id, pair in (("convergence", model), ("convergence_composition", composition)):
        for distance, dataset in zip(pair, datasets, strict=True):
            scores.append(measured(id, distance.value, subsamples=distance.subsamples, dataset=dataset, k=1))
    return scores


def _convergence(inside: FloatArray | float, outside: FloatArray | float) -> FloatArray:
    ratio: FloatArray = np.asarray(outside) / np.asarray(inside)
    return 1.0 - ratio


@dataclass(frozen=True, eq=False)
class Skill:
    """What a model's energy probe reads beyond the best control, on one data set."""

    value: float
    subsamples: FloatArray
    shuffled: FloatArray
    control: str


def skill(probe: ProbeResult, controls: Mapping[str, ProbeResult]) -> Skill:
    """(r2_partial - c) / (1 - c), c the best control's r2_partial; the control is chosen once, on all structures."""
    best = max(sorted(controls), key=lambda name: controls[name].value("r2_partial"))
    c, c_subsamples = controls[best].value("r2_partial"), controls[best].subsamples("r2_partial")
    return Skill(
        value=(probe.value("r2_partial") - c) / (1.0 - c),
        subsamples=(probe.subsamples("r2_partial") - c_subsamples) / (1.0 - c_subsamples),
        shuffled=(probe.shuffled - c) / (1.0 - c),
        control=best,
    )


def information_scores(
    inside: Skill, outside: Skill, fields_inside: dict[str, Any], fields_outside: dict[str, Any]
) -> list[Score]:
    """`collapse_information` and the skills on I and on O.

    A ratio to a skill that may be 0 says nothing: the collapse is defined where skill_I exceeds what shuffled targets
    give and its interval lies above 0.
    """
    skills = [
        measured("skill", s.value, subsamples=s.subsamples, null=null_of("skill", s.value, s.shuffled), **fields)
        for s, fields in ((inside, fields_inside), (outside, fields_outside))
    ]
    held = skills[0]
    low = held.value if held.low is None else held.low
    if held.value is None or held.null is None or held.value <= held.null.quantile95 or low is None or low <= 0.0:
        return [missing("collapse_information", f"{NO_SKILL}: {_interval(held)} beyond {inside.control}"), *skills]
    value = 1.0 - outside.value / inside.value
    ratio = np.divide(
        outside.subsamples,
        inside.subsamples,
        out=np.full_like(inside.subsamples, np.nan),
        where=inside.subsamples > 0,
    )
    null = null_of("collapse_information", value, 1.0 - outside.shuffled / inside.value)
    return [measured("collapse_information", value, subsamples=1.0 - ratio, null=null), *skills]


def _interval(score: Score) -> str:
    if score.value is None:
        return "skill in distribution is not defined"
    interval = "" if score.low is None else f" [{score.low:.2f}, {score.high:.2f}]"
    return f"skill in distribution is {score.value:.2f}{interval}"
