"""changelog.yaml -> the changelog table."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.results.changelog import COLUMNS, changelog_table, read_changelog
from benchmark.schema import InvalidFileError

TEXT = """\
changes:
- {date: 2026-01-02, kind: suite, suite: quick, suite_version: 2, text: A larger data set.}
- {date: 2026-03-04, kind: withdrawn, model: some-model, text: Its authors asked for it.}
"""


def test_entries_become_rows_newest_first(tmp_path: Path) -> None:
    (tmp_path / "changelog.yaml").write_text(TEXT)
    table = changelog_table(read_changelog(tmp_path))
    assert list(table.columns) == COLUMNS
    assert list(table["date"]) == ["2026-03-04", "2026-01-02"]
    assert table["model"].tolist()[0] == "some-model"
    assert table["suite_version"].tolist()[1] == 2


def test_without_a_file_there_is_no_entry(tmp_path: Path) -> None:
    assert read_changelog(tmp_path) == []


def test_an_unknown_kind_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "changelog.yaml").write_text(TEXT.replace("withdrawn", "vanished"))
    with pytest.raises(InvalidFileError, match="kind"):
        read_changelog(tmp_path)
