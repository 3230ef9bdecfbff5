"""From atoms to structures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import kstat

from benchmark.metrics import cumulant_pool, mean_pool

PTR = np.array([0, 1, 4, 10, 30])


def atoms():
    return np.random.default_rng(0).gamma(2.0, size=(30, 3))


def test_mean_pool_is_the_mean_of_each_structure():
    expected = [atoms()[i:j].mean(axis=0) for i, j in itertools.pairwise(PTR)]
    assert mean_pool(atoms(), PTR) == pytest.approx(np.array(expected), rel=1e-13)


def population_cumulants(x, n):
    """From the definition: derivatives of log E exp(t x), by recursion over raw moments."""
    from math import comb

    moments = [np.mean(x**j) for j in range(n + 1)]
    cumulants = [0.0]
    for order in range(1, n + 1):
        known = sum(comb(order - 1, j - 1) * cumulants[j] * moments[order - j] for j in range(1, order))
        cumulants.append(moments[order] - known)
    return cumulants[1:]


def test_cumulants_are_signed_roots_of_population_cumulants():
    found = cumulant_pool(atoms(), PTR, 5).reshape(4, 5, 3)
    for structure in range(1, 4):
        for channel in range(3):
            raw = population_cumulants(atoms()[PTR[structure] : PTR[structure + 1], channel], 5)
            for order, value in enumerate(raw, start=1):
                root = found[structure, order - 1, channel]
                assert np.sign(root) * abs(root) ** order == pytest.approx(value, rel=1e-6, abs=1e-9)


def test_third_cumulant_agrees_with_k_statistics_in_large_samples():
    x = np.random.default_rng(0).gamma(2.0, size=(200_000, 1))
    assert cumulant_pool(x, [0, 200_000], 3)[0, 2] ** 3 == pytest.approx(kstat(x[:, 0], 3), rel=1e-3)


def test_first_cumulant_is_the_mean_and_equal_atoms_have_no_other():
    assert cumulant_pool(atoms(), PTR, 1) == pytest.approx(mean_pool(atoms(), PTR))
    same = np.full((5, 2), 0.1)
    assert cumulant_pool(same, [0, 5], 4)[0, 2:] == pytest.approx(np.zeros(6), abs=1e-15)


def test_rounding_noise_is_not_blown_up_by_roots():
    symmetric = np.array([[0.1], [0.3], [0.1], [0.3]])
    assert cumulant_pool(symmetric, [0, 4], 3)[0, 2] == 0


@pytest.mark.parametrize("pool", [mean_pool, lambda x, ptr: cumulant_pool(x, ptr, 4)])
def test_pooling_does_not_see_the_size_of_the_cell_or_the_order_of_atoms(pool):
    x = atoms()[:6]
    twice = np.concatenate([x, x])[np.random.default_rng(1).permutation(12)]
    assert pool(twice, [0, 12]) == pytest.approx(pool(x, [0, 6]), rel=1e-9)


@pytest.mark.parametrize("ptr", [[0, 30, 30], [1, 30], [0, 29], [0], [0.0, 30.0], [[0, 30]], [0, 20, 10, 30]])
def test_wrong_boundaries_are_refused(ptr):
    with pytest.raises(ValueError, match="ptr: expected"):
        mean_pool(atoms(), ptr)


def test_too_many_cumulants_are_refused():
    with pytest.raises(ValueError, match="n: expected 1 to 8"):
        cumulant_pool(atoms(), PTR, 9)
