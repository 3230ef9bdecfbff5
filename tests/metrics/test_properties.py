"""Generated from the registry: each declared invariance is proved, each undeclared one has a counterexample."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.stats import ortho_group

import benchmark.metrics as metrics
from benchmark.metrics.registry import INVARIANCES, METRICS

TOLERANCE = 1e-8
LEARNED = ("r2_mlp", "r2_trees")
DRAWS = 3


def draw(record, seed):
    """Random arguments for a metric: feature arrays first, then what moves along with the rows."""
    rng = np.random.default_rng(seed)
    n = 90
    shared = rng.normal(size=(n, 3))
    a = shared @ rng.normal(size=(3, 6)) + 0.6 * rng.normal(size=(n, 6)) * [1, 1, 2, 2, 4, 4]
    b = np.tanh(shared @ rng.normal(size=(3, 5))) + 0.3 * rng.normal(size=(n, 5))
    if record.inputs == "pair":
        return [a, b], {}
    if record.inputs == "single":
        return [a], {}
    composition = rng.poisson(3, size=(n, 3)).astype(float)
    groups = np.array(["".join(f"{count:.0f}" for count in row) for row in composition])
    a[:, 0] += composition @ [1.0, -2.0, 0.5]
    extra = {"C": composition, "groups": groups}
    if record.inputs == "probe":
        extra["y"] = composition @ [1.0, 2.0, 3.0] + shared[:, 0] + 0.2 * rng.normal(size=n)
    return [a], extra


def transformed(invariance, arrays, extra, seed):
    """Every way to apply an invariance: to one array at a time, or to the rows of all of them."""
    rng = np.random.default_rng(seed + 1000)
    if invariance == "permutation":
        order = rng.permutation(len(arrays[0]))
        yield [x[order] for x in arrays], {name: value[order] for name, value in extra.items()}
        return
    for i, x in enumerate(arrays):
        changed = {
            "orthogonal": lambda x: x @ ortho_group.rvs(x.shape[1], random_state=rng),
            "translation": lambda x: x + 10 * rng.normal(size=x.shape[1]),
            "scale": lambda x: 0.037 * x,
        }[invariance](x)
        yield [*arrays[:i], changed, *arrays[i + 1 :]], extra


def largest_change(record, invariance, draws):
    change = 0.0
    for seed in range(draws):
        arrays, extra = draw(record, seed)
        value = record.compute(*arrays, **extra)
        for other_arrays, other_extra in transformed(invariance, arrays, extra, seed):
            change = max(change, abs(record.compute(*other_arrays, **other_extra) - value))
        if change > TOLERANCE and invariance not in record.invariances:
            break
    return change


def marks(record):
    return [pytest.mark.slow] if record.id in LEARNED else []


RECORDS = [pytest.param(r, id=r.id, marks=marks(r)) for r in METRICS.values()]
CASES = [pytest.param(r, i, id=f"{r.id}-{i}", marks=marks(r)) for r in METRICS.values() for i in INVARIANCES]


@pytest.mark.parametrize(("record", "invariance"), CASES)
def test_invariance_is_as_declared(record, invariance):
    if invariance in record.invariances:
        assert largest_change(record, invariance, 1 if record.id in LEARNED else DRAWS) < TOLERANCE
    else:
        assert largest_change(record, invariance, 20) > 1e-6


@pytest.mark.parametrize("record", [r for r in METRICS.values() if r.inputs == "pair"], ids=lambda r: r.id)
def test_symmetry_is_as_declared(record):
    changes = []
    for seed in range(DRAWS):
        (a, b), _ = draw(record, seed)
        changes.append(abs(record.compute(a, b) - record.compute(b, a)))
    assert (max(changes) < TOLERANCE) == record.symmetric
    assert not (record.symmetric and record.directed)


@pytest.mark.parametrize("record", RECORDS)
def test_values_lie_in_the_declared_range(record):
    lowest, highest = (np.inf if bound is None else bound for bound in record.range)
    lowest = -np.inf if record.range[0] is None else lowest
    for seed in range(1 if record.id in LEARNED else DRAWS):
        arrays, extra = draw(record, seed)
        assert lowest <= record.compute(*arrays, **extra) <= highest


@pytest.mark.parametrize("record", METRICS.values(), ids=lambda r: r.id)
def test_a_record_explains_itself(record):
    assert re.fullmatch(r"(arXiv:\d{4}\.\d{5}|doi:10\.\S+)", record.source)
    assert record.reading.endswith(".")
    assert record.title and record.null
    assert METRICS[record.id] is record


@pytest.mark.parametrize("record", [r for r in METRICS.values() if r.inputs == "pair"], ids=lambda r: r.id)
def test_larger_is_better_where_the_record_says_so(record):
    (a, b), _ = draw(record, 0)
    noise = np.random.default_rng(9).normal(size=b.shape)
    related, unrelated = record.compute(a, b), record.compute(a, noise)
    if record.better != "neither":
        assert (related > unrelated) == (record.better == "higher")


def test_everything_that_is_exported_exists_and_is_documented():
    for name in metrics.__all__:
        assert getattr(metrics, name).__doc__
