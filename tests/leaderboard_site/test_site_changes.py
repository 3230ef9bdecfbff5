"""Dated changes, withdrawn models, and the feed."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from leaderboard_site.build import build_site
from leaderboard_site.changes import Change, feed
from leaderboard_site.tables import TableError
from tests.leaderboard_site.synthetic_board import write_table

ATOM = "{http://www.w3.org/2005/Atom}"
COLUMNS = ["date", "kind", "suite", "suite_version", "model", "text"]


def write_changelog(results: Path, **entry: str) -> None:
    row = {"date": "2026-05-01", "kind": "withdrawn", "model": "erbium", "text": "Its weights were retracted."}
    write_table(results / "tables" / "changelog.csv", COLUMNS, [row | entry])


def test_a_withdrawn_model_keeps_a_page_that_says_why(results: Path, tmp_path: Path) -> None:
    write_changelog(results)
    site = build_site(results, tmp_path / "out").parent
    assert "Its weights were retracted." in (site / "models" / "erbium.html").read_text()
    assert 'href="models/erbium.html"' in (site / "changelog.html").read_text()


def test_a_withdrawn_model_that_still_has_rows_says_so(results: Path, tmp_path: Path) -> None:
    write_changelog(results, model="cobalt-s")
    site = build_site(results, tmp_path / "out").parent
    assert "Withdrawn on 2026-05-01" in (site / "models" / "cobalt-s.html").read_text()


def test_a_feed_has_for_each_change_an_id_of_its_own_and_a_date() -> None:
    changes = [
        Change("2026-05-01", "score", "score changed: a", "why", ""),
        Change("2026-04-01", "site", "site", "", ""),
    ]
    root = ElementTree.fromstring(feed(changes))
    ids = [element.text for element in root.iter(f"{ATOM}id")]
    assert len(ids) == len(set(ids)) == 3
    assert root.findtext(f"{ATOM}updated") == "2026-05-01T00:00:00Z"
    assert [entry.findtext(f"{ATOM}summary") for entry in root.iter(f"{ATOM}entry")] == ["why", "site"]


def test_a_feed_drops_what_xml_cannot_hold() -> None:
    root = ElementTree.fromstring(feed([Change("2026-05-01", "score", "bell \x07", "<b>&", "")]))
    assert root.findtext(f"{ATOM}entry/{ATOM}summary") == "<b>&"


@pytest.mark.parametrize(("column", "value"), [("date", "yesterday"), ("kind", "rumour"), ("model", "../x")])
def test_a_broken_entry_is_named(results: Path, tmp_path: Path, column: str, value: str) -> None:
    write_changelog(results, **{column: value})
    with pytest.raises(TableError, match=rf"changelog\.csv: line 2, column {column}"):
        build_site(results, tmp_path / "out")
