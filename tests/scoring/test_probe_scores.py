"""Nonlinear probes, learning curves, vector channels and cumulant pooling on features with known answers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from benchmark.embedding.features import FeatureSet, LayerArray
from benchmark.embedding.rotations import real_harmonics, rotate_features, wigner
from benchmark.metrics import compositional_control, cpd
from benchmark.results.records import Record, Score
from benchmark.results.tables import learning_table, pooling_table
from benchmark.scoring.channels import NO_VECTORS, channel_scores, vector_channels
from benchmark.scoring.data import ModelFeatures, ScoringData, derived_seed, no_cache
from benchmark.scoring.learning import learning_points, learning_scores
from benchmark.scoring.nonlinear import nonlinear_scores
from benchmark.scoring.pooling import pooled_layers
from benchmark.scoring.probes import probe
from benchmark.suite import Suite
from tests.scoring.synthetic import suite

FloatArray = NDArray[np.float64]
N, ATOMS, CHANNELS = 240, 5, 6


def molecules(labels: Mapping[str, FloatArray] | None = None) -> ScoringData:
    """N molecules over 30 formulas; `energy` and `gap` are noise unless given."""
    rng = np.random.default_rng(0)
    formulas = rng.permutation(np.stack(np.unravel_index(np.arange(64), (4, 4, 4)), axis=1) + 1.0)[:30]
    counts = formulas[rng.integers(0, 30, size=N)]
    found = {"energy": rng.normal(size=N), "gap": rng.normal(size=N), **(labels or {})}
    groups = tuple(str(row) for row in counts)
    return ScoringData("outside", counts, groups, pd.DataFrame(found), np.arange(0, ATOMS * N + 1, ATOMS))


def per_structure(values: FloatArray, data: ScoringData, name: str = "model") -> ModelFeatures:
    layers = {"backbone": LayerArray(values.astype(np.float32), "structure", None)}
    return ModelFeatures(FeatureSet(name, data.id, layers, None, data.offsets), "backbone", data)


def per_atom(atoms: NDArray[np.float32], data: ScoringData, name: str = "model") -> ModelFeatures:
    layers = {"backbone": LayerArray(atoms, "atom", None)}
    return ModelFeatures(FeatureSet(name, data.id, layers, None, data.offsets), "backbone", data)


def value(scores: list[Score], id: str, target: str | None = None) -> float:
    found = next(score.value for score in scores if (score.id, score.target) == (id, target))
    assert found is not None
    return found


def test_entanglement_is_what_a_linear_probe_cannot_read() -> None:
    hidden = np.random.default_rng(1).normal(size=(N, 3))
    data = molecules({"energy": hidden[:, 0], "gap": np.abs(hidden[:, 1])})
    model, chosen = per_structure(hidden, data), suite()
    probes = probe(chosen, no_cache, model, resampled=False)
    scores = nonlinear_scores(chosen, no_cache, model, probes)
    for kind in ("mlp", "trees"):
        assert value(scores, f"entanglement_{kind}", "gap") > 0.5
        assert abs(value(scores, f"entanglement_{kind}", "energy")) < 0.15
        assert value(scores, f"r2_control_{kind}") < 0.1


def test_the_control_target_shows_that_composition_was_learned_back() -> None:
    data = molecules()
    counts = data.composition
    model, chosen = per_structure(np.concatenate([counts**2, np.tanh(counts - 2), counts**3], axis=1), data), suite()
    scores = nonlinear_scores(chosen, no_cache, model, probe(chosen, no_cache, model, resampled=False))
    linear = cpd(model.matrix, counts, compositional_control(counts), groups=np.array(data.groups)).r2_geometry
    assert linear < 0.05
    for kind in ("mlp", "trees"):
        assert value(scores, f"r2_control_{kind}") > linear + 0.15


def test_learning_curves_rise_to_the_probe_and_are_summed_up_by_their_area() -> None:
    rng = np.random.default_rng(3)
    H = rng.normal(size=(N, 20))
    data = molecules({"gap": H @ rng.normal(size=20) + 0.5 * rng.normal(size=N)})
    model = per_structure(H, data)
    points = [p for p in learning_points(suite(), no_cache, model) if (p.target, p.measure) == ("gap", "r2_partial")]
    assert [point.n_train for point in points] == [32, 64, 128]
    means = [point.mean for point in points if point.mean is not None]
    assert means == sorted(means)
    assert means[-1] > 0.9
    assert all(point.draws == 10 and point.standard_error is not None for point in points)
    area = value(learning_scores(suite(), no_cache, model), "learning_area_partial", "gap")
    assert area == pytest.approx(np.trapezoid(means, np.log([32, 64, 128])) / np.log(4))


def test_curves_and_pooled_layers_become_tables_with_a_row_each() -> None:
    atoms = np.random.default_rng(7).normal(size=(N * ATOMS, 4)).astype(np.float32)
    data = molecules()
    model = per_atom(atoms, data)
    points, pooled = learning_points(suite(), no_cache, model), pooled_layers(suite(), no_cache, model)
    record = Record(
        key="0" * 64,
        suite="synthetic",
        suite_version=1,
        model="model",
        family="family",
        control=None,
        status="ok",
        pooling=pooled,
        learning_curves=points,
        reproduce="",
    )
    record = Record.model_validate_json(record.model_dump_json())
    curves = learning_table([record])
    assert len(curves) == 2 * 2 * 3
    assert curves["n_train"].tolist()[:3] == [32, 64, 128]
    assert curves["mean"].tolist() == [point.mean for point in points]
    orders = pooling_table([record])
    assert orders["pooling"].tolist() == [each.pooling for each in pooled]
    assert orders["r2_partial_gap"].tolist() == [each.measures["r2_partial_gap"] for each in pooled]


class Dipoles:
    """Molecules of charged atoms: L=1 channels are sums of e3nn harmonics of the positions, the label is Cartesian."""

    def __init__(self, order: tuple[int, int, int] = (0, 1, 2)) -> None:
        rng = np.random.default_rng(4)
        self.positions = rng.normal(size=(N * ATOMS, 3))
        self.charges = rng.normal(size=(N * ATOMS, CHANNELS))
        true = self.charges @ rng.normal(size=CHANNELS)
        dipole = (true[:, None] * self.positions).reshape(N, ATOMS, 3).sum(axis=1)
        names = ("dipole_x", "dipole_y", "dipole_z")
        labels = {name: dipole[:, axis] for name, axis in zip(names, order, strict=True)}
        self.data = molecules({**labels, "gap": np.linalg.norm(dipole, axis=1)})
        targets = {"dataset": "outside", "targets": ["gap"], "vector_targets": {"dipole": list(names)}}
        self.suite: Suite = suite(probe=targets)

    def scores(self, *, equivariant: bool = True) -> list[Score]:
        distance = np.linalg.norm(self.positions, axis=1, keepdims=True)
        harmonics = real_harmonics(1, self.positions) * distance
        vectors = (self.charges[:, :, None] * harmonics[:, None]).reshape(len(harmonics), -1)
        quadrupoles = real_harmonics(2, self.positions)
        layers = {"backbone": LayerArray(np.hstack([distance, self.charges]).astype(np.float32), "atom", None)}
        if equivariant:
            both = np.hstack([quadrupoles, vectors]).astype(np.float32)
            layers["equivariant"] = LayerArray(both, "atom", f"1x2e+{CHANNELS}x1o")
        features = FeatureSet("model", "outside", layers, None, self.data.offsets)
        return channel_scores(self.suite, no_cache, ModelFeatures(features, "backbone", self.data), features)


def test_a_dipole_is_read_from_vector_channels_and_not_from_invariants() -> None:
    scores = Dipoles().scores()
    assert value(scores, "r2_vector", "dipole") == pytest.approx(1.0, abs=1e-3)
    assert value(scores, "r2_vector_scalars", "dipole") < 0.05
    score = next(score for score in scores if score.id == "r2_vector")
    assert score.layer == "equivariant"
    assert score.null is not None
    assert score.null.quantile95 < 0.1
    assert score.low is not None
    assert score.low > 0.9


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1), (1, 0, 2)])
def test_labels_in_another_order_of_components_are_not_read(order: tuple[int, int, int]) -> None:
    assert value(Dipoles(order).scores(), "r2_vector", "dipole") < 0.5


def test_vector_channels_turn_as_cartesian_vectors_do() -> None:
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert wigner(1, quarter) == pytest.approx(quarter, abs=1e-9)
    values = np.random.default_rng(5).normal(size=(4, 5 + 2 * 3))
    before, after = (
        vector_channels(rows, "1x2e+2x1e") for rows in (values, rotate_features(values, "1x2e+2x1e", quarter))
    )
    assert before is not None
    assert after == pytest.approx(before @ quarter.T)


def test_polar_vectors_are_preferred_and_other_irreps_have_none() -> None:
    values = np.arange(9.0)[None]
    polar = vector_channels(values, "1x1e+2x1o")
    assert polar is not None
    assert polar.tolist() == [[[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]]
    assert vector_channels(values[:, :5], "1x2e") is None


def test_models_without_vector_channels_say_so() -> None:
    scores = Dipoles().scores(equivariant=False)
    assert value(scores, "r2_vector_scalars", "dipole") < 0.05
    reasons = {score.id: score.reason for score in scores if score.value is None}
    assert reasons == {"r2_vector": NO_VECTORS, "r2_partial_vectors": NO_VECTORS}


def test_cumulants_show_what_means_hide() -> None:
    rng = np.random.default_rng(6)
    spread = rng.uniform(0.5, 2.0, size=N)
    atoms = rng.normal(size=(N, ATOMS, 4))
    atoms -= atoms.mean(axis=1, keepdims=True)
    atoms *= spread[:, None, None] / atoms.std(axis=1, keepdims=True)
    atoms += rng.normal(size=(N, 1, 4))
    data = molecules({"gap": spread})
    model = per_atom(atoms.reshape(-1, 4).astype(np.float32), data)
    pooled = pooled_layers(suite(), no_cache, model)
    assert [each.pooling for each in pooled] == [f"cumulants:{order}" for order in (1, 2, 3, 4)]
    assert [each.dimension for each in pooled] == [4, 8, 12, 16]
    known = [each.measures["r2_partial_gap"] or 0.0 for each in pooled]
    assert known[0] < 0.1
    assert known[1] > 0.99
    assert pooled_layers(suite(), no_cache, per_structure(atoms[:, 0], data)) == []


def test_of_many_structures_nonlinear_probes_and_the_linear_one_beside_them_take_a_draw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden = np.random.default_rng(1).normal(size=(N, 3))
    data = molecules({"energy": hidden[:, 0], "gap": np.abs(hidden[:, 1])})
    model, chosen = per_structure(hidden, data), suite()
    probes = probe(chosen, no_cache, model, resampled=False)
    monkeypatch.setattr("benchmark.scoring.nonlinear.MOST_STRUCTURES", N // 2)
    scores = nonlinear_scores(chosen, no_cache, model, probes)
    assert {score.n for score in scores} == {N // 2}
    linear = value(scores, "r2_partial_trees", "gap") - value(scores, "entanglement_trees", "gap")
    assert linear == pytest.approx(probes["gap"].value("r2_partial"), abs=0.2)
    assert linear != probes["gap"].value("r2_partial")


def test_of_many_structures_cumulants_take_a_draw_that_is_the_same_for_every_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = molecules()
    atoms = np.random.default_rng(0).normal(size=(ATOMS * N, CHANNELS)).astype(np.float32)
    everything, rows = per_atom(atoms, data), data.drawn(N // 2, derived_seed(suite().seed, "pooling", data.id))
    kept = (np.arange(N)[:, None] == rows).any(axis=1)
    labels = pd.DataFrame({name: data.label(name)[kept] for name in ("energy", "gap")})
    groups = tuple(group for group, keep in zip(data.groups, kept, strict=True) if keep)
    offsets = np.arange(0, ATOMS * len(rows) + 1, ATOMS)
    part = ScoringData(data.id, data.composition[kept], groups, labels, offsets)
    expected = pooled_layers(suite(), no_cache, per_atom(atoms[np.repeat(kept, ATOMS)], part))
    whole = pooled_layers(suite(), no_cache, everything)
    monkeypatch.setattr("benchmark.scoring.pooling.MOST_STRUCTURES", N // 2)
    assert pooled_layers(suite(), no_cache, everything) == expected != whole
