"""What a figure is, and its SVG, its Vega-Lite text and its CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import altair as alt
import vl_convert
from markupsafe import Markup

from leaderboard_site.board import Board
from leaderboard_site.figures import style
from leaderboard_site.text import defused

VEGA_LITE = "6.4"  # of the versions that vl-convert carries
# JSON inside a <script> element: no character of it may end the element or open another.
AS_DATA = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
AnyChart = alt.Chart | alt.LayerChart | alt.HConcatChart | alt.VConcatChart | alt.FacetChart
Rows = list[dict[str, Any]]
ROWS = "rows"


@dataclass(frozen=True)
class Figure:
    """A chart with its data, or the reason why it cannot be drawn.

    `caption` says how to read it, `metrics` are the scores whose methods it rests on, `pages` the
    headline pages that show it.
    """

    id: str
    title: str
    caption: str
    rows: Rows = field(repr=False)
    chart: AnyChart | None = field(repr=False, default=None)
    datasets: dict[str, Rows] = field(repr=False, default_factory=dict)
    missing: str = ""
    metrics: Sequence[str] = ()
    pages: Sequence[str] = ()
    paper: str = ""

    @cached_property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def drawn(self, chart: AnyChart, **datasets: Rows) -> Figure:
        """The same figure with its chart, and data that the chart draws beside or instead of the rows."""
        return replace(self, chart=chart, datasets=datasets)

    def csv(self) -> str:
        """The figure's data; text that a spreadsheet would run as a formula is quoted."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        for row in self.rows:
            writer.writerow([defused(row.get(name)) for name in self.columns])
        return stream.getvalue()


@dataclass(frozen=True)
class Drawing:
    """A rendered figure: a portable SVG, and the Vega-Lite text that a browser draws."""

    svg: Markup
    spec: str

    @property
    def data(self) -> Markup:
        """The Vega-Lite text for a <script> element."""
        return Markup(self.spec.translate(AS_DATA))


def draw(figure: Figure) -> Drawing | None:
    """Render the chart, None where the figure has none. The same rows give the same bytes."""
    if figure.chart is None:
        return None
    spec = figure.chart.to_dict(validate=False)
    spec |= {"config": style.CONFIG, "datasets": {ROWS: figure.rows, **figure.datasets}}
    if ROWS not in _data_names(spec):
        del spec["datasets"][ROWS]
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    return Drawing(Markup(svg), json.dumps(spec, ensure_ascii=False, sort_keys=True))


def _data_names(part: Any) -> set[str]:
    """The names of all data sets that a chart or one of its parts draws."""
    if isinstance(part, list):
        return {name for item in part for name in _data_names(item)}
    if not isinstance(part, dict):
        return set()
    own = part.get("data")
    found = {own["name"]} if isinstance(own, dict) and "name" in own else set()
    return found.union(*(_data_names(value) for key, value in part.items() if key not in ("datasets", "data")))


def data(name: str = ROWS) -> alt.NamedData:
    """The figure's rows as a chart's data, or another data set that `Figure.drawn` is given by name."""
    return alt.NamedData(name=name)


def family_colour(board: Board) -> alt.Color:
    """Colour by family, controls in grey."""
    domain, colours = style.family_scale(board)
    return alt.Color("family:N", title="Family", scale=alt.Scale(domain=domain, range=colours), sort=domain)


def pick_family() -> alt.Parameter:
    """A selection bound to the legend of `family_colour`."""
    return alt.selection_point(fields=["family"], bind="legend", name="family_picked")


def hover_model() -> alt.Parameter:
    """The model under the pointer; empty where there is none."""
    return alt.selection_point(fields=["model"], on="pointerover", clear="pointerout", empty=False, name="hovered")


def tooltips(*fields: tuple[str, str]) -> list[alt.Tooltip]:
    """Tooltip lines: field and title; numbers to three digits."""
    return [
        alt.Tooltip(name, title=title, format=".3f") if name.endswith(":Q") else alt.Tooltip(name, title=title)
        for name, title in fields
    ]
