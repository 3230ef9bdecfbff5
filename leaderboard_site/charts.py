"""Small drawings made on the server: score intervals, axes, clustered matrices, their tree.

All positions are percentages, so a drawing fills whatever cell it is put in. The SVG holds numbers
made here and no text from a table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from scipy.cluster.hierarchy import dendrogram, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from leaderboard_site.board import Cell

SHADES = 20  # steps of the heat map's colour scale, one CSS class each


@dataclass(frozen=True)
class Scale:
    """A linear axis from `low` to `high`; `percent` maps a value onto it, clipped at the ends."""

    low: float
    high: float

    def percent(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 1)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round numbers on the axis."""
        raw = (self.high - self.low) / wanted
        power = 10 ** math.floor(math.log10(raw))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [round(index * step, 10) for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


def scale_of(cells: Sequence[Cell]) -> Scale:
    """An axis over the values, intervals and nulls of `cells`, always with 0 on it."""
    numbers = [0.0]
    for cell in cells:
        if cell.value is not None:
            numbers += [cell.value, *(x for x in (cell.low, cell.high, cell.null_quantile95) if x is not None)]
    low, high = min(numbers), max(numbers)
    margin = 0.04 * ((high - low) or 1.0)
    return Scale(low - margin, high + margin)


def control_marks(controls: Sequence[Cell], scale: Scale, identity: str) -> Markup:
    """A hidden SVG that defines the column's control marks once; every bar refers to it."""
    marks = "".join(
        f'<line class="control-mark" x1="{x}%" x2="{x}%" y1="12" y2="17"/>'
        for x in (scale.percent(cell.value) for cell in controls if cell.value is not None and scale.holds(cell.value))
    )
    zero = scale.percent(0)
    line = '<line class="axis" x1="0%" x2="100%" y1="9" y2="9"/>'
    origin = f'<line class="zero" x1="{zero}%" x2="{zero}%" y1="4" y2="14"/>'
    return Markup(
        '<svg class="definitions" width="0" height="0" aria-hidden="true">'
        f'<defs><g id="{identity}">{line}{origin}{marks}</g></defs></svg>'
    )


def interval_bar(cell: Cell, scale: Scale, identity: str) -> Markup:
    """Interval, value and null tick of one cell over the column's axis and control marks."""
    if cell.value is None:
        return Markup("")
    # Heights and radii are in the style sheet, which keeps a table of hundreds of bars small.
    parts = [f'<use href="#{identity}"/>']
    threshold = cell.null_quantile95 if cell.null_quantile95 is not None else cell.null_mean
    if threshold is not None and scale.holds(threshold):
        parts.append(f'<rect class="null-mark" x="{scale.percent(threshold)}%"/>')
    if cell.low is not None and cell.high is not None and cell.high >= scale.low and cell.low <= scale.high:
        low, high = scale.percent(cell.low), scale.percent(cell.high)
        parts.append(f'<rect class="interval" x="{low}%" width="{high - low:.1f}%"/>')
    x = scale.percent(cell.value)
    if scale.holds(cell.value):
        parts.append(f'<circle class="value-mark" cx="{x}%"/>')
    else:  # off the axis: an open mark at the edge
        parts.append(f'<circle class="value-mark off-axis" cx="{min(max(x, 3), 97)}%"/>')
    return Markup(f'<svg class="bar" aria-hidden="true">{"".join(parts)}</svg>')


def axis(scale: Scale) -> Markup:
    """The axis of a wide bar column, for its header."""
    ticks = scale.ticks()
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9)) if len(ticks) > 1 else 1
    labels = "".join(
        f'<text x="{scale.percent(tick)}%" y="11">{f"{tick:.{digits}f}".replace("-", "−")}</text>'
        f'<line x1="{scale.percent(tick)}%" x2="{scale.percent(tick)}%" y1="14" y2="18"/>'
        for tick in ticks
    )
    return Markup(f'<svg class="bar-axis" width="100%" height="18" aria-hidden="true">{labels}</svg>')


@dataclass(frozen=True)
class Matrix:
    """A model-by-model matrix in clustered order, its colours and its tree.

    `values[i][j]` goes from row i to column j; `shades` are 0 (unlike) to SHADES (alike), None where
    there is no value; `tree` is an SVG as high as the rows.
    """

    names: list[str]
    values: list[list[float | None]]
    shades: list[list[int | None]]
    low: float
    high: float
    directed: bool
    tree: Markup


def clustered_matrix(values: Mapping[tuple[str, str], float], higher_is_closer: bool) -> Matrix | None:
    """Order models so that alike ones are neighbours: average linkage with optimal leaf order.

    A pair given once counts both ways. Returns None for fewer than two models.
    """
    names = sorted({name for pair in values for name in pair})
    directed = any((b, a) in values for a, b in values)
    full = dict(values) if directed else {**values, **{(b, a): value for (a, b), value in values.items()}}
    off_diagonal = [value for (a, b), value in values.items() if a != b]
    if len(names) < 2 or not off_diagonal:
        return None
    distance = _distances(names, full, higher_is_closer)
    tree = _linkage(distance)
    layout = dendrogram(tree, no_plot=True)
    order = [names[index] for index in layout["leaves"]]
    low, high = min(off_diagonal), max(off_diagonal)
    rows = [[full.get((a, b)) if a != b else None for b in order] for a in order]

    def shade(value: float | None) -> int | None:
        if value is None:
            return None
        share = (value - low) / (high - low) if high > low else 0.5
        return round(SHADES * (share if higher_is_closer else 1 - share))

    shades = [[shade(value) for value in row] for row in rows]
    return Matrix(order, rows, shades, low, high, directed, _tree(layout["icoord"], layout["dcoord"], len(order)))


def _distances(
    names: list[str], values: Mapping[tuple[str, str], float], higher_is_closer: bool
) -> NDArray[np.float64]:
    """Symmetric (m, m) dissimilarities; an unknown pair is as far apart as the farthest known one."""
    sign = -1.0 if higher_is_closer else 1.0
    raw = np.array([[sign * values.get((a, b), math.nan) for b in names] for a in names])
    both = (raw + raw.T) / 2
    np.fill_diagonal(both, np.nan)
    both = np.where(np.isnan(both), np.nanmax(both), both) - np.nanmin(both)
    np.fill_diagonal(both, 0.0)
    distances: NDArray[np.float64] = both
    return distances


def _linkage(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    condensed = squareform(distance, checks=False)
    result: NDArray[np.float64] = optimal_leaf_ordering(linkage(condensed, "average"), condensed)
    return result


def _tree(icoord: Sequence[Sequence[float]], dcoord: Sequence[Sequence[float]], leaves: int) -> Markup:
    """scipy's dendrogram (leaf i at 10 i + 5) turned on its side, root at the left."""
    top = max(max(heights) for heights in dcoord) or 1.0
    paths = []
    for along, heights in zip(icoord, dcoord, strict=True):
        points = [(100 * (1 - 0.96 * height / top) - 2, y) for y, height in zip(along, heights, strict=True)]
        paths.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points))
    return Markup(
        f'<svg class="tree" viewBox="0 0 100 {10 * leaves}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="{"".join(paths)}"/></svg>'
    )
