"""Every page of the site as text: which template gets which rows.

All templates run with autoescape on: whatever a table holds is text, never markup.
"""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from leaderboard_site import charts, text
from leaderboard_site.board import HEADLINES, Board, Cell, Entry, Headline, read_boards
from leaderboard_site.tables import Row, TableError, Tables

HERE = Path(__file__).parent
PairValues = dict[str, dict[str, dict[tuple[str, str], float]]]  # metric -> data set -> (a, b) -> value
NEIGHBOURS = 5  # nearest and farthest models on a model's page
NEAREST_METRIC = "cknna"
# Groups of scores that are read beside a headline score, other than its own.
COMPANION_GROUPS = {"collapse_information": ("representation",)}

# Columns of the overall table that a reader may switch on and off: id, title, shown at first.
OPTIONAL_COLUMNS = (
    ("borda", "Borda", True),
    *((headline.page, headline.title, True) for headline in HEADLINES),
    ("parameters", "Parameters", True),
    ("training", "Training data", True),
    ("symmetry", "Symmetry", False),
    ("modality", "Modality", False),
    ("licence", "Licence of weights", False),
    ("released", "Released", False),
)

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
}


@dataclass(frozen=True)
class Site:
    """The tables, sorted out for the pages."""

    tables: Tables
    boards: list[Board]
    models: dict[str, Row]
    metrics: dict[str, Row]
    pairs: dict[str, PairValues]  # by suite
    environment: Environment = field(repr=False)

    def render(self, template: str, path: str, **context: Any) -> tuple[str, str]:
        """Render `template` for the page at `path`; `root` leads from there to the site's top."""
        page = self.environment.get_template(template)
        return path, page.render(path=path, root="../" * path.count("/"), site=self, **context)

    def metric_title(self, identity: str) -> str:
        row = self.metrics.get(identity)
        return row.text("title") if row else identity.replace("_", " ")

    def pair_metric(self, identity: str) -> Row | None:
        """The record of a pairwise metric, or of its comparison with the reference."""
        return self.metrics.get(identity) or self.metrics.get(f"{identity}_to_reference")

    def pair_title(self, identity: str) -> str:
        """Its title without the models that a directed record names after a comma."""
        row = self.pair_metric(identity)
        if row is None:
            return identity.replace("_", " ")
        title = row.text("title")
        return title if row.text("id") == identity else title.partition(",")[0]

    def model_title(self, model: str) -> str:
        row = self.models.get(model)
        return (row.text("title") if row else "") or model


def site_pages(tables: Tables) -> dict[str, str]:
    """Path -> HTML of every page."""
    models = {row.identifier("model"): row for row in tables["models"]}
    metrics = {row.identifier("id"): row for row in tables["metrics"]}
    boards = read_boards(tables)
    pairs = {board.id: _pair_values(tables, board) for board in boards}
    site = Site(tables, boards, models, metrics, pairs, _environment())
    for board in site.boards:
        unknown = [entry.model for entry in board.entries if entry.model not in models]
        if unknown:
            raise TableError(f"models.csv: no row for {', '.join(unknown)}, which leaderboard.csv lists")
    return dict(_pages(site))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (HERE / "static" / "table.js").read_text(encoding="utf-8")
    environment.globals |= {
        "headlines": HEADLINES,
        "text": text,
        "charts": charts,
        # An inline module also runs from file://, where a module in its own file may not be loaded;
        # the policy names its digest, so no other script can run on any page.
        "script": Markup(script),
        "script_digest": b64encode(sha256(script.encode()).digest()).decode(),
    }
    return environment


def _pages(site: Site) -> Iterator[tuple[str, str]]:
    for board in site.boards:
        yield _overall_page(site, board)
        for headline in HEADLINES:
            yield _score_page(site, board, headline)
        yield from _map_pages(site, board)
    for name in site.models:
        yield _model_page(site, name)
    yield site.render("methods.html", "methods.html", board=site.boards[0], groups=_groups(site))
    yield site.render("datasets.html", "datasets.html", board=site.boards[0], rows=site.tables["datasets"])
    yield site.render("downloads.html", "downloads.html", board=site.boards[0], downloads=_downloads(site))


def _overall_page(site: Site, board: Board) -> tuple[str, str]:
    filters = {
        "training": sorted({name for entry in board.models for name in entry.training_data}),
        "symmetry": sorted({entry.symmetry for entry in board.models} - {""}),
        "modality": sorted({entry.modality for entry in board.models} - {""}),
        "licence": sorted({entry.licence_weights for entry in board.models} - {""}),
    }
    return site.render(
        "index.html",
        f"{board.folder}index.html",
        board=board,
        scales=_scales(board),
        columns=OPTIONAL_COLUMNS,
        labels={headline.page: f"{headline.title} {headline.arrow}" for headline in HEADLINES},
        filters=filters,
        counts=_counts(site, board),
    )


def _counts(site: Site, board: Board) -> list[tuple[int, str]]:
    ranked = sum(1 for entry in board.models if entry.rank_low is not None)
    families = len({entry.family for entry in board.models})
    datasets = {board.suite.text(role) for role in ("in_distribution", "out_of_distribution", "probe_dataset")}
    structures = sum(
        row.integer("structures") or 0 for row in site.tables["datasets"] if row.text("dataset") in datasets
    )
    return [
        (ranked, "ranked models"),
        (families, "families"),
        (len(board.controls), "control rows"),
        (structures, "structures"),
    ]


def _scales(board: Board) -> dict[str, charts.Scale]:
    """An axis a headline score, spanned by the models; controls off the axis are drawn at its edge."""
    return {
        headline.id: charts.scale_of([entry.cells[headline.id] for entry in board.models]) for headline in HEADLINES
    }


def _score_page(site: Site, board: Board, headline: Headline) -> tuple[str, str]:
    models, controls = board.sorted_by(headline)
    return site.render(
        "score.html",
        f"{board.folder}{headline.page}.html",
        board=board,
        headline=headline,
        metric=site.metrics.get(headline.id),
        models=models,
        controls=controls,
        scale=_scales(board)[headline.id],
        companions=_companions(site, board, headline),
    )


@dataclass(frozen=True)
class Companion:
    """A score shown beside a headline score: one column, model -> row of the scores table."""

    metric: Row
    dataset: str
    target: str
    rows: dict[str, Row]


def _companions(site: Site, board: Board, headline: Headline) -> list[Companion]:
    """Scores of the headline's group, in the catalogue's order, a column for each data set and target."""
    own = site.metrics.get(headline.id)
    if own is None:
        return []
    groups = {own.text("group"), *COMPANION_GROUPS.get(headline.id, ())}
    order = {name: index for index, name in enumerate(site.metrics)}
    shown = {name for name, row in site.metrics.items() if row.text("group") in groups and name != headline.id}
    columns: dict[tuple[int, str, str], Companion] = {}
    for row in site.tables["scores"]:
        name = row.text("score")
        if name in shown and board.owns(row) and row.text("layer") in ("", "backbone") and row.text("value"):
            key = (order[name], row.text("dataset"), row.text("target"))
            column = columns.setdefault(key, Companion(site.metrics[name], key[1], key[2], {}))
            # A sweep over k repeats a score; the suite's own k is the one that is published.
            if row.text("model") not in column.rows or row.integer("k") == board.suite.integer("k"):
                column.rows[row.text("model")] = row
    return [columns[key] for key in sorted(columns)]


def _pair_values(tables: Tables, board: Board) -> PairValues:
    """metric -> data set -> (a, b) -> value, in the tables' order."""
    values: PairValues = defaultdict(lambda: defaultdict(dict))
    for row in tables["pairs"]:
        value = row.number("value")
        if board.owns(row) and value is not None:
            values[row.identifier("metric")][row.text("dataset")][(row.text("a"), row.text("b"))] = value
    return values


def map_page(metric: str) -> str:
    """File name of a metric's heat map."""
    return "map.html" if metric == NEAREST_METRIC else f"map-{metric}.html"


def _map_pages(site: Site, board: Board) -> Iterator[tuple[str, str]]:
    values = site.pairs[board.id]
    metrics = sorted(values, key=lambda metric: (metric != NEAREST_METRIC, metric))
    if NEAREST_METRIC not in values:  # the navigation always leads to map.html
        metrics = [NEAREST_METRIC, *metrics]
    for metric in metrics:
        row = site.pair_metric(metric)
        higher_is_closer = row is None or row.text("direction") != "lower"
        maps = [
            (dataset, matrix)
            for dataset, pairs in values.get(metric, {}).items()
            if (matrix := charts.clustered_matrix(pairs, higher_is_closer)) is not None
        ]
        yield site.render(
            "map.html",
            board.folder + map_page(metric),
            board=board,
            metric=metric,
            row=row,
            maps=maps,
            links=[(name, map_page(name)) for name in metrics],
            higher_is_closer=higher_is_closer,
            controls={entry.model for entry in board.controls},
        )


@dataclass(frozen=True)
class Standing:
    """One model in one suite, for its own page."""

    board: Board
    entry: Entry
    scores: list[Row]
    layers: list[Row]
    nearest: list[tuple[str, float]]
    farthest: list[tuple[str, float]]
    scales: dict[str, charts.Scale]
    quality: list[str]
    costs: list[Row]

    def headline_cells(self) -> list[tuple[Headline, Cell]]:
        return [(headline, self.entry.cells[headline.id]) for headline in HEADLINES]


def _model_page(site: Site, name: str) -> tuple[str, str]:
    standings = [
        _standing(site, board, entry) for board in site.boards for entry in board.entries if entry.model == name
    ]
    measures = [
        column
        for column in (site.tables["layers"][0].cells if site.tables["layers"] else {})
        if column not in ("suite", "suite_version", "model", "dataset", "layer", "level", "dimension", "irreps")
    ]
    return site.render(
        "model.html",
        f"models/{name}.html",
        board=site.boards[0],
        model=site.models[name],
        name=name,
        standings=standings,
        measures=measures,
        # The checks do not depend on the suite; a model in two suites shows them once.
        conformance=list(
            {row.text("check"): row for row in site.tables["conformance"] if row.text("model") == name}.values()
        ),
        children=[other for other, row in site.models.items() if row.text("fine_tuned_from") == name],
        nearest_metric=NEAREST_METRIC,
    )


def _standing(site: Site, board: Board, entry: Entry) -> Standing:
    controls = {control.model for control in board.controls}
    pairs = site.pairs[board.id].get(NEAREST_METRIC, {}).get(board.suite.text("in_distribution"), {})
    others = {(b if a == entry.model else a): value for (a, b), value in pairs.items() if entry.model in (a, b)}
    by_closeness = sorted(
        ((other, value) for other, value in others.items() if other not in controls),
        key=lambda item: (-item[1], item[0]),
    )
    shown = min(NEIGHBOURS, len(by_closeness) // 2)
    return Standing(
        board=board,
        entry=entry,
        scores=_scores_of(site, board, entry.model),
        layers=[row for row in site.tables["layers"] if board.owns(row) and row.text("model") == entry.model],
        nearest=by_closeness[:shown],
        farthest=by_closeness[::-1][:shown],
        scales=_scales(board),
        quality=[
            row.text("line") for row in site.tables["quality"] if board.owns(row) and row.text("model") == entry.model
        ],
        costs=[row for row in site.tables["costs"] if board.owns(row) and row.text("model") == entry.model],
    )


def _scores_of(site: Site, board: Board, model: str) -> list[Row]:
    """A model's scores in the catalogue's order, then by data set, target and k."""
    order = {name: index for index, name in enumerate(site.metrics)}

    def key(row: Row) -> tuple[int, str, str, str, int]:
        place = order.get(row.text("score"), len(order))
        return (place, row.text("score"), row.text("dataset"), row.text("target"), row.integer("k") or 0)

    rows = [row for row in site.tables["scores"] if board.owns(row) and row.text("model") == model]
    return sorted(rows, key=key)


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
    """Table name, what it holds, number of rows, files with their size in bytes."""
    files: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for path in site.tables.files:
        files[path.stem].append((path.name, path.stat().st_size))
    return [(name, title, len(site.tables[name]), files[name]) for name, title in TABLE_TITLES.items()]
