"""How numbers, ranks and links are written on the page."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MINUS = "\u2212"
DASH = "\u2013"


def number(value: float | None, digits: int = 2) -> str:
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


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """`0.55 to 0.69`, or nothing where there is no interval."""
    return "" if low is None or high is None else f"{number(low, digits)} to {number(high, digits)}"


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
