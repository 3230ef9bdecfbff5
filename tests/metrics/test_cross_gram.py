"""CKA and global reconstruction errors from shared Grams against their definitions on single pairs."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from benchmark.metrics import cross_gram, global_reconstruction_error, linear_cka
from benchmark.metrics.cross_gram import feature_space_pairs


def related(n, d, *, weakest=0.1, latent=10, seed=0):
    """Noisy images of common latent coordinates whose columns fall off to `weakest` of the first."""
    rng = np.random.default_rng(seed + 100)
    shared = np.random.default_rng(0).normal(size=(n, latent))
    array = np.tanh(shared @ rng.normal(size=(latent, d)) / 3) + 0.05 * rng.normal(size=(n, d))
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (array @ rotation) * np.geomspace(1, weakest, d) @ rotation.T


def models(n=200):
    base = related(n, 12)
    return {
        "well": related(n, 20, seed=1),
        "ill": related(n, 30, weakest=1e-10, seed=2),
        "square": related(n, n // 2, weakest=1e-6, seed=3),
        "wide": related(n, 2 * n, seed=4),
        "dead": np.concatenate([base, np.zeros((n, 2)), np.full((n, 1), 1e6)], axis=1),
        "duplicated": np.concatenate([base, base], axis=1),
        "image": base @ np.random.default_rng(5).normal(size=(12, 17)),
        "float32": related(n, 30, weakest=1e-7, seed=2).astype(np.float32),
        "shifted": related(n, 20, seed=1) + 1e6,
    }


def assert_direct(arrays, found, groups=None):
    for (a, b), value in found.cka.items():
        assert value == pytest.approx(linear_cka(arrays[a], arrays[b]), abs=1e-10)
    for (a, b), value in found.gfre.items():
        assert value == pytest.approx(global_reconstruction_error(arrays[a], arrays[b], groups=groups), abs=1e-6)


@pytest.mark.parametrize("groups", [None, np.arange(200) // 7])
def test_every_pair_equals_the_direct_definition(groups):
    arrays = models()
    found = feature_space_pairs(arrays, groups=groups)
    assert set(found.gfre) == set(permutations(arrays, 2))
    assert_direct(arrays, found, groups)


def test_rows_read_again_in_small_chunks_give_the_same_values(monkeypatch):
    arrays = models(60)
    expected = feature_space_pairs(arrays)
    monkeypatch.setattr(cross_gram, "KEPT_BYTES", 0)
    monkeypatch.setattr(cross_gram, "TILE_ENTRIES", 300)
    found = feature_space_pairs(arrays)
    assert found.cka == pytest.approx(expected.cka, abs=1e-10)
    assert found.gfre == pytest.approx(expected.gfre, abs=1e-6)


def test_memory_maps_are_read_as_they_are(tmp_path):
    arrays = {name: related(80, 6, seed=seed).astype(np.float32) for seed, name in enumerate("ab")}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    maps = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in arrays}
    assert_direct(arrays, feature_space_pairs(maps))


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 40), st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(0, 10**6))
def test_small_arrays_of_any_rank_equal_the_direct_definition(n, d_a, d_b, rank, seed):
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.normal(size=(n, min(rank, d))) @ rng.normal(size=(min(rank, d), d))
        for name, d in (("a", d_a), ("b", d_b))
    }
    found = feature_space_pairs(arrays)
    for (a, b), value in found.cka.items():
        assert value == pytest.approx(linear_cka(arrays[a], arrays[b]), abs=1e-10, nan_ok=True)
    for (a, b), value in found.gfre.items():
        # a map fitted to hardly more rows than columns can be of any size, and its error with it
        assert value == pytest.approx(global_reconstruction_error(arrays[a], arrays[b]), abs=1e-6, rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 10**6))
def test_scale_shift_and_rotation_of_the_source_change_nothing(scale, shift, seed):
    rng = np.random.default_rng(seed)
    a, b = related(60, 5, seed=7), related(60, 4, seed=8)
    moved = scale * a @ np.linalg.qr(rng.normal(size=(5, 5)))[0] + shift
    first, second = feature_space_pairs({"a": a, "b": b}), feature_space_pairs({"a": moved, "b": b})
    assert second.cka["a", "b"] == pytest.approx(first.cka["a", "b"], abs=1e-8)
    assert second.gfre["a", "b"] == pytest.approx(first.gfre["a", "b"], abs=1e-6)


def test_only_the_pairs_asked_for_are_computed():
    arrays = {**{name: related(40, 3, seed=seed) for seed, name in enumerate("abc")}, "constant": np.ones((40, 3))}
    found = feature_space_pairs(arrays, pairs=[("c", "a")])
    assert set(found.cka) == {("c", "a")}
    assert set(found.gfre) == {("c", "a"), ("a", "c")}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((40, 3), np.nan), "bad: expected finite values, found 120"),
        (np.ones((40, 3)), "bad: expected features that vary over the training half"),
        (np.ones((39, 3)), "bad: expected 40 rows like good, found 39"),
        (np.ones(40), "bad: expected a 2-D array"),
        (np.array([["x"]] * 40), "bad: expected an array of numbers"),
    ],
)
def test_refuses_arrays_that_have_no_value(bad, message):
    with pytest.raises(ValueError, match=message):
        feature_space_pairs({"good": related(40, 3), "bad": bad})


def test_refuses_pairs_of_unknown_models():
    with pytest.raises(ValueError, match="pairs: expected names among a, found z"):
        feature_space_pairs({"a": related(40, 3)}, pairs=[("a", "z")])
