"""`compare_all` holds the values of the single functions, for every pair, once or both ways."""

from __future__ import annotations

import numpy as np
import pytest

import benchmark.metrics as metrics
from benchmark.metrics import compare_all
from benchmark.metrics.all_pairs import ALONE, COLUMNS, PAIRWISE


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(3)
    z = rng.normal(size=(160, 4))
    return {
        "a": np.tanh(z @ rng.normal(size=(4, 12))),
        "b": z @ rng.normal(size=(4, 7)) + 0.2 * rng.normal(size=(160, 7)),
        "c": rng.normal(size=(160, 5)),
    }


def value(table, metric, a, b=None):
    rows = table[(table.metric == metric) & (table.a == a) & (table.b.isna() if b is None else table.b == b)]
    assert len(rows) == 1
    return float(rows.value.iloc[0])


def test_every_value_is_that_of_the_single_function(models) -> None:
    table = compare_all(models, k=9)
    assert list(table.columns) == list(COLUMNS)
    assert set(table.metric) == {*PAIRWISE, *ALONE}
    for a, b in (("a", "b"), ("a", "c"), ("b", "c")):
        A, B = models[a], models[b]
        assert value(table, "cknna", a, b) == pytest.approx(metrics.cknna(A, B, k=9), abs=1e-12)
        assert value(table, "mutual_knn", a, b) == pytest.approx(metrics.mutual_knn(A, B, k=9), abs=1e-12)
        assert value(table, "cka", a, b) == pytest.approx(metrics.linear_cka(A, B), abs=1e-9)
        assert value(table, "dcor", a, b) == pytest.approx(metrics.distance_correlation(A, B), abs=1e-12)
        for x, y in ((a, b), (b, a)):
            expected = metrics.information_imbalance(models[x], models[y])
            assert value(table, "information_imbalance", x, y) == pytest.approx(expected, abs=1e-14)
            expected = metrics.global_reconstruction_error(models[x], models[y])
            assert value(table, "gfre", x, y) == pytest.approx(expected, abs=1e-6)
    for a, array in models.items():
        assert value(table, "effective_rank", a) == pytest.approx(metrics.effective_rank(array))
        assert value(table, "intrinsic_dimension", a) == pytest.approx(metrics.intrinsic_dimension(array), rel=1e-9)
        mle = metrics.intrinsic_dimension(array, method="mle", k=50)
        assert value(table, "intrinsic_dimension_mle", a) == pytest.approx(mle, rel=1e-9)


def test_permutations_tell_a_related_pair_from_an_unrelated_one(models) -> None:
    table = compare_all(models, k=9, metrics=["cknna", "dcor"], permutations=99).set_index(["metric", "a", "b"])
    for metric in ("cknna", "dcor"):
        assert table.p_value[metric, "a", "b"] <= 0.01
        assert table.p_value[metric, "a", "c"] > 0.02
        assert table.calibrated[metric, "a", "b"] < table.value[metric, "a", "b"]


def test_one_model_alone_has_metrics_of_its_own_and_no_pairs(models) -> None:
    table = compare_all({"a": models["a"]}, k=9)
    assert set(table.metric) == set(ALONE)


def test_constant_features_give_no_number_where_none_is_defined(models) -> None:
    table = compare_all({"a": models["a"], "flat": np.zeros((160, 2))}, k=9, metrics=["cknna", "dcor", *ALONE])
    assert np.isnan(value(table, "cknna", "a", "flat"))
    assert np.isnan(value(table, "dcor", "a", "flat"))
    assert np.isnan(value(table, "intrinsic_dimension", "flat"))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"k": 160}, "1 to 159"), ({"k": 0}, "at least 1"), ({"metrics": ["ckna"]}, "found ckna")],
)
def test_bad_options_are_named(models, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        compare_all(models, **options)


def test_the_null_without_permutations_is_that_of_permutations() -> None:
    rng = np.random.default_rng(8)
    n = 120
    A, B = rng.normal(size=(n, 3)), rng.normal(size=(n, 40)) ** 3
    samples = metrics.calibrate("dcor", A, B, permutations=4000).samples
    assert samples.mean() == pytest.approx(0.0, abs=4 * samples.std() / np.sqrt(4000))
    assert samples.std() == pytest.approx(np.sqrt(2 / (n * (n - 3))), rel=0.05)
    _, quantile, _ = metrics.unbiased_null(0.0, n)
    assert np.mean(samples > quantile) <= 0.06
