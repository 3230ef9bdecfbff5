"""Nulls and subsamples equal the metric computed again from the start."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from benchmark.metrics import (
    METRICS,
    Representation,
    calibrate,
    calibrate_many,
    calibration,
    half_subsets,
    scaled_k,
    spread_of_whole,
    subsample_values,
)
from benchmark.metrics.calibration import distance_subsamples

SIMILARITIES = ("cknna", "mutual_knn", "cka", "dcor")


def related(n=60, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, 5))
    return a, np.tanh(a[:, :3]) + 0.5 * rng.normal(size=(n, 3))


def score(metric_id, a, b, k):
    options = {"k": k} if metric_id in ("cknna", "mutual_knn", "information_imbalance") else {}
    return METRICS[metric_id].compute(a, b, **options)


@pytest.mark.parametrize("metric_id", SIMILARITIES)
def test_null_samples_are_scores_of_permuted_rows(metric_id):
    a, b = related()
    null = calibrate(metric_id, a, b, permutations=20, seed=3, k=7)
    rng = np.random.default_rng(3)
    expected = [score(metric_id, a, b[rng.permutation(60)], 7) for _ in range(20)]
    assert null.samples == pytest.approx(expected, abs=1e-11)
    assert null.value == pytest.approx(score(metric_id, a, b, 7), abs=1e-11)


@pytest.mark.parametrize("metric_id", [*SIMILARITIES, "information_imbalance"])
def test_subsample_values_are_scores_of_the_subsample_alone(metric_id):
    a, b = related()
    subsets = half_subsets(60, subsets=6)
    values = subsample_values(metric_id, a, b, subsets, k=7)
    expected = [score(metric_id, a[rows], b[rows], scaled_k(7, 30, 60)) for rows in subsets]
    assert values == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("metric_id", ["cknna", "mutual_knn"])
@pytest.mark.parametrize("permutations", [1, 30])
def test_edges_beyond_the_tables_rows_are_found_as_in_it(metric_id, permutations, monkeypatch):
    a, b = related(200)
    expected = calibrate(metric_id, a, b, permutations=permutations, k=9)
    monkeypatch.setattr(importlib.import_module("benchmark.metrics.neighbours"), "TABLE_ROWS", 0)
    found = calibrate(metric_id, a, b, permutations=permutations, k=9)
    assert found.value == expected.value
    np.testing.assert_array_equal(found.samples, expected.samples)


def test_numbers_of_distances_found_together_are_those_found_one_by_one(monkeypatch):
    monkeypatch.setattr(calibration, "MATRIX_ROWS", 0)
    a, b = map(Representation, related(300))
    subsets = half_subsets(300, subsets=4)
    found = distance_subsamples(a, b, subsets)
    np.testing.assert_array_equal(found.dcor, subsample_values("dcor", a, b, subsets))
    np.testing.assert_array_equal(found.imbalance, subsample_values("information_imbalance", a, b, subsets))
    np.testing.assert_array_equal(found.imbalance_back, subsample_values("information_imbalance", b, a, subsets))
    assert distance_subsamples(a, b, []).dcor.shape == (0,)


@pytest.mark.parametrize("metric_id", SIMILARITIES)
def test_many_sources_at_once_are_single_calls(metric_id):
    a, b = related()
    sources = [Representation(x) for x in (a, b, -a)]
    target = Representation(b)
    together = calibrate_many(metric_id, sources, target, permutations=15, k=5)
    for source, null in zip(sources, together, strict=True):
        alone = calibrate(metric_id, source, target, permutations=15, k=5)
        assert null.samples == pytest.approx(alone.samples, abs=1e-14)
        assert (null.value, null.p_value) == (alone.value, alone.p_value)
    assert calibrate_many(metric_id, [], target) == []


@pytest.mark.parametrize("metric_id", SIMILARITIES)
def test_unrelated_features_are_at_the_null_and_related_ones_above(metric_id):
    a, b = related(200)
    noise = np.random.default_rng(5).normal(size=(200, 4))
    chance, real = calibrate(metric_id, a, noise, k=10), calibrate(metric_id, a, b, k=10)
    assert chance.p_value > 0.01
    assert abs(chance.calibrated) < 0.1
    assert real.p_value == pytest.approx(1 / 201)
    assert real.calibrated > 0.05
    assert calibrate(metric_id, a, a, k=10).calibrated == pytest.approx(1, abs=1e-10)


def test_subsets_are_halves_without_repeats_and_reproducible():
    subsets = half_subsets(61, subsets=50, seed=1)
    assert len(subsets) == 50
    assert all(rows.size == 30 and np.unique(rows).size == 30 for rows in subsets)
    assert all((x == y).all() for x, y in zip(subsets, half_subsets(61, subsets=50, seed=1), strict=True))
    assert [scaled_k(k, 50, 100) for k in (1, 2, 10, 25)] == [1, 1, 5, 12]


@pytest.mark.parametrize(
    ("subset", "says"),
    [([0, 1, 1, 2, 3], "distinct rows"), ([0, 1, 60, 3], "from 0 to 59"), ([0, 1], "at least 4"), ([0.5], "integer")],
)
def test_wrong_subsets_are_refused(subset, says):
    with pytest.raises(ValueError, match=rf"subsets\[0\].*{says}"):
        subsample_values("cka", *related(), [subset])


def test_unknown_metrics_are_refused():
    with pytest.raises(ValueError, match="metric_id: expected one of cknna, mutual_knn, cka, dcor, found 'cca'"):
        calibrate("cca", *related())
    with pytest.raises(ValueError, match="information_imbalance, found 'cca'"):
        subsample_values("cca", *related(), [np.arange(10)])


@pytest.mark.parametrize("metric", ["cka", "dcor", "information_imbalance", "mutual_knn", "cknna"])
def test_large_data_sets_are_resampled_without_matrices_and_with_the_same_values(metric, monkeypatch) -> None:
    rng = np.random.default_rng(4)
    A = rng.normal(size=(90, 3))
    B = np.tanh(A) + 0.2 * rng.normal(size=(90, 3))
    subsets = half_subsets(90, subsets=3)
    expected = subsample_values(metric, A, B, subsets)
    for module in ("calibration", "representation"):
        monkeypatch.setattr(f"benchmark.metrics.{module}.MATRIX_ROWS", 10)
    np.testing.assert_allclose(subsample_values(metric, A, B, subsets), expected, atol=1e-12)


@pytest.mark.parametrize("metric", ["cka", "dcor"])
def test_the_null_of_large_data_sets_agrees_with_permutations(metric, monkeypatch) -> None:
    rng = np.random.default_rng(4)
    A = rng.normal(size=(150, 6))
    B = A + rng.normal(size=(150, 6))
    drawn = calibrate(metric, A, B, permutations=500)
    monkeypatch.setattr("benchmark.metrics.calibration.MATRIX_ROWS", 10)
    known = calibrate(metric, A, B)
    assert known.value == pytest.approx(drawn.value, abs=1e-12)
    assert known.samples.size == 0
    assert drawn.quantile95 < known.quantile95 < 2.0 * drawn.quantile95 + 0.01
    assert known.p_value < 0.01 and drawn.p_value < 0.01


def test_smaller_subsets_are_drawn_on_request_and_their_spread_is_that_of_the_whole():
    population = np.random.default_rng(3).normal(size=4000)
    subsets = half_subsets(4000, subsets=2000, seed=2, largest=200)
    assert {rows.size for rows in subsets} == {200}
    assert {rows.size for rows in half_subsets(100, subsets=2, largest=200)} == {50}
    means = np.array([population[rows].mean() for rows in subsets])
    scaled = spread_of_whole(means, 200, 4000)
    assert scaled.mean() == pytest.approx(means.mean())
    assert scaled.std(ddof=1) == pytest.approx(population.std() / np.sqrt(4000), rel=0.05)
    assert (spread_of_whole(means, 2000, 4000) == means).all()
    assert spread_of_whole([1.0, np.nan, 3.0], 20, 100).tolist() == pytest.approx([1.5, np.nan, 2.5], nan_ok=True)


@pytest.mark.parametrize("metric", ["cka", "dcor", "information_imbalance", "mutual_knn", "cknna"])
def test_smaller_subsets_tell_about_the_standard_error_that_halves_tell(metric):
    A, B = related(1200)
    halves = subsample_values(metric, A, B, half_subsets(1200, subsets=60), k=25)
    small = subsample_values(metric, A, B, half_subsets(1200, subsets=60, largest=150), k=25)
    ratio = spread_of_whole(small, 150, 1200).std(ddof=1) / halves.std(ddof=1)
    assert 0.6 < ratio < 1.7
