import numpy as np
import pytest

from benchmark.embedding.rotations import random_rotation, real_harmonics, rotate_features, wigner

ORDERS = [0, 1, 2, 3, 4]


def directions(count: int = 20) -> np.ndarray:
    vectors = np.random.default_rng(3).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_l1_is_x_y_z() -> None:
    np.testing.assert_allclose(real_harmonics(1, directions()), np.sqrt(3 / (4 * np.pi)) * directions(), atol=1e-12)


def test_l2_is_in_the_order_xz_xy_y2_yz_z2_x2() -> None:
    x, y, z = directions().T
    norm = np.sqrt(15 / (4 * np.pi))
    expected = np.stack([x * z, x * y, (3 * y * y - 1) / (2 * np.sqrt(3)), y * z, (z * z - x * x) / 2], axis=1)
    np.testing.assert_allclose(real_harmonics(2, directions()), norm * expected, atol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
def test_harmonics_are_orthonormal_on_the_sphere(order: int) -> None:
    cosines, weights = np.polynomial.legendre.leggauss(order + 2)
    azimuths = np.arange(2 * order + 3) * 2 * np.pi / (2 * order + 3)
    cosine, azimuth = (grid.ravel() for grid in np.meshgrid(cosines, azimuths, indexing="ij"))
    sine = np.sqrt(1 - cosine**2)
    values = real_harmonics(order, np.stack([sine * np.sin(azimuth), cosine, sine * np.cos(azimuth)], axis=1))
    weight = np.repeat(weights, len(azimuths)) * 2 * np.pi / len(azimuths)
    np.testing.assert_allclose(values.T @ (weight[:, None] * values), np.eye(2 * order + 1), atol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
def test_wigner_matrices_are_an_orthogonal_representation(order: int) -> None:
    first, second = random_rotation(1), random_rotation(2)
    matrix = wigner(order, first)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(2 * order + 1), atol=1e-12)
    np.testing.assert_allclose(matrix @ wigner(order, second), wigner(order, first @ second), atol=1e-12)
    np.testing.assert_allclose(
        real_harmonics(order, directions() @ first.T), real_harmonics(order, directions()) @ matrix.T, atol=1e-12
    )


def test_l1_rotates_like_a_vector() -> None:
    rotation = random_rotation(5)
    np.testing.assert_allclose(wigner(1, rotation), rotation, atol=1e-12)


def test_terms_of_an_irreps_string_rotate_each_by_itself() -> None:
    rotation = random_rotation(5)
    values = np.random.default_rng(0).normal(size=(4, 2 + 2 * 3 + 5))
    rotated = rotate_features(values, "2x0e+2x1o+1x2e", rotation)
    np.testing.assert_array_equal(rotated[:, :2], values[:, :2])
    np.testing.assert_allclose(rotated[:, 2:5], values[:, 2:5] @ rotation.T, atol=1e-12)
    np.testing.assert_allclose(rotated[:, 5:8], values[:, 5:8] @ rotation.T, atol=1e-12)
    np.testing.assert_allclose(rotated[:, 8:], values[:, 8:] @ wigner(2, rotation).T, atol=1e-12)
