"""Small, degenerate, tied and wrong input."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.metrics import (
    METRICS,
    Representation,
    cknna,
    distance_correlation,
    effective_rank,
    global_reconstruction_error,
    id_correlation,
    information_imbalance,
    intrinsic_dimension,
    linear_cka,
    local_reconstruction_error,
    mutual_knn,
    neighbours,
)

PAIRS = {record.id: record.compute for record in METRICS.values() if record.inputs == "pair"}


def noise(n=60, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("metric", PAIRS.values(), ids=PAIRS.keys())
@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (np.full((60, 2), np.nan), noise(), r"A: expected finite values, found 120"),
        (noise(), np.where(noise() > 2, np.inf, 0), r"B: expected finite values"),
        (noise(), noise(n=59), r"B: expected 60 rows like A, found 59"),
        (noise()[:, 0], noise(), r"A: expected a 2-D array \(rows, columns\), found shape \(60,\)"),
        (noise(), noise(d=0), r"B: expected at least 1 column"),
        (noise(n=1), noise(n=1), r"A: expected at least \d rows, found 1"),
        ([["x"]], noise(), r"A: expected an array of numbers, found list"),
    ],
)
def test_wrong_arrays_are_refused_by_name(metric, a, b, says):
    with pytest.raises(ValueError, match=says):
        metric(a, b)


@pytest.mark.parametrize("metric", [cknna, mutual_knn, information_imbalance])
@pytest.mark.parametrize("k", [0, -1, 60, 2.5, True, "3"])
def test_k_must_leave_enough_neighbours(metric, k):
    with pytest.raises(ValueError, match="k: expected"):
        metric(noise(), noise(), k=k)


def test_k_beyond_the_rows_says_what_is_accepted():
    with pytest.raises(ValueError, match=r"k: expected 1 to 9 \(rows - 1\), found 25"):
        cknna(noise(n=10), noise(n=10))


def test_other_options_are_refused_with_what_is_accepted():
    with pytest.raises(ValueError, match="method: expected 'twonn', 'mle' or 'gride', found 'pca'"):
        intrinsic_dimension(noise(), method="pca")
    with pytest.raises(ValueError, match="metric: expected 'cosine' or 'euclidean'"):
        neighbours(noise(), 3, metric="manhattan")
    with pytest.raises(ValueError, match="fraction"):
        intrinsic_dimension(noise(), fraction=0)
    with pytest.raises(ValueError, match="more than 50 distinct rows"):
        intrinsic_dimension(noise(n=50), method="mle")
    with pytest.raises(ValueError, match="n_neighbours: expected 1 to 30"):
        local_reconstruction_error(noise(), noise(), n_neighbours=31)
    with pytest.raises(ValueError, match="groups: expected at least 4 different groups, found 3"):
        global_reconstruction_error(noise(), noise(), groups=np.arange(60) % 3)
    with pytest.raises(ValueError, match="permutations"):
        id_correlation(noise(), noise(), permutations=0)


@pytest.mark.parametrize("shape", [(60, 4), (30, 200), (26, 1)])
def test_identical_features(shape):
    x = noise(*shape)
    assert cknna(x, x) == pytest.approx(1, abs=1e-12)
    assert mutual_knn(x, x) == 1
    assert linear_cka(x, x) == pytest.approx(1, abs=1e-12)
    assert distance_correlation(x, x) == pytest.approx(1, abs=1e-12)
    assert information_imbalance(x, x) == pytest.approx(2 / len(x), abs=1e-15)


def test_independent_features_are_at_chance():
    n, k = 800, 25
    a, b = noise(n, 16, 1), noise(n, 16, 2)
    assert mutual_knn(a, b, k=k) == pytest.approx(k / n, rel=0.15)
    assert cknna(a, b, k=k) == pytest.approx(k / n, rel=0.4)
    assert linear_cka(a, b) == pytest.approx(0, abs=0.01)
    assert distance_correlation(a, b) == pytest.approx(0, abs=0.01)
    assert information_imbalance(a, b) == pytest.approx(1, abs=0.05)
    assert distance_correlation(noise(200, 512, 1), noise(200, 512, 2), biased=True) > 0.6


def test_unbiased_scores_are_not_clamped():
    signs = [distance_correlation(noise(20, 3, 2 * s), noise(20, 3, 2 * s + 1)) for s in range(20)]
    assert min(signs) < 0 < max(signs)


def test_three_rows_are_enough_for_ranks_and_too_few_for_unbiased_estimates():
    a, b = noise(3), noise(3, seed=1)
    assert information_imbalance(a, a) == pytest.approx(2 / 3)
    assert neighbours(a, 2).indices.shape == (3, 2)
    for metric in (linear_cka, distance_correlation, lambda x, y: cknna(x, y, k=1)):
        with pytest.raises(ValueError, match="A: expected at least 4 rows, found 3"):
            metric(a, b)


def test_more_features_than_rows():
    a, b = noise(40, 300), noise(40, 500, 1)
    assert -1 < linear_cka(a, b) < 1
    assert np.isfinite(global_reconstruction_error(a, b))
    assert np.isfinite(local_reconstruction_error(a, b))
    assert effective_rank(a) < 40


def test_constant_columns_change_nothing():
    a, b = noise(), noise(seed=1) + noise()
    padded = np.concatenate([np.full((60, 1), 3.0), a, np.full((60, 2), -1e6)], axis=1)
    for compute in PAIRS.values():
        assert compute(padded, b) == pytest.approx(compute(a, b), abs=1e-8)


def test_constant_features_are_undefined_or_unrelated_but_never_a_crash():
    constant = np.ones((60, 3))
    assert np.isnan(cknna(constant, noise()))
    assert np.isnan(linear_cka(constant, noise()))
    assert np.isnan(distance_correlation(constant, noise()))
    assert information_imbalance(noise(), constant) == pytest.approx(1)
    assert effective_rank(constant) == 0
    with pytest.raises(ValueError, match="B: expected features that vary over the training half"):
        global_reconstruction_error(noise(), constant)
    with pytest.raises(ValueError, match="A: expected more than 2 distinct rows"):
        intrinsic_dimension(constant)


def test_ties_go_to_the_smaller_index():
    grid = np.array([[float(i), float(j)] for i in range(4) for j in range(4)])
    found = neighbours(grid, 4, metric="euclidean")
    assert found.indices[5].tolist() == [1, 4, 6, 9]
    assert found.indices[0].tolist() == [1, 4, 5, 2]
    assert found.first(2).indices[0].tolist() == [1, 4]


def test_ties_survive_an_offset_that_rounding_would_break():
    grid = np.array([[0.1 * i, 0.1 * j] for i in range(5) for j in range(5)])
    plain = neighbours(grid, 8, metric="euclidean").indices
    assert (neighbours(grid + np.array([10.0, -7.7]), 8, metric="euclidean").indices == plain).all()


def test_duplicates_are_each_others_nearest_rows():
    x = np.repeat(noise(n=20), 2, axis=0)
    assert (neighbours(x, 1, metric="euclidean").indices[:, 0] == np.arange(40) + np.tile([1, -1], 20)).all()
    assert information_imbalance(x, x) == pytest.approx(2 / 40)
    assert mutual_knn(x, x, k=3) == 1


def test_intrinsic_dimension_counts_repeats_once():
    x = noise(n=200)
    doubled = np.concatenate([x, x[:50]])
    for method in ("twonn", "mle", "gride"):
        assert intrinsic_dimension(doubled, method=method) == pytest.approx(intrinsic_dimension(x, method=method))


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1e30, 1e200])
def test_very_small_and_very_large_features(size):
    a, b = noise(), noise(seed=1) + noise()
    for compute in PAIRS.values():
        assert compute(a * size, b) == pytest.approx(compute(a, b), abs=1e-8)


def test_float32_features_with_a_large_offset_keep_their_neighbours():
    x = (noise(200, 32) + 3000).astype(np.float32)
    exact = np.asarray(x, dtype=np.float64) - 3000
    assert (neighbours(x, 10).indices == neighbours(exact, 10).indices).all()


def test_a_representation_keeps_the_longest_neighbour_list():
    x = Representation(noise())
    longest = x.neighbours(20)
    assert (x.neighbours(5).indices == longest.indices[:, :5]).all()
    assert (neighbours(noise(), 5).indices == longest.indices[:, :5]).all()
    with pytest.raises(ValueError, match="k: expected 1 to 59"):
        x.neighbours(60)
