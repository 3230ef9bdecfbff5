"""The site's static files: style sheets, scripts, the chart library that comes with a package."""

from __future__ import annotations

import csv
import io
import re
from functools import cache
from pathlib import Path

import vl_convert

from leaderboard_site.figures.figure import VEGA_LITE
from leaderboard_site.figures.style import dark_rules
from leaderboard_site.text import defused

STATIC = Path(__file__).parent / "static"

# Scripts are plain files, joined in this order: from file:// a browser loads no module from another file.
TABLE_SCRIPTS = ("view", "sort", "filter", "weights", "selection", "columns", "csv", "state", "start")

_MAYBE_FORMULA = re.compile(rb'(?:^|[,"\n\r])(?:[=+@\t\r]|-(?![0-9.]))')  # a cell that may start like one


def static_files() -> dict[str, bytes]:
    """File name -> content of everything below static/."""
    files = {path.name: path.read_bytes() for path in sorted(STATIC.glob("*.*"))}
    parts = [(STATIC / "table" / f"{name}.js").read_text(encoding="utf-8") for name in TABLE_SCRIPTS]
    files["table.js"] = f'"use strict";\n(() => {{\n{"".join(parts)}}})();\n'.encode()
    files["figures.css"] += dark_rules(".figure svg ").encode()
    files["charts.js"] = chart_library().encode()
    return files


@cache
def chart_library() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script that needs no network; it sets `window.vegaEmbed`."""
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return f"(() => {{\n{bundle}\n}})();\n"


def safe_table(path: Path) -> bytes:
    """A table as the site offers it: the same bytes, unless a spreadsheet would run a cell as a formula."""
    content = path.read_bytes()
    if path.suffix != ".csv":
        return content
    if not _MAYBE_FORMULA.search(content):
        return content
    rows = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
    safe = [[str(defused(cell)) for cell in row] for row in rows]
    if safe == rows:
        return content
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(safe)
    return stream.getvalue().encode()
