"""What the benchmark exports is what the site requires."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.export import make_tables, metric_table
from benchmark.results.card import TEXTS
from leaderboard_site.board import HEADLINES
from leaderboard_site.build import build_site
from leaderboard_site.pages import TABLE_TITLES
from leaderboard_site.tables import EXTRA_COLUMNS, HEADLINE_IDS, REQUIRED_COLUMNS


@pytest.mark.parametrize("name", REQUIRED_COLUMNS)
def test_every_required_column_is_exported(name: str) -> None:
    exported = make_tables([], {}, {}, {}, {})
    missing = [column for column in REQUIRED_COLUMNS[name] if column not in exported[name].columns]
    assert missing == []


def test_every_exported_table_can_be_downloaded() -> None:
    assert set(TABLE_TITLES) == set(REQUIRED_COLUMNS) | set(EXTRA_COLUMNS)
    assert set(TEXTS) >= set(REQUIRED_COLUMNS)


def test_the_catalogue_agrees_with_the_site_on_headline_scores_and_their_direction() -> None:
    catalogue = metric_table().set_index("id")
    assert set(catalogue.index[catalogue["headline"]]) == set(HEADLINE_IDS)
    for headline in HEADLINES:
        assert catalogue.loc[headline.id, "direction"] == ("higher" if headline.higher_is_better else "lower")
        if headline.side:
            assert headline.side[0] in make_tables([], {}, {}, {}, {})["leaderboard"].columns


def test_the_real_catalogue_makes_the_methods_page(results: Path, tmp_path: Path) -> None:
    metric_table().to_csv(results / "tables" / "metrics.csv", index=False)
    build_site(results, tmp_path / "out")
    page = (tmp_path / "out" / "methods.html").read_text(encoding="utf-8")
    for name in metric_table()["id"]:
        assert f'id="{name}"' in page
