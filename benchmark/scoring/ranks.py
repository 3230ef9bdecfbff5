"""Ranks from scores: ties, rank ranges, tie groups and the Borda count. Pure functions of published records.

Two models tie when the 95 % interval of their paired difference contains 0. The pairing is by subsample: every model
was scored on the same structures, so what is common to both cancels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.results.records import Record, Score
from benchmark.scoring.catalogue import OVERALL, better

INTERVAL = 1.96
"""Half width of an interval, in standard errors."""


@dataclass(frozen=True)
class Rank:
    """A model's place in one table.

    low, high: 1 + the models that are surely better, and N minus those that are surely worse. group: tie groups
    counted from 1, each led by its best model, whom no later member is surely worse than. points: one for each
    model that is surely worse, a half for each tie. `low` is None exactly when `reason` says why there is no rank.
    """

    model: str
    value: float | None
    low: int | None = None
    high: int | None = None
    group: int | None = None
    points: float = 0.0
    ties: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def text(self) -> str:
        """ "3", "2-4" or "" as a table shows it."""
        if self.low is None:
            return ""
        return str(self.low) if self.low == self.high else f"{self.low}–{self.high}"


@dataclass(frozen=True)
class Overall:
    """A model's Borda count. points, possible: by score; missing: score -> why it gave no points."""

    model: str
    total: float
    low: int
    high: int
    points: Mapping[str, float] = field(default_factory=dict)
    possible: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


def paired_difference(a: Score, b: Score) -> tuple[float, float]:
    """(a - b, its standard error): the spread of the paired differences over the subsamples that both have.

    Without common subsamples the two standard errors are added as if independent.
    """
    if a.value is None or b.value is None:
        raise ValueError(f"score {a.id}: a difference needs two values")
    pairs = zip(a.subsamples, b.subsamples, strict=False)
    differences = [x - y for x, y in pairs if x is not None and y is not None]
    if len(differences) >= 2:
        return a.value - b.value, float(np.std(differences, ddof=1))
    return a.value - b.value, float(np.hypot(a.standard_error or 0.0, b.standard_error or 0.0))


def surely_better(a: Score, b: Score) -> bool:
    """Whether `a` is better than `b` by more than the interval of their paired difference."""
    if a.value is None or b.value is None or not better(a.id, a.value, b.value):
        return False
    difference, error = paired_difference(a, b)
    return abs(difference) > INTERVAL * error


def rank(scores: Mapping[str, Score], unranked: Mapping[str, str] | None = None) -> dict[str, Rank]:
    """Ranks of models by one score each, in the order of a table: best value first, without a rank last.

    unranked: model -> why it takes no place (controls); it keeps its value and moves nobody.
    """
    excluded = unranked or {}
    placed = {name: s for name, s in scores.items() if s.value is not None and name not in excluded}
    ordered = _best_first(placed)
    wins = {name: {other for other in ordered if surely_better(placed[name], placed[other])} for name in ordered}
    groups = _tie_groups(ordered, wins)
    found = {}
    for name in ordered:
        beaten_by = sum(name in wins[other] for other in ordered)
        ties = tuple(o for o in ordered if o != name and o not in wins[name] and name not in wins[o])
        found[name] = Rank(
            model=name,
            value=placed[name].value,
            low=1 + beaten_by,
            high=len(ordered) - len(wins[name]),
            group=groups[name],
            points=len(wins[name]) + 0.5 * len(ties),
            ties=ties,
        )
    for name in sorted(set(scores) - set(placed)):
        score = scores[name]
        found[name] = Rank(name, score.value, reason=excluded.get(name) or score.reason or "no value")
    return found


def _best_first(scores: Mapping[str, Score]) -> list[str]:
    """Names by value, then by name. Where neither direction is better, the largest value comes first."""
    rising = all(better(score.id, 0.0, 1.0) for score in scores.values())
    return sorted(scores, key=lambda name: ((1 if rising else -1) * (scores[name].value or 0.0), name))


def _tie_groups(ordered: Sequence[str], wins: Mapping[str, Collection[str]]) -> dict[str, int]:
    groups: dict[str, int] = {}
    leader: str | None = None
    for name in ordered:
        if leader is None or name in wins[leader]:
            leader = name
            groups[name] = max(groups.values(), default=0) + 1
        else:
            groups[name] = groups[leader]
    return groups


def borda(tables: Mapping[str, Mapping[str, Rank]], models: Collection[str]) -> dict[str, Overall]:
    """Borda count of `models` over ranked tables (score -> ranks), best first.

    A score that a model lacks gives it no points, and `missing` says why; it takes nothing from the others.
    """
    totals, points, missing = {}, {}, {}
    possible = {
        score: max(0.0, sum(r.low is not None for r in table.values()) - 1.0) for score, table in tables.items()
    }
    for model in models:
        ranks = {score: table.get(model) for score, table in tables.items()}
        points[model] = {score: r.points for score, r in ranks.items() if r is not None and r.low is not None}
        missing[model] = {
            score: "not scored" if r is None else r.reason or "no value"
            for score, r in ranks.items()
            if r is None or r.low is None
        }
        totals[model] = sum(points[model].values())
    found = {}
    for model in sorted(models, key=lambda name: (-totals[name], name)):
        above = sum(total > totals[model] for total in totals.values())
        equal = sum(total == totals[model] for total in totals.values())
        found[model] = Overall(model, totals[model], above + 1, above + equal, points[model], possible, missing[model])
    return found


def tables(records: Mapping[str, Record], scores: Collection[str] = OVERALL) -> dict[str, dict[str, Rank]]:
    """One ranked table a score from published records; controls take no place."""
    controls = {name: f"control: {record.control}" for name, record in records.items() if record.control}
    found = {}
    for score in scores:
        rows = {}
        for name, record in records.items():
            reason = record.reason or ("not scored" if record.status != "failed" else "failed")
            rows[name] = record.score(score) or Score(id=score, value=None, reason=reason)
        found[score] = rank(rows, controls)
    return found


def overall(records: Mapping[str, Record]) -> dict[str, Overall]:
    """The Borda count over alignment, collapse and CPD of all records that are no controls."""
    return borda(tables(records), [name for name, record in records.items() if not record.control])
