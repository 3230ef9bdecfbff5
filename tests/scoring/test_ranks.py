"""Ranks, ties and the Borda count on hand-made scores."""

from __future__ import annotations

import pytest

from benchmark.results.records import Score
from benchmark.scoring.ranks import Rank, borda, paired_difference, rank, surely_better

COMMON = [0.3, -0.2, 0.1, -0.2]
"""What a lucky or unlucky subsample does to every model alike."""


def score(value: float | None, own: float = 0.0, id: str = "cpd", reason: str | None = None) -> Score:
    """A score whose subsamples move with the others', plus `own` times an alternating deviation."""
    if value is None:
        return Score(id=id, value=None, reason=reason or "failed")
    subsamples = [value + shared + own * sign for shared, sign in zip(COMMON, (1, -1, 1, -1), strict=True)]
    return Score(id=id, value=value, standard_error=0.25, subsamples=subsamples)


def test_what_is_common_to_both_models_cancels_in_their_difference() -> None:
    difference, error = paired_difference(score(0.52), score(0.50))
    assert difference == pytest.approx(0.02)
    assert error == pytest.approx(0.0, abs=1e-12)
    assert surely_better(score(0.52), score(0.50))


def test_a_difference_within_its_interval_is_a_tie() -> None:
    assert not surely_better(score(0.52, own=0.1), score(0.50))
    assert not surely_better(score(0.50), score(0.52, own=0.1))


def test_without_subsamples_standard_errors_are_added_as_independent() -> None:
    a, b = (Score(id="cpd", value=v, standard_error=0.03) for v in (0.6, 0.5))
    assert paired_difference(a, b) == (pytest.approx(0.1), pytest.approx(0.03 * 2**0.5))


def test_ranks_are_ranges_over_the_ties() -> None:
    ranks = rank({"a": score(0.9), "b": score(0.52, own=0.1), "c": score(0.5), "d": score(0.1)})
    assert list(ranks) == ["a", "b", "c", "d"]
    assert [(r.low, r.high) for r in ranks.values()] == [(1, 1), (2, 3), (2, 3), (4, 4)]
    assert [r.group for r in ranks.values()] == [1, 2, 2, 3]
    assert [r.points for r in ranks.values()] == [3.0, 1.5, 1.5, 0.0]
    assert ranks["b"].ties == ("c",)
    assert ranks["b"].text == "2–3"


def test_where_less_is_better_the_smallest_comes_first() -> None:
    ranks = rank({"a": score(0.9, id="collapse_information"), "b": score(0.1, id="collapse_information")})
    assert list(ranks) == ["b", "a"]
    assert ranks["b"].points == 1.0


def test_negative_values_are_ordered_too() -> None:
    assert list(rank({"a": score(-0.9), "b": score(-0.1), "c": score(0.0)})) == ["c", "b", "a"]


def test_equal_values_tie() -> None:
    ranks = rank({"a": score(0.5), "b": score(0.5)})
    assert [(r.low, r.high, r.points) for r in ranks.values()] == [(1, 2, 0.5), (1, 2, 0.5)]


def test_a_control_keeps_its_value_and_moves_nobody() -> None:
    scores = {"a": score(0.5), "b": score(0.4), "noise": score(0.9)}
    ranks = rank(scores, {"noise": "control: noise"})
    assert ranks["noise"] == Rank("noise", 0.9, reason="control: noise")
    assert ranks["a"].low == 1 and ranks["b"].points == 0.0


def test_a_missing_score_has_a_reason_and_no_points() -> None:
    ranks = rank({"a": score(0.5), "b": score(None, reason="no skill to lose")})
    assert ranks["b"].low is None and ranks["b"].points == 0.0
    assert ranks["b"].reason == "no skill to lose"
    assert ranks["a"].points == 0.0


def test_borda_adds_points_and_says_what_is_missing() -> None:
    tables = {
        "cpd": rank({"a": score(0.9), "b": score(0.5), "c": score(0.5)}),
        "collapse_information": rank(
            {
                "a": score(None, id="collapse_information", reason="no skill to lose"),
                "b": score(0.1, id="collapse_information"),
                "c": score(0.9, id="collapse_information"),
            }
        ),
    }
    counted = borda(tables, ["a", "b", "c", "d"])
    assert [(name, o.total, o.low, o.high) for name, o in counted.items()] == [
        ("a", 2.0, 1, 1),
        ("b", 1.5, 2, 2),
        ("c", 0.5, 3, 3),
        ("d", 0.0, 4, 4),
    ]
    assert counted["a"].missing == {"collapse_information": "no skill to lose"}
    assert counted["d"].missing == {"cpd": "not scored", "collapse_information": "not scored"}
    assert counted["a"].possible == {"cpd": 2.0, "collapse_information": 1.0}


def test_equal_totals_share_a_place() -> None:
    counted = borda({"cpd": rank({"a": score(0.5), "b": score(0.5)})}, ["a", "b"])
    assert [(o.low, o.high) for o in counted.values()] == [(1, 2), (1, 2)]
