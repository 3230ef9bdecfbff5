"""The overall table: which columns, presets and filters it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from leaderboard_site import charts
from leaderboard_site.board import HEADLINES, Board, Entry
from leaderboard_site.context import Site


@dataclass(frozen=True)
class Column:
    """A column that a reader may switch on and off."""

    id: str
    title: str
    shown: bool


COLUMNS = (
    Column("borda", "Borda", True),
    *(Column(headline.page, headline.title, True) for headline in HEADLINES),
    *(
        Column(f"{headline.page}-side", f"{headline.title}: {headline.side[1]}", False)
        for headline in HEADLINES
        if headline.side
    ),
    Column("parameters", "Parameters", True),
    Column("training", "Training data", True),
    Column("family", "Family", False),
    Column("symmetry", "Symmetry", False),
    Column("modality", "Modality", False),
    Column("licence", "Licence of weights", False),
    Column("hardware", "Verified on", False),
    Column("released", "Released", False),
)

_SCORES = ("borda", *(headline.page for headline in HEADLINES))
_SIDES = tuple(column.id for column in COLUMNS if column.id.endswith("-side"))
_FACTS = ("parameters", "training", "family", "symmetry", "modality", "licence", "hardware", "released")

PRESETS = (
    ("standard", "Standard", tuple(column.id for column in COLUMNS if column.shown)),
    ("scores", "Scores only", _SCORES),
    ("beside", "Scores and what is read beside them", (*_SCORES, *_SIDES)),
    ("facts", "Facts about the models", ("borda", *_FACTS)),
    ("all", "Everything", tuple(column.id for column in COLUMNS)),
)

SIZES = (("0-1e6", "under 1 M"), ("1e6-1e7", "1 to 10 M"), ("1e7-1e8", "10 to 100 M"), ("1e8-1e15", "over 100 M"))


@dataclass(frozen=True)
class Filter:
    """A choice among the values of one fact, each with the number of models that have it."""

    id: str
    title: str
    options: list[tuple[str, str, int]]  # value, label, models


def filters(site: Site, board: Board) -> list[Filter]:
    """Filters over the models of a board; one with a single value is left out."""

    def of(id: str, title: str, values: Iterable[str]) -> Filter:
        counts = Counter(value for value in values if value)
        return Filter(id, title, [(value, value, counts[value]) for value in sorted(counts, key=str.lower)])

    models = board.models
    sizes = [
        (value, label, count)
        for value, label in SIZES
        if (count := sum(_within(entry.parameters, value) for entry in models))
    ]
    found = [
        of("family", "Family", (entry.family for entry in models)),
        of("training", "Training data", (name for entry in models for name in entry.training_data)),
        of("symmetry", "Symmetry", (entry.symmetry for entry in models)),
        of("modality", "Modality", (entry.modality for entry in models)),
        of("licence", "Licence", (entry.licence_weights for entry in models)),
        Filter("size", "Parameters", sizes),
        of("hardware", "Verified on", (hardware(site, entry) for entry in models)),
    ]
    return [choice for choice in found if len(choice.options) > 1]


def _within(parameters: int | None, size: str) -> bool:
    low, high = (float(part) for part in size.split("-"))
    return parameters is not None and low <= parameters < high


def hardware(site: Site, entry: Entry) -> str:
    """What a model's features were made on."""
    row = site.models[entry.model]
    return row.text("hardware") or row.text("device")


def scales(board: Board) -> dict[str, charts.Scale]:
    """An axis a headline score, spanned by the models; controls off the axis are drawn at its edge."""
    return {
        headline.id: charts.scale_of([entry.cells[headline.id] for entry in board.models]) for headline in HEADLINES
    }


def counts(site: Site, board: Board) -> list[tuple[int, str]]:
    """Numbers above the table."""
    ranked = sum(1 for entry in board.models if entry.rank_low is not None)
    structures = sum(
        row.integer("structures") or 0 for row in site.tables["datasets"] if row.text("dataset") in board.datasets
    )
    return [
        (ranked, "ranked model" if ranked == 1 else "ranked models"),
        (len({entry.family for entry in board.models}), "families"),
        (len(board.controls), "control rows"),
        (structures, "structures"),
    ]
