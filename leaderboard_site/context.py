"""The tables sorted out for the pages: boards, models, scores by model, pairs by metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from leaderboard_site import charts, clustering, text
from leaderboard_site.board import HEADLINES, Board, read_boards
from leaderboard_site.tables import Row, TableError, Tables

HERE = Path(__file__).parent
PairValues = dict[str, dict[str, dict[tuple[str, str], float]]]  # metric -> data set -> (a, b) -> value
OWNED = ("scores", "layers", "pooling", "learning_curves", "quality", "costs", "coordinates")
BACKBONE = "backbone"
BOARD_PAGES = {"index.html", "map.html", "figures.html", "compare.html", *(f"{h.page}.html" for h in HEADLINES)}


@dataclass(frozen=True)
class Site:
    """The tables, sorted out for the pages."""

    tables: Tables
    boards: list[Board]
    models: dict[str, Row]
    metrics: dict[str, Row]
    pairs: dict[str, PairValues]  # by suite
    owned: dict[tuple[str, str], dict[str, list[Row]]] = field(repr=False)  # (table, suite) -> model -> rows
    by_score: dict[str, dict[tuple[str, str], list[Row]]] = field(repr=False)  # suite -> (model, score) -> rows
    conformance: dict[str, list[Row]] = field(repr=False)  # by model
    environment: Environment = field(repr=False)

    def render(self, template: str, path: str, **context: Any) -> tuple[str, str]:
        """Render `template` for the page at `path`; `root` leads from there to the site's top.

        `tab` is the page's name among its board's own pages, empty for a page of the whole site.
        """
        page = self.environment.get_template(template)
        board: Board = context["board"]
        name = path.removeprefix(board.folder) if path.startswith(board.folder) else ""
        tab = "map.html" if name.startswith("map-") else name if name in BOARD_PAGES else ""
        return path, page.render(path=path, tab=tab, root="../" * path.count("/"), site=self, **context)

    def rows(self, table: str, board: Board, model: str) -> list[Row]:
        """The rows of one model in one suite, in the table's order."""
        return self.owned[table, board.id].get(model, [])

    def score(
        self, board: Board, model: str, score: str, dataset: str = "", target: str = "", layer: str = ""
    ) -> Row | None:
        """One score of one model; of a sweep over k, the row with the suite's own k.

        An empty `dataset` or `target` matches any, an empty `layer` the suite's own layer.
        """
        found = None
        for row in self.by_score[board.id].get((model, score), []):
            if (
                dataset in ("", row.text("dataset"))
                and target in ("", row.text("target"))
                and row.text("layer") in ((layer,) if layer else ("", BACKBONE))
            ):
                if row.integer("k") == board.suite.integer("k"):
                    return row
                found = found or row
        return found

    def value(
        self, board: Board, model: str, score: str, dataset: str = "", target: str = "", layer: str = ""
    ) -> float | None:
        """The value of `score`, None where there is none."""
        row = self.score(board, model, score, dataset, target, layer)
        return row.number("value") if row else None

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

    def higher_is_closer(self, identity: str) -> bool:
        row = self.pair_metric(identity)
        return row is None or row.text("direction") != "lower"

    def model_title(self, model: str) -> str:
        row = self.models.get(model)
        return (row.text("title") if row else "") or model

    def dataset_title(self, dataset: str) -> str:
        rows = [row for row in self.tables["datasets"] if row.text("dataset") == dataset]
        return (rows[0].text("title") if rows else "") or dataset


def read_site(tables: Tables) -> Site:
    """Sort the tables out. Raises TableError for a model that one table lists and models.csv does not."""
    models = {row.identifier("model"): row for row in tables["models"]}
    boards = read_boards(tables)
    for board in boards:
        unknown = [entry.model for entry in board.entries if entry.model not in models]
        if unknown:
            raise TableError(f"models.csv: no row for {', '.join(unknown)}, which leaderboard.csv lists")
    conformance: dict[str, list[Row]] = defaultdict(list)
    for row in tables["conformance"]:
        conformance[row.text("model")].append(row)
    owned = {(name, board.id): rows for name in OWNED for board, rows in _by_model(tables[name], boards)}
    return Site(
        tables,
        boards,
        models,
        {row.identifier("id"): row for row in tables["metrics"]},
        _pair_values(tables, boards),
        owned,
        {board.id: _by_score(owned["scores", board.id]) for board in boards},
        conformance,
        _environment(),
    )


def _by_model(rows: list[Row], boards: list[Board]) -> list[tuple[Board, dict[str, list[Row]]]]:
    places: dict[tuple[str, int | None], dict[str, list[Row]]] = {
        (board.id, board.suite.integer("version")): {} for board in boards
    }
    for row in rows:
        place = places.get((row.text("suite"), row.integer("suite_version")))
        if place is not None:
            place.setdefault(row.text("model"), []).append(row)
    return list(zip(boards, places.values(), strict=True))


def _by_score(by_model: dict[str, list[Row]]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for model, rows in by_model.items():
        for row in rows:
            found[model, row.text("score")].append(row)
    return found


def _pair_values(tables: Tables, boards: list[Board]) -> dict[str, PairValues]:
    """suite -> metric -> data set -> (a, b) -> value, in the tables' order."""
    versions = {board.id: board.suite.integer("version") for board in boards}
    values: dict[str, PairValues] = {board.id: defaultdict(lambda: defaultdict(dict)) for board in boards}
    checked: set[str] = set()
    current: dict[tuple[str, str], bool] = {}  # this table is the longest; what repeats is read once
    for row in tables["pairs"]:
        suite, metric, version = row.text("suite"), row.text("metric"), row.text("suite_version")
        if (suite, version) not in current:
            current[suite, version] = suite in versions and versions[suite] == row.integer("suite_version")
        if not current[suite, version]:
            continue
        if metric not in checked:  # it becomes the name of a page
            checked.add(row.identifier("metric"))
        value = row.number("value")
        if value is not None:
            values[suite][metric][row.text("dataset")][(row.text("a"), row.text("b"))] = value
    return values


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"headlines": HEADLINES, "text": text, "charts": charts, "shades": clustering.SHADES}
    return environment


def pair_of(values: Mapping[tuple[str, str], float], a: str, b: str) -> float | None:
    """The value from `a` to `b`, or the one of the pair where a metric has no direction."""
    found = values.get((a, b))
    return values.get((b, a)) if found is None else found
