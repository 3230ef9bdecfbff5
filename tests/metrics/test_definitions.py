"""Every metric against its definition, written out with plain loops and full matrices."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from scipy.stats import rankdata

from benchmark.metrics import (
    cknna,
    distance_correlation,
    effective_rank,
    global_reconstruction_error,
    gride_scales,
    id_correlation,
    information_imbalance,
    intrinsic_dimension,
    linear_cka,
    local_reconstruction_error,
    mutual_knn,
    neighbours,
)


def related(n=40, d_a=4, d_b=3, seed=0):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 3))
    a = shared @ rng.normal(size=(3, d_a)) + 0.4 * rng.normal(size=(n, d_a)) + 5
    b = np.tanh(shared @ rng.normal(size=(3, d_b))) + 0.2 * rng.normal(size=(n, d_b))
    return a, b


def cosine_matrix(x):
    x = x - x.mean(axis=0)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


def distance_matrix(x):
    return np.array([[np.sqrt(((p - q) ** 2).sum()) for q in x] for p in x])


def mask_of_nearest(kernel, k):
    mask = np.zeros(kernel.shape, dtype=bool)
    for i in range(len(kernel)):
        others = sorted((j for j in range(len(kernel)) if j != i), key=lambda j: -kernel[i, j])
        mask[i, others[:k]] = True
    return mask


def unbiased_hsic(k, l):  # noqa: E741
    k, l = k.copy(), l.copy()  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    n = len(k)
    value = (k * l.T).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (k @ l).sum() / (n - 2)
    return value / (n * (n - 3))


@pytest.mark.parametrize("k", [1, 5, 39])
@pytest.mark.parametrize("seed", range(3))
def test_cknna_is_its_definition(k, seed):
    a, b = related(seed=seed)
    kernel_a, kernel_b = cosine_matrix(a), cosine_matrix(b)
    mask_a, mask_b = mask_of_nearest(kernel_a, k), mask_of_nearest(kernel_b, k)
    both = mask_a & mask_b
    cross = unbiased_hsic(both * kernel_a, both * kernel_b)
    own = [unbiased_hsic(m * x, m * x) for m, x in ((mask_a, kernel_a), (mask_b, kernel_b))]
    if min(own) <= 0:
        assert np.isnan(cknna(a, b, k=k))
    else:
        assert cknna(a, b, k=k) == pytest.approx(cross / np.sqrt(own[0] * own[1]), abs=1e-12)


@pytest.mark.parametrize("k", [1, 5, 39])
def test_mutual_knn_counts_common_neighbours(k):
    a, b = related()
    shared = mask_of_nearest(cosine_matrix(a), k) & mask_of_nearest(cosine_matrix(b), k)
    assert mutual_knn(a, b, k=k) == pytest.approx(shared.sum() / (k * len(a)), abs=1e-15)


@pytest.mark.parametrize(("d_a", "d_b"), [(4, 3), (60, 70), (4, 90), (1, 1)])
def test_linear_cka_is_the_ratio_of_unbiased_hsics(d_a, d_b):
    a, b = related(d_a=d_a, d_b=d_b)
    ka, kb = ((x - x.mean(axis=0)) @ (x - x.mean(axis=0)).T for x in (a, b))
    expected = unbiased_hsic(ka, kb) / np.sqrt(unbiased_hsic(ka, ka) * unbiased_hsic(kb, kb))
    assert linear_cka(a, b) == pytest.approx(expected, abs=1e-12)


def test_distance_correlation_is_its_definition():
    a, b = related()
    n = len(a)

    def centred(x, biased):
        d = distance_matrix(x)
        if biased:
            return d - d.mean(axis=0) - d.mean(axis=1)[:, None] + d.mean()
        rows = d.sum(axis=1) / (n - 2)
        u = d - rows[None, :] - rows[:, None] + d.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(u, 0)
        return u

    for biased in (False, True):
        u, v = centred(a, biased), centred(b, biased)
        expected = (u * v).sum() / np.sqrt((u * u).sum() * (v * v).sum())
        assert distance_correlation(a, b, biased=biased) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [1, 4])
def test_information_imbalance_is_the_mean_rank(k):
    a, b = related()
    n = len(a)
    ranks = []
    for i in range(n):
        distances_a, distances_b = ([np.linalg.norm(x[i] - x[j]) for j in range(n) if j != i] for x in (a, b))
        ranks += list(rankdata(distances_b)[np.argsort(distances_a)[:k]])
    assert information_imbalance(a, b, k=k) == pytest.approx(2 / n * np.mean(ranks), abs=1e-12)


def test_tied_ranks_are_their_mean():
    a = np.array([[0.0], [1.0], [3.0], [7.0]])
    b = np.array([[0.0], [1.0], [1.0], [-1.0]])
    # nearest in A: 1, 0, 1, 2. In B: row 0 has all three at distance 1, rank 2; row 1's distances to 0, 2, 3 are
    # 1, 0, 2: rank 2; row 2's to 1 is 0: rank 1; row 3's to 0, 1, 2 are 1, 2, 2: rank 2.5
    assert information_imbalance(a, b) == pytest.approx(2 / 4 * np.mean([2, 2, 1, 2.5]))


def test_imbalance_tiles_change_nothing(monkeypatch):
    a, b = related()
    whole = (information_imbalance(a, b, k=3), cknna(a, b, k=3), distance_correlation(a, b), linear_cka(a, b))
    # the package exports a function of the same name as this module
    monkeypatch.setattr(importlib.import_module("benchmark.metrics.neighbours"), "TILE_ENTRIES", 7 * len(a))
    tiled = (information_imbalance(a, b, k=3), cknna(a, b, k=3), distance_correlation(a, b), linear_cka(a, b))
    assert tiled == pytest.approx(whole, abs=1e-13)


def test_twonn_is_the_slope_of_the_lowest_ninety_percent():
    a, _ = related(n=50)
    ratios = []
    for i in range(50):
        distances = sorted(np.linalg.norm(a[i] - a[j]) for j in range(50) if j != i)
        ratios.append(distances[1] / distances[0])
    x = np.log(np.sort(ratios))[:45]
    y = -np.log(1 - np.arange(1, 46) / 50)
    assert intrinsic_dimension(a) == pytest.approx((x @ y) / (x @ x), rel=1e-12)


def test_levina_bickel_averages_inverse_dimensions():
    a, _ = related(n=50)
    inverse = []
    for i in range(50):
        distances = np.sort([np.linalg.norm(a[i] - a[j]) for j in range(50) if j != i])[:10]
        inverse.append(np.log(distances[-1] / distances).sum() / 9)
    assert intrinsic_dimension(a, method="mle", k=10) == pytest.approx(1 / np.mean(inverse), rel=1e-12)


def test_gride_at_the_first_scale_is_the_twonn_likelihood():
    a, _ = related(n=50)
    near = neighbours(a, 2, metric="euclidean").values
    assert intrinsic_dimension(a, method="gride") == pytest.approx(49 / np.log(near[:, 1] / near[:, 0]).sum(), rel=1e-9)


def test_gride_maximises_its_likelihood():
    a, _ = related(n=60)
    near = neighbours(a, 8, metric="euclidean").values
    logs = np.log(near[:, 7] / near[:, 3])

    def log_likelihood(d):  # N - 1 in place of N, as the unbiased two-neighbour estimate has it
        return (len(a) - 1) * np.log(d) + 3 * np.log(np.expm1(d * logs)).sum() - (7 * d + 1) * logs.sum()

    best = intrinsic_dimension(a, method="gride", scale=4)
    assert log_likelihood(best) > max(log_likelihood(best * 1.001), log_likelihood(best / 1.001))


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_intrinsic_dimension_finds_the_dimension_of_a_uniform_cube(dimension):
    rng = np.random.default_rng(1)
    points = rng.uniform(size=(1500, dimension)) @ np.linalg.qr(rng.normal(size=(20, dimension)))[0].T
    for method, options in (("twonn", {}), ("mle", {"k": 20}), ("gride", {"scale": 2})):
        assert intrinsic_dimension(points, method=method, **options) == pytest.approx(dimension, rel=0.15)


def test_gride_scales_report_distances_in_the_units_of_the_features():
    a, _ = related(n=60)
    distances = neighbours(a, 2, metric="euclidean").values
    raw = np.sort(distance_matrix(a), axis=1)[:, 1:3]
    assert distances / distances[0, 0] == pytest.approx(raw / raw[0, 0], rel=1e-9)
    assert gride_scales(a, largest=2).distance[0] == pytest.approx(raw.mean(), rel=1e-9)


def test_effective_rank_is_the_participation_ratio():
    for shape in ((30, 5), (5, 30)):
        a = np.random.default_rng(0).normal(size=shape)
        spectrum = np.linalg.eigvalsh(np.cov(a.T))
        assert effective_rank(a) == pytest.approx(spectrum.sum() ** 2 / (spectrum**2).sum(), rel=1e-10)


def test_id_correlation_uses_the_dimension_of_concatenated_z_scores():
    a, b = related(n=80)
    za, zb = ((x - x.mean(axis=0)) / x.std(axis=0) for x in (a, b))
    found = id_correlation(a, b, permutations=19)
    one, two, joint = (intrinsic_dimension(x) for x in (za, zb, np.concatenate([za, zb], axis=1)))
    assert (found.dimension_a, found.dimension_b, found.dimension_joint) == pytest.approx((one, two, joint), rel=1e-9)
    assert found.value == pytest.approx((one + two - joint) / max(one, two), rel=1e-9)


def test_id_correlation_tells_dependent_from_independent():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(400, 3))
    assert id_correlation(a, np.sinh(a), permutations=39).p_value == pytest.approx(1 / 40)
    assert id_correlation(a, rng.normal(size=(400, 3)), permutations=39).p_value > 0.05


def test_reconstruction_is_exact_for_linear_images_and_one_for_noise():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(300, 4))
    image = a @ rng.normal(size=(4, 6)) * 100 + 7
    assert global_reconstruction_error(a, image) < 1e-10
    assert local_reconstruction_error(a, image, n_neighbours=30) < 1e-10
    assert global_reconstruction_error(a, rng.normal(size=(300, 4))) == pytest.approx(1, abs=0.1)


def test_local_reconstruction_sees_smooth_maps_that_the_global_one_does_not():
    angle = np.random.default_rng(0).uniform(-3, 3, size=(600, 1))
    curve = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    assert global_reconstruction_error(angle, curve) > 0.6
    assert local_reconstruction_error(angle, curve, n_neighbours=10) < 0.05


def test_reconstruction_without_groups_leaks_atoms_of_one_structure():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 15)
    a = rng.normal(size=(40, 60))[groups] + 0.001 * rng.normal(size=(600, 60))
    b = rng.normal(size=(40, 3))[groups]
    assert global_reconstruction_error(a, b) < 0.1
    assert global_reconstruction_error(a, b, groups=groups) > 0.8


def test_grouped_reconstruction_does_not_depend_on_the_order_of_the_rows():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 6)
    a = rng.normal(size=(120, 5))
    b = np.tanh(a[:, :3])
    order = rng.permutation(120)
    expected = global_reconstruction_error(a, b, groups=groups)
    assert global_reconstruction_error(a[order], b[order], groups=groups[order]) == pytest.approx(expected, abs=1e-12)


def test_local_reconstruction_can_be_limited_to_some_test_rows():
    a, b = related(n=200)
    all_rows = local_reconstruction_error(a, b, n_neighbours=20)
    assert local_reconstruction_error(a, b, n_neighbours=20, max_test_rows=100) == pytest.approx(all_rows, abs=1e-12)
    assert local_reconstruction_error(a, b, n_neighbours=20, max_test_rows=50) == pytest.approx(all_rows, rel=0.5)
