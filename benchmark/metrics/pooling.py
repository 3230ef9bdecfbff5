"""From atoms to structures: means and cumulants, never sums (a sum encodes the size of the system)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .validation import FloatArray, IntArray, finite_matrix, positive_int

MAXIMUM_CUMULANT = 8


def mean_pool(per_atom: ArrayLike, ptr: ArrayLike) -> FloatArray:
    """Mean over the atoms of each structure: (atoms, d) -> (structures, d).

    `ptr` (structures + 1,): structure i has the rows ptr[i] to ptr[i + 1].
    ValueError: not a finite 2-D array; ptr does not rise strictly from 0 to the number of atoms.

    >>> mean_pool([[1.0], [3.0], [5.0]], [0, 2, 3]).tolist()
    [[2.0], [5.0]]
    """
    array = finite_matrix("per_atom", per_atom)
    return _means(array, _boundaries(ptr, len(array)))


def cumulant_pool(per_atom: ArrayLike, ptr: ArrayLike, n: int) -> FloatArray:
    """Signed roots of the first n population cumulants over atoms: (atoms, d) -> (structures, n * d).

    Columns: all channels of order 1 (the mean), then order 2, ... Order j is sign(k_j) |k_j|^(1/j), so every order
    has the unit of the feature. Cumulants that are rounding noise (below 1e-12 of the largest deviation to the
    j-th power) are 0, because the root would blow them up. `ptr` and errors as for `mean_pool`; n from 1 to 8.
    Source: Chorna et al., arXiv:2512.05717.

    >>> cumulant_pool([[1.0], [3.0], [5.0]], [0, 2, 3], 2).tolist()
    [[2.0, 1.0], [5.0, 0.0]]
    """
    array = finite_matrix("per_atom", per_atom)
    boundaries = _boundaries(ptr, len(array))
    orders = positive_int("n", n, maximum=MAXIMUM_CUMULANT)
    mean = _means(array, boundaries)
    deviation = array - np.repeat(mean, np.diff(boundaries), axis=0)
    spread: FloatArray = np.maximum.reduceat(np.abs(deviation), boundaries[:-1], axis=0)
    moments = [np.ones_like(mean), np.zeros_like(mean)]
    moments += [_means(deviation**order, boundaries) for order in range(2, orders + 1)]
    cumulants: list[FloatArray] = [mean]
    centred: list[FloatArray] = [np.zeros_like(mean), np.zeros_like(mean)]
    for order in range(2, orders + 1):
        # of centred values the first cumulant is 0: k_n = m_n - sum_j binom(n-1, j-1) k_j m_(n-j)
        value = moments[order].copy()
        binomial = 1
        for j in range(1, order):
            value -= binomial * centred[j] * moments[order - j]
            binomial = binomial * (order - j) // j
        value[np.abs(value) < 1e-12 * spread**order] = 0.0
        centred.append(value)
        cumulants.append(np.sign(value) * np.abs(value) ** (1.0 / order))
    return np.concatenate(cumulants, axis=1)


def _boundaries(ptr: ArrayLike, atoms: int) -> IntArray:
    boundaries = np.asarray(ptr)
    if boundaries.ndim != 1 or boundaries.size < 2 or boundaries.dtype.kind not in "iu":
        raise ValueError(
            f"ptr: expected a 1-D integer array of at least 2 entries, found {boundaries.dtype} {boundaries.shape}"
        )
    boundaries = boundaries.astype(np.int64)
    if boundaries[0] != 0 or boundaries[-1] != atoms or (np.diff(boundaries) < 1).any():
        raise ValueError(
            f"ptr: expected to rise strictly from 0 to {atoms} (atoms), found {boundaries[0]} to {boundaries[-1]} "
            f"with smallest step {np.diff(boundaries).min()}"
        )
    return boundaries


def _means(array: FloatArray, boundaries: IntArray) -> FloatArray:
    sums: FloatArray = np.add.reduceat(array, boundaries[:-1], axis=0)
    return sums / np.diff(boundaries)[:, None]
