"""Scores of synthetic models with known answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from benchmark.metrics import Representation
from benchmark.metrics.calibration import DistanceSubsamples, distance_subsamples
from benchmark.results.records import Score
from benchmark.scoring.catalogue import HEADLINE, SCORES
from benchmark.scoring.scorer import KEPT_AT_LEAST, Scorer
from tests.scoring.synthetic import CONTROLS, MODELS, World, mixed, scorer, suite

Scores = dict[str, list[Score]]


def find(scores: list[Score], id: str, **fields: Any) -> Score:
    return next(s for s in scores if s.id == id and all(getattr(s, f) == v for f, v in fields.items()))


def holds_zero(score: Score) -> bool:
    assert score.low is not None and score.high is not None
    return score.low <= 0.0 <= score.high


def test_identical_features_align_perfectly(scored: Scores) -> None:
    assert find(scored["twin"], "alignment").value == pytest.approx(1.0)
    assert find(scored["twin"], "alignment_residual").value == pytest.approx(1.0)
    assert find(scored["twin"], "gfre_to_reference").value == pytest.approx(0.0, abs=1e-6)
    n = find(scored["twin"], "information_imbalance_to_reference").n
    assert n is not None
    assert find(scored["twin"], "information_imbalance_to_reference").value == pytest.approx(2.0 / n)


def test_noise_aligns_at_its_null_and_models_above_it(scored: Scores) -> None:
    noise, model = find(scored["noise"], "alignment"), find(scored["panel-a"], "alignment")
    assert holds_zero(noise)
    assert noise.null is not None and noise.null.quantile95 == 0.0
    assert model.low is not None and model.low > 0.0
    assert model.null is not None and model.null.p_value < 0.05


def test_the_reference_is_not_ranked_in_alignment(scored: Scores) -> None:
    score = find(scored["reference"], "alignment")
    assert score.value is None
    assert score.reason == "is the reference"


def test_composition_alone_has_no_composition_free_r2(scored: Scores) -> None:
    assert holds_zero(find(scored["composition"], "cpd"))
    assert holds_zero(find(scored["composition"], "r2_geometry", dataset="outside", target="gap"))
    assert find(scored["panel-a"], "cpd").value > 0.5  # type: ignore[operator]


def test_composition_leaves_no_residual_to_align(scored: Scores) -> None:
    score = find(scored["composition"], "alignment_residual")
    assert score.value is None and "composition" in (score.reason or "")


def test_a_linear_image_of_its_parent_has_a_bias_of_one(scored: Scores) -> None:
    score = find(scored["child"], "fine_tuning_bias")
    assert score.value == pytest.approx(1.0, abs=0.01)
    assert score.versus == "panel-a"
    assert score.null is not None and score.null.p_value < 0.15


def test_a_model_unlike_its_declared_parent_has_no_bias(scored: Scores) -> None:
    assert find(scored["stranger"], "fine_tuning_bias").value == pytest.approx(0.0, abs=0.2)


def test_fine_tuning_bias_is_for_fine_tuned_models_only(scored: Scores) -> None:
    score = find(scored["panel-b"], "fine_tuning_bias")
    assert score.value is None and score.reason == "not fine-tuned from another model"


def test_losing_the_geometry_outside_is_a_full_collapse(scored: Scores) -> None:
    kept, lost = find(scored["panel-b"], "collapse_information"), find(scored["collapsed"], "collapse_information")
    assert kept.high is not None and kept.high < 0.5
    assert lost.low is not None and lost.low > 0.8
    assert kept.null is not None and kept.null.p_value < 0.05


def test_a_control_has_no_skill_to_lose(scored: Scores) -> None:
    for name in CONTROLS:
        score = find(scored[name], "collapse_information")
        assert score.value is None
        assert (score.reason or "").startswith("no skill to lose")
        assert find(scored[name], "skill", dataset="inside").value <= 0.0  # type: ignore[operator]


def test_convergence_of_the_composition_control_is_zero_once_calibrated(scored: Scores) -> None:
    assert find(scored["composition"], "collapse_convergence").value == pytest.approx(0.0, abs=1e-12)


def test_scores_that_controls_beat_name_them(scored: Scores) -> None:
    collapsed = find(scored["collapsed"], "skill", dataset="outside")
    assert "descriptor" in collapsed.beaten_by
    assert find(scored["panel-a"], "cpd").beaten_by == []
    assert "noise" not in find(scored["noise"], "cpd").beaten_by


def test_energies_that_differ_by_a_composition_fit_have_no_error(scored: Scores) -> None:
    score = find(scored["panel-a"], "energy_mae_corrected", dataset="inside")
    assert score.value == pytest.approx(0.0, abs=1e-9)


def test_every_score_is_in_the_catalogue_and_every_gap_has_a_reason(scored: Scores) -> None:
    for scores in scored.values():
        for score in scores:
            assert score.id in SCORES
            assert (score.value is None) == (score.reason is not None)


def test_every_headline_score_has_an_interval_a_null_and_its_subsamples(scored: Scores) -> None:
    for name in ("panel-a", "child"):
        for id in HEADLINE:
            score = find(scored[name], id)
            if score.value is None:
                continue
            assert score.low is not None and score.high is not None and score.low <= score.value <= score.high
            assert score.null is not None
            assert len(score.subsamples) == 10


def test_a_model_without_features_gets_reasons(scored: Scores) -> None:
    assert {score.id for score in scored["absent"]} >= set(HEADLINE)
    assert all(score.value is None for score in scored["absent"])
    assert "absent" in (find(scored["absent"], "alignment").reason or "")


def test_a_missing_control_is_named_instead_of_left_out() -> None:
    models = {name: model for name, model in MODELS.items() if name != "random"}
    score = find(scorer(World(n=60), models, permutations=20).score("noise"), "collapse_information")
    assert score.value is None and "random" in (score.reason or "")


def test_neither_a_newcomer_nor_a_json_cache_changes_a_bit_and_the_cache_spares_the_work(
    world: World, scored: Scores
) -> None:
    kept: dict[str, str] = {}
    computed: list[str] = []

    def cache(kind: str, inputs: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
        key = json.dumps([kind, inputs], sort_keys=True, allow_nan=False)
        if key not in kept:
            computed.append(kind)
            kept[key] = json.dumps(compute(), allow_nan=False)
        return json.loads(kept[key])

    with_newcomer = scorer(world, {**MODELS, "newcomer": mixed(30, 99)}, cache)
    assert with_newcomer.score("newcomer")[0].value is not None
    assert with_newcomer.score("child") == scored["child"]
    computed.clear()
    assert scorer(world, cache=cache).score("child") == scored["child"]
    assert computed == []


def test_a_pair_has_one_value_whichever_way_it_is_asked_for(scoring: Scorer) -> None:
    assert scoring.pair_values("panel-a", "panel-b", "inside") == scoring.pair_values("panel-b", "panel-a", "inside")


def test_pairs_hold_both_directions_of_the_imbalance(scoring: Scorer) -> None:
    rows = scoring.pair_values("noise", "reference", "outside")
    ways = {(row.a, row.b): row.value for row in rows if row.metric == "information_imbalance"}
    assert set(ways) == {("noise", "reference"), ("reference", "noise")}
    assert all(value == pytest.approx(1.0, abs=0.25) for value in ways.values())
    cknna = next(row for row in rows if row.metric == "cknna")
    assert cknna.calibrated is not None and cknna.calibrated < 0.1


def test_pairs_taken_together_have_the_bits_of_single_ones(world: World, scoring: Scorer) -> None:
    others = ["panel-b", "reference", "noise", "twin"]
    together = scorer(world).pairs("panel-a", others, "inside")
    assert together == [row for other in others for row in scoring.pair_values("panel-a", other, "inside")]


def test_a_failed_model_has_no_pairs(scoring: Scorer) -> None:
    assert scoring.pair_values("panel-a", "absent", "inside") == []


def test_quality_lines_name_repeats_and_models_at_the_null(scoring: Scorer) -> None:
    assert any("features of another" in line for line in scoring.quality("composition"))
    assert any("at its null" in line for line in scoring.quality("noise"))
    assert scoring.quality("panel-a") == []
    assert "absent has no backbone features on inside" in scoring.quality("absent")


def test_the_subsamples_are_the_same_for_every_model(world: World) -> None:
    first, second = (world.data["inside"].subsamples(suite()).rows for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(len(a) == world.data["inside"].n // 2 == len(set(a)) for a in first)


def test_distances_of_large_data_sets_are_shared_between_numbers_without_changing_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.metrics.calibration.MATRIX_ROWS", 0)
    calls: list[object] = []

    def counted(*inputs: object) -> DistanceSubsamples:
        calls.append(inputs)
        return distance_subsamples(*inputs)  # type: ignore[arg-type]

    monkeypatch.setattr("benchmark.scoring.comparisons.distance_subsamples", counted)
    found = []
    for rows in (0, 10**6):
        monkeypatch.setattr("benchmark.scoring.comparisons.MATRIX_ROWS", rows)
        scores = scorer(world)._alignment("stranger")
        found.append({(each.id, each.k): each.subsamples for each in scores})
    assert found[0] == found[1]
    assert len(calls) == 2  # once for the features, once for their residuals


def test_neighbours_in_subsamples_are_searched_once_though_models_are_dropped_from_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []
    search = Representation._search

    def counted(self: Representation, k: int, metric: Any, rows: Any) -> Any:
        searched.append(self.n if rows is None else len(rows))
        return search(self, k, metric, rows)

    names = ["reference", "panel-a", "panel-b", "panel-c", "stranger"]
    expected = scorer(world).pairs("reference", names[1:], "inside")
    monkeypatch.setattr(Representation, "_search", counted)
    monkeypatch.setattr("benchmark.scoring.scorer.KEPT_ROWS", 0)
    tight = scorer(world)
    assert tight.pairs("reference", names[1:], "inside") == expected
    assert len(tight._views) == KEPT_AT_LEAST < len(names)
    first = len(searched)
    for name in names[1:]:
        tight.pairs(name, [other for other in names[1:] if other != name], "inside")
    subsamples = searched.count(world.data["inside"].n // 2)
    assert first and subsamples == len(names) * suite().subsamples


def test_smaller_subsamples_tell_about_the_same_standard_errors_and_leave_all_values_alone(
    world: World, scored: Scores
) -> None:
    found = scorer(world)
    found.suite = found.suite.model_copy(update={"largest_subsample": 40})
    assert found.suite.largest_subsample < world.data["inside"].n // 2
    ratios = []
    for half, small in zip(scored["panel-a"], found.score("panel-a"), strict=True):
        assert (half.id, half.dataset, half.target, half.value) == (small.id, small.dataset, small.target, small.value)
        if half.standard_error and small.standard_error:
            ratios.append(small.standard_error / half.standard_error)
    assert len(ratios) > 20
    assert 0.8 < np.median(ratios) < 1.5
