"""Cost against n as a picture: two panels with logarithmic axes, as SVG written by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 460, 340, 62, 34, 14, 46
COLOURS = ("#0b6e99", "#c2571a", "#5b8c3e", "#7a4fa3", "#8a6d00", "#a33b5c", "#4d6670", "#d39c1c", "#2f9e8f")


@dataclass(frozen=True)
class Panel:
    """Lines of positive (x, y) points by name; `unit` names the y axis."""

    title: str
    unit: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


def draw(panels: Sequence[Panel]) -> str:
    """The panels side by side over one legend; a name has one colour, and a panel's first line is the boldest."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    width, height = WIDTH * len(panels), HEIGHT + 12 + 18 * ((len(names) + 1) // 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for i, panel in enumerate(panels):
        parts += [f'<g transform="translate({i * WIDTH} 0)">', *_panel(panel, colours), "</g>"]
    for i, name in enumerate(names):
        x, y = LEFT + (i % 2) * width / 2, HEIGHT + 10 + 18 * (i // 2)
        parts.append(f'<line x1="{x}" x2="{x + 22}" y1="{y}" y2="{y}" stroke="{colours[name]}" stroke-width="2.5"/>')
        parts.append(f'<text x="{x + 28}" y="{y + 4}">{_escaped(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, colours: Mapping[str, str]) -> list[str]:
    points = [point for line in panel.lines.values() for point in line]
    if not points:
        raise ValueError(f"{panel.title}: expected at least one point, found none")
    x_axis = _Axis([x for x, _ in points], LEFT, WIDTH - RIGHT, ticks=(1, 2, 5))
    heights = [y for _, y in points]
    y_ticks = (1,) if max(heights) > 100 * min(heights) else (1, 2, 5)
    y_axis = _Axis(heights, HEIGHT - BOTTOM, TOP, ticks=y_ticks)
    parts = [f'<text x="{LEFT}" y="18" font-weight="600">{_escaped(panel.title)}</text>']
    for value in x_axis.values:
        x = x_axis(value)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:,.0f}</text>')
    for value in y_axis.values:
        y = y_axis(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g} {panel.unit}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 10}" text-anchor="middle">structures n</text>')
    for i, (name, line) in enumerate(panel.lines.items()):
        path = " ".join(f"{x_axis(x):.1f},{y_axis(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colours[name]}" stroke-width="{2 if i else 4}"/>')
        parts += [f'<circle cx="{x_axis(x):.1f}" cy="{y_axis(y):.1f}" r="3" fill="{colours[name]}"/>' for x, y in line]
    return parts


class _Axis:
    """Maps positive values to pixels, logarithmically; `values` are where lines are drawn."""

    def __init__(self, values: Sequence[float], start: float, stop: float, ticks: Sequence[int]) -> None:
        low, high = math.log10(min(values)), math.log10(max(values))
        margin = max(0.06 * (high - low), 0.05)
        self.low, self.high, self.start, self.stop = low - margin, high + margin, start, stop
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        marks = [step * 10.0**decade for decade in decades for step in ticks]
        self.values = [mark for mark in marks if self.low <= math.log10(mark) <= self.high]

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
