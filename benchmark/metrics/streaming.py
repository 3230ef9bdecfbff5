"""One pass over row tiles of the distance matrices of many models: all that their pairwise comparison needs.

A tile's inner products give, for each model, the nearest neighbours by cosine and by distance and the row sums of
the distances; for each pair, the ranks that the one's nearest neighbours have in the other and the inner product of
their distances. After the pass a pair costs O(n k) (CKNNA, mutual kNN) or nothing (distance correlation, information
imbalance). No n x n array exists at any time, and every value is that of the direct definition.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .neighbours import Neighbours
from .tiles import (
    Rows,
    SingleThreaded,
    nearest_by_cosine,
    nearest_by_distance,
    products,
    rank_sums,
    sorted_rows,
    squared_distances,
    thread_count,
    without_self,
)
from .validation import FloatArray, features, positive_int, same_rows

TILE_BYTES = {"cpu": 160 * 2**20, "cuda": 4 * 2**30}
"""Memory of the tiles that one thread holds."""


@dataclass(frozen=True, eq=False)
class StreamedModel:
    """What the pass found of one model alone.

    `cosine`, `euclidean`: its neighbours, None where none were asked for. `distance_sums` (n,): sum of the distances
    from each row.
    """

    cosine: Neighbours | None
    euclidean: Neighbours | None
    distance_sums: FloatArray


@dataclass(frozen=True, eq=False)
class Streamed:
    """What one pass found. Pairs are of names.

    `rank_sums` (M, M): [a, b] is the sum over all rows of the rank in b of a's nearest row.
    `products` (M, M): [a, b] is the sum over all pairs of rows of a's distance times b's.
    """

    n: int
    names: tuple[str, ...]
    models: Mapping[str, StreamedModel]
    rank_sums: FloatArray
    products: FloatArray

    def information_imbalance(self, a: str, b: str) -> float:
        """Information imbalance a -> b at k = 1; see `information_imbalance`."""
        return 2.0 * float(self.rank_sums[self._at(a), self._at(b)]) / self.n**2

    def distance_correlation(self, a: str, b: str, *, biased: bool = False) -> float:
        """Squared distance correlation; see `distance_correlation`. NaN where a self-similarity is not positive."""
        cross, first, second = (self._covariance(*pair, biased) for pair in ((a, b), (a, a), (b, b)))
        return cross / float(np.sqrt(first * second)) if first > 0 and second > 0 else float("nan")

    def _covariance(self, a: str, b: str, biased: bool) -> float:
        n = self.n
        sums_a, sums_b = self.models[a].distance_sums, self.models[b].distance_sums
        product, rows = float(self.products[self._at(a), self._at(b)]), float(sums_a @ sums_b)
        total = float(sums_a.sum()) * float(sums_b.sum())
        if biased:
            value = product - 2.0 * rows / n + total / n**2
        else:
            value = product - 2.0 * rows / (n - 2) + total / ((n - 1) * (n - 2))
        return value if abs(value) > 1e-13 * abs(product) else 0.0

    def _at(self, name: str) -> int:
        return self.names.index(name)


def stream(
    models: Mapping[str, ArrayLike],
    *,
    cosine: int = 25,
    euclidean: int = 2,
    pairs: bool = True,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Streamed:
    """One pass over the feature arrays (n, d_m) of `models`, whose rows are the same structures.

    cosine, euclidean: neighbours to keep by each similarity; 0 for none. pairs: with rank sums and distance products.
    device: "cpu", "cuda" or "auto" (a GPU where there is one); all products are float64. progress: called with the
    rows done and n. Memory: the features, n * (cosine + euclidean) * 16 bytes a model, and about 160 MB a thread.

    ValueError: not finite 2-D arrays of equal length, fewer than 4 rows, more neighbours than rows - 1.

    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> found = stream({"a": X, "b": 2 * X + 1}, cosine=5)
    >>> round(found.distance_correlation("a", "b"), 12), found.information_imbalance("a", "b") * 50 / 2
    (1.0, 1.0)
    """
    if not models:
        raise ValueError("models: expected at least one feature array, found none")
    arrays = {name: features(name, array, minimum_rows=4) for name, array in models.items()}
    n = same_rows(**arrays)
    for name, k in (("cosine", cosine), ("euclidean", euclidean)):
        if k:
            positive_int(name, k, maximum=n - 1, why=" (rows - 1)")
    where = find_device(device)
    with torch.inference_mode():
        rows = [Rows.of(array, where) for array in arrays.values()]
        return _Pass(tuple(arrays), rows, cosine, euclidean, pairs).run(progress)


def find_device(device: str) -> torch.device:
    """The device called `device`; "auto" is a GPU where there is one. ValueError: it is not here."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device: expected auto, cpu or cuda, found {device!r}") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: {device!r} was asked for, but PyTorch finds no GPU here")
    return found


class _Buffers:
    """What one thread computes its tiles in: allocated once, because fresh pages cost as much as the arithmetic."""

    def __init__(self, models: int, step: int, n: int, device: torch.device) -> None:
        self.squared = torch.empty((models, step, n), dtype=torch.float64, device=device)
        self.distances = torch.empty((models, step * n), dtype=torch.float64, device=device)
        self.ordered = torch.empty((step, n), dtype=torch.float32, device=device)


class _Pass:
    """The state of one pass: results that tiles fill in, each its own rows."""

    def __init__(self, names: tuple[str, ...], rows: list[Rows], cosine: int, euclidean: int, pairs: bool) -> None:
        self.names, self.rows, self.cosine, self.euclidean, self.pairs = names, rows, cosine, euclidean, pairs
        self.n, count = rows[0].n, len(rows)
        self.device = rows[0].array.device
        self.lists = {
            kind: [(np.empty((self.n, k), dtype=np.int64), np.empty((self.n, k))) for _ in rows]
            for kind, k in (("cosine", cosine), ("euclidean", euclidean))
        }
        self.sums = np.zeros((count, self.n))
        self.rank_sums = np.zeros((count, count))
        self.products = np.zeros((count, count))
        # Distances are shifted by a constant before they are multiplied, so that what is left has all its digits;
        # the shift is taken out again at the end.
        self.shifts = [float((2.0 * each.squares.mean()).sqrt()) for each in rows]
        self.step = max(8, min(256, TILE_BYTES[self.device.type] // (self.n * 16 * count), self.n))
        self.local = threading.local()

    def run(self, progress: Callable[[int, int], None] | None) -> Streamed:
        threads, step = thread_count(self.device), self.step
        starts = iter(range(0, self.n, step))
        with SingleThreaded(threads) as pool:
            # Few tiles wait at a time, and results are added in the order of the tiles: the sums are the same to
            # the last bit however the threads come in.
            waiting: dict[int, Future[tuple[FloatArray, FloatArray]]] = {}
            finished: dict[int, tuple[FloatArray, FloatArray]] = {}
            expected = 0
            for start in itertools.islice(starts, threads + 1):
                waiting[start] = pool.submit(self._tile, start, min(start + step, self.n))
            while waiting:
                wait(waiting.values(), return_when=FIRST_COMPLETED)
                for start in [s for s, future in waiting.items() if future.done()]:
                    finished[start] = waiting.pop(start).result()
                    following = next(starts, None)
                    if following is not None:
                        waiting[following] = pool.submit(self._tile, following, min(following + step, self.n))
                while expected in finished:
                    ranks, multiplied = finished.pop(expected)
                    self.rank_sums += ranks
                    self.products += multiplied
                    expected += step
                    if progress is not None:
                        progress(min(expected, self.n), self.n)
        return self._result()

    def _tile(self, start: int, stop: int) -> tuple[FloatArray, FloatArray]:
        """Everything of the rows start:stop; returns what is summed over tiles."""
        if not hasattr(self.local, "buffers"):
            self.local.buffers = _Buffers(len(self.rows), self.step, self.n, self.device)
        buffers, r = self.local.buffers, stop - start
        with torch.inference_mode():
            tiles, nearest = [], []
            stack = buffers.distances[:, : r * self.n]
            for m, rows in enumerate(self.rows):
                inner = products(rows, start, stop, buffers.squared[m, :r])
                distances = stack[m].view(r, self.n)
                if self.cosine:
                    self._keep("cosine", m, start, *nearest_by_cosine(rows, start, inner, self.cosine, distances))
                q = squared_distances(rows, start, inner)
                columns, values = nearest_by_distance(rows, start, q, max(1, self.euclidean))
                if self.euclidean:
                    self._keep("euclidean", m, start, columns, values)
                without_self(torch.sqrt(q, out=distances).sub_(self.shifts[m]), start, 0.0)
                self.sums[m, start:stop] = distances.sum(dim=1).cpu().numpy()
                tiles.append(q)
                nearest.append(columns[:, 0])
            if not self.pairs:
                return np.zeros_like(self.products), np.zeros_like(self.products)
            ranks = self._ranks(start, tiles, torch.stack(nearest, dim=1), buffers.ordered[:r])
            return ranks, (stack @ stack.T).cpu().numpy()

    def _ranks(self, start: int, tiles: list[Tensor], nearest: Tensor, ordered: Tensor) -> FloatArray:
        """(M, M): [a, b] sums the ranks in b of a's nearest rows."""
        found = []
        for rows, q in zip(self.rows, tiles, strict=True):
            if not rows.squares.any():  # constant features: all others tied
                found.append(np.full(len(self.rows), len(q) * self.n / 2.0))
            else:
                found.append(rank_sums(rows, start, q, sorted_rows(q, ordered), nearest).cpu().numpy())
        return np.stack(found, axis=1)

    def _keep(self, kind: str, m: int, start: int, columns: Tensor, values: Tensor) -> None:
        indices, kept = self.lists[kind][m]
        indices[start : start + len(columns)] = columns.cpu().numpy()
        kept[start : start + len(columns)] = values.cpu().numpy()

    def _result(self) -> Streamed:
        n = self.n
        shifts = np.array(self.shifts)
        totals = self.sums.sum(axis=1)
        multiplied = self.products + np.outer(shifts, totals) + np.outer(totals, shifts)
        multiplied += n * (n - 1) * np.outer(shifts, shifts)
        models = {}
        for m, name in enumerate(self.names):
            cosine = Neighbours(*self.lists["cosine"][m]) if self.cosine else None
            euclidean = Neighbours(*self.lists["euclidean"][m]) if self.euclidean else None
            models[name] = StreamedModel(cosine, euclidean, self.sums[m] + (n - 1) * shifts[m])
        return Streamed(n, self.names, models, self.rank_sums, multiplied)
