"""Composition Projection Decomposition, its nulls, and the probes beside it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group
from sklearn.linear_model import LinearRegression, Ridge

from benchmark.metrics import (
    IsomerOrder,
    channel_norms,
    composition_corrected_mae,
    composition_projection,
    composition_share,
    compositional_control,
    cpd,
    cpd_many,
    cpd_subsample,
    half_subsets,
    isomer_order,
    learning_curve,
    nonlinear_probe,
    shuffled_null,
    vector_probe,
)
from benchmark.metrics.ridge import ALPHAS, grouped_folds, ridge_predictions


def molecules(n=300, elements=4, d=20, seed=0, noise=0.3):
    """Features that know composition and six hidden coordinates; a target that needs both."""
    rng = np.random.default_rng(seed)
    C = rng.poisson(2, size=(n, elements)).astype(float)
    groups = np.array([" ".join(f"{count:.0f}" for count in row) for row in C])
    hidden = rng.normal(size=(n, 6))
    H = np.concatenate([C, hidden], axis=1) @ rng.normal(size=(elements + 6, d)) + noise * rng.normal(size=(n, d))
    y = C @ rng.normal(size=elements) * 3 + hidden[:, 0] + 0.3 * rng.normal(size=n)
    return H, C, y, groups


def crystals(n=200, elements=60, seed=0):
    """Fractions over many elements: fewer than 20 structures a column."""
    rng = np.random.default_rng(seed)
    C = np.zeros((n, elements))
    for row in C:
        row[rng.choice(elements, 3, replace=False)] = rng.integers(1, 5, 3)
    C /= C.sum(axis=1, keepdims=True)
    groups = np.array([str(np.flatnonzero(row)) for row in C])
    return C, groups, rng


def test_exact_projection_is_least_squares_with_an_intercept():
    H, C, _, _ = molecules()
    expected = LinearRegression().fit(C, H).predict(C)
    assert composition_projection(C, H, method="exact").predict(C) == pytest.approx(expected, abs=1e-9)


def test_linear_dependences_and_absent_elements_are_harmless():
    H, C, _, _ = molecules()
    fractions = C / np.maximum(C.sum(axis=1, keepdims=True), 1)
    padded = np.concatenate([fractions, fractions @ np.ones((4, 1)), np.zeros((300, 2))], axis=1)
    expected = LinearRegression().fit(padded, H).predict(padded)
    assert composition_projection(padded, H, method="exact").predict(padded) == pytest.approx(expected, abs=1e-8)


def test_ridge_projection_minimises_generalised_cross_validation():
    C, _, rng = crystals(n=80, elements=20)
    y = C @ rng.normal(size=20) + 0.1 * rng.normal(size=80)
    z = (C - C.mean(axis=0)) / C.std(axis=0)
    errors = []
    for alpha in ALPHAS:
        hat = z @ np.linalg.solve(z.T @ z + alpha * 80 * np.eye(20), z.T) + 1 / 80
        errors.append(np.square(y - hat @ y).sum() / (80 - np.trace(hat)) ** 2)
    best = Ridge(alpha=ALPHAS[int(np.argmin(errors))] * 80).fit(z, y).predict(z)
    fit = composition_projection(C, y[:, None])
    assert fit.method == "ridge"
    assert fit.predict(C)[:, 0] == pytest.approx(best, abs=1e-8)


def test_projection_is_exact_only_with_twenty_structures_a_column():
    C, _, rng = crystals(n=1300, elements=60)
    H = rng.normal(size=(1300, 3))
    assert composition_projection(C, H).method == "exact"
    assert composition_projection(C[:1100], H[:1100]).method == "ridge"
    assert composition_projection(C[:100, :4] * 0 + rng.normal(size=(100, 4)), H[:100]).method == "exact"


def test_folds_keep_groups_together_and_are_balanced():
    codes = np.random.default_rng(0).integers(0, 40, size=500)
    folds = grouped_folds(codes, 5, seed=1)
    assert all(np.unique(folds[codes == group]).size == 1 for group in range(40))
    assert np.bincount(folds).min() > 80
    assert (grouped_folds(codes, 5, seed=2) != folds).any()
    order = np.random.default_rng(1).permutation(500)
    assert (grouped_folds(codes[order], 5, seed=1) == folds[order]).all()


@pytest.mark.parametrize("d", [15, 120])
def test_ridge_is_ridge_with_a_penalty_of_its_own_for_each_target(d):
    rng = np.random.default_rng(0)
    X, X_new = rng.normal(size=(60, d)), rng.normal(size=(10, d))
    Y = np.column_stack([X[:, 0] + 0.01 * rng.normal(size=60), rng.normal(size=60), X @ rng.normal(size=d) + 3])
    predicted, alphas = ridge_predictions(X, Y, X_new, np.arange(60), inner_folds=4, seed=0)
    for column in range(3):
        expected = Ridge(alpha=alphas[column] * 60).fit(X, Y[:, column]).predict(X_new)
        assert predicted[:, column] == pytest.approx(expected, abs=1e-6)
    assert alphas[0] < alphas[1]


def test_features_that_are_nothing_but_composition_read_exactly_nothing():
    _, C, y, groups = molecules()
    found = cpd(C @ np.random.default_rng(0).normal(size=(C.shape[1], 4)), C, y, groups=groups)
    assert found.r2_partial == pytest.approx(0.0, abs=1e-9)
    assert found.r2_geometry == pytest.approx(0.0, abs=1e-9)


def test_inner_folds_choose_the_penalty_of_least_error():
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(60, 30)), np.repeat(np.arange(30), 2)
    y = X[:, :3].sum(axis=1) + rng.normal(size=60)
    folds = grouped_folds(codes, 4, seed=7)
    errors = []
    for alpha in ALPHAS:
        error = 0.0
        for fold in range(4):
            train, test = folds != fold, folds == fold
            model = Ridge(alpha=alpha * train.sum()).fit(X[train], y[train])
            error += np.square(y[test] - model.predict(X[test])).sum()
        errors.append(error)
    _, alphas = ridge_predictions(X, y[:, None], X, codes, inner_folds=4, seed=7)
    assert alphas[0] == ALPHAS[int(np.argmin(errors))]


def test_cpd_is_its_definition_fold_by_fold():
    H, C, y, groups = molecules()
    found = cpd(H, C, y, groups=groups)
    prediction, residual, mean = np.empty(300), np.empty(300), np.empty(300)
    for fold in range(5):
        train, test = found.fold != fold, found.fold == fold
        mean[test] = y[train].mean()
        features, target = LinearRegression().fit(C[train], H[train]), LinearRegression().fit(C[train], y[train])
        x_train, x_test = H[train] - features.predict(C[train]), H[test] - features.predict(C[test])
        spread = x_train.std(axis=0)
        model = Ridge(alpha=found.alpha[fold] * train.sum())
        model.fit(x_train / spread, y[train] - target.predict(C[train]))
        prediction[test] = model.predict(x_test / spread)
        residual[test] = y[test] - target.predict(C[test])
    assert found.residual == pytest.approx(residual, abs=1e-8)
    assert found.partial_prediction == pytest.approx(prediction, abs=1e-7)
    assert found.r2_partial == pytest.approx(1 - np.square(residual - prediction).sum() / np.square(residual).sum())
    total = np.square(y - mean).sum()
    assert found.r2_geometry == pytest.approx(1 - np.square(y - mean - prediction).sum() / total)
    assert found.r2_composition == pytest.approx(1 - np.square(residual).sum() / total)
    assert found.projection == "exact"


def test_raw_and_residual_targets_give_the_same_weights_after_an_exact_projection():
    H, C, y, _ = molecules()
    residual = H - LinearRegression().fit(C, H).predict(C)
    without = y - LinearRegression().fit(C, y).predict(C)
    assert Ridge(1.0).fit(residual, y).coef_ == pytest.approx(Ridge(1.0).fit(residual, without).coef_, abs=1e-10)


def test_cpd_separates_what_composition_and_geometry_know():
    H, C, y, groups = molecules(n=600)
    found = cpd(H, C, y, groups=groups)
    assert found.r2_composition > 0.9
    assert found.r2_partial > 0.75
    assert 0 < found.r2_geometry <= 1 - found.r2_composition + 0.02


@pytest.mark.parametrize("projection", ["exact", "ridge"])
def test_composition_only_features_know_nothing_beyond_composition(projection):
    _, C, y, groups = molecules(n=400)
    H = C @ np.random.default_rng(1).normal(size=(4, 12))
    for features in (H, C):
        found = cpd(features, C, y, groups=groups, projection=projection)
        assert found.r2_geometry < 0.02
        assert found.r2_partial < 0.02


def test_composition_only_features_of_crystals_know_nothing_beyond_composition():
    C, groups, rng = crystals()
    y = C @ rng.normal(size=60) * 3 + 0.1 * rng.normal(size=200)
    found = cpd(C @ rng.normal(size=(60, 64)), C, y, groups=groups)
    assert found.projection == "ridge"
    assert found.r2_geometry < 0.05
    assert found.r2_partial < 0.05


def test_many_targets_are_single_calls():
    H, C, y, groups = molecules()
    other = np.random.default_rng(3).normal(size=300)
    together = cpd_many(H, C, np.column_stack([y, other]), groups=groups)
    for target, found in zip((y, other), together, strict=True):
        alone = cpd(H, C, target, groups=groups)
        assert found.r2_partial == pytest.approx(alone.r2_partial, abs=1e-10)
        assert found.r2_geometry == pytest.approx(alone.r2_geometry, abs=1e-10)
        assert (found.alpha == alone.alpha).all()


def test_shuffled_null_is_cpd_of_shuffled_targets():
    H, C, y, groups = molecules()
    null = shuffled_null(H, C, y, groups=groups, permutations=5, seed=4)
    rng = np.random.default_rng(4)
    expected = [cpd(H, C, y[rng.permutation(300)], groups=groups, seed=4).r2_partial for _ in range(5)]
    assert null.samples == pytest.approx(expected, abs=1e-10)
    assert null.r2_partial == pytest.approx(cpd(H, C, y, groups=groups, seed=4).r2_partial, abs=1e-10)


def test_selectivity_is_the_distance_to_the_null():
    H, C, y, groups = molecules()
    null = shuffled_null(H, C, y, groups=groups, permutations=99)
    assert null.p_value == pytest.approx(0.01)
    assert null.mean == pytest.approx(0, abs=0.05)
    assert null.selectivity == pytest.approx(null.r2_partial - null.mean)
    noise = shuffled_null(np.random.default_rng(1).normal(size=H.shape), C, y, groups=groups, permutations=99)
    assert noise.p_value > 0.01


def test_subsamples_are_cpd_of_the_subset():
    H, C, y, groups = molecules()
    subsets = half_subsets(300, subsets=4)
    found = cpd_subsample(H, C, y, groups=groups, subsets=subsets)
    assert found.r2_partial.shape == (4,)
    for i, rows in enumerate(subsets):
        alone = cpd(H[rows], C[rows], y[rows], groups=groups[rows], inner_folds=3)
        assert found.r2_partial[i] == pytest.approx(alone.r2_partial, abs=1e-9)
        assert found.r2_geometry[i] == pytest.approx(alone.r2_geometry, abs=1e-9)
        assert found.r2_composition[i] == pytest.approx(alone.r2_composition, abs=1e-9)
    both = cpd_subsample(H, C, np.column_stack([y, y]), groups=groups, subsets=subsets)
    assert both.r2_partial == pytest.approx(np.column_stack([found.r2_partial] * 2), abs=1e-9)


def test_dead_columns_are_dropped_and_counted():
    H, C, y, groups = molecules()
    padded = np.concatenate([H, np.full((300, 2), 7.0), 1e-10 * H[:, :1]], axis=1)
    with_dead, without = cpd(padded, C, y, groups=groups), cpd(H, C, y, groups=groups)
    assert (with_dead.dead_columns, with_dead.d) == (3, 20)
    assert with_dead.r2_partial == pytest.approx(without.r2_partial, abs=1e-10)


def test_leading_components_bound_the_width():
    H, C, y, groups = molecules(d=40)
    full = cpd(H, C, y, groups=groups).r2_partial
    assert cpd(H, C, y, groups=groups, n_components=40).r2_partial == pytest.approx(full, abs=1e-6)
    assert cpd(H, C, y, groups=groups, n_components=6).r2_partial > 0.5
    assert cpd(H, C, y, groups=groups, n_components=1).r2_partial < full - 0.1


def test_a_constant_target_has_no_r_squared():
    H, C, _, groups = molecules()
    assert np.isnan(cpd(H, C, np.ones(300), groups=groups).r2_composition)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"groups": np.zeros(300)}, "at least 5 different groups for 5 folds, found 1"),
        ({"groups": np.zeros(299)}, "groups: expected 300 labels"),
        ({"y": np.zeros((300, 2))}, r"y: expected one target of shape \(n,\)"),
        ({"y": np.full(300, np.nan)}, "y: expected finite values"),
        ({"C": np.zeros((299, 2))}, "C: expected 300 rows like H, found 299"),
        ({"folds": 1}, "at least 2"),
        ({"n_components": 0}, "n_components: expected at least 1"),
        ({"projection": "lasso"}, "'auto', 'exact' or 'ridge'"),
    ],
)
def test_wrong_input_is_refused(change, says):
    H, C, y, groups = molecules()
    arguments = {"C": C, "y": y, "groups": groups} | change
    with pytest.raises(ValueError, match=says):
        cpd(H, **arguments)


def test_isomer_order_counts_pairs_of_one_formula():
    y = np.array([1.0, 2.0, 3.0, 1.0, 1.0, 5.0])
    prediction = np.array([0.0, 2.0, 1.0, 4.0, 9.0, 4.0])
    groups = ["a", "a", "a", "b", "b", "b"]
    # a: (1,2) right, (1,3) right, (2,3) wrong; b: (4,5) no order, (4,6) predicted equal, (5,6) wrong
    found = isomer_order(y, prediction, groups)
    assert (found.pairs, found.share) == (5, 2.5 / 5)
    assert np.isnan(isomer_order(y[:2], prediction[:2], ["a", "b"]).share)


@pytest.mark.parametrize("seed", range(20))
def test_isomer_order_is_what_all_pairs_one_by_one_give(seed):
    rng = np.random.default_rng(seed)
    n, coarse = 40, seed % 3
    groups = rng.integers(0, 1 + seed % 5, size=n)
    y, prediction = rng.normal(size=(2, n)) if coarse == 0 else rng.integers(0, 3 * coarse, size=(2, n)).astype(float)
    right, pairs = 0.0, 0
    for i in range(n):
        for j in range(i):
            if groups[i] == groups[j] and y[i] != y[j]:
                pairs += 1
                agreement = np.sign(y[i] - y[j]) * np.sign(prediction[i] - prediction[j])
                right += (1 + agreement) / 2
    assert isomer_order(y, prediction, groups) == IsomerOrder(right / pairs, pairs)


def test_composition_share_is_the_explained_variance_of_features():
    _, C, _, groups = molecules()
    rng = np.random.default_rng(0)
    pure = C @ rng.normal(size=(4, 10))
    assert composition_share(pure, C, groups=groups) == pytest.approx(1, abs=1e-6)
    assert composition_share(rng.normal(size=(300, 10)), C, groups=groups) == pytest.approx(0, abs=0.05)
    half = pure / np.sqrt(pure.var(axis=0).mean()) + rng.normal(size=(300, 10))
    assert composition_share(half, C, groups=groups) == pytest.approx(0.5, abs=0.1)


def test_corrected_energies_do_not_see_reference_energies():
    _, C, y, _ = molecules()
    noise = 0.1 * np.random.default_rng(0).normal(size=300)
    shifted = y + noise + C @ [1.0, -20.0, 3.0, 400.0] + 5
    assert composition_corrected_mae(y, shifted, C) == pytest.approx(composition_corrected_mae(y, y + noise, C))
    assert composition_corrected_mae(y, shifted, C) == pytest.approx(0.08, abs=0.01)


def test_control_target_is_linear_in_composition():
    _, C, _, _ = molecules()
    control = compositional_control(C)
    assert LinearRegression().fit(C, control).score(C, control) == pytest.approx(1)
    with pytest.raises(ValueError, match="compositions that differ"):
        compositional_control(np.ones((5, 3)))


def test_learning_curves_rise_and_do_not_start_with_composition():
    H, C, _, groups = molecules(n=500, noise=1.0)
    y = C.sum(axis=1) + H[:, :4].sum(axis=1) + np.random.default_rng(1).normal(size=500)
    curve = learning_curve(H, C, y, groups=groups, draws=5)
    assert curve.sizes == (32, 64, 128, 256)
    assert curve.partial_mean[-1] > curve.partial_mean[0]
    known_by_geometry = 1 - cpd(H, C, y, groups=groups).r2_composition
    assert curve.mean[-1] < known_by_geometry
    logs = np.log(curve.sizes)
    assert curve.area == pytest.approx(np.trapezoid(curve.mean, logs) / (logs[-1] - logs[0]))
    with pytest.raises(ValueError, match="sizes: expected rising sizes from 8"):
        learning_curve(H, C, y, groups=groups, sizes=(32, 499))


def vectors(n=200, channels=6, seed=0):
    rng = np.random.default_rng(seed)
    V = rng.normal(size=(n, channels, 3))
    return V, 2 * V[:, 0] - V[:, 3] + 0.5 * rng.normal(size=(n, 3)), np.arange(n) // 2


def test_vector_probe_reads_vectors_and_turns_with_them():
    V, y, groups = vectors()
    found = vector_probe(V, y, groups=groups)
    assert found.r2 == pytest.approx(1 - 0.25 / 5.25, abs=0.03)
    turn = ortho_group.rvs(3, random_state=1)
    turned = vector_probe(V @ turn, y @ turn, groups=groups)
    assert turned.prediction == pytest.approx(found.prediction @ turn, abs=1e-9)
    # a rotation of the features alone destroys what one weight a channel can read
    assert vector_probe(V @ turn, y, groups=groups).r2 < 0.6


def test_vector_probe_refuses_other_shapes():
    V, y, groups = vectors()
    with pytest.raises(ValueError, match=r"V: expected vector channels of shape \(n, channels, 3\)"):
        vector_probe(V[:, :, :2], y, groups=groups)
    with pytest.raises(ValueError, match=r"y: expected vectors of shape \(n, 3\)"):
        vector_probe(V, y[:, :2], groups=groups)


def test_norms_are_invariant():
    V, _, _ = vectors()
    assert channel_norms(V @ ortho_group.rvs(3, random_state=1)) == pytest.approx(channel_norms(V))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", "trees"])
def test_nonlinear_probes_read_what_is_not_linear(model):
    rng = np.random.default_rng(0)
    _, C, _, groups = molecules(n=500)
    hidden = rng.normal(size=(500, 3))
    H = np.concatenate([C, hidden], axis=1)
    y = C.sum(axis=1) * 0.1 + np.abs(hidden[:, 0]) * 2
    found = nonlinear_probe(H, C, y, groups=groups, model=model)
    assert found.r2_geometry > 0.5
    assert found.r2_partial > 0.5
    assert cpd(H, C, y, groups=groups).r2_geometry < 0.1


@pytest.mark.slow
def test_trees_learn_composition_back_from_features_that_are_not_linear_in_it():
    _, C, y, groups = molecules(n=500)
    H = np.concatenate([C**2, np.tanh(C - 2), C**3], axis=1)
    found = nonlinear_probe(H, C, y, groups=groups, model="trees")
    assert found.r2_control > 0.3


def test_unknown_nonlinear_models_are_refused():
    with pytest.raises(ValueError, match="model: expected 'mlp' or 'trees', found 'svm'"):
        H, C, y, groups = molecules()
        nonlinear_probe(H, C, y, groups=groups, model="svm")
