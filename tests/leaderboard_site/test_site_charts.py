"""Drawings and number formats: positions, clipping, clustering, signs."""

from __future__ import annotations

import re

import pytest

from leaderboard_site import text
from leaderboard_site.board import Cell
from leaderboard_site.charts import Scale, control_marks, interval_bar, scale_of
from leaderboard_site.clustering import SHADES, clustered_matrix


def cell(value: float | None, low: float | None = None, high: float | None = None, null: float | None = None) -> Cell:
    return Cell(value, low, high, None, null, None, None, None, None, "", [], None)


def test_a_scale_always_holds_zero_and_every_interval() -> None:
    scale = scale_of([cell(0.5, 0.4, 0.7, 0.1), cell(0.6), cell(None)])
    assert all(scale.holds(value) for value in (0.0, 0.4, 0.7, 0.1))


def test_ticks_are_round_and_on_the_axis() -> None:
    assert Scale(-0.05, 0.92).ticks() == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert Scale(-3.0, 3.0).ticks() == [-2.0, 0.0, 2.0]


def test_a_bar_places_value_interval_and_null_by_their_share_of_the_axis() -> None:
    bar = str(interval_bar(cell(0.5, 0.25, 0.75, 0.1), Scale(0, 1), "marks"))
    assert 'class="interval" x="25.0%" width="50.0%"' in bar
    assert 'cx="50.0%"' in bar
    assert 'class="null-mark" x="10.0%"' in bar


def test_a_value_off_the_axis_is_drawn_open_at_its_edge() -> None:
    bar = str(interval_bar(cell(-7.0, -8.0, -6.0), Scale(0, 1), "marks"))
    assert "off-axis" in bar
    assert 'class="interval"' not in bar


def test_no_value_draws_no_bar() -> None:
    assert interval_bar(cell(None), Scale(0, 1), "marks") == ""


def test_control_marks_off_the_axis_are_left_out() -> None:
    marks = str(control_marks([cell(0.5), cell(9.0), cell(None)], Scale(0, 1), "marks"))
    assert marks.count("control-mark") == 1


def test_clustering_puts_alike_models_side_by_side() -> None:
    near, far = 0.9, 0.1
    pairs = {("a1", "b1"): far, ("a1", "a2"): near, ("a1", "b2"): far, ("b1", "a2"): far, ("b1", "b2"): near}
    matrix = clustered_matrix({**pairs, ("a2", "b2"): far}, higher_is_closer=True)
    assert matrix is not None
    order = "".join(name[0] for name in matrix.names)
    assert order in ("aabb", "bbaa")
    assert matrix.values[0][0] is None
    assert matrix.values[0][1] == matrix.values[1][0] == near
    assert matrix.shades[0][1] == SHADES
    assert not matrix.directed


def test_the_order_of_the_pairs_does_not_matter() -> None:
    pairs = {("a", "b"): 0.3, ("a", "c"): 0.8, ("b", "c"): 0.5}
    assert clustered_matrix(pairs, True) == clustered_matrix(dict(reversed(pairs.items())), True)


def test_a_directed_metric_keeps_both_ways_and_small_is_alike() -> None:
    matrix = clustered_matrix({("a", "b"): 0.1, ("b", "a"): 0.4}, higher_is_closer=False)
    assert matrix is not None
    assert matrix.directed
    assert {value for row in matrix.values for value in row if value is not None} == {0.1, 0.4}
    row = matrix.names.index("a")
    assert matrix.shades[row][1 - row] == SHADES


def test_a_missing_pair_is_left_blank() -> None:
    matrix = clustered_matrix({("a", "b"): 0.3, ("b", "c"): 0.5}, higher_is_closer=True)
    assert matrix is not None
    i, j = matrix.names.index("a"), matrix.names.index("c")
    assert matrix.values[i][j] is None
    assert matrix.shades[i][j] is None


def test_one_model_makes_no_map() -> None:
    assert clustered_matrix({}, True) is None


def test_the_tree_has_a_branch_for_each_merge() -> None:
    matrix = clustered_matrix({("a", "b"): 0.3, ("a", "c"): 0.8, ("b", "c"): 0.5}, True)
    assert matrix is not None
    assert len(matrix.branches) == 6  # two merges of three lines
    assert len(re.findall("M", str(matrix.tree))) == 6


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.1235, "0.123"), (-0.5, "−0.500"), (-0.0001, "0.000"), (None, "–"), (12.0, "12.000"), (-28031764.4, "−2.8e7")],
)
def test_numbers_have_a_true_minus_and_no_negative_zero(value: float | None, shown: str) -> None:
    assert text.number(value) == shown


def test_ranks_are_ranges_only_where_models_tie() -> None:
    assert (text.rank(1, 3), text.rank(2, 2), text.rank(None, None)) == ("1–3", "2", "")


def test_parameters_are_counted_in_readable_units() -> None:
    assert [text.count(value) for value in (842_440, 25_100_000, 12, None)] == ["842 k", "25.1 M", "12", "–"]


def test_arxiv_ids_are_linked_within_a_source_line() -> None:
    parts = text.citations("arXiv:2405.07987, calibration by others")
    assert parts == [
        ("arXiv:2405.07987", "https://arxiv.org/abs/2405.07987"),
        (", calibration by others", None),
    ]


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        " JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "//example.org",
        "/etc",
        "http://",
        "http://[x",
    ],
)
def test_only_absolute_http_addresses_become_links(url: str) -> None:
    assert text.safe_link(url) is None
