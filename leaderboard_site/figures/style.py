"""Colours and fonts of every figure.

Each colour is unique, so that the style sheet can give it another shade in the dark: rules such as
`[fill="#0d5c63"]` hold for the SVG of the build and for what a browser draws.
"""

from __future__ import annotations

from typing import Any

from leaderboard_site.board import Board, Entry

INK, MUTED, AXIS, GRID = "#15191d", "#5b656f", "#9aa3a9", "#e2e5e1"
CONTROL = "#87909a"
NULL = "#b3324d"
FAMILIES = ("#0e6b73", "#c2571a", "#5b4fb0", "#2f7d33", "#b23a8e", "#8a6d01", "#2b6cb8", "#7a4a2b")
HEAT = ("#f3f5f1", "#dbe8e6", "#bfd9d8", "#a0c8c9", "#7fb4b7", "#5f9da3", "#42858d", "#276b75", "#0f505b")
PARTS = {"composition": "#b9c2c8", "geometry": "#1d7a82", "entanglement": "#e0a030"}
IN, OUT = "#176f78", "#d2691f"

CONFIG: dict[str, Any] = {
    "background": None,
    "font": "Arial, Liberation Sans, Helvetica, sans-serif",  # of one width on every system, so that nothing is cut off
    "padding": 8,
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        "domainColor": AXIS, "tickColor": AXIS, "gridColor": GRID, "labelColor": MUTED, "titleColor": INK,
        "labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": 500, "titlePadding": 8, "tickSize": 4,
        "labelLimit": 220,
    },
    "header": {"labelColor": INK, "labelFontSize": 12, "labelFontWeight": 600, "titleColor": MUTED, "labelLimit": 400},
    "legend": {
        "labelColor": MUTED, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": 500,
        "symbolStrokeWidth": 1.5, "gradientStrokeColor": AXIS, "labelLimit": 220, "rowPadding": 4,
    },
    "title": {"color": INK, "fontSize": 13, "fontWeight": 600, "anchor": "start", "subtitleColor": MUTED},
    "line": {"strokeWidth": 1.8},
    "rule": {"color": AXIS},
    "text": {"color": INK, "fontSize": 11},
    "point": {"filled": True, "size": 70},
}  # fmt: skip

OTHER, CONTROLS = "other families", "control"


def family_names(board: Board) -> list[str]:
    """Families that get a colour of their own, the largest first; the others share one."""
    counts: dict[str, int] = {}
    for entry in board.models:
        counts[entry.family] = counts.get(entry.family, 0) + 1
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    return ordered if len(ordered) <= len(FAMILIES) else [*ordered[: len(FAMILIES) - 1], OTHER]


def family_of(board: Board, entry: Entry) -> str:
    """The colour group of a row."""
    if entry.control:
        return CONTROLS
    return entry.family if entry.family in family_names(board) else OTHER


def family_scale(board: Board) -> tuple[list[str], list[str]]:
    """Domain and range of the colour scale."""
    names = family_names(board)
    return [*names, CONTROLS], [*FAMILIES[: len(names)], CONTROL]


# The same colours on a dark page.
DARK = {
    INK: "#e6e9eb", MUTED: "#a3adb5", AXIS: "#4c565e", GRID: "#262d32", CONTROL: "#8b959f", NULL: "#f07a8e",
    **dict(zip(FAMILIES, ("#5cc4c8", "#f0935a", "#a79bf0", "#7fd084", "#ec86cd", "#d8b64a", "#78b4f5", "#c99a78"),
               strict=True)),
    **dict(zip(HEAT, ("#171c20", "#1b2a2e", "#1f3a3e", "#254c51", "#2c6066", "#36777d", "#459096", "#58aeb2",
                      "#72d2d3"), strict=True)),
    PARTS["composition"]: "#56616a", PARTS["geometry"]: "#46b3ba", PARTS["entanglement"]: "#e8b04f",
    IN: "#5fc3c7", OUT: "#ef9a57",
}  # fmt: skip
DARK_PANEL = "#15191c"


def dark_rules(scope: str = "") -> str:
    """CSS that gives each colour its shade in the dark, for the SVG elements below `scope`."""
    rules = "".join(
        f'{scope}[{paint}="{light}"]{{{paint}:{dark}}}' for light, dark in DARK.items() for paint in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme: dark){{{rules}}}"


def standalone(svg: str) -> str:
    """An SVG that follows the reader's colour scheme when it is opened by itself."""
    style = f"svg{{background:#fff}}@media (prefers-color-scheme: dark){{svg{{background:{DARK_PANEL}}}}}{dark_rules()}"
    opening = svg.index(">") + 1
    return f"{svg[:opening]}<style>{style}</style>{svg[opening:]}"
