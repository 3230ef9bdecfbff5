"""Small drawings made on the server: score intervals and their axes.

All positions are percentages, so a drawing fills whatever cell it is put in. The SVG holds numbers
made here and no text from a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from leaderboard_site.board import Cell

NULL_ROOM = 2.0  # times the span of the values that an axis may grow to show where chance lies


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
    """An axis over the values and intervals of `cells`, always with 0 on it.

    Nulls are on it too, unless they are so far off that the values could not be told apart.
    """
    numbers = [0.0]
    for cell in cells:
        if cell.value is not None:
            numbers += [cell.value, *(x for x in (cell.low, cell.high) if x is not None)]
    nulls = [cell.null_quantile95 for cell in cells if cell.value is not None and cell.null_quantile95 is not None]
    low, high = min(numbers), max(numbers)
    if nulls and max(high, *nulls) - min(low, *nulls) <= NULL_ROOM * (high - low):
        low, high = min(low, *nulls), max(high, *nulls)
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
