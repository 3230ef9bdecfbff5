"""From a number and its subsamples to a `Score` with an interval and a null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.results.records import Null, Score
from benchmark.scoring.catalogue import SCORES, better
from benchmark.scoring.data import FloatArray, array_of, number, numbers
from benchmark.scoring.ranks import INTERVAL


def spread(subsamples: Sequence[float | None] | FloatArray) -> float | None:
    """Standard error: the standard deviation over the subsamples that have a value; None for fewer than two."""
    values = np.asarray(array_of(list(subsamples)))
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1)) if values.size >= 2 else None


def measured(
    id: str,
    value: float | None,
    *,
    subsamples: Sequence[float | None] | FloatArray = (),
    null: Null | None = None,
    reason: str = "not defined for these features",
    **fields: Any,
) -> Score:
    """The score `id` with its interval; `reason` is used where the value is None or not finite.

    `fields` are further fields of `Score`. KeyError: an id that the catalogue does not know.
    """
    if id not in SCORES:
        raise KeyError(f"score {id!r} is not in the catalogue")
    finite = None if value is None else number(value)
    if finite is None:
        return Score(id=id, value=None, reason=reason, **fields)
    error = spread(subsamples)
    return Score(
        id=id,
        value=finite,
        low=None if error is None else finite - INTERVAL * error,
        high=None if error is None else finite + INTERVAL * error,
        standard_error=error,
        null=null,
        subsamples=numbers(array_of(list(subsamples))),
        **fields,
    )


def missing(id: str, reason: str, **fields: Any) -> Score:
    """The score `id` without a value, and why."""
    return measured(id, None, reason=reason, **fields)


def null_of(
    id: str, value: float, samples: Sequence[float | None] | FloatArray, *, upper: bool | None = None
) -> Null | None:
    """The null from its draws. p: (1 + draws at or beyond `value`) / (1 + draws).

    Beyond is above if `upper`, and where it is not given towards what is better. In the lower tail `quantile95` is
    the value that 95 % of the draws stay above.
    """
    draws = np.asarray(array_of(list(samples)))
    draws = draws[np.isfinite(draws)]
    if not draws.size:
        return None
    lower = better(id, 0.0, 1.0) if upper is None else not upper
    beyond = draws <= value if lower else draws >= value
    return Null(
        mean=float(draws.mean()),
        quantile95=float(np.quantile(draws, 0.05 if lower else 0.95)),
        p_value=float((1 + np.count_nonzero(beyond)) / (1 + draws.size)),
        permutations=int(draws.size),
    )
