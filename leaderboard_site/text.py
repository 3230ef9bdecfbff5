"""How numbers, ranks and links are written on the page."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MINUS = "\u2212"
DASH = "\u2013"


DIGITS = 3  # behind the point, wherever a score is shown: the same figure is the same number on every page


def number(value: float | None, digits: int = DIGITS) -> str:
    """Fixed digits with a true minus sign, powers of ten from a thousand on; an en dash where there is no value."""
    if value is None:
        return DASH
    if abs(value) >= 1000:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", MINUS)
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def exact(value: float | None) -> str:
    """Ten significant digits, for sorting and for the CSV of a view."""
    return "" if value is None else f"{value:.10g}"


def interval(low: float | None, high: float | None, digits: int = DIGITS, dash: bool = False) -> str:
    """`0.551 to 0.690`, shorter with a `dash` in a narrow cell, or nothing where there is no interval."""
    if low is None or high is None:
        return ""
    return f"{number(low, digits)}{f' {DASH} ' if dash else ' to '}{number(high, digits)}"


def whole(value: int | None) -> str:
    """A whole number, nothing for nothing."""
    return "" if value is None else str(value)


def measure(identity: str, title: str) -> str:
    """The title of a column such as `r2_partial_gap`, whose last words are a target."""
    return f"R² partial, {identity.removeprefix('r2_partial_')}" if identity.startswith("r2_partial_") else title


def plain(value: object) -> str:
    """Any cell of a figure's data: numbers to three digits, nothing for nothing."""
    if value is None:
        return ""
    return number(value) if isinstance(value, float) else str(value)


def p_value(value: float | None) -> str:
    """Three digits; small ones as a bound."""
    if value is None:
        return DASH
    return "< 0.001" if value < 0.001 else number(value, 3)


def rank(low: int | None, high: int | None) -> str:
    """A tie group as a range: `1–3`."""
    if low is None:
        return ""
    return str(low) if high is None or high == low else f"{low}{DASH}{high}"


def count(value: float | None) -> str:
    """Parameters in thousands, millions or billions."""
    if value is None:
        return DASH
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


_ARXIV = re.compile(r"(arXiv:\d{4}\.\d{4,5})")


def citations(source: str) -> list[tuple[str, str | None]]:
    """The parts of a source line, with an address where a part is an arXiv id."""
    parts = [part for part in _ARXIV.split(source) if part]
    return [
        (part, f"https://arxiv.org/abs/{part.removeprefix('arXiv:')}" if _ARXIV.fullmatch(part) else None)
        for part in parts
    ]


def safe_link(url: str) -> str | None:
    """The URL if it is absolute http(s), else None: a stranger's link must not run anything."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return None
    return url.strip() if parts.scheme in ("http", "https") and parts.netloc else None


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def defused(value: object) -> object:
    """A cell of a CSV: text that a spreadsheet would run as a formula gets a quote before it."""
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
