"""Maps of structures, dimensions across scales, reconstruction of last layers: what the site's figures draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from benchmark.embedding.features import FeatureSet, LayerArray
from benchmark.metrics.composition import composition_corrected_mae
from benchmark.results.records import Coordinates, Record, Score
from benchmark.results.tables import coordinate_table
from benchmark.scoring.coordinates import MOST_STRUCTURES, standardised
from benchmark.scoring.data import ScoringData
from benchmark.scoring.scorer import Scorer
from tests.scoring.synthetic import LINEAGE, MODELS, Model, World, scorer, suite

COMMON = ("reference", "panel-a", "panel-b")


def with_last_layer(world: World, name: str, last_layer: Model | None, last: str = "atom") -> dict[str, FeatureSet]:
    """The features of a model of the synthetic world with a last layer beside them."""
    found = {}
    for dataset in world.data:
        features = world.features(name, dataset, MODELS[name])
        layers = dict(features.layers)
        if last_layer is not None:
            values = world.features(name, dataset, last_layer).layers["backbone"].values
            values = values if last == "atom" else values[::4]
            layers["last_layer"] = LayerArray(values, "atom" if last == "atom" else "structure", None)
        found[dataset] = FeatureSet(name, dataset, layers, features.energies, features.offsets)
    return found


@pytest.fixture(scope="module")
def last_layers(world: World) -> Scorer:
    """Two models with one last layer, one without any, one with a last layer of structures."""
    features = {
        "reference": with_last_layer(world, "reference", MODELS["panel-c"]),
        "panel-a": with_last_layer(world, "panel-a", MODELS["panel-c"]),
        "panel-b": with_last_layer(world, "panel-b", None),
        "panel-c": with_last_layer(world, "panel-c", MODELS["panel-a"], last="structure"),
    }
    return Scorer(suite(), world.data, lambda name, dataset: features.get(name, {}).get(dataset), LINEAGE)


def errors(scoring: Scorer, a: str, b: str, dataset: str = "inside") -> dict[tuple[str, str, str], float | None]:
    rows = scoring.pair_values(a, b, dataset)
    return {(row.metric, row.a, row.b): row.value for row in rows if row.metric.startswith("gfre_")}


def test_equal_last_layers_reconstruct_each_other_and_a_backbone_falls_short(last_layers: Scorer) -> None:
    found = errors(last_layers, "reference", "panel-a")
    assert len(found) == 4
    for ways in (("reference", "panel-a"), ("panel-a", "reference")):
        assert found["gfre_last_layer", *ways] == pytest.approx(0.0, abs=1e-6)
        assert found["gfre_backbone_last_layer", *ways] > 0.05  # type: ignore[operator]


def test_a_model_without_a_last_layer_per_atom_gives_its_backbone_only(last_layers: Scorer) -> None:
    assert set(errors(last_layers, "panel-b", "panel-a")) == {("gfre_backbone_last_layer", "panel-b", "panel-a")}
    assert errors(last_layers, "panel-b", "panel-c") == {}


def test_last_layers_are_compared_in_distribution_only(last_layers: Scorer) -> None:
    assert errors(last_layers, "reference", "panel-a", "outside") == {}


def test_one_pass_over_all_models_finds_the_errors_of_single_pairs(world: World, last_layers: Scorer) -> None:
    calls: list[str] = []
    features = last_layers._source

    kept: dict[str, object] = {}

    def cache(kind, inputs, compute):  # type: ignore[no-untyped-def]
        key = f"{kind} {inputs}"
        if key not in kept:
            calls.append(kind)
            kept[key] = compute()
        return kept[key]

    streamed = Scorer(suite(), world.data, features, LINEAGE, cache)
    streamed.reconstruct((COMMON, COMMON), "inside")
    calls.clear()
    found = errors(streamed, "reference", "panel-a")
    assert "gfre" not in calls
    single = errors(last_layers, "reference", "panel-a")
    assert found == {place: pytest.approx(value, abs=1e-9) for place, value in single.items()}


def test_dimensions_are_measured_at_neighbours_that_double_up_to_a_quarter(scored: dict[str, list[Score]]) -> None:
    scores = [s for s in scored["panel-a"] if s.id == "intrinsic_dimension_gride"]
    assert [(s.dataset, s.k) for s in scores] == [(d, k) for d in ("inside", "outside") for k in (1, 2, 4, 8, 16)]
    assert all(s.value is not None and 1.0 < s.value < 30.0 for s in scores)


def test_a_draw_of_a_large_data_set_is_the_same_for_all_models() -> None:
    n = MOST_STRUCTURES + 200
    data = ScoringData("large", np.ones((n, 1)), ("H",) * n, {}, np.arange(n + 1))
    drawn = data.drawn(MOST_STRUCTURES, seed=1)
    assert len(drawn) == MOST_STRUCTURES == len(set(drawn.tolist())) and (np.diff(drawn) > 0).all()
    assert np.array_equal(drawn, data.drawn(MOST_STRUCTURES, seed=1))
    assert not np.array_equal(drawn, data.drawn(MOST_STRUCTURES, seed=2))


def test_features_are_standardised_over_both_data_sets_and_constant_ones_have_no_map() -> None:
    generator = np.random.default_rng(0)
    parts = [generator.normal(size=(20, 3)) * [1.0, 100.0, 0.0], 5.0 + generator.normal(size=(10, 3)) * [1.0, 1.0, 0.0]]
    parts[1][:, 2] = 0.0
    points = standardised(parts)
    assert points is not None and points.shape == (30, 2)
    assert np.allclose(points.mean(axis=0), 0.0) and np.allclose(points.std(axis=0), 1.0)
    assert standardised([np.ones((9, 4))]) is None


def test_lists_of_a_map_that_are_not_parallel_are_refused() -> None:
    with pytest.raises(ValidationError, match="equally long"):
        Coordinates(dataset="d", layer="backbone", structures=["a", "b"], x=[0.0, 1.0], y=[0.0], error=[None, None])


@pytest.mark.slow
def test_a_map_holds_both_data_sets_with_ids_and_errors_and_is_the_same_again(world: World) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    parts = scorer(world).coordinates("panel-a")
    assert torch.get_num_threads() == 1  # more would move the last bits of what is computed next
    torch.set_num_threads(before)
    assert [part.dataset for part in parts] == ["inside", "outside"]
    for part in parts:
        data = world.data[part.dataset]
        assert tuple(part.structures) == data.ids
        # energies are the labels, so nothing is off
        assert part.error == [0.0] * data.n
        assert np.std(part.x) > 0 and np.std(part.y) > 0
    assert scorer(world).coordinates("panel-a") == parts
    assert scorer(world).coordinates("absent") == []


@pytest.mark.slow
def test_a_map_of_one_data_set_has_the_errors_whose_mean_is_the_score(world: World) -> None:
    features = world.features("panel-a", "inside", MODELS["panel-a"])
    data = world.data["inside"]
    energies = np.asarray(features.energies) + np.random.default_rng(0).normal(size=data.n)
    off = FeatureSet("panel-a", "inside", features.layers, energies, features.offsets)
    silent = FeatureSet("panel-b", "inside", features.layers, None, features.offsets)
    found = {"panel-a": off, "panel-b": silent}
    scoring = Scorer(suite(), world.data, lambda name, where: found.get(name) if where == "inside" else None, LINEAGE)
    (part,) = scoring.coordinates("panel-a")
    expected = composition_corrected_mae(data.label("energy"), energies / 4, data.fractions)
    assert np.mean([e for e in part.error if e is not None]) == pytest.approx(expected, abs=1e-4)
    (mute,) = scoring.coordinates("panel-b")
    assert mute.error == [None] * data.n
    record = Record(
        key="0" * 64,
        suite="synthetic",
        suite_version=1,
        model="panel-a",
        family="f",
        control=None,
        status="ok",
        coordinates=[part],
        reproduce="",
    )
    table = coordinate_table([record])
    assert list(table.columns) == "suite suite_version model dataset structure x y error".split()
    assert len(table) == data.n and table["structure"].tolist() == list(data.ids) and table["x"].tolist() == part.x
