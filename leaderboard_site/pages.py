"""Every page of the site as text: which template gets which rows.

All templates run with autoescape on: whatever a table holds is text, never markup.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from leaderboard_site import changes, compare, overview, text
from leaderboard_site.board import HEADLINES, Board, Headline
from leaderboard_site.clustering import clustered_matrix
from leaderboard_site.context import BACKBONE, Site, read_site
from leaderboard_site.figure_pages import Plate, figure_pages, plates
from leaderboard_site.figures.catalogue import HEAT_MAPS, NEAREST_METRIC
from leaderboard_site.figures.figure import AS_DATA
from leaderboard_site.model_pages import model_pages
from leaderboard_site.tables import EXTRA_COLUMNS, Row, Tables

# Groups of scores that are read beside a headline score, other than its own.
COMPANION_GROUPS = {"collapse_information": ("representation",)}

TABLE_TITLES = {
    "leaderboard": "One row a model and suite: ranks, headline scores with interval and null, facts about the model.",
    "scores": "Every score in long form, with null, p-value, sizes, and the reason where there is no value.",
    "pairs": "Every pair of models: similarity metrics, with null and calibrated value.",
    "layers": "Each layer's shape and geometry.",
    "pooling": "The suite's layer pooled to means and to higher cumulants over the atoms, and what each holds.",
    "learning_curves": "What a linear probe reads from 32, 64, ... training structures, with the spread over draws.",
    "models": "Who made a model, from what, and how its features were computed.",
    "conformance": "What each adapter was checked for and with which outcome.",
    "quality": "Lines worth a reader's eye: dead columns, ties, models at the null.",
    "costs": "Time and memory of each embedding: the one table that two equal runs may disagree on.",
    "datasets": "Structures, labels, licence, source and fingerprint of each data set.",
    "metrics": "Formula, reading, pitfalls, source and null of each score.",
    "suites": "Roles of data sets and models, sizes and seeds, changelog.",
    "coordinates": "Structures in two dimensions, for maps.",
    "changelog": "Dated changes: scores, suites, models withdrawn.",
}


def site_pages(tables: Tables) -> dict[str, str]:
    """Path -> text of every page and of every file made from the tables."""
    return dict(_pages(read_site(tables)))


def _pages(site: Site) -> Iterator[tuple[str, str]]:
    for board in site.boards:
        drawn = plates(site, board)
        yield _overall_page(site, board)
        for headline in HEADLINES:
            yield _score_page(site, board, headline, [p for p in drawn if headline.page in p.figure.pages])
        yield from _map_pages(site, board, drawn)
        yield from figure_pages(site, board, drawn)
        yield _compare_page(site, board)
    yield from model_pages(site)
    front = site.boards[0]
    yield site.render("methods.html", "methods.html", board=front, groups=_groups(site))
    yield site.render("datasets.html", "datasets.html", board=front, rows=site.tables["datasets"])
    yield site.render("downloads.html", "downloads.html", board=front, downloads=_downloads(site))
    yield site.render("submit.html", "submit.html", board=front)
    found = changes.changes(site.tables, site.boards)
    yield site.render("changelog.html", "changelog.html", board=front, changes=found, kinds=changes.KINDS,
                      withdrawn=changes.withdrawn(site.tables["changelog"]))  # fmt: skip
    yield "feed.xml", changes.feed(found).decode()


def _overall_page(site: Site, board: Board) -> tuple[str, str]:
    return site.render(
        "index.html",
        f"{board.folder}index.html",
        board=board,
        scales=overview.scales(board),
        columns=overview.COLUMNS,
        presets=overview.PRESETS,
        labels={headline.page: f"{headline.title} {headline.arrow}" for headline in HEADLINES},
        filters=overview.filters(site, board),
        hardware={entry.model: overview.hardware(site, entry) for entry in board.entries},
        counts=overview.counts(site, board),
    )


def _score_page(site: Site, board: Board, headline: Headline, drawn: list[Plate]) -> tuple[str, str]:
    models, controls = board.sorted_by(headline)
    return site.render(
        "score.html",
        f"{board.folder}{headline.page}.html",
        board=board,
        headline=headline,
        metric=site.metrics.get(headline.id),
        models=models,
        controls=controls,
        scale=overview.scales(board)[headline.id],
        companions=_companions(site, board, headline),
        plates=drawn,
    )


@dataclass(frozen=True)
class Companion:
    """A score shown beside a headline score: one column, model -> value and what hovers over it."""

    metric: Row
    dataset: str
    target: str
    cells: dict[str, tuple[str, str]]


def _companions(site: Site, board: Board, headline: Headline) -> list[Companion]:
    """Scores of the headline's group, in the catalogue's order, a column for each data set and target."""
    own = site.metrics.get(headline.id)
    if own is None:
        return []
    groups = {own.text("group"), *COMPANION_GROUPS.get(headline.id, ())}
    order = {name: index for index, name in enumerate(site.metrics)}
    shown = {name for name, row in site.metrics.items() if row.text("group") in groups and name != headline.id}
    columns: dict[tuple[int, str, str], dict[str, Row]] = {}
    for row in (row for entry in board.entries for row in site.rows("scores", board, entry.model)):
        name = row.text("score")
        if name in shown and row.text("layer") in ("", BACKBONE) and row.text("value"):
            key = (order[name], row.text("dataset"), row.text("target"))
            column = columns.setdefault(key, {})
            # A sweep over k repeats a score; the suite's own k is the one that is published.
            if row.text("model") not in column or row.integer("k") == board.suite.integer("k"):
                column[row.text("model")] = row
    names = list(site.metrics)
    return [
        Companion(
            site.metrics[names[place]], dataset, target, {model: _companion_cell(row) for model, row in rows.items()}
        )
        for (place, dataset, target), rows in sorted(columns.items())
    ]


def _companion_cell(row: Row) -> tuple[str, str]:
    interval = text.interval(row.number("low"), row.number("high"))
    quantile = row.number("null_quantile95")
    notes = [f"interval {interval}" if interval else "", f"null 95 % {text.number(quantile)}" if quantile else ""]
    return text.number(row.number("value")), "; ".join(note for note in notes if note)


def map_page(metric: str) -> str:
    """File name of a metric's heat map."""
    return "map.html" if metric == NEAREST_METRIC else f"map-{metric}.html"


def _map_pages(site: Site, board: Board, drawn: list[Plate]) -> Iterator[tuple[str, str]]:
    values = site.pairs[board.id]
    metrics = sorted(values, key=lambda metric: (metric != NEAREST_METRIC, metric))
    if NEAREST_METRIC not in values:  # the navigation always leads to map.html
        metrics = [NEAREST_METRIC, *metrics]
    datasets = (board.suite.text("in_distribution"), board.suite.text("out_of_distribution"))
    ids = {plate.figure.id for plate in drawn if plate.drawing}
    heat_maps = {name: id for name, id in zip(datasets, HEAT_MAPS, strict=True) if id in ids}
    for metric in metrics:
        closer = site.higher_is_closer(metric)
        maps = [
            (dataset, matrix)
            for dataset, pairs in values.get(metric, {}).items()
            if (matrix := clustered_matrix(pairs, closer)) is not None
        ]
        yield site.render(
            "map.html",
            board.folder + map_page(metric),
            board=board,
            metric=metric,
            row=site.pair_metric(metric),
            maps=maps,
            links=[(name, map_page(name)) for name in metrics],
            higher_is_closer=closer,
            controls={entry.model for entry in board.controls},
            plates=[plate for plate in drawn if "map" in plate.figure.pages] if metric == NEAREST_METRIC else [],
            files=heat_maps if metric == NEAREST_METRIC else {},
        )


def _compare_page(site: Site, board: Board) -> tuple[str, str]:
    first = [entry for entry in board.models if entry.status != "failed"][: compare.AT_FIRST]
    content = compare.as_json(compare.comparison(site, board)).translate(AS_DATA)
    return site.render("compare.html", f"{board.folder}compare.html", board=board, first=first, content=Markup(content))


@dataclass(frozen=True)
class MetricGroup:
    """Scores that belong together, the headline score first."""

    title: str
    rows: list[Row]


def _groups(site: Site) -> list[MetricGroup]:
    """The catalogue by group, both in its order."""
    groups: dict[str, list[Row]] = {}
    for row in site.tables["metrics"]:
        groups.setdefault(row.text("group"), []).append(row)
    return [
        MetricGroup(name.replace("_", " ").capitalize(), sorted(rows, key=lambda row: not row.flag("headline")))
        for name, rows in groups.items()
    ]


def _downloads(site: Site) -> list[tuple[str, str, int, list[tuple[str, int]]]]:
    """Table name, what it holds, number of rows, files with their size in bytes. Extra tables only where they are."""
    files: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for path in site.tables.files:
        files[path.stem].append((path.name, path.stat().st_size))
    shown = [name for name in TABLE_TITLES if name not in EXTRA_COLUMNS or name not in site.tables.missing]
    return [(name, TABLE_TITLES[name], len(site.tables[name]), files[name]) for name in shown]
