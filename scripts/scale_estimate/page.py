"""The page: what was measured, what others published, and what follows for sixty models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

THROUGHPUTS = Path(__file__).with_name("gpu_throughputs.yaml")
MODELS = 60
ATOMS = 30  # a structure, assumed
CORES = 16  # beside each GPU
DATASETS = 2


def page(report: Mapping[str, Any], structures: Mapping[str, Any]) -> str:
    """docs/scale.md from the report of a run with 50,000 structures and the steps of the million."""
    parts = [
        "# What the papers' scale costs",
        "Written by `scripts/write_scale`; not edited by hand. Nothing here was measured on a GPU: what is said of "
        "GPUs follows from published throughputs, and of scoring from the cores of the machine named below. What "
        "models take on a CPU is in [embedding_performance.md](embedding_performance.md).",
        "## A million structures",
        _million(structures),
        "## 50,000 molecules, the whole score",
        _suite(report),
        f"## {MODELS} models",
        _embedding(),
        _scoring(report),
    ]
    return "\n\n".join(parts) + "\n"


def _million(found: Mapping[str, Any]) -> str:
    rows = [
        [name, f"{step['seconds']:,.0f}", f"{step['cpu_seconds']:,.0f}", f"{step['peak_memory_mb']:,.0f}"]
        for name, step in found["steps"].items()
    ]
    return "\n\n".join(
        [
            f"{found['structures']:,} synthetic crystals of 1 to 3 atoms ({found['source_mb']:,.0f} MB of `.aselmdb`, "
            f"{found['store_mb']:,.0f} MB once prepared), embedded by the composition control, and "
            f"{found['limit']:,} of them drawn, embedded by two controls and scored "
            f"(`scripts/measure_scale_structures`; {found['machine']}, one process at a time). Memory is that of all "
            f"processes of a step together, {found['peak_memory_mb']:,.0f} MB at most.",
            _table(["step", "wall s", "core s", "memory MB"], rows),
        ]
    )


def _suite(report: Mapping[str, Any]) -> str:
    rows = [
        [
            stage["stage"],
            f"{stage['finished']} of {stage['tasks']}",
            f"{stage['wall_seconds']:,.0f}",
            f"{stage['core_seconds']:,.0f}",
        ]
        for stage in report["stages"]
    ]
    slowest = [f"- {each['seconds']:,.0f} s: {each['stage']}: {each['task']}" for each in report["slowest"][:5]]
    return "\n\n".join(
        [
            f"Suite `{report['suite']}`: {report['models']} models, controls included, on 50,000 molecules of QM9 and "
            f"3,785 perovskites, in {report['seconds'] / 60:,.0f} minutes ({report['executor']}; {report['machine']}; "
            f"at most {report['peak_memory_mb']:,.0f} MB in one process of the benchmark). Core seconds are those of "
            "the benchmark's own processes, not of models in their sandbox.",
            _table(["stage", "tasks", "wall s", "core s"], rows),
            "\n".join(["Slowest tasks:", "", *slowest]),
        ]
    )


def _embedding() -> str:
    rows = []
    for entry in yaml.safe_load(THROUGHPUTS.read_text()):
        row = [f"{entry['model']}, {entry['gpu']}", f"{entry['atoms_per_second']:,}"]
        for count in (50_000, 1_000_000):
            hours = MODELS * DATASETS * count * ATOMS / entry["atoms_per_second"] / 3600
            row += [f"{hours:,.1f}", f"{hours / 8:,.1f}"]
        rows.append([*row, f"{entry['conditions']} ([source]({entry['source']}))"])
    head = ["were all models like", "atoms/s", "50,000: 1 GPU", "8 GPUs", "1,000,000: 1 GPU", "8 GPUs", "published for"]
    return "\n\n".join(
        [
            f"Embedding {DATASETS} data sets of so many structures, assumed to have {ATOMS} atoms on average, in "
            "hours. A model embeds without forces and in larger batches than most of these were measured with, so "
            "these are rather too long; starts, checks and audits of about a minute a model and data set come on top.",
            _table(head, rows),
        ]
    )


def _scoring(report: Mapping[str, Any]) -> str:
    seconds = {stage["stage"]: stage["core_seconds"] for stage in report["stages"]}
    pairs = report["models"] * (report["models"] - 1) / 2
    model = seconds["Scoring"] / report["models"] / 3600
    pair = (seconds["Comparing"] + seconds.get("Laying out", 0.0)) / pairs / 3600
    wanted = MODELS * (MODELS - 1) // 2
    total = MODELS * model + wanted * pair
    rows = [
        [f"{MODELS} models", f"{model:.3f} each", f"{MODELS * model:,.1f}", f"{MODELS * model / CORES:,.1f}"],
        [f"{wanted:,} pairs", f"{pair:.4f} each", f"{wanted * pair:,.1f}", f"{wanted * pair / CORES:,.1f}"],
        ["together", "", f"{total:,.1f}", f"{total / CORES:,.1f}"],
    ]
    return "\n\n".join(
        [
            f"Scoring at 50,000 structures, in core hours as measured above, divided over {CORES} cores beside one GPU "
            f"(with eight GPUs and {8 * CORES} cores an eighth of it). Pairs are counted as if no two shared any work, "
            "which they do: the metric pass finds the distances of each model once.",
            _table(["", "core hours", "in all", f"hours on {CORES} cores"], rows),
            "A data set of 1,000,000 structures is embedded whole and scored on draws: suites fix their size, and what "
            "compares all structures with each other grows with its square (400 times from 50,000 to 1,000,000: "
            f"{400 * total:,.0f} core hours).",
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
