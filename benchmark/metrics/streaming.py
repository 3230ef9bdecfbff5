"""One pass over row tiles of the distance matrices of many models: all that their pairwise comparison needs.

A tile's inner products give, for each model, the nearest neighbours by cosine and by distance and the row sums of
the distances; for each pair, the ranks that the one's nearest neighbours have in the other and the inner product of
their distances. After the pass a pair costs O(n k) (CKNNA, mutual kNN) or nothing (distance correlation, information
imbalance). No n x n array exists at any time, and every value is that of the direct definition.

Tiles form blocks of rows. Blocks can be computed apart, by other processes or machines: where they begin and the
order in which their sums are added depend on the arrays alone, so the result is the same to the last bit whoever
computes them.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
from .validation import FloatArray, IntArray, features, positive_int, same_rows

TILE_BYTES = {"cpu": 160 * 2**20, "cuda": 4 * 2**30}
"""Memory of the tiles that one thread holds."""
BLOCK_TILES = 8
"""Tiles in a block: enough work for a task of its own, and little lost when it has to be done again."""


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
    found = RowPass.of(arrays, cosine=cosine, euclidean=euclidean, pairs=pairs, device=device)
    return found.reduce(found.compute(found.blocks, progress))


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


@dataclass(frozen=True, eq=False)
class Block:
    """What the pass finds in the rows from `start` to `stop`.

    sums (M, rows): row sums of the shifted distances. rank_sums, products (M, M): summed over the rows. lists: for
    "cosine" and "euclidean" columns and values (M, rows, k) of the neighbours.
    """

    start: int
    stop: int
    sums: FloatArray
    rank_sums: FloatArray
    products: FloatArray
    lists: dict[str, tuple[IntArray, FloatArray]]

    @classmethod
    def joined(cls, tiles: Sequence[Block]) -> Block:
        """Consecutive tiles as one block; what is summed is added in their order."""
        lists = {
            kind: (
                np.concatenate([tile.lists[kind][0] for tile in tiles], axis=1),
                np.concatenate([tile.lists[kind][1] for tile in tiles], axis=1),
            )
            for kind in tiles[0].lists
        }
        sums = np.concatenate([tile.sums for tile in tiles], axis=1)
        rank_sums, products = np.zeros_like(tiles[0].rank_sums), np.zeros_like(tiles[0].products)
        for tile in tiles:
            rank_sums += tile.rank_sums
            products += tile.products
        return cls(tiles[0].start, tiles[-1].stop, sums, rank_sums, products, lists)


class RowPass:
    """One pass over the rows of several models, block by block. `blocks` are the rows where each begins and ends."""

    def __init__(self, names: tuple[str, ...], rows: list[Rows], cosine: int, euclidean: int, pairs: bool) -> None:
        self.names, self.rows, self.cosine, self.euclidean, self.pairs = names, rows, cosine, euclidean, pairs
        self.n, count = rows[0].n, len(rows)
        self.device = rows[0].array.device
        # Distances are shifted by a constant before they are multiplied, so that what is left has all its digits;
        # the shift is taken out again at the end.
        self.shifts = [float((2.0 * each.squares.mean()).sqrt()) for each in rows]
        self.step = _tile_rows(self.n, count, self.device.type)
        self.blocks = block_bounds(self.n, count, self.device.type)
        self.local = threading.local()

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, FloatArray],
        *,
        cosine: int = 0,
        euclidean: int = 0,
        pairs: bool = True,
        device: str = "auto",
    ) -> RowPass:
        """A pass over `arrays` (n, d_m) in standard form; the rest as for `stream`. Raises ValueError as `stream`."""
        n = same_rows(**arrays)
        for name, k in (("cosine", cosine), ("euclidean", euclidean)):
            if k:
                positive_int(name, k, maximum=n - 1, why=" (rows - 1)")
        where = find_device(device)
        with torch.inference_mode():
            rows = [Rows.of(array, where) for array in arrays.values()]
        return cls(tuple(arrays), rows, cosine, euclidean, pairs)

    def compute(
        self, blocks: Iterable[tuple[int, int]], progress: Callable[[int, int], None] | None = None
    ) -> Iterator[Block]:
        """Compute `blocks`, in their order. progress: called with the rows done and n."""
        tiles = [
            (number, start, min(start + self.step, stop))
            for number, (begin, stop) in enumerate(blocks)
            for start in range(begin, stop, self.step)
        ]
        done = 0
        with torch.inference_mode(), SingleThreaded(threads := thread_count(self.device)) as pool:
            for _, group in itertools.groupby(self._in_order(pool, tiles, threads + 1), key=lambda each: each[0]):
                found = []
                for _, tile in group:
                    found.append(tile)
                    done += tile.stop - tile.start
                    if progress is not None:
                        progress(done, self.n)
                yield Block.joined(found)

    def _in_order(
        self, pool: ThreadPoolExecutor, tiles: Sequence[tuple[int, int, int]], ahead: int
    ) -> Iterator[tuple[int, Block]]:
        """Block number and contents of each tile, in their order; few tiles are computed ahead."""
        waiting: deque[tuple[int, Future[Block]]] = deque()
        for number, start, stop in tiles:
            waiting.append((number, pool.submit(self._tile, start, stop)))
            if len(waiting) > ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()

    def _tile(self, start: int, stop: int) -> Block:
        """Everything of the rows start:stop."""
        if not hasattr(self.local, "buffers"):
            self.local.buffers = _Buffers(len(self.rows), self.step, self.n, self.device)
        buffers, r = self.local.buffers, stop - start
        kept: dict[str, list[tuple[Tensor, Tensor]]] = {"cosine": [], "euclidean": []}
        with torch.inference_mode():
            tiles, nearest, sums = [], [], []
            stack = buffers.distances[:, : r * self.n]
            for m, rows in enumerate(self.rows):
                inner = products(rows, start, stop, buffers.squared[m, :r])
                distances = stack[m].view(r, self.n)
                if self.cosine:
                    kept["cosine"].append(nearest_by_cosine(rows, start, inner, self.cosine, distances))
                q = squared_distances(rows, start, inner)
                columns, values = nearest_by_distance(rows, start, q, max(1, self.euclidean))
                if self.euclidean:
                    kept["euclidean"].append((columns, values))
                without_self(torch.sqrt(q, out=distances).sub_(self.shifts[m]), start, 0.0)
                sums.append(distances.sum(dim=1))
                tiles.append(q)
                nearest.append(columns[:, 0])
            lists = {kind: _stacked(found) for kind, found in kept.items() if found}
            ranks = multiplied = np.zeros((len(self.rows), len(self.rows)))
            if self.pairs:
                ranks = self._ranks(start, tiles, torch.stack(nearest, dim=1), buffers.ordered[:r])
                multiplied = (stack @ stack.T).cpu().numpy()
            return Block(start, stop, torch.stack(sums).cpu().numpy(), ranks, multiplied, lists)

    def _ranks(self, start: int, tiles: list[Tensor], nearest: Tensor, ordered: Tensor) -> FloatArray:
        """(M, M): [a, b] sums the ranks in b of a's nearest rows."""
        found = []
        for rows, q in zip(self.rows, tiles, strict=True):
            if not rows.squares.any():  # constant features: all others tied
                found.append(np.full(len(self.rows), len(q) * self.n / 2.0))
            else:
                found.append(rank_sums(rows, start, q, sorted_rows(q, ordered), nearest).cpu().numpy())
        return np.stack(found, axis=1)

    def reduce(self, blocks: Iterable[Block]) -> Streamed:
        """The whole from all of `blocks`, in the order of their rows."""
        n, count = self.n, len(self.rows)
        sums, ranks, multiplied = np.empty((count, n)), np.zeros((count, count)), np.zeros((count, count))
        lists = {
            kind: (np.empty((count, n, k), dtype=np.int64), np.empty((count, n, k)))
            for kind, k in (("cosine", self.cosine), ("euclidean", self.euclidean))
            if k
        }
        for block in blocks:
            rows = slice(block.start, block.stop)
            sums[:, rows] = block.sums
            ranks += block.rank_sums
            multiplied += block.products
            for kind, (columns, values) in block.lists.items():
                lists[kind][0][:, rows], lists[kind][1][:, rows] = columns, values
        shifts, totals = np.array(self.shifts), sums.sum(axis=1)
        multiplied = multiplied + np.outer(shifts, totals) + np.outer(totals, shifts)
        multiplied += n * (n - 1) * np.outer(shifts, shifts)
        models = {}
        for m, name in enumerate(self.names):
            cosine, euclidean = (
                Neighbours(lists[kind][0][m], lists[kind][1][m]) if kind in lists else None
                for kind in ("cosine", "euclidean")
            )
            models[name] = StreamedModel(cosine, euclidean, sums[m] + (n - 1) * shifts[m])
        return Streamed(n, self.names, models, ranks, multiplied)


def block_bounds(n: int, models: int, device: str = "cpu") -> list[tuple[int, int]]:
    """The rows where each block of a pass over `models` arrays of `n` rows begins and ends."""
    size = BLOCK_TILES * _tile_rows(n, models, device)
    return [(start, min(start + size, n)) for start in range(0, n, size)]


def _tile_rows(n: int, models: int, device: str) -> int:
    return max(8, min(256, TILE_BYTES[device] // (n * 16 * models), n))


def _stacked(found: Sequence[tuple[Tensor, Tensor]]) -> tuple[IntArray, FloatArray]:
    columns, values = zip(*found, strict=True)
    return torch.stack(columns).cpu().numpy(), torch.stack(values).cpu().numpy()
