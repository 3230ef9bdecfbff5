"""docs/task_alignment.md from what was measured; sentences with numbers are made from the records."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.files import write_text
from probe_networks.alignment import LAYERS, PROBED, TRAINED_ON, Plan

NAMES = {"schnet": "SchNet", "dimenetpp": "DimeNet++", "visnet": "ViSNet", "painn": "PaiNN"}
LABELS = {"gap": "gap", "energy_per_atom": "energy"}
Records = Sequence[Mapping[str, Any]]

HEAD = """\
# Task alignment: what a network was trained on is what lies open in it

Steier ([arXiv:2603.03155v2](https://arxiv.org/abs/2603.03155v2)) finds that the label that a network was trained on
decides how much geometry a linear probe reads from it, more than the architecture does: PaiNN on QM9 falls from 0.53 to
0.31 in the gap's R^2 after projection when it is trained on the energy in place of the gap, MACE from 0.44 to 0.08.
This page repeats the experiment on the embedded data set `molecules-mini`, with the networks of `submissions/pyg`:

    scripts/measure_task_alignment --out docs/task_alignment.md{options}

"""

HOW = """\
## How it was measured

- The same architecture, initial weights, training molecules and order of batches, trained on the gap, on the energy, or
  not at all. Readout (mean over atoms) and preparation (a constant of each element fitted by least squares, then the
  spread of what is left) are the same for both labels; the energy is trained and given an atom.
- {trained_on} of the {total} molecules are trained on, of every formula the same share; the other {n} are held out. A
  seed fixes the weights, the batches and the molecules held out. {epochs} epochs, Adam, cosine decay from {rate:g},
  batches of {batch}; no early stopping and no choice by any error.
- Features are the layers `backbone` and `last_layer` of the adapter, as it gives them from the written checkpoint,
  mean over atoms. Probes see only the **molecules held out**: no probe number is from a molecule that the network was
  trained on. Their isomers were trained on, though: this is not a test on new formulas.
- `r2_partial` by `benchmark.metrics.probes.cpd_many`: composition (element fractions, with an intercept) projected out
  of features and label inside each of five training folds, folds grouped by formula; the share of what composition
  leaves of the label that the rest of the features predicts. `r2_geometry`, the number of the paper, holds the same
  predictions against the whole label.
- An untrained network of the same shape is the control: what it gives, training did not put there.
"""

LIMITS = """\
## What it shows, and what it does not

It shows what happens to small networks trained on several hundred molecules. It does not show

- the size of the effect in the paper: data, labels (B3LYP/def2-SVP at GFN2-xTB geometries), network sizes and probes
  differ, and R^2 of different data sets do not compare;
- anything about foundation models trained on many structures and forces: these networks saw one label and no force;
- that information is absent where a linear probe does not find it: it may be there in another form;
- how the result depends on the sizes of network and data, the length of training or the optimiser: one choice of each.

The spread over seeds holds different initial weights and different held-out molecules at once. With so few seeds it is
a spread, not an interval.
"""


def write_report(records: Records, plan: Plan, options: str, path: Path) -> None:
    """Write the page to `path`. options: of the command line that made it, as text."""
    task, first = records[0]["task"], records[0]
    n = first["probes"][LAYERS[0]][PROBED[0]]["n"]
    facts = {
        "trained_on": first["trained_on_molecules"],
        "total": first["trained_on_molecules"] + n,
        "n": n,
        "epochs": plan.epochs,
        "rate": task["rate"],
        "batch": task["batch"],
    }
    parts = [HEAD.format(options=options), "## Result\n"]
    for probed in PROBED:
        parts.append(f"\nReading the **{LABELS[probed]}** of molecules held out: r2_partial{legend(plan)}.\n\n")
        parts.append(table(records, plan, probed))
    parts += ["\n", *findings(records, plan), "\n", geometry(records, plan), "\n", errors(records, plan), "\n"]
    write_text(path, "".join([*parts, HOW.format(**facts), "\n", LIMITS]))


def legend(plan: Plan) -> str:
    """What the cells of the tables are."""
    return f", mean over {len(plan.seeds)} seeds, smallest and largest in brackets" if len(plan.seeds) > 1 else ""


def scores(
    records: Records, architecture: str, trained_on: str, layer: str, probed: str, score: str = "r2_partial"
) -> list[float]:
    """A score of every seed, in the order of the seeds."""
    return [
        record["probes"][layer][probed][score]
        for record in records
        if record["task"]["architecture"] == architecture and record["trained_on"] == trained_on
    ]


def cell(values: Sequence[float], digits: int = 2) -> str:
    """Mean, smallest and largest."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(records: Records, plan: Plan, probed: str) -> str:
    """r2_partial of a label by architecture, layer and what was trained on."""
    rows = ["| network | layer | trained on the gap | trained on the energy | untrained |", "|---|---|---|---|---|"]
    for architecture in plan.architectures:
        for layer in LAYERS:
            cells = [cell(scores(records, architecture, trained, layer, probed)) for trained in TRAINED_ON]
            rows.append(f"| {NAMES[architecture]} | `{layer}` | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def findings(records: Records, plan: Plan) -> list[str]:
    """One sentence an architecture, label and layer: the network trained on it against the other and the untrained."""
    lines = []
    for architecture in plan.architectures:
        for own, other, probed in (("gap", "energy", "gap"), ("energy", "gap", "energy_per_atom")):
            for layer in LAYERS:
                aligned, misaligned, untrained = (
                    scores(records, architecture, trained, layer, probed) for trained in (own, other, "nothing")
                )
                ahead = sum(a > b for a, b in zip(aligned, misaligned, strict=True))
                above = sum(b > c for b, c in zip(misaligned, untrained, strict=True))
                difference = statistics.fmean(aligned) - statistics.fmean(misaligned)
                what, seeds = f"{NAMES[architecture]}, {LABELS[probed]} from `{layer}`", len(aligned)
                lines += [
                    f"- {what}: trained on it {difference:+.2f} against\n",
                    f"  trained on the {other}, ahead in {ahead} of {seeds} seeds; trained on the {other} it is\n",
                    f"  above the untrained network in {above} of {seeds}.\n",
                ]
    return lines


def geometry(records: Records, plan: Plan) -> str:
    """The paper's own number for the gap."""
    shown = "; ".join(
        f"{NAMES[architecture]} "
        + ", ".join(
            f"{cell(scores(records, architecture, trained, 'backbone', 'gap', 'r2_geometry'))} trained on {trained}"
            for trained in TRAINED_ON
        )
        for architecture in plan.architectures
    )
    return f"The paper's own number, r2_geometry of the gap from `backbone`: {shown}.\n"


def errors(records: Records, plan: Plan) -> str:
    """How good the networks are at their own label."""
    rows = [
        "How good the networks are at their own label, on the molecules held out (R^2: of what the constants of the"
        "\nelements leave):\n",
        "| network | trained on | mean absolute error | R^2 | R^2 on the molecules trained on |",
        "|---|---|---|---|---|",
    ]
    for architecture in plan.architectures:
        for trained, unit in (("gap", "eV"), ("energy", "eV/atom")):
            chosen = [
                record
                for record in records
                if record["task"]["architecture"] == architecture and record["trained_on"] == trained
            ]
            held_out = cell([record["held_out"]["mean_absolute_error"] for record in chosen], 3)
            r2, own = (
                cell([record[part]["r2_beyond_elements"] for record in chosen]) for part in ("held_out", "train")
            )
            rows.append(f"| {NAMES[architecture]} | {trained} | {held_out} {unit} | {r2} | {own} |")
    return "\n".join(rows) + "\n"
