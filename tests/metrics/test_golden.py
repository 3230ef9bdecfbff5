"""Our numbers against those of the metrics' authors and of well-known packages, on features of real models."""

from __future__ import annotations

import pytest

from benchmark.metrics import (
    METRICS,
    cknna,
    distance_correlation,
    global_reconstruction_error,
    gride_scales,
    information_imbalance,
    intrinsic_dimension,
    linear_cka,
    local_reconstruction_error,
    mutual_knn,
)


def near(value, tolerance):
    return pytest.approx(value, rel=0, abs=tolerance)


@pytest.mark.parametrize("k", [10, 25])
def test_neighbour_scores_agree_with_their_authors_code(golden, k):
    for a, b, values in golden.pairs():
        # the authors add 1e-6 to the denominator of cknna
        assert cknna(a, b, k=k) == near(values[f"cknna_k{k}_platonic"], 1e-4)
        # theirs is a float32 mean of shares of k; ours is the same fraction exactly
        assert round(mutual_knn(a, b, k=k) * k * len(a)) == round(values[f"mutual_knn_k{k}_platonic"] * k * len(a))


def test_cka_agrees_with_the_same_code_but_for_its_regularisation(golden):
    for a, b, values in golden.pairs():
        assert linear_cka(a, b) == near(values["unbiased_cka_platonic"], 1e-5)


def test_distance_correlation_agrees_with_dcor(golden):
    for a, b, values in golden.pairs():
        assert distance_correlation(a, b) == near(values["u_dcor_sqr_dcor"], 1e-10)
        assert METRICS["dcor_biased"].compute(a, b) == near(values["dcor_sqr_biased_dcor"], 1e-10)


@pytest.mark.parametrize("k", [1, 10])
def test_information_imbalance_agrees_with_dadapy(golden, k):
    for a, b, values in golden.pairs():
        assert information_imbalance(a, b, k=k) == near(values[f"information_imbalance_k{k}_dadapy"], 1e-10)


def test_reconstruction_errors_agree_with_scikit_matter(golden):
    for a, b, values in golden.pairs():
        assert global_reconstruction_error(a, b) == near(values["gfre_skmatter"], 1e-9)
        assert local_reconstruction_error(a, b, n_neighbours=30) == near(values["lfre_k30_skmatter"], 1e-9)


def test_intrinsic_dimensions_agree_with_scikit_dimension_and_dadapy(golden):
    for name, array in golden.arrays.items():
        values = golden.values[name]
        assert intrinsic_dimension(array) == near(values["twonn_skdim_linear"], 1e-8)
        assert intrinsic_dimension(array) == near(values["twonn_base_dadapy"], 1e-8)
        assert intrinsic_dimension(array, method="mle", k=20) == near(values["mle_k20_skdim"], 1e-8)
        assert gride_scales(array).dimension == near(tuple(values["gride_dadapy"]), 1e-6)
        assert intrinsic_dimension(array, method="gride") == near(values["twonn_ml_dadapy"], 1e-6)
