"""The data of the Compare page: every score of every model of a board, compactly."""

from __future__ import annotations

import json
from typing import Any

from leaderboard_site.board import HEADLINES, Board, Entry
from leaderboard_site.context import Site, pair_of
from leaderboard_site.tables import Row

FACTS = ("family", "symmetry", "modality", "parameters", "training_data", "overlaps", "fine_tuned_from", "released",
         "licence_weights")  # fmt: skip
SIDE_BY_SIDE = ("cknna", "information_imbalance", "gfre")
AT_FIRST = 3  # models compared before a reader chooses


def comparison(site: Site, board: Board) -> dict[str, Any]:
    """Models, headline cells, all scores and the pairs among them.

    Scores are columns: {id, title, dataset, target, layer, k, better} with one [value, low, high] a model.
    """
    entries = [entry for entry in board.entries if entry.status != "failed"]
    names = [entry.model for entry in entries]
    return {
        "models": [_facts(entry) for entry in entries],
        "headlines": [
            {
                "id": headline.id, "title": headline.title, "page": headline.page, "better": headline.higher_is_better,
                "cells": [_headline(entry, headline.id) for entry in entries],
            }
            for headline in HEADLINES
        ],
        "scores": _columns(site, board, names),
        "pairs": _pairs(site, board, names),
    }  # fmt: skip


def as_json(value: object) -> str:
    """Compact JSON; the template escapes what HTML would read."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _facts(entry: Entry) -> dict[str, Any]:
    facts: dict[str, Any] = {name: getattr(entry, name) for name in FACTS}
    return {"id": entry.model, "title": entry.title, "control": entry.control, "rank": _rank(entry), **facts}


def _rank(entry: Entry) -> list[int] | None:
    return None if entry.rank_low is None or entry.rank_high is None else [entry.rank_low, entry.rank_high]


def _headline(entry: Entry, headline: str) -> dict[str, Any]:
    cell = entry.cells[headline]
    if cell.value is None:
        return {"reason": cell.reason or entry.reason or "not measured"}
    return {
        "value": cell.value, "low": cell.low, "high": cell.high, "rank": [cell.rank_low, cell.rank_high],
        "of": cell.ranked, "beaten_by": cell.beaten_by,
    }  # fmt: skip


def _columns(site: Site, board: Board, names: list[str]) -> list[dict[str, Any]]:
    order = {name: index for index, name in enumerate(site.metrics)}
    headlines = {headline.id for headline in HEADLINES}
    columns: dict[tuple[Any, ...], dict[str, Any]] = {}
    for index, model in enumerate(names):
        for row in site.rows("scores", board, model):
            score, value = row.text("score"), row.number("value")
            if value is None or score in headlines:
                continue
            k = row.integer("k")
            key = (
                order.get(score, len(order)),
                score,
                row.text("dataset"),
                row.text("target"),
                row.text("layer"),
                k or 0,
            )
            column = columns.setdefault(key, _column(site, row, k, len(names)))
            column["cells"][index] = [_short(number) for number in (value, row.number("low"), row.number("high"))]
    return [columns[key] for key in sorted(columns)]


def _column(site: Site, row: Row, k: int | None, models: int) -> dict[str, Any]:
    score = row.text("score")
    metric = site.metrics.get(score)
    direction = metric.text("direction") if metric else ""
    return {
        "id": score, "title": site.metric_title(score), "dataset": row.text("dataset"), "target": row.text("target"),
        "layer": row.text("layer"), "k": k, "group": metric.text("group") if metric else "",
        "better": {"higher": True, "lower": False}.get(direction), "cells": [None] * models,
    }  # fmt: skip


def _pairs(site: Site, board: Board, names: list[str]) -> list[dict[str, Any]]:
    """A square of values a metric and data set, from the row's model to the column's."""
    found = []
    for metric in SIDE_BY_SIDE:
        for dataset, values in site.pairs[board.id].get(metric, {}).items():
            square = [[None if a == b else _short(pair_of(values, a, b)) for b in names] for a in names]
            found.append({
                "id": metric, "title": site.pair_title(metric), "dataset": dataset, "values": square,
                "closer": site.higher_is_closer(metric),
            })  # fmt: skip
    return found


def _short(value: float | None) -> float | None:
    """Five significant digits, more than any page shows."""
    return None if value is None else float(f"{value:.5g}")
