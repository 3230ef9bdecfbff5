"""What a suite's leaderboard says, as the pages need it: typed cells, ranks, order of rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from leaderboard_site.tables import Row, TableError, Tables

RESERVED = ("data", "figures", "models", "static")  # folders of the site; a suite's folder has its name


@dataclass(frozen=True)
class Headline:
    """One of the four headline scores. `side` is the unranked column shown beside it."""

    id: str
    page: str
    title: str
    higher_is_better: bool
    sentence: str
    side: tuple[str, str] | None = None
    in_overall: bool = True

    @property
    def arrow(self) -> str:
        return "↑" if self.higher_is_better else "↓"

    @property
    def direction(self) -> str:
        return "higher is better" if self.higher_is_better else "lower is better"


HEADLINES = (
    Headline(
        "alignment",
        "alignment",
        "Alignment",
        True,
        "How much of its neighbourhood structure a model shares with the reference model, beyond chance.",
        ("alignment_residual", "Without composition"),
    ),
    Headline(
        "collapse_information",
        "collapse",
        "OOD collapse",
        False,
        "The share of readable physics that is lost when structures leave the training distribution.",
        ("collapse_convergence", "Convergence"),
    ),
    Headline(
        "cpd",
        "cpd",
        "CPD probe R²",
        True,
        "What a linear probe reads from the representation once everything composition explains is projected out.",
        ("cpd_r2_geometry", "R² geometry"),
    ),
    Headline(
        "fine_tuning_bias",
        "fine-tuning",
        "Fine-tuning bias",
        False,
        "How much closer a fine-tuned model still is to its parent than to strangers; 1 is a linear image of it.",
        in_overall=False,
    ),
)


@dataclass(frozen=True)
class Cell:
    """One headline score of one model, with everything needed to distrust it."""

    value: float | None
    low: float | None
    high: float | None
    null_mean: float | None
    null_quantile95: float | None
    p_value: float | None
    rank_low: int | None
    rank_high: int | None
    ranked: int | None
    reason: str
    beaten_by: list[str]
    side: float | None

    @property
    def points(self) -> float | None:
        """What the Borda count gives for this score: one for each model surely worse, a half for each tie."""
        if self.rank_low is None or self.rank_high is None or self.ranked is None:
            return None
        return (self.ranked - self.rank_high) + 0.5 * (self.rank_high - self.rank_low)


@dataclass(frozen=True)
class Entry:
    """One row of a suite's leaderboard. `control` is empty for a real model."""

    model: str
    title: str
    family: str
    control: str
    is_reference: bool
    is_kin_of_reference: bool
    status: str
    reason: str
    verification: str
    doubts: list[str]
    rank_low: int | None
    rank_high: int | None
    borda: float | None
    borda_missing: str
    cells: dict[str, Cell]
    symmetry: str
    modality: str
    parameters: int | None
    training_data: list[str]
    overlaps: list[str]
    fine_tuned_from: str
    superseded_by: str
    released: str
    licence_code: str
    licence_weights: str


@dataclass(frozen=True)
class Board:
    """A suite, its models best first, its control rows apart. `folder` is "" or "<suite>/"."""

    suite: Row
    folder: str
    models: list[Entry]
    controls: list[Entry]

    @property
    def id(self) -> str:
        return self.suite.text("suite")

    @property
    def version(self) -> str:
        return self.suite.text("version")

    @property
    def title(self) -> str:
        return self.suite.text("title") or self.id

    @property
    def key(self) -> str:
        return f"{self.id}@{self.version}"

    @property
    def entries(self) -> list[Entry]:
        return [*self.models, *self.controls]

    @property
    def datasets(self) -> list[str]:
        """In distribution, out of distribution, probed, further ones: each once."""
        roles = ("in_distribution", "out_of_distribution", "probe_dataset")
        named = [name for role in roles if (name := self.suite.text(role))]
        return list(dict.fromkeys([*named, *self.suite.items("further_datasets")]))

    def role(self, dataset: str) -> str:
        """What a data set is to this suite, in words."""
        if dataset == self.suite.text("in_distribution"):
            return "in distribution"
        return "out of distribution" if dataset == self.suite.text("out_of_distribution") else ""

    def owns(self, row: Row) -> bool:
        """Whether a row of another table belongs to this version of this suite."""
        return row.text("suite") == self.id and row.integer("suite_version") == self.suite.integer("version")

    def sorted_by(self, headline: Headline) -> tuple[list[Entry], list[Entry]]:
        """Models and controls, best first in one score; rows without it last."""

        def key(entry: Entry) -> tuple[bool, float, str]:
            value = entry.cells[headline.id].value
            signed = 0.0 if value is None else -value if headline.higher_is_better else value
            return (value is None, signed, entry.model)

        return sorted(self.models, key=key), sorted(self.controls, key=key)


def read_boards(tables: Tables) -> list[Board]:
    """The newest version of each suite, in the order of suites.csv; the first one is the front page."""
    newest: dict[str, Row] = {}
    for suite in tables["suites"]:
        name = suite.identifier("suite")
        if name in RESERVED:
            raise suite.error("suite", f"an identifier other than {', '.join(RESERVED)}")
        if name not in newest or (suite.integer("version") or 0) > (newest[name].integer("version") or 0):
            newest[name] = suite
    if not newest:
        raise TableError("suites.csv: no suite; there is nothing to show")
    return [_board(suite, index == 0, tables["leaderboard"]) for index, suite in enumerate(newest.values())]


def _board(suite: Row, is_front: bool, leaderboard: Iterable[Row]) -> Board:
    name = suite.text("suite")
    shell = Board(suite, "" if is_front else f"{name}/", [], [])
    rows = [row for row in leaderboard if shell.owns(row)]
    reference = suite.text("reference")
    kin = relatives({row.text("model"): row.text("fine_tuned_from") for row in rows}, reference)
    entries = [_entry(row, reference, kin) for row in rows]
    entries.sort(key=_overall_order)
    return Board(
        suite,
        shell.folder,
        [entry for entry in entries if not entry.control],
        [entry for entry in entries if entry.control],
    )


def relatives(parents: Mapping[str, str], model: str) -> set[str]:
    """Who descends from `model`, whom it descends from, and who has an ancestor with it. parents: "" for none."""

    def line(name: str) -> set[str]:
        found: list[str] = []
        while name and name not in found:
            found.append(name)
            name = parents.get(name, "")
        return set(found)

    own = line(model)
    return {name for name in parents if name != model and own & line(name)}


def _overall_order(entry: Entry) -> tuple[bool, int, int, str]:
    unranked = entry.rank_low is None
    return (unranked, entry.rank_low or 0, entry.rank_high or 0, entry.model)


def _entry(row: Row, reference: str, kin: Collection[str]) -> Entry:
    model = row.identifier("model")
    return Entry(
        model=model,
        title=row.text("title") or model,
        family=row.text("family"),
        control=row.text("control"),
        is_reference=model == reference,
        is_kin_of_reference=model in kin,
        status=row.text("status"),
        reason=row.text("reason"),
        verification=row.text("verification"),
        doubts=row.items("doubts"),
        rank_low=row.integer("rank_low"),
        rank_high=row.integer("rank_high"),
        borda=row.number("borda"),
        borda_missing=row.text("borda_missing"),
        cells={headline.id: _cell(row, headline) for headline in HEADLINES},
        symmetry=row.text("symmetry"),
        modality=row.text("modality"),
        parameters=row.integer("parameters"),
        training_data=row.items("training_data"),
        overlaps=row.items("overlaps"),
        fine_tuned_from=row.text("fine_tuned_from"),
        superseded_by=row.text("superseded_by"),
        released=row.text("released"),
        licence_code=row.text("licence_code"),
        licence_weights=row.text("licence_weights"),
    )


def _cell(row: Row, headline: Headline) -> Cell:
    name = headline.id
    return Cell(
        value=row.number(name),
        low=row.number(f"{name}_low"),
        high=row.number(f"{name}_high"),
        null_mean=row.number(f"{name}_null"),
        null_quantile95=row.number(f"{name}_null_q95"),
        p_value=row.number(f"{name}_p"),
        rank_low=row.integer(f"{name}_rank_low"),
        rank_high=row.integer(f"{name}_rank_high"),
        ranked=row.integer(f"{name}_ranked"),
        reason=row.text(f"{name}_reason"),
        beaten_by=row.items(f"{name}_beaten_by"),
        side=row.number(headline.side[0]) if headline.side else None,
    )
