"""What happens on one row tile of the distance matrix: candidates, exact neighbours, exact ranks.

A tile holds squared distances from inner products, q = |a|^2 + |b|^2 - 2ab, in float64. They are fast and a little
wrong, by at most `Rows.error`. Whatever that error could decide (which candidate is nearer, whether two distances are
tied, the rank of a distance) is decided by direct differences instead, under the tie rule of `neighbours`: values
that differ by a relative 1e-12 are equal, and of equals the smaller index comes first. So results depend neither on
the tile nor on the device.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from .validation import FloatArray

SPARE = 12
"""Candidates beyond k, so that a wrong order at the edge is seen."""
GROUP = 16
"""Columns of which the smallest stands for all when candidates are looked for."""
PRECISE = 2e-4
"""Squared distances below this share of the squared norms are taken again from differences, for their digits."""
TIED = 2e-12
"""What differs by less, relatively, may round to the same 40 bits."""
CHUNK = 100_000
"""Pairs of rows whose differences are held at once."""


@dataclass(frozen=True, eq=False)
class Rows:
    """One model's features (n, d) in standard form on a device, with what every tile needs of them.

    squares: squared norms (n,). inverse_norms: (n,), 0 for rows of norm 0. error: (n,), a bound on how far the
    squared distances of a row, from inner products, are from the truth.
    """

    array: Tensor
    squares: Tensor
    inverse_norms: Tensor
    error: Tensor

    @classmethod
    def of(cls, array: FloatArray, device: torch.device) -> Rows:
        """`array` (n, d) in standard form."""
        values = torch.as_tensor(array, dtype=torch.float64, device=device)
        squares = values.square().sum(dim=1)
        norms = squares.sqrt()
        # the textbook bound of an inner product of d terms, with room for the sum of three
        error = (squares + squares.max()) * (values.shape[1] + 8) * torch.finfo(torch.float64).eps
        return cls(values, squares, torch.where(norms > 0, 1.0 / norms, torch.zeros_like(norms)), error)

    @property
    def n(self) -> int:
        return int(self.array.shape[0])

    def differences(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Squared distances (m,) of pairs of rows, from differences, rounded to ties."""
        parts = [
            (self.array[i] - self.array[j]).square_().sum(dim=1)
            for i, j in zip(torch.split(rows, CHUNK), torch.split(columns, CHUNK), strict=True)
        ]
        return rounded(torch.cat(parts)) if parts else self.array.new_empty(0)


def rounded(values: Tensor) -> Tensor:
    """Values to 40 significant bits, as `neighbours.round_to_ties`."""
    spread = values * 8193.0
    return spread - (spread - values)


def products(rows: Rows, start: int, stop: int, out: Tensor) -> Tensor:
    """Inner products (stop - start, n) of the tile's rows with all."""
    return torch.mm(rows.array[start:stop], rows.array.T, out=out)


def squared_distances(rows: Rows, start: int, inner: Tensor) -> Tensor:
    """Approximate squared distances (r, n), in place of the tile's inner products; self is infinite."""
    stop = start + len(inner)
    q = inner.mul_(-2.0).add_(rows.squares).add_(rows.squares[start:stop, None]).clamp_(min=0.0)
    return without_self(q, start, torch.inf)


def without_self(tile: Tensor, start: int, value: float) -> Tensor:
    """The tile with `value` where a row meets itself."""
    own = torch.arange(len(tile), device=tile.device)
    tile[own, own + start] = value
    return tile


def candidates(values: Tensor, count: int) -> Tensor:
    """Columns (r, count) of each row's smallest `values` (r, n), in no order; which of equals is open.

    The smallest of each group of columns are looked at first: the `count` smallest values lie in the `count` groups
    with the smallest minima, so only those are searched.
    """
    r, n = values.shape
    width = n // GROUP
    if width < 2 * count:
        return values.topk(count, dim=1, largest=False, sorted=False).indices
    grouped = values[:, : width * GROUP].view(r, GROUP, width) if n == width * GROUP else None
    if grouped is None:
        grouped = values[:, : width * GROUP].reshape(r, GROUP, width)
    minima = grouped.amin(dim=1)
    groups = minima.topk(count, dim=1, largest=False, sorted=False).indices
    members = torch.arange(GROUP, device=values.device) * width
    columns = (groups[:, :, None] + members).view(r, -1)
    rest = torch.arange(width * GROUP, n, device=values.device).expand(r, -1)
    columns = torch.cat([columns, rest], dim=1)
    best = values.gather(1, columns).topk(count, dim=1, largest=False, sorted=False).indices
    return columns.gather(1, best)


def nearest_by_distance(rows: Rows, start: int, q: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(columns, distances) (r, k) of the k nearest rows of the tile's squared distances (r, n).

    Those that were taken again from differences are put into the tile.
    """
    count = min(k + SPARE, rows.n - 1)
    columns = candidates(q, count)
    values = q.gather(1, columns)
    values, order = values.sort(dim=1)
    columns = columns.gather(1, order)
    edge = values[:, -1].clone()
    error = rows.error[start : start + len(q), None]
    doubtful = values <= PRECISE * (rows.squares[start : start + len(q), None] + rows.squares[columns])
    close = (values[:, 1:] - values[:, :-1]) <= 2.0 * error + TIED * values[:, 1:]
    doubtful[:, 1:] |= close
    doubtful[:, :-1] |= close
    where = doubtful.nonzero(as_tuple=True)
    values[where] = q[where[0], columns[where]] = rows.differences(where[0] + start, columns[where])
    values, columns = in_order(rounded(values), columns)
    unsure = values[:, k - 1] >= rounded(edge - error[:, 0])  # what was not looked at may be tied with the last one
    values, columns = values[:, :k].contiguous(), columns[:, :k].contiguous()
    for row in unsure.nonzero()[:, 0].tolist() if count < rows.n - 1 else ():
        columns[row], values[row] = _nearest_of_all(rows, start + row, q[row], k)
    return columns, values.sqrt_()


def _nearest_of_all(rows: Rows, row: int, q: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(columns, squared distances) (k,) of the nearest of one row, from its q (n,), however many are tied."""
    low, high = bounds(q, rows.error[row])
    low[row] = high[row] = torch.inf
    among = (low <= high.kthvalue(k).values).nonzero()[:, 0]
    values = high[among]
    unsure = low[among] != values
    others = among[unsure]
    values[unsure] = rows.differences(torch.full_like(others, row), others)
    order = values.argsort(stable=True)[:k]
    return among[order], values[order]


def bounds(q: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Between what two values squared distances from differences, rounded to ties, can lie where q is theirs.

    error: of q; that of a sum of squared differences is at most half as large. Equal bounds are the very value.
    """
    return rounded(q - 4.0 * error), rounded(q + 4.0 * error)


def nearest_by_cosine(rows: Rows, start: int, inner: Tensor, k: int, out: Tensor) -> tuple[Tensor, Tensor]:
    """(columns, cosines) (r, k) of the k rows with the largest cosine, from the tile's inner products.

    Cosines are rounded to 12 decimals, far above the error of an inner product of unit rows. `out` is overwritten.
    """
    count = min(k + SPARE, rows.n - 1)
    against = torch.mul(inner, -rows.inverse_norms, out=out)  # the row's own norm changes no order
    without_self(against, start, torch.inf)
    columns = candidates(against, count)
    scale = rows.inverse_norms[start : start + len(inner), None]
    values, columns = in_order(torch.round(against.gather(1, columns) * scale, decimals=12), columns)
    unsure = values[:, k - 1] >= values[:, -1]
    values, columns = values[:, :k].contiguous(), columns[:, :k].contiguous()
    for row in unsure.nonzero()[:, 0].tolist() if count < rows.n - 1 else ():
        whole = torch.round(against[row] * scale[row], decimals=12)
        whole[start + row] = torch.inf
        columns[row] = whole.argsort(stable=True)[:k]
        values[row] = whole[columns[row]]
    return columns, values.neg_()


def in_order(values: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Both sorted along their rows by value, then by column."""
    columns, by_column = columns.sort(dim=1)
    values, by_value = values.gather(1, by_column).sort(dim=1, stable=True)
    return values, columns.gather(1, by_value)


def sorted_rows(q: Tensor, out: Tensor) -> Tensor:
    """Squared distances (r, n) in rising order, in float32: for counting, see `rank_sums`.

    On a CPU by NumPy, whose vectorised sort is several times quicker.
    """
    out.copy_(q)
    if out.device.type == "cpu":
        out.numpy().sort(axis=1)
        return out
    return out.sort(dim=1).values


def rank_sums(rows: Rows, start: int, q: Tensor, ordered: Tensor, columns: Tensor) -> Tensor:
    """Sums over the tile (m,) of the mid-ranks that `columns` (r, m) have in their rows of distances.

    `q` (r, n), and `ordered` in rising order in float32. Self has rank 0, the nearest rank 1. Rounding to float32
    keeps the order, so whatever is smaller there is smaller; what is equal there, or too close for q, is compared
    one by one.
    """
    values = q.gather(1, columns)
    error = 2.0 * rows.error[start : start + len(q), None]
    low, high = (values - error).clamp_(min=0.0).float(), (values + error).float()
    below = torch.searchsorted(ordered, low)
    beyond = torch.searchsorted(ordered, high, right=True)
    ranks = (below + 1).to(torch.float64)
    crowded = (beyond - below > 1).nonzero(as_tuple=True)
    pairs = len(crowded[0])
    for part in torch.split(torch.arange(pairs, device=q.device), max(1, 10 * CHUNK // rows.n)):
        tile_row, column = crowded[0][part], crowded[1][part]
        single = q[tile_row].float()
        near = (single >= low[tile_row, column, None]) & (single <= high[tile_row, column, None])
        owner, others = near.nonzero(as_tuple=True)
        share = _shares(rows, start, q, tile_row[owner], columns[tile_row, column][owner], others)
        counted = torch.zeros(len(part), dtype=torch.float64, device=q.device).index_add_(0, owner, share)
        ranks[tile_row, column] = below[tile_row, column] + counted + 0.5
    return ranks.sum(dim=0)


def _shares(rows: Rows, start: int, q: Tensor, tile_row: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """(m,) 1 where the distance of a tile's row to `other` is smaller than that to `own`, 0.5 where they are tied.

    Ties are those of differences. q decides where differences could only round to what q rounds to within its error,
    which it does for most ties: features such as element fractions have millions, too many to take differences of.
    """
    error = rows.error[tile_row + start]
    low, high = bounds(q[tile_row, own], error)
    their_low, their_high = bounds(q[tile_row, other], error)
    tied = (low == high) & (their_low == low) & (their_high == low)
    share = (their_high < low).to(torch.float64) + 0.5 * tied.to(torch.float64)
    unsure = (~tied & (their_low <= high) & (their_high >= low)).nonzero()[:, 0]
    exact = rows.differences(tile_row[unsure] + start, own[unsure])
    against = rows.differences(tile_row[unsure] + start, other[unsure])
    share[unsure] = (against < exact).to(torch.float64) + 0.5 * (against == exact).to(torch.float64)
    return share


def thread_count(device: torch.device) -> int:
    """Tiles at once: as many as PyTorch has threads on a CPU, one on an accelerator."""
    return torch.get_num_threads() if device.type == "cpu" else 1


class SingleThreaded:
    """Runs tiles in threads of a pool, each with products of one thread: no tile waits for another."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def __enter__(self) -> ThreadPoolExecutor:
        self._before = torch.get_num_threads()
        if self.threads > 1:
            torch.set_num_threads(1)
        self._pool = ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,))
        return self._pool

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._before)
