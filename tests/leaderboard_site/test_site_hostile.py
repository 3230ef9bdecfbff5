"""What a submission writes is text everywhere: in pages, drawings, data, and the feed."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from leaderboard_site.build import build_site
from leaderboard_site.tables import TableError
from tests.leaderboard_site.synthetic_board import edit_cell, write_results, write_table

MARKUP = "</script><script>alert('x')</script><img src=x onerror=alert(1)>"
FORMULA = '=HYPERLINK("https://example.org","x")'
FORMULAS = ("=", "+", "-", "@")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a board whose strangers' cells all try something."""
    folder = tmp_path_factory.mktemp("hostile")
    results = write_results(folder / "results")
    for row, (column, value) in enumerate(
        [("title", FORMULA), ("title", MARKUP), ("family", MARKUP), ("family", FORMULA)]
    ):
        edit_cell(results, "leaderboard", row, column, value)
    for column in ("title", "family", "family_title", "description", "authors", "note", "hardware", "reproduce"):
        edit_cell(results, "models", 0, column, MARKUP)
    edit_cell(results, "models", 1, "links", f"paper=javascript:alert(1);{FORMULA}=data:text/html,x")
    edit_cell(results, "leaderboard", 3, "training_data", f"{MARKUP};+1+cmd|' /C calc'!A0")
    edit_cell(results, "leaderboard", 4, "alignment_reason", MARKUP)
    edit_cell(results, "scores", 2, "target", MARKUP)
    edit_cell(results, "quality", 0, "line", MARKUP)
    rows = [{"date": "2026-05-01", "kind": "withdrawn", "model": "gone-1", "text": MARKUP}]
    write_table(results / "tables" / "changelog.csv", ["date", "kind", "suite", "suite_version", "model", "text"], rows)
    return build_site(results, folder / "out").parent


def test_no_page_has_an_element_that_a_stranger_wrote(attacked: Path) -> None:
    for path in attacked.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "<img src=x" not in text, path
        assert "<script>alert" not in text, path
        assert not re.search(r'href="\s*(javascript|data):', text, re.IGNORECASE), path


def test_drawings_are_well_formed_and_hold_no_script(attacked: Path) -> None:
    drawings = list(attacked.rglob("*.svg"))
    assert len(drawings) > 4
    for path in drawings:
        names = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
        assert names.isdisjoint({"script", "foreignObject", "img", "a"}), path


def test_data_of_charts_is_json_with_the_text_unchanged(attacked: Path) -> None:
    spec = json.loads((attacked / "figures" / "imbalance.json").read_text(encoding="utf-8"))
    assert MARKUP in {row.get("title") for row in spec["datasets"]["drawn"]}


def test_no_cell_of_a_csv_is_a_formula(attacked: Path) -> None:
    for path in attacked.rglob("*.csv"):
        with path.open(encoding="utf-8", newline="") as stream:
            for cell in (cell for row in csv.reader(stream) for cell in row):
                if cell.startswith(FORMULAS):
                    float(cell)  # a negative number is no formula
    with (attacked / "data" / "leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        assert f"'{FORMULA}" in {row["title"] for row in csv.DictReader(stream)}


def test_the_feed_is_well_formed_and_holds_the_text(attacked: Path) -> None:
    root = ElementTree.parse(attacked / "feed.xml").getroot()
    summaries = [element.text for element in root.iter("{http://www.w3.org/2005/Atom}summary")]
    assert MARKUP in summaries
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
        "feed", "title", "id", "updated", "author", "name", "link", "entry", "summary",
    }  # fmt: skip


@pytest.mark.browser
def test_nothing_that_a_stranger_wrote_runs(page: Any, attacked: Path) -> None:
    for name in ("index.html", "compare.html", "cpd.html", "figures/imbalance.html", "models/aster-large.html",
                 "models/gone-1.html", "changelog.html"):  # fmt: skip
        page.goto((attacked / name).as_uri())
        if name.startswith("figures/"):
            page.wait_for_selector('[data-live="true"]')
        assert page.locator("img[src='x']").count() == 0
    # The page fixture fails on a dialog or an error.


@pytest.mark.parametrize(
    ("table", "column"), [("leaderboard", "model"), ("suites", "suite"), ("models", "model"), ("pairs", "metric")]
)
def test_an_identifier_that_is_a_path_is_refused(results: Path, tmp_path: Path, table: str, column: str) -> None:
    edit_cell(results, table, 0, column, "../../../outside")
    with pytest.raises(TableError, match="identifier"):
        build_site(results, tmp_path / "out")
    assert not (tmp_path.parent / "outside").exists()
