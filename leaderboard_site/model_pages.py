"""The page of a model: where it stands in each suite, what it is, how to make its rows again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from leaderboard_site import charts, overview, text
from leaderboard_site.board import HEADLINES, Board, Cell, Entry, Headline
from leaderboard_site.changes import withdrawn
from leaderboard_site.context import Site
from leaderboard_site.figures.catalogue import NEAREST_METRIC
from leaderboard_site.tables import Row

NEIGHBOURS = 5  # nearest and farthest models on a model's page
VECTOR_CHANNELS = ("r2_partial_vectors", "r2_vector")
CHANNELS = ("r2_partial", "r2_vector_scalars", *VECTOR_CHANNELS)
LAYER_FACTS = ("suite", "suite_version", "model", "dataset", "layer", "level", "dimension", "irreps", "pooling")


@dataclass(frozen=True)
class Line:
    """One row of the table of all scores, as it is written."""

    score: str
    place: tuple[str, ...]  # data set, target, versus, layer
    value: str
    numbers: tuple[str, ...]  # interval, null mean, null 95 %, p, n, d, k
    reason: str
    beaten_by: str


@dataclass(frozen=True)
class Standing:
    """One model in one suite, for its own page."""

    board: Board
    entry: Entry
    lines: list[Line]
    layers: list[Row]
    measures: list[str]
    channels: list[Line]
    both_sides: list[tuple[Row, Row]]
    nearest: list[tuple[str, float]]
    farthest: list[tuple[str, float]]
    scales: dict[str, charts.Scale]
    quality: list[str]
    costs: list[Row]

    def headline_cells(self) -> list[tuple[Headline, Cell]]:
        return [(headline, self.entry.cells[headline.id]) for headline in HEADLINES]


def model_pages(site: Site) -> Iterator[tuple[str, str]]:
    """A page for each model of models.csv, and one for each that was withdrawn."""
    gone = withdrawn(site.tables["changelog"])
    for name in site.models:
        yield _model_page(site, name, gone.get(name))
    for name, row in gone.items():
        if name not in site.models:
            yield site.render("withdrawn.html", f"models/{name}.html", board=site.boards[0], name=name, change=row)


def _model_page(site: Site, name: str, change: Row | None) -> tuple[str, str]:
    standings = [
        _standing(site, board, entry) for board in site.boards for entry in board.entries if entry.model == name
    ]
    model = site.models[name]
    return site.render(
        "model.html",
        f"models/{name}.html",
        board=standings[0].board if standings else site.boards[0],
        model=model,
        name=name,
        standings=standings,
        # The checks do not depend on the suite; a model in two suites shows them once.
        conformance=list({row.text("check"): row for row in site.conformance.get(name, [])}.values()),
        children=[other for other, row in site.models.items() if row.text("fine_tuned_from") == name],
        nearest_metric=NEAREST_METRIC,
        change=change,
        citation=citation(model),
        link=next((item.partition("=")[2] for item in model.items("links")), ""),
    )


def citation(model: Row) -> str:
    """Who made the model, when, under which title."""
    authors = model.items("authors")
    names = ", ".join(authors[:-1]) + " and " + authors[-1] if len(authors) > 1 else "".join(authors)
    year = model.text("released")[:4]
    parts = [names, f"({year})" if year else "", model.text("family_title") or model.text("family")]
    return " ".join(part for part in parts if part)


def _standing(site: Site, board: Board, entry: Entry) -> Standing:
    others = _others(site, board, entry)
    shown = min(NEIGHBOURS, len(others) // 2)
    layers = site.rows("layers", board, entry.model)
    measures = [
        name
        for name in (layers[0].cells if layers else {})
        if name not in LAYER_FACTS and any(row.number(name) is not None for row in layers)
    ]
    scores = _scores_of(site, board, entry.model)
    return Standing(
        board=board,
        entry=entry,
        lines=[_line(row) for row in scores],
        layers=layers,
        measures=measures,
        channels=_channels(scores),
        both_sides=_both_sides(board, scores),
        nearest=others[:shown],
        farthest=others[::-1][:shown],
        scales=overview.scales(board),
        quality=[row.text("line") for row in site.rows("quality", board, entry.model)],
        costs=site.rows("costs", board, entry.model),
    )


def _line(row: Row) -> Line:
    null, quantile, p = row.number("null_mean"), row.number("null_quantile95"), row.number("p_value")
    return Line(
        row.text("score"),
        tuple(row.text(column) for column in ("dataset", "target", "versus", "layer")),
        text.number(row.number("value")),
        (
            text.interval(row.number("low"), row.number("high")),
            "" if null is None else text.number(null),
            "" if quantile is None else text.number(quantile),
            "" if p is None else text.p_value(p),
            *(text.whole(row.integer(column)) for column in ("n", "d", "k")),
        ),
        row.text("reason"),
        ", ".join(row.items("beaten_by")),
    )


def _others(site: Site, board: Board, entry: Entry) -> list[tuple[str, float]]:
    """The other models, controls left out, the most alike first."""
    controls = {control.model for control in board.controls}
    pairs = site.pairs[board.id].get(NEAREST_METRIC, {}).get(board.suite.text("in_distribution"), {})
    others = {(b if a == entry.model else a): value for (a, b), value in pairs.items() if entry.model in (a, b)}
    found = [(other, value) for other, value in others.items() if other not in controls]
    return sorted(found, key=lambda item: (-item[1], item[0]))


def _both_sides(board: Board, scores: list[Row]) -> list[tuple[Row, Row]]:
    """Scores measured alike in and out of distribution, as pairs of rows."""
    inside, outside = board.suite.text("in_distribution"), board.suite.text("out_of_distribution")
    if inside == outside:
        return []
    places: dict[tuple[str, str, str, str], dict[str, Row]] = {}
    for row in scores:
        if row.number("value") is not None and row.text("dataset") in (inside, outside):
            key = (row.text("score"), row.text("target"), row.text("versus"), row.text("layer"))
            places.setdefault(key, {}).setdefault(row.text("dataset"), row)
    return [(rows[inside], rows[outside]) for rows in places.values() if len(rows) == 2]


def _channels(scores: list[Row]) -> list[Line]:
    """What invariant and vector channels know of the same targets; nothing where no vector channels were probed."""
    known = [row for row in scores if row.text("score") in CHANNELS and row.number("value") is not None]
    vectors = [row for row in known if row.text("score") in VECTOR_CHANNELS]
    targets = {row.text("target") for row in vectors}
    return [_line(row) for row in known if row.text("target") in targets]


def _scores_of(site: Site, board: Board, model: str) -> list[Row]:
    """A model's scores in the catalogue's order, then by data set, target and k."""
    order = {name: index for index, name in enumerate(site.metrics)}

    def key(row: Row) -> tuple[int, str, str, str, int]:
        place = order.get(row.text("score"), len(order))
        return (place, row.text("score"), row.text("dataset"), row.text("target"), row.integer("k") or 0)

    return sorted(site.rows("scores", board, model), key=key)
