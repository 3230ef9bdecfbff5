"""What scoring derives from data sets, lineages and features before any metric is computed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.embedding.features import FeatureSet, LayerArray
from benchmark.scoring import scorer as scorer_module
from benchmark.scoring.catalogue import HEADLINE, OVERALL, RESIDUAL_VARIANTS, SCORES, better
from benchmark.scoring.data import Lineage, ModelFeatures, without_composition
from benchmark.scoring.fine_tuning import strangers
from benchmark.scoring.measured import measured, null_of
from tests.scoring.synthetic import World, scorer, suite


def view(world: World, values: np.ndarray) -> ModelFeatures:
    data = world.data["inside"]
    layers = {"backbone": LayerArray(values.astype(np.float32), "structure", None)}
    return ModelFeatures(FeatureSet("m", "inside", layers, None, data.offsets), "backbone", data)


def test_columns_that_do_not_vary_are_dropped_and_counted(world: World) -> None:
    values = np.random.default_rng(0).normal(size=(120, 5))
    values[:, 1], values[:, 3] = 7.0, 0.0
    found = view(world, values)
    assert (found.d, found.dead) == (3, 2)


def test_features_of_another_length_are_refused(world: World) -> None:
    with pytest.raises(ValueError, match="m on inside: 7 rows of backbone for 120 structures"):
        view(world, np.ones((7, 2)))


def test_a_label_with_a_gap_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match="label 'volume' is missing"):
        world.data["inside"].label("volume")


def test_float32_composition_features_leave_nothing_without_composition() -> None:
    rng = np.random.default_rng(0)
    composition = rng.dirichlet(np.ones(60), size=400)
    single = (composition @ rng.normal(size=(60, 40))).astype(np.float32).astype(np.float64)
    assert without_composition(single, composition) is None


def test_features_beside_composition_keep_their_own_part() -> None:
    rng = np.random.default_rng(0)
    composition, own = rng.dirichlet(np.ones(4), size=400), rng.normal(size=(400, 2))
    left = without_composition(np.column_stack([own, composition @ rng.normal(size=(4, 3))]), composition)
    assert left is not None
    assert abs(np.corrcoef(left[:, 0], own[:, 0])[0, 1]) > 0.99
    assert not left[:, 2:].any()


def test_relatives_are_ancestors_and_descendants_but_not_siblings() -> None:
    line = Lineage({"child": "parent", "grandchild": "child", "sibling": "parent", "parent": None})
    assert line.ancestors("grandchild") == ["child", "parent"]
    assert line.related("parent", "grandchild") and line.related("grandchild", "parent")
    assert line.related("child", "child") and not line.related("child", "sibling")


def test_a_circular_declaration_ends() -> None:
    assert Lineage({"a": "b", "b": "a"}).ancestors("a") == ["b", "a"]


def test_strangers_are_unrelated_panel_models_of_the_family_or_of_the_panel() -> None:
    families = {"panel-a": "x", "panel-b": "x", "panel-c": "y", "child": "x", "orphan": "z"}
    line = Lineage({"child": "panel-a", "orphan": "panel-c"}, families)
    assert strangers(suite(), line, "child") == ["panel-b"]
    assert strangers(suite(), line, "orphan") == ["panel-a", "panel-b"]


def test_the_catalogue_answers_for_every_score() -> None:
    assert HEADLINE == ("alignment", "collapse_information", "cpd", "fine_tuning_bias")
    assert OVERALL == ("alignment", "collapse_information", "cpd")
    for score in SCORES.values():
        assert score.title and score.formula and score.reading.endswith(".")
        assert score.direction != "none" or not score.headline
    assert {f"{name}_residual" for name in RESIDUAL_VARIANTS} <= set(SCORES)


def test_better_follows_the_direction() -> None:
    assert better("cpd", 0.5, 0.4) and not better("cpd", 0.4, 0.5)
    assert better("collapse_information", 0.4, 0.5)
    assert not better("intrinsic_dimension", 1.0, 2.0) and not better("intrinsic_dimension", 2.0, 1.0)


def test_an_interval_is_1_96_subsample_spreads_wide() -> None:
    score = measured("cpd", 0.5, subsamples=[0.4, 0.6, None, float("nan")])
    assert score.standard_error == pytest.approx(np.std([0.4, 0.6], ddof=1))
    assert score.high == pytest.approx(0.5 + 1.96 * np.std([0.4, 0.6], ddof=1))
    assert score.subsamples == [0.4, 0.6, None, None]


def test_a_value_that_is_not_finite_becomes_a_reason() -> None:
    assert measured("cpd", float("nan"), reason="constant").reason == "constant"


def test_an_id_that_the_catalogue_lacks_is_refused() -> None:
    with pytest.raises(KeyError, match="not in the catalogue"):
        measured("invented", 1.0)


def test_the_null_of_a_score_where_less_is_better_looks_at_its_lower_tail() -> None:
    draws = np.linspace(0.0, 1.0, 100)
    lower, upper = null_of("collapse_information", -1.0, draws), null_of("cpd", 2.0, draws)
    assert lower is not None and upper is not None
    assert lower.quantile95 == pytest.approx(0.05) and upper.quantile95 == pytest.approx(0.95)
    assert lower.p_value == upper.p_value == pytest.approx(1 / 101)


def test_few_models_stay_in_memory_where_each_has_many_structures(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = ["reference", "panel-b", "panel-c", "noise", "composition"]
    generous, frugal = scorer(world), scorer(world)
    expected = generous.pairs("panel-a", others, "inside")
    monkeypatch.setattr(scorer_module, "KEPT_ROWS", 1)
    assert frugal.pairs("panel-a", others, "inside") == expected
    assert len(generous._views) == 6 and len(frugal._views) == scorer_module.KEPT_AT_LEAST
