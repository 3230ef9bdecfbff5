"""The streamed pass gives what the definitions give, whatever the data; written out here by hand, n x n and all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from benchmark.metrics import intrinsic_dimension, stream
from benchmark.metrics import streaming as streaming_module
from benchmark.metrics.dimension import dimensions_of
from benchmark.metrics.imbalance import rank_sum_of
from benchmark.metrics.neighbours import round_to_ties
from benchmark.metrics.tiles import Rows
from benchmark.metrics.validation import standard_form


def squared(array):
    return round_to_ties(cdist(standard_form(array), standard_form(array), "sqeuclidean"))


def imbalance(a, b):
    n = len(a)
    distances_a, distances_b = squared(a), squared(b)
    np.fill_diagonal(distances_a, np.inf)
    np.fill_diagonal(distances_b, -1.0)
    nearest = np.argsort(distances_a, axis=1, kind="stable")[:, 0]
    ranks = np.array([rankdata(row)[j] - 1 for row, j in zip(distances_b, nearest, strict=True)])
    return 2.0 * ranks.mean() / n


def distance_correlation(a, b):
    def centred(array):
        d = cdist(standard_form(array), standard_form(array))
        n = len(d)
        u = d - d.sum(0) / (n - 2) - d.sum(1)[:, None] / (n - 2) + d.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(u, 0.0)
        return u

    x, y = centred(a), centred(b)
    return (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum())


def hard_cases():
    rng = np.random.default_rng(5)
    n = 230
    z = rng.normal(size=(n, 3))
    repeated = rng.normal(size=(n, 5))
    repeated[100:160] = repeated[:60]
    outlier = rng.normal(size=(n, 3))
    outlier[0] *= 1e4
    fractions = np.zeros((n, 40))
    for row in fractions:
        row[rng.choice(40, size=3, replace=False)] = np.array([1.0, 1.0, 2.0]) / 4
    return {
        "curved": np.tanh(z @ rng.normal(size=(3, 20))) + 0.1 * rng.normal(size=(n, 20)),
        "far from the origin": z * 1e6 + 1e8,
        "integers, mostly ties": rng.integers(0, 3, size=(n, 4)).astype(float),
        "repeated rows": repeated,
        "wide": rng.normal(size=(n, 600)),
        "outlier": outlier,
        "one column": rng.normal(size=(n, 1)),
        "nearly repeated": np.repeat(rng.normal(size=(n // 2, 4)), 2, axis=0) + 1e-9 * rng.normal(size=(n, 4)),
        "element fractions": fractions,
        "element fractions, nearly": fractions + 1e-13 * rng.normal(size=fractions.shape),
        "dead column": np.column_stack([z, np.full(n, 7.0)]),
    }


@pytest.fixture(scope="module")
def hard():
    models = hard_cases()
    return models, stream(models, cosine=20, euclidean=12)


def test_neighbours_by_distance_are_exact_with_ties_by_index(hard) -> None:
    models, found = hard
    for name, array in models.items():
        distances = squared(array)
        np.fill_diagonal(distances, np.inf)
        expected = np.argsort(distances, axis=1, kind="stable")[:, :12]
        np.testing.assert_array_equal(found.models[name].euclidean.indices, expected, err_msg=name)
        values = np.sqrt(np.take_along_axis(distances, expected, axis=1))
        np.testing.assert_allclose(found.models[name].euclidean.values, values, rtol=1e-9, err_msg=name)


def test_neighbours_by_cosine_are_exact_with_ties_by_index(hard) -> None:
    models, found = hard
    for name, array in models.items():
        rows = standard_form(array)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        unit = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
        against = -np.round(unit @ unit.T, 12)
        np.fill_diagonal(against, np.inf)
        expected = np.argsort(against, axis=1, kind="stable")[:, :20]
        np.testing.assert_array_equal(found.models[name].cosine.indices, expected, err_msg=name)


def test_ranks_are_exact_mid_ranks_for_every_ordered_pair(hard) -> None:
    models, found = hard
    for a in models:
        for b in models:
            assert found.information_imbalance(a, b) == pytest.approx(imbalance(models[a], models[b]), abs=1e-14), (
                a,
                b,
            )


def test_ties_within_the_error_of_a_distance_take_few_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    differences = Rows.differences

    def counted(rows: Rows, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        compared.append(len(first))
        return differences(rows, first, second)

    monkeypatch.setattr(Rows, "differences", counted)
    fractions = hard_cases()["element fractions"]
    indices = np.tile(np.arange(3), (len(fractions), 1))
    indices[:3] = [[3, 4, 5]] * 3
    exact = rankdata(squared(fractions), axis=1) - 1.0  # a row itself is the nearest, and no two rows are equal
    expected = np.take_along_axis(exact, indices, axis=1).sum()
    found = rank_sum_of(indices, standard_form(fractions))
    assert found == expected
    ties = sum(
        np.count_nonzero(np.isclose(row, row[one])) for row, ones in zip(exact, indices, strict=True) for one in ones
    )
    assert ties > 20 * indices.size and sum(compared) < 0.1 * ties


def test_distance_correlation_is_that_of_u_centred_matrices(hard) -> None:
    models, found = hard
    for a in models:
        for b in models:
            expected = distance_correlation(models[a], models[b])
            assert found.distance_correlation(a, b) == pytest.approx(expected, abs=1e-9), (a, b)


def test_dimensions_come_from_the_neighbours_of_the_pass(hard) -> None:
    models, found = hard
    for name, array in models.items():
        values = dimensions_of(found.models[name].euclidean, array, 10)
        if len(np.unique(standard_form(array), axis=0)) < 100:
            continue
        twonn, mle, gride = (
            intrinsic_dimension(array, method="twonn"),
            None,
            intrinsic_dimension(array, method="gride"),
        )
        assert values["intrinsic_dimension"][0] == pytest.approx(twonn, rel=1e-6), name
        assert values["intrinsic_dimension_gride"][0] == pytest.approx(gride, rel=1e-6), name
        mle = intrinsic_dimension(array, method="mle", k=values["intrinsic_dimension_mle"][1])
        assert values["intrinsic_dimension_mle"][0] == pytest.approx(mle, rel=1e-6), name


def test_constant_features_know_nothing() -> None:
    rng = np.random.default_rng(0)
    found = stream({"constant": np.ones((40, 3)), "b": rng.normal(size=(40, 3))}, cosine=3)
    assert found.information_imbalance("b", "constant") == 1.0
    assert np.isnan(found.distance_correlation("constant", "b"))
    assert found.models["constant"].euclidean.indices[5].tolist() == [0, 1]


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 60), st.integers(1, 5), st.integers(0, 2**31), st.sampled_from([1, 2, 50]))
def test_any_small_integer_array_has_the_ranks_of_the_definition(n, d, seed, levels) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, levels + 1, size=(n, d)).astype(float), rng.normal(size=(n, 2))
    found = stream({"a": a, "b": b}, cosine=0)
    assert found.information_imbalance("b", "a") == pytest.approx(imbalance(b, a), abs=1e-12)
    assert found.information_imbalance("a", "b") == pytest.approx(imbalance(a, b), abs=1e-12)


def test_results_do_not_depend_on_tiles_or_threads(monkeypatch) -> None:
    models = {name: array for name, array in hard_cases().items() if name != "wide"}
    found = []
    before = torch.get_num_threads()
    for size, threads in ((1, 1), (1 << 20, 2), (1 << 28, 1)):
        monkeypatch.setattr(streaming_module, "TILE_BYTES", {"cpu": size, "cuda": size})
        torch.set_num_threads(threads)
        found.append(stream(models, cosine=9))
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(other.rank_sums, found[0].rank_sums)
        np.testing.assert_allclose(other.products, found[0].products, rtol=1e-10)
        for name in models:
            np.testing.assert_array_equal(
                other.models[name].cosine.indices, found[0].models[name].cosine.indices, err_msg=name
            )


def test_progress_ends_at_the_number_of_rows() -> None:
    seen = []
    stream({"a": np.random.default_rng(0).normal(size=(50, 2))}, cosine=3, progress=lambda *at: seen.append(at))
    assert seen[-1] == (50, 50)


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ({}, {}, "at least one feature array"),
        ({"a": np.ones((5, 2)), "b": np.ones((6, 2))}, {}, "b: expected 5 rows like a, found 6"),
        ({"a": np.full((9, 2), np.nan)}, {}, "a: expected finite values"),
        ({"a": np.eye(9)}, {"cosine": 9}, "cosine: expected 1 to 8"),
        ({"a": np.eye(9)}, {"cosine": 3, "device": "abacus"}, "device: expected auto, cpu or cuda"),
    ],
)
def test_bad_input_is_named(models, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        stream(models, **options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU")
def test_a_gpu_gives_the_results_of_the_cpu() -> None:
    models = hard_cases()
    here, there = stream(models, cosine=20, device="cpu"), stream(models, cosine=20, device="cuda")
    np.testing.assert_array_equal(here.rank_sums, there.rank_sums)
    np.testing.assert_allclose(here.products, there.products, rtol=1e-12)
