"""Orders and trees of models from how alike they are: average linkage and neighbour joining."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from scipy.cluster.hierarchy import dendrogram, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from leaderboard_site.text import number

SHADES = 20  # steps of the heat map's colour scale, one CSS class each
ROUNDING = 1e-12  # of a distance; within it the middle of a path lies on a node
Pairs = Mapping[tuple[str, str], float]
Segment = tuple[float, float, float, float]  # x, y, x2, y2


@dataclass(frozen=True)
class Matrix:
    """A model-by-model matrix in clustered order, its colours and its tree.

    `values[i][j]` goes from row i to column j; `shades` are 0 (unlike) to SHADES (alike), None where
    there is no value; `branches` are the tree's lines: x from 0 (the leaves) to 1 (the root), y in rows.
    """

    names: list[str]
    values: list[list[float | None]]
    shades: list[list[int | None]]
    low: float
    high: float
    directed: bool
    branches: list[Segment]

    def cells(self, row: int) -> Markup:
        """A row's cells as HTML: numbers made here, no text from a table."""
        made = []
        for column, (value, shade) in enumerate(zip(self.values[row], self.shades[row], strict=True)):
            if column == row:
                made.append('<td><span class="self" title="itself">·</span></td>')
            elif value is None:
                made.append(f"<td>{number(None)}</td>")
            else:
                made.append(f'<td class="s{shade}">{number(value)}</td>')
        return Markup("".join(made))

    @property
    def tree(self) -> Markup:
        """The dendrogram, root at the left, as an SVG as high as the rows."""
        lines = "".join(f"M{100 - 98 * x:.1f} {y:.2f}L{100 - 98 * x2:.1f} {y2:.2f}" for x, y, x2, y2 in self.branches)
        return Markup(
            f'<svg class="tree" viewBox="0 0 100 {len(self.names)}" preserveAspectRatio="none" aria-hidden="true">'
            f'<path d="{lines}"/></svg>'
        )


def clustered_matrix(values: Pairs, higher_is_closer: bool) -> Matrix | None:
    """Order models so that alike ones are neighbours: average linkage with optimal leaf order.

    A pair given once counts both ways. Returns None for fewer than two models.
    """
    names = sorted({name for pair in values for name in pair})
    directed = any((b, a) in values for a, b in values)
    full = dict(values) if directed else {**values, **{(b, a): value for (a, b), value in values.items()}}
    off_diagonal = [value for (a, b), value in values.items() if a != b]
    if len(names) < 2 or not off_diagonal:
        return None
    layout = dendrogram(_linkage(distances(names, full, higher_is_closer)), no_plot=True)
    order = [names[index] for index in layout["leaves"]]
    low, high = min(off_diagonal), max(off_diagonal)
    rows = [[full.get((a, b)) if a != b else None for b in order] for a in order]

    def shade(value: float | None) -> int | None:
        if value is None:
            return None
        share = (value - low) / (high - low) if high > low else 0.5
        return round(SHADES * (share if higher_is_closer else 1 - share))

    shades = [[shade(value) for value in row] for row in rows]
    return Matrix(order, rows, shades, low, high, directed, _branches(layout["icoord"], layout["dcoord"]))


def distances(names: Sequence[str], values: Pairs, higher_is_closer: bool) -> NDArray[np.float64]:
    """Symmetric (m, m) dissimilarities; an unknown pair is as far apart as the farthest known one."""
    sign = -1.0 if higher_is_closer else 1.0
    raw = np.array([[sign * values.get((a, b), math.nan) for b in names] for a in names])
    both = (raw + raw.T) / 2
    np.fill_diagonal(both, np.nan)
    both = np.where(np.isnan(both), np.nanmax(both), both) - np.nanmin(both)
    np.fill_diagonal(both, 0.0)
    found: NDArray[np.float64] = both
    return found


def _linkage(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    condensed = squareform(distance, checks=False)
    result: NDArray[np.float64] = optimal_leaf_ordering(linkage(condensed, "average"), condensed)
    return result


def _branches(icoord: Sequence[Sequence[float]], dcoord: Sequence[Sequence[float]]) -> list[Segment]:
    """scipy's dendrogram (leaf i at 10 i + 5) as lines whose leaf i lies at y = i + 0.5."""
    top = max(max(heights) for heights in dcoord) or 1.0
    lines: list[Segment] = []
    for along, heights in zip(icoord, dcoord, strict=True):
        points = [(height / top, y / 10) for y, height in zip(along, heights, strict=True)]
        lines += [(*start, *end) for start, end in pairwise(points)]
    return lines


@dataclass(frozen=True)
class Joined:
    """A neighbour-joining tree laid out for drawing: leaves in order, lines, and each leaf's distance from the root.

    x is the distance from the root in the unit of the dissimilarity, y the row of the leaf from 0.
    """

    leaves: list[tuple[str, float, float]]
    lines: list[Segment]


@dataclass
class _Node:
    name: str
    children: list[tuple[_Node, float]]  # with the length of the branch to each


def neighbour_joining(names: Sequence[str], distance: NDArray[np.float64]) -> Joined:
    """The tree of Saitou and Nei (1987), rooted halfway between its two farthest leaves.

    names: m >= 2 leaves; distance: (m, m) symmetric. Negative branches, which noise produces, are drawn as 0.
    """
    if len(names) < 2:
        raise ValueError(f"names: a tree needs two leaves, found {len(names)}")
    nodes = [_Node(name, []) for name in names]
    left = distance.astype(np.float64).copy()
    while len(nodes) > 2:
        m = len(nodes)
        total = left.sum(axis=1)
        criterion = (m - 2) * left - total[:, None] - total[None, :]
        np.fill_diagonal(criterion, np.inf)
        i, j = sorted(int(index) for index in np.unravel_index(np.argmin(criterion), criterion.shape))
        to_i = 0.5 * left[i, j] + (total[i] - total[j]) / (2 * (m - 2))
        joined = _Node("", [(nodes[i], max(to_i, 0.0)), (nodes[j], max(left[i, j] - to_i, 0.0))])
        to_others = 0.5 * (left[i] + left[j] - left[i, j])
        keep = [index for index in range(m) if index not in (i, j)]
        smaller = np.zeros((m - 1, m - 1))
        smaller[:-1, :-1] = left[np.ix_(keep, keep)]
        smaller[-1, :-1] = smaller[:-1, -1] = to_others[keep]
        nodes = [*(nodes[index] for index in keep), joined]
        left = smaller
    return _layout(_midpoint_root(nodes[0], nodes[1], max(float(left[0, 1]), 0.0)))


def _midpoint_root(a: _Node, b: _Node, length: float) -> _Node:
    """Walk from between `a` and `b` towards the deeper side until both sides are equally deep."""
    while True:
        deep_a, deep_b = _depth(a), _depth(b)
        along = (deep_b + length - deep_a) / 2  # from a, on the branch to b
        if along > length + ROUNDING and b.children:
            a, b, length = _step(a, b, length)
        elif along < -ROUNDING and a.children:
            b, a, length = _step(b, a, length)
        else:
            along = min(max(along, 0.0), length)
            return _Node("", [(a, along), (b, length - along)])


def _step(behind: _Node, node: _Node, length: float) -> tuple[_Node, _Node, float]:
    """Cross `node`: everything behind it becomes one side, its deepest child the other."""
    deepest = max(node.children, key=lambda child: _depth(child[0]) + child[1])
    others = [child for child in node.children if child is not deepest]
    return _Node("", [*others, (behind, length)]), deepest[0], deepest[1]


def _depth(node: _Node) -> float:
    return max((_depth(child) + length for child, length in node.children), default=0.0)


def _layout(root: _Node) -> Joined:
    leaves: list[tuple[str, float, float]] = []
    lines: list[Segment] = []

    def place(node: _Node, x: float) -> float:
        if not node.children:
            leaves.append((node.name, x, float(len(leaves))))
            return leaves[-1][2]
        rows = []
        for child, length in sorted(node.children, key=lambda item: _depth(item[0]) + item[1]):
            row = place(child, x + length)
            lines.append((x, row, x + length, row))
            rows.append(row)
        lines.append((x, min(rows), x, max(rows)))
        return (min(rows) + max(rows)) / 2

    place(root, 0.0)
    return Joined(leaves, lines)
