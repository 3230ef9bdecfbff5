"""The one door through which arrays enter the metrics.

Every public function checks its arrays here, once, and gets them back in standard form: float64, columns
centred, scaled by a power of two so that squares neither overflow nor vanish. All metrics of this package are
unchanged by a shift and by a global scale, so standard form changes no result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def finite_matrix(name: str, value: ArrayLike, *, minimum_rows: int = 1) -> FloatArray:
    """`value` as a finite float64 array of shape (n, d), d >= 1, n >= `minimum_rows`; `name` is used in errors."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected an array of numbers, found {type(value).__name__} ({error})") from error
    if array.ndim != 2:
        raise ValueError(f"{name}: expected a 2-D array (rows, columns), found shape {array.shape}")
    if array.shape[1] < 1:
        raise ValueError(f"{name}: expected at least 1 column, found shape {array.shape}")
    if array.shape[0] < minimum_rows:
        raise ValueError(f"{name}: expected at least {minimum_rows} rows, found {array.shape[0]}")
    if not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        raise ValueError(f"{name}: expected finite values, found {bad} that are NaN or infinite")
    return array


def same_rows(**arrays: NDArray[np.generic] | None) -> int:
    """The common number of rows; ValueError names the first array that differs."""
    given = [(name, array) for name, array in arrays.items() if array is not None]
    first_name, first = given[0]
    for name, array in given[1:]:
        if array.shape[0] != first.shape[0]:
            raise ValueError(f"{name}: expected {first.shape[0]} rows like {first_name}, found {array.shape[0]}")
    return int(first.shape[0])


def standard_form(array: FloatArray) -> FloatArray:
    """Columns centred, then divided by the power of two just above the largest entry (an exact operation)."""
    _, exponent = np.frexp(np.abs(array).max(initial=0.0))
    scaled = np.ldexp(array, -int(exponent))
    centred: FloatArray = scaled - scaled.mean(axis=0)
    _, exponent = np.frexp(np.abs(centred).max(initial=0.0))
    return np.ldexp(centred, -int(exponent))


def features(name: str, value: ArrayLike, *, minimum_rows: int = 2) -> FloatArray:
    """One feature array (n, d), checked and in standard form."""
    return standard_form(finite_matrix(name, value, minimum_rows=minimum_rows))


def positive_int(name: str, value: int, *, maximum: int | None = None, why: str = "") -> int:
    """`value` if it is an int in 1..maximum."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"{name}: expected a positive integer, found {value!r}")
    if value < 1 or (maximum is not None and value > maximum):
        limit = f"1 to {maximum}{why}" if maximum is not None else "at least 1"
        raise ValueError(f"{name}: expected {limit}, found {value}")
    return int(value)


def group_codes(name: str, groups: ArrayLike, n: int) -> IntArray:
    """Integer codes 0..G-1 of `n` group labels, numbered in the sorted order of the labels."""
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise ValueError(f"{name}: expected {n} labels, one a row, found shape {labels.shape}")
    codes: IntArray = np.unique(labels, return_inverse=True)[1].astype(np.int64).reshape(n)
    return codes


def row_indices(name: str, rows: ArrayLike, n: int, *, minimum: int = 1) -> IntArray:
    """Distinct row numbers in 0..n-1."""
    indices = np.asarray(rows)
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected a 1-D integer array, found {indices.dtype} of shape {indices.shape}")
    if indices.size < minimum:
        raise ValueError(f"{name}: expected at least {minimum} rows, found {indices.size}")
    if indices.min() < 0 or indices.max() >= n or np.unique(indices).size != indices.size:
        raise ValueError(f"{name}: expected distinct rows from 0 to {n - 1}, found {indices.size} that are not")
    return indices.astype(np.int64)
