"""Batched local reconstruction and tiled id correlation against their definitions, row by row."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.metrics import dimension, id_correlation, local_reconstruction_error, neighbours, reconstruction
from benchmark.metrics.reconstruction import SPLIT_SEED, local_reconstruction_errors, split_rows


def direct_lfre(a, b, k):
    """One neighbourhood after another, each with the cut-off map of the global error."""
    split = split_rows(len(a), None, SPLIT_SEED)
    inner = reconstruction._folds(k, None, SPLIT_SEED)
    train, test, squares = split.train, split.test, []
    a, b = ((x - x[train].mean(axis=0)) / np.sqrt(x[train].var(axis=0).sum()) for x in (a, b))
    for row in test:
        near = train[np.argsort(np.square(a[train] - a[row]).sum(axis=1), kind="stable")[:k]]
        centre_a, centre_b = a[near].mean(axis=0), b[near].mean(axis=0)
        weights = reconstruction._cut_off_map(a[near] - centre_a, b[near] - centre_b, inner)
        squares.append(np.square(b[row] - centre_b - (a[row] - centre_a) @ weights).sum())
    return float(np.sqrt(np.mean(squares)))


@settings(max_examples=20, deadline=None)
@given(st.integers(20, 50), st.integers(1, 12), st.integers(1, 12), st.integers(4, 10), st.integers(0, 10**6))
def test_batched_neighbourhoods_equal_one_after_another(n, d_a, d_b, k, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, d_a)), rng.normal(size=(n, d_b))
    expected = direct_lfre(a, b, k)
    assert local_reconstruction_error(a, b, n_neighbours=k) == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_dead_and_repeated_columns_equal_one_after_another():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(60, 4))
    a, b = np.concatenate([base, np.zeros((60, 2)), base], axis=1), np.sin(base) + 0.1 * rng.normal(size=(60, 4))
    assert local_reconstruction_error(a, b, n_neighbours=14) == pytest.approx(direct_lfre(a, b, 14), rel=1e-8)


def test_neighbourhoods_of_repeated_rows_predict_the_mean():
    a = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]], 20, axis=0)
    b = np.random.default_rng(0).normal(size=(60, 2))
    assert np.isfinite(local_reconstruction_error(a, b, n_neighbours=4))


def test_many_targets_get_the_values_that_each_gets_alone(monkeypatch):
    monkeypatch.setattr(reconstruction, "NEIGHBOURHOOD_ENTRIES", 200)
    rng = np.random.default_rng(0)
    a = rng.normal(size=(70, 6))
    targets = {"narrow": a[:, :3] ** 2, "equal": np.sin(a), "wide": rng.normal(size=(70, 9))}
    for k in (None, 10):
        found = local_reconstruction_errors(a, targets, n_neighbours=k)
        alone = {name: local_reconstruction_error(a, target, n_neighbours=k) for name, target in targets.items()}
        assert found == pytest.approx(alone, abs=1e-12)


def test_a_refused_target_is_named():
    a = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match="short: expected 20 rows like A, found 19"):
        local_reconstruction_errors(a, {"short": a[:19]})


def direct_joint_dimensions(a, b, permutations, seed):
    """TwoNN of the concatenated z-scores, for B as it is and permuted."""
    a, b = ((x - x.mean(axis=0)) / x.std(axis=0) for x in (a, b))
    rng = np.random.default_rng(seed)
    orders = [np.arange(len(a)), *(rng.permutation(len(a)) for _ in range(permutations))]
    found = []
    for order in orders:
        two = neighbours(np.concatenate([a, b[order]], axis=1), 2, metric="euclidean").values
        found.append(dimension._twonn(two[two[:, 0] > 0], 0.9))
    return np.array(found)


@pytest.mark.parametrize("entries", [10**6, 700])
def test_id_correlation_equals_the_dimensions_of_concatenated_features(monkeypatch, entries):
    # the package's function `neighbours` hides the module of that name
    monkeypatch.setattr(sys.modules["benchmark.metrics.neighbours"], "TILE_ENTRIES", entries)
    rng = np.random.default_rng(0)
    a = rng.normal(size=(120, 3))
    b = np.concatenate([a[:, :1], rng.normal(size=(120, 2))], axis=1)
    a[100:], b[100:] = a[:20], b[:20]  # repeats: the nearest distance is 0
    found = id_correlation(a, b, permutations=20, seed=3)
    joint = direct_joint_dimensions(a, b, 20, 3)
    largest, total = max(found.dimension_a, found.dimension_b), found.dimension_a + found.dimension_b
    assert found.dimension_joint == pytest.approx(joint[0], rel=1e-9)
    assert found.null_mean == pytest.approx(((total - joint[1:]) / largest).mean(), rel=1e-9)
    assert found.p_value == pytest.approx((1 + np.sum(joint[1:] <= joint[0])) / 21)
    assert found.n == 120


def test_id_correlation_draws_the_same_rows_of_too_many(monkeypatch):
    monkeypatch.setattr(dimension, "ID_CORRELATION_ROWS", 50)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(80, 2)), rng.normal(size=(80, 3))
    rows = np.sort(np.random.default_rng(dimension.ID_CORRELATION_SEED).choice(80, 50, replace=False))
    found = id_correlation(a, b, permutations=5)
    assert found.n == 50
    assert found.value == pytest.approx(id_correlation(a[rows], b[rows], permutations=5).value, rel=1e-9)
