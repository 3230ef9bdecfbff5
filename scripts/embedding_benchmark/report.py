"""The page of the embedding benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .runs import Measured, Plan

SLOW = 3.0  # a batched embedding below so many times the loop has to be explained
SETS = ("molecules", "crystals")


def write_report(
    measured: Mapping[str, Measured],
    missing: Mapping[str, str],
    explanations: Mapping[str, str],
    adapters: Mapping[str, str],
    plan: Plan,
    out: Path,
) -> None:
    """Write the page.

    missing: family -> why it was not measured. explanations: model -> why it is slow. adapters: family -> tree
    hash of its adapter as it is now, to tell what was measured with an earlier one.
    """
    rows = sorted(measured.values(), key=lambda each: (each.family, each.model))
    sections = [_head(rows), _table(rows, adapters, plan), _share_table(rows), _slow(rows, explanations)]
    sections += [_missing(rows, missing), _how(plan)]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n\n".join(section.strip() for section in sections if section) + "\n")


def rate(found: Mapping[str, Any]) -> float | None:
    """Structures a second of the batched embedding: median of the passes after the first."""
    if not found.get("structures") or not found.get("seconds"):
        return None
    return float(found["structures"] / statistics.median(found["seconds"]))


def loop_rate(found: Mapping[str, Any]) -> float | None:
    """Structures a second of the loop over single structures."""
    loop = found.get("loop") or {}
    return loop["structures"] / loop["seconds"] if loop.get("seconds") else None


def ratio(found: Mapping[str, Any]) -> float | None:
    """Batched over loop."""
    batched, single = rate(found), loop_rate(found)
    return batched / single if batched and single else None


def share(found: Mapping[str, Any]) -> float | None:
    """Part of the worker's time inside the network; None for a model without one."""
    if not found.get("network") or not found.get("watched_seconds"):
        return None
    return float(found["forward_seconds"] / found["watched_seconds"])


def _head(rows: Sequence[Measured]) -> str:
    machines = sorted({each.machine for each in rows})
    lines = [
        "# Performance of the embedding",
        "",
        "Written by `scripts/benchmark_embedding`; not edited by hand. Structures a second of the batched embedding of",
        "each family through the worker, beside a loop over single structures through the package's own calculator.",
        "",
        *(f"- Machine: {machine}" for machine in machines),
    ]
    if any(each.busy for each in rows):
        lines += ["", "Rows marked busy were measured while the machine had other work; their times are too long."]
    return "\n".join(lines)


def _table(rows: Sequence[Measured], adapters: Mapping[str, str], plan: Plan) -> str:
    head = ["family", "model", "weights", "molecules/s", "loop", "times", "crystals/s", "loop", "times", "measured"]
    cells = []
    for each in rows:
        if each.failure is not None:
            continue
        numbers = []
        for name in SETS:
            found = each.sets[name]
            kept = "" if found["structures"] == plan.structures else f" ({found['structures']} of {plan.structures})"
            numbers += [_number(rate(found)) + kept, _loop(found), _number(ratio(found))]
        notes = [each.date, each.device]
        notes += ["busy"] if each.busy else []
        notes += ["earlier adapter"] if adapters.get(each.family, each.adapter) != each.adapter else []
        notes += [f"{name} {version}" for name, version in each.packages.items()]
        cells.append([each.family, each.model, each.weights, *numbers, ", ".join(notes)])
    note = "A loop marked * is through the worker, one structure a batch: the adapter has no calculator of the package."
    return f"## Structures a second\n\n{markdown_table(head, cells)}\n\n{note}"


def _loop(found: Mapping[str, Any]) -> str:
    mark = "*" if (found.get("loop") or {}).get("what") == "worker" else ""
    return _number(loop_rate(found)) + mark


def _share_table(rows: Sequence[Measured]) -> str:
    cells = []
    for each in rows:
        if each.failure is not None:
            continue
        network = sorted({kind for name in SETS for kind in each.sets[name].get("network", [])})
        shares = [share(each.sets[name]) for name in SETS]
        shown = ["-" if value is None else f"{value:.0%}" for value in shares]
        cells.append([each.model, " and ".join(network) or "none", *shown])
    head = ["model", "network", "molecules", "crystals"]
    return f"""## Share of the worker's time inside the network

{markdown_table(head, cells)}"""


def _slow(rows: Sequence[Measured], explanations: Mapping[str, str]) -> str:
    lines = []
    for each in rows:
        slow = [name for name in SETS if each.failure is None and (ratio(each.sets[name]) or SLOW) < SLOW]
        if slow:
            lines.append(f"- {each.model} ({' and '.join(slow)}): {explanations.get(each.model, 'not explained yet')}")
    return f"## Below {SLOW:g} times the loop\n\n" + "\n".join(lines) if lines else ""


def _missing(rows: Sequence[Measured], missing: Mapping[str, str]) -> str:
    lines = [f"- {family}: {' '.join(reason.split())}" for family, reason in sorted(missing.items())]
    lines += [f"- {each.family} ({each.model}): {each.failure}" for each in rows if each.failure is not None]
    return "## Not measured\n\n" + "\n".join(lines) if lines else ""


def _how(plan: Plan) -> str:
    return f"""## How it was measured

One process a model, in the model's own environment, with all cores, one model at a time; {plan.structures} structures
of molecules-mini and {plan.structures} of crystals-mini, drawn with a fixed seed, in the batches of a run. Loading the
model and a first pass, which compiles and warms up, do not count; then the median of {plan.repeats} passes. A pass is
an embed step of the worker: making the structures, the adapter, checking the features and writing them.

The loop goes through the adapter's `reference_energies`, which calls the package's calculator structure by structure;
whether that computes forces too is the package's business. It covers as many structures, evenly spread over the set,
as fit into {plan.loop_limit:.0f} s, and is repeated where that is quick; a calculator that compiles anew for every
shape of its input pays for that in the loop, as it does for its users. Where fewer structures are named, the model
does not know an element of the others.

The share is measured in a pass of its own: time inside the outermost call of an `nn.Module` (hooks on all modules, and
the methods of the modules that the adapter holds) or of a function compiled by `jax.jit` (until its result is there),
over the whole pass."""


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
