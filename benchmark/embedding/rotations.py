"""How features transform under rotation: Wigner matrices for real spherical harmonics in e3nn's order.

e3nn takes y as the polar axis and orders the components of l from m = -l to l, so that l=1 is
(x, y, z) and l=2 is (xz, xy, 2y^2-x^2-z^2, yz, z^2-x^2) up to normalisation.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.special import lpmv


def random_rotation(seed: int) -> NDArray[np.float64]:
    """A proper rotation, (3, 3), uniform over SO(3)."""
    matrix: NDArray[np.float64] = Rotation.random(random_state=seed).as_matrix()
    return matrix


def real_harmonics(order: int, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal real spherical harmonics of l = `order` at the directions of `vectors`, (n, 2l+1)."""
    x, y, z = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
    cosine, azimuth = y, np.arctan2(x, z)
    columns = []
    for m in range(-order, order + 1):
        a = abs(m)
        norm = math.sqrt((2 * order + 1) / (4 * math.pi) * math.factorial(order - a) / math.factorial(order + a))
        # lpmv carries the Condon-Shortley phase, which real harmonics do not have.
        legendre = (-1) ** a * norm * lpmv(a, order, cosine)
        angular = math.sqrt(2) * (np.sin(a * azimuth) if m < 0 else np.cos(a * azimuth)) if m else 1.0
        columns.append(legendre * angular)
    return np.stack(columns, axis=1)


def wigner(order: int, rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """D with Y(R r) = D Y(r) for all r, (2l+1, 2l+1), found by least squares on fixed directions."""
    directions = np.random.default_rng(0).normal(size=(8 * (2 * order + 1), 3))
    before = real_harmonics(order, directions)
    after = real_harmonics(order, directions @ rotation.T)
    transposed = np.linalg.lstsq(before, after, rcond=None)[0]
    return np.asarray(transposed.T, dtype=np.float64)


def rotate_features(
    values: NDArray[np.float64], irreps: str | None, rotation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What the features (n, d) of a structure become when the structure is rotated. None: invariant scalars."""
    if irreps is None:
        return values
    parts, start = [], 0
    for term in irreps.split("+"):
        multiplicity, _, kind = term.partition("x")
        order = int(kind[:-1])
        width = int(multiplicity) * (2 * order + 1)
        block = values[:, start : start + width].reshape(len(values), -1, 2 * order + 1)
        parts.append((block @ wigner(order, rotation).T).reshape(len(values), width))
        start += width
    return np.concatenate(parts, axis=1)
