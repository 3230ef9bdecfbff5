"""Linear CKA and global reconstruction errors of all pairs of models, from one cross-Gram a pair.

Each model is factorised once. Its rows are then seen on the right singular vectors of its training half, each
divided by its singular value, so that a column of singular value 1e-9 is as exact in a Gram as the first one; a Gram
of the features themselves would lose what lies below 1e-8. A pair then costs one product over the rows and a few
of d x d matrices. Arrays are read in chunks of rows: a float32 memory map is never copied whole.

Values are those of `linear_cka` (Kornblith et al., arXiv:1905.00414) and `global_reconstruction_error` (Goscinski et
al., arXiv:2009.02741).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .neighbours import TILE_ENTRIES
from .reconstruction import CUTOFFS, SPLIT_SEED, RowSplit, split_rows
from .similarity import MINIMUM_ROWS
from .validation import IntArray

Tensor = Any
"""A torch tensor, float64 (torch is not typed here)."""
KEPT_BYTES = 2**29
"""Rows of all models in float64 are kept where they fit into this; otherwise each pair reads them again."""
LIVE = 1e-15
"""Singular values below this share of the largest are rounding."""
EXACT_BELOW = 1e-8
"""Squared errors below this share of the target's are taken from the rows: differences of Grams lose digits there."""


@dataclass(frozen=True, eq=False)
class FeatureSpacePairs:
    """`cka[(a, b)]` once a pair, in the order asked for; `gfre[(a, b)]` is the error from a to b, both ways."""

    cka: dict[tuple[str, str], float]
    gfre: dict[tuple[str, str], float]


@dataclass(frozen=True, eq=False)
class FoldFactors:
    """The SVD of one inner half, as a map of whitened rows (`map`, (live, m)), and the other half's Gram under it.

    `lower` (m, m) is twice the strict lower triangle of that Gram plus its diagonal: the error of every rank is a
    running sum over its rows. `ranks`: singular values kept at each cutoff.
    """

    map: Tensor
    lower: Tensor
    ranks: list[int]


@dataclass(frozen=True, eq=False)
class FeatureModel:
    """What all pairs of one model share. Parts are the two inner halves of the training half and the test half.

    Rows are centred on the training half and divided by its total standard deviation: row = whitened @ `target`.
    """

    rows: WhitenedRows
    spectrum: Tensor
    """(d,) singular values of the training half, 1 from `live` on."""
    live: int
    target: Tensor
    """(d, d) whitened coordinates -> scaled features."""
    grams: tuple[Tensor, Tensor, Tensor]
    """(d, d) of the whitened rows, one a part."""
    column_squares: tuple[Tensor, Tensor, Tensor]
    """(d,) sums of squared scaled features, one a part."""
    folds: tuple[FoldFactors, FoldFactors]
    ranks: list[int]
    """Singular values of the training half kept at each cutoff."""
    mean: Tensor
    """(d,) mean whitened row of all rows."""
    norms: Tensor
    """(n,) squared norms of the rows centred on their mean, part after part."""
    self_similarity: float


def feature_space_pairs(
    models: Mapping[str, ArrayLike],
    *,
    groups: ArrayLike | None = None,
    pairs: Iterable[tuple[str, str]] | None = None,
    seed: int = SPLIT_SEED,
    device: str = "cpu",
) -> FeatureSpacePairs:
    """`linear_cka` and both `global_reconstruction_error`s of pairs of models, all pairs by default.

    `models`: arrays (n, d) over the same n rows, of any real type; `groups` (n,) and `seed` as for
    `global_reconstruction_error`; `device`: where torch computes, in float64.

    ValueError: not finite 2-D arrays of equal length, n < 4, fewer than 4 groups, features constant over the
    training half, a pair with an unknown name.

    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> found = feature_space_pairs({"a": X, "b": 2 * X})
    >>> round(found.cka["a", "b"], 9), found.gfre["b", "a"] < 1e-9
    (1.0, True)
    """
    wanted = list(combinations(models, 2) if pairs is None else pairs)
    for name in (name for pair in wanted for name in pair):
        if name not in models:
            raise ValueError(f"pairs: expected names among {', '.join(models)}, found {name}")
    sources = {name: _matrix(name, models[name]) for name in models if any(name in pair for pair in wanted)}
    if not sources:
        return FeatureSpacePairs({}, {})
    lengths = {name: len(source) for name, source in sources.items()}
    first, n = next(iter(lengths.items()))
    for name, length in lengths.items():
        if length != n:
            raise ValueError(f"{name}: expected {n} rows like {first}, found {length}")
    split = split_rows(n, groups, seed)
    keep = 8 * sum(source.size for source in sources.values()) <= KEPT_BYTES
    fitted = {
        name: fit_feature_model(name, source, split, keep_rows=keep, device=device) for name, source in sources.items()
    }
    cka, gfre = {}, {}
    for a, b in wanted:
        cka[a, b], gfre[a, b], gfre[b, a] = feature_space_pair(fitted[a], fitted[b])
    return FeatureSpacePairs(cka, gfre)


def feature_space_pair(first: FeatureModel, second: FeatureModel) -> tuple[float, float, float]:
    """Linear CKA, GFRE first -> second and GFRE second -> first, of models fitted with the same split."""
    cross = [_cross_gram(first.rows, second.rows, part) for part in range(3)]
    inner = _inner(first, second, cross[0] + cross[1] + cross[2])
    own = (first.self_similarity, second.self_similarity)
    cka = _hsic(first, second, inner) / float(np.sqrt(own[0] * own[1])) if min(own) > 0 else float("nan")
    back = [gram.T for gram in cross]
    return cka, _reconstruction_error(first, second, cross), _reconstruction_error(second, first, back)


def fit_feature_model(
    name: str, value: ArrayLike, split: RowSplit, *, keep_rows: bool = True, device: str = "cpu"
) -> FeatureModel:
    """Factorise one model (n, d); `name` is used in errors. `keep_rows`: hold its whitened rows, 8 n d bytes.

    ValueError: not a finite 2-D array, n < 4, features constant over the training half.
    """
    chunks = _CentredRows.of(name, _matrix(name, value), split, device)
    triangle = _triangle(chunk for part in (0, 1) for chunk in chunks.part(part))
    scale = float(torch.linalg.norm(triangle)) / float(np.sqrt(split.train.size))
    largest_entry = max(float(chunk.abs().max()) for part in range(3) for chunk in chunks.part(part))
    if scale <= 1e-12 * largest_entry or scale == 0.0:
        raise ValueError(f"{name}: expected features that vary over the training half, found constant ones")
    _, values, right = torch.linalg.svd(triangle / scale, full_matrices=True)
    live = int((values > LIVE * values[0]).sum())
    spectrum = torch.ones(right.shape[0], dtype=torch.float64, device=device)
    spectrum[:live] = values[:live]
    whitening = right.T / (spectrum * scale)
    rows = WhitenedRows(chunks, whitening, None)
    if keep_rows:
        rows = WhitenedRows(chunks, whitening, [torch.cat(list(rows.part(part))) for part in range(3)])
    return _fitted(rows, spectrum, live, right)


@dataclass(frozen=True, eq=False)
class _CentredRows:
    """Chunks of an array's rows, part by part: float64 on the device, centred on the training half."""

    source: NDArray[Any]
    parts: tuple[IntArray, IntArray, IntArray]
    exponent: int
    shift: Tensor
    """(d,) mean of the training rows."""
    overall: Tensor
    """(d,) mean of all rows, relative to `shift`."""
    device: str

    @classmethod
    def of(cls, name: str, source: NDArray[Any], split: RowSplit, device: str) -> _CentredRows:
        """Check that all values are finite and find the means. Powers of two keep squares from overflowing."""
        first, second = (np.sort(split.train[fold]) for fold in split.folds)
        parts = (first, second, np.sort(split.test))
        largest = 0.0
        for tile in _slices(len(source), source.shape[1]):
            chunk = np.asarray(source[tile], dtype=np.float64)
            bad = int(chunk.size - np.isfinite(chunk).sum())
            if bad:
                raise ValueError(f"{name}: expected finite values, found {bad} that are NaN or infinite")
            largest = max(largest, float(np.abs(chunk).max()))
        exponent = int(np.frexp(largest)[1])
        # Means relative to one row: sums of large equal offsets would lose the digits that differ.
        origin = torch.as_tensor(np.ldexp(np.asarray(source[0], dtype=np.float64), -exponent), device=device)
        rows = cls(source, parts, exponent, origin, torch.zeros_like(origin), device)
        sums = [sum(chunk.sum(0) for chunk in rows.part(part)) for part in range(3)]
        train = (sums[0] + sums[1]) / split.train.size
        overall = (sums[0] + sums[1] + sums[2]) / len(source)
        return cls(source, parts, exponent, origin + train, overall - train, device)

    def part(self, part: int, width: int = 0) -> Iterator[Tensor]:
        """Chunks (rows, d) of one part; equal `width`s of two models make equal chunks."""
        rows = self.parts[part]
        for tile in _slices(rows.size, max(width, self.source.shape[1])):
            chunk = np.ldexp(np.asarray(self.source[rows[tile]], dtype=np.float64), -self.exponent)
            yield torch.as_tensor(chunk, device=self.device) - self.shift


@dataclass(frozen=True, eq=False)
class WhitenedRows:
    """Rows of one model on the right singular vectors of its training half, over the singular values."""

    centred: _CentredRows
    whitening: Tensor
    kept: list[Tensor] | None

    def part(self, part: int, width: int = 0) -> Iterator[Tensor]:
        """Chunks (rows, d) of one part; equal `width`s of two models make equal chunks."""
        if self.kept is None:
            yield from (chunk @ self.whitening for chunk in self.centred.part(part, width))
        else:
            rows = self.kept[part]
            yield from (rows[tile] for tile in _slices(len(rows), max(width, rows.shape[1])))


def _fitted(rows: WhitenedRows, spectrum: Tensor, live: int, right: Tensor) -> FeatureModel:
    n_train = sum(part.size for part in rows.centred.parts[:2])
    target = spectrum[:, None] * right
    mean = (rows.centred.overall @ rows.whitening)[None]
    grams = [_cross_gram(rows, rows, part) for part in range(3)]
    squares, norms = [torch.zeros_like(spectrum) for _ in grams], []
    for part in range(3):
        for chunk in rows.part(part):
            scaled = chunk @ target
            squares[part] += scaled.square().sum(0)
            norms.append((scaled - mean @ target).square().sum(1))
    halves = [_triangle(chunk[:, :live] * spectrum[:live] for chunk in rows.part(part)) for part in (0, 1)]
    svds = [torch.linalg.svd(half, full_matrices=False)[1:] for half in halves]
    largest = max(float(values[0]) for values, _ in svds)
    floor = max(n_train, spectrum.numel()) * float(np.spacing(1.0))
    thresholds = np.maximum(CUTOFFS * largest, floor)
    folds = []
    for (values, vectors), other in zip(svds, (1, 0), strict=True):
        ranks = _kept(values, thresholds)
        onto = spectrum[:live, None] * vectors[: ranks[0]].T / values[: ranks[0]]
        gram = onto.T @ grams[other][:live, :live] @ onto
        folds.append(FoldFactors(onto, 2.0 * gram.tril(-1) + gram.diag().diag(), ranks))
    model = FeatureModel(
        rows=rows,
        spectrum=spectrum,
        live=live,
        target=target,
        grams=(grams[0], grams[1], grams[2]),
        column_squares=(squares[0], squares[1], squares[2]),
        folds=(folds[0], folds[1]),
        ranks=_kept(spectrum[:live], thresholds),
        mean=mean[0],
        norms=torch.cat(norms),
        self_similarity=0.0,
    )
    own = _hsic(model, model, _inner(model, model, grams[0] + grams[1] + grams[2]))
    return replace(model, self_similarity=own)


def _inner(first: FeatureModel, second: FeatureModel, gram: Tensor) -> float:
    """Squared Frobenius norm of the cross-covariance, from the sum of the whitened cross-Grams of all parts.

    Rotations do not change the norm, so only the singular values are put back.
    """
    n = int(first.norms.numel())
    centred = gram - n * torch.outer(first.mean, second.mean)
    return float((first.spectrum[:, None] * centred * second.spectrum).square().sum())


def _hsic(first: FeatureModel, second: FeatureModel, inner: float) -> float:
    """Unbiased HSIC of centred linear kernels without the factor 1 / (n (n - 3)), as in `linear_cka`."""
    n = int(first.norms.numel())
    dot = float(first.norms @ second.norms)
    sums = float(first.norms.sum()) * float(second.norms.sum())
    return float(inner - dot + sums / ((n - 1) * (n - 2)) - 2.0 * dot / (n - 2))


def _reconstruction_error(source: FeatureModel, target: FeatureModel, cross: list[Tensor]) -> float:
    """GFRE source -> target from the whitened cross-Grams (d_source, d_target) of the three parts."""
    products = [gram[: source.live] @ target.target for gram in cross]
    losses = _fold_losses(source, target, products, 0, 1) + _fold_losses(source, target, products, 1, 0)
    rank = source.ranks[int(np.argmin(losses))]
    weights = (products[0] + products[1])[:rank]  # the training half is orthonormal in whitened coordinates
    test = source.grams[2][:rank, :rank]
    total = float(target.column_squares[2].sum())
    square = total - float((weights * (2.0 * products[2][:rank] - test @ weights)).sum())
    if square < EXACT_BELOW * total:
        square = _residual_square(source, target, weights)
    return float(np.sqrt(max(square, 0.0) / source.rows.centred.parts[2].size))


def _fold_losses(
    source: FeatureModel, target: FeatureModel, products: list[Tensor], fold: int, other: int
) -> NDArray[np.float64]:
    """Mean over target columns of the root mean square error on the other half, for each cutoff."""
    factors = source.folds[fold]
    weights, onto = factors.map.T @ products[fold], factors.map.T @ products[other]
    growth = (weights * (factors.lower @ weights - 2.0 * onto)).cumsum(0)
    squares = target.column_squares[other]
    errors = torch.cat([squares[None], squares + growth])[factors.ranks]
    # Differences below rounding are no ground to prefer a rank.
    errors = torch.maximum(errors, 1e-15 * squares) / source.rows.centred.parts[other].size
    losses: NDArray[np.float64] = errors.sqrt().mean(1).cpu().numpy()
    return losses


def _residual_square(source: FeatureModel, target: FeatureModel, weights: Tensor) -> float:
    width = max(source.spectrum.numel(), target.spectrum.numel())
    pairs = zip(source.rows.part(2, width), target.rows.part(2, width), strict=True)
    return sum(float((b @ target.target - a[:, : len(weights)] @ weights).square().sum()) for a, b in pairs)


def _cross_gram(first: WhitenedRows, second: WhitenedRows, part: int) -> Tensor:
    width = max(first.whitening.shape[0], second.whitening.shape[0])
    total: Tensor = sum(a.T @ b for a, b in zip(first.part(part, width), second.part(part, width), strict=True))
    return total


def _triangle(chunks: Iterable[Tensor]) -> Tensor:
    """R of the QR decomposition of stacked chunks (rows, d): their singular values without squaring them."""
    triangle: Tensor | None = None
    for chunk in chunks:
        stacked = chunk if triangle is None else torch.cat([triangle, chunk])
        triangle = torch.linalg.qr(stacked, mode="r")[1]
    return triangle


def _kept(values: Tensor, thresholds: NDArray[np.float64]) -> list[int]:
    """How many singular values lie above each threshold."""
    found = values.cpu().numpy()
    return [int(np.count_nonzero(found > threshold)) for threshold in thresholds]


def _slices(n: int, width: int) -> Iterator[slice]:
    step = max(1, TILE_ENTRIES // width)
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def _matrix(name: str, value: ArrayLike) -> NDArray[Any]:
    """`value` as an array (n, d) of numbers, not copied where it is one; values are checked chunk by chunk."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected an array of numbers, found {array.dtype}")
    if array.ndim != 2 or array.shape[1] < 1:
        raise ValueError(f"{name}: expected a 2-D array (rows, columns), found shape {array.shape}")
    if len(array) < MINIMUM_ROWS:
        raise ValueError(f"{name}: expected at least {MINIMUM_ROWS} rows, found {len(array)}")
    return array
