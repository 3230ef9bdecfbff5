"""Numbers and tables as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def number(value: float) -> str:
    """Two decimals, a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:.2f}"


def with_interval(value: float, low: float, high: float) -> str:
    """`value (low to high)`, or the value alone where no interval was measured."""
    return number(value) if math.isnan(low) or math.isnan(high) else f"{number(value)} ({interval(low, high)})"


def interval(low: float, high: float) -> str:
    """`low to high`."""
    return f"{number(low)} to {number(high)}"


def spread(values: NDArray[np.float64]) -> str:
    """Median and quartiles of the values that are there."""
    there = values[~np.isnan(values)]
    if not len(there):
        return "-"
    low, middle, high = np.quantile(there, [0.25, 0.5, 0.75])
    return f"{number(middle)} ({interval(low, high)})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
