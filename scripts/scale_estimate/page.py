"""The page: what was measured, what others published, and what follows for sixty models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

THROUGHPUTS = Path(__file__).with_name("gpu_throughputs.yaml")
MODELS = 60
ATOMS = 30  # a structure, assumed
CORES = 16  # beside each GPU
DATASETS = 2
DIMENSION = 256  # features an atom, assumed; float32

COSTS = ("wall_seconds", "peak_memory_mb")
PLACE = ["suite", "suite_version", "model", "dataset"]
FIRST = ("Laying out", "Comparing")
KEPT = ("suite", "state", "seconds", "executor", "machine", "peak_memory_mb", "stages", "kinds", "failures", "slowest")


def read_run(results: Path, suite: str) -> dict[str, Any]:
    """What the page needs of a run: its report, the sizes of its data sets, and what its models took to embed them.

    OSError, ValueError, KeyError: `results` is not the folder of a finished run of `suite`, or the run went on with
    what an earlier one had left, whose times are missing.
    """
    report = json.loads((results / suite / "report.json").read_text())
    cards = [yaml.safe_load(path.read_text()) for path in sorted((results / suite / "datasets").glob("*.yaml"))]
    costs = pd.read_csv(results / "tables" / "costs.csv")
    ours = costs[(costs["suite"] + "@" + costs["suite_version"].astype(str)) == suite]
    layers = pd.read_csv(results / "tables" / "layers.csv").rename(columns={"dimension": "features"})
    scored = layers["layer"] == yaml.safe_load((results / suite / "suite.yaml").read_text())["layer"]
    ours = ours.merge(layers.loc[scored, [*PLACE, "features"]], on=PLACE)
    if report["state"] != "done" or ours.empty:
        raise ValueError(f"{results}: no finished run of {suite}")
    if report["failures"]:
        raise ValueError(
            f"{results}: {len(report['failures'])} tasks of {suite} failed, so its times are not a score's"
        )
    stages = {stage["stage"]: stage for stage in report["stages"]}
    # Nothing is made before these stages that they could find.
    found = sum(stages[name]["products_found"] for name in FIRST if name in stages)
    if found or stages["Embedding"]["wall_seconds"] < ours["wall_seconds"].max():
        raise ValueError(f"{results}: the run of {suite} resumed an earlier one; it takes one in an empty work folder")
    return {name: report[name] for name in KEPT} | {
        "datasets": {card["id"]: card["structures"] for card in cards},
        "embedding": json.loads(ours[["model", "dataset", "features", *COSTS]].to_json(orient="records")),
    }


def page(report: Mapping[str, Any], structures: Mapping[str, Any]) -> str:
    """docs/scale.md from the report of a run with 50,000 structures and the steps of the million."""
    parts = [
        "# What the papers' scale costs",
        "Written by `scripts/write_scale`; not edited by hand. Nothing here was measured on a GPU: what is said of "
        "GPUs follows from published throughputs, and of scoring from the cores of the machine named below. What "
        "models take on a CPU is in [embedding_performance.md](embedding_performance.md).",
        "## A million structures",
        _million(structures),
        "## 50,000 structures, the whole score",
        _suite(report),
        f"## {MODELS} models",
        _embedding(),
        _scoring(report),
    ]
    return "\n\n".join(parts) + "\n"


def _million(found: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            f"{step['seconds']:,.0f}",
            f"{step['cpu_seconds']:,.0f}",
            f"{step['load']:.1f}",
            f"{step['peak_memory_mb']:,.0f}",
        ]
        for name, step in found["steps"].items()
    ]
    repeated = found["structures"] - found["prepared"]
    return "\n\n".join(
        [
            f"{found['structures']:,} synthetic crystals of 1 to 3 atoms ({found['source_mb']:,.0f} MB of `.aselmdb`, "
            f"{found['store_mb']:,.0f} MB once prepared, {repeated:,} that repeat others left out), embedded by the "
            f"composition control, and {found['limit']:,} of them drawn, embedded by two controls and scored "
            f"(`scripts/measure_scale_structures`; {found['machine']}, one process at a time). Memory is that of all "
            f"processes of a step together, {found['peak_memory_mb']:,.0f} MB at most. Above a load of "
            "1 to 2 other work shared the machine, and core seconds say more than wall seconds.",
            _table(["step", "wall s", "core s", "load", "memory MB"], rows),
        ]
    )


def _suite(report: Mapping[str, Any]) -> str:
    rows = [
        [
            stage["stage"],
            f"{stage['tasks']}",
            f"{stage['wall_seconds']:,.0f}",
            f"{stage['core_seconds']:,.0f}",
        ]
        for stage in report["stages"]
    ]
    slowest = [f"- {each['seconds']:,.0f} s: {each['stage']}: {each['task']}" for each in report["slowest"][:5]]
    sizes = " and ".join(f"{count:,} structures of `{name}`" for name, count in report["datasets"].items())
    large = max(report["datasets"].values())
    embedded = [
        [
            each["model"],
            f"{each['features']:,}",
            f"{each['wall_seconds']:,.0f}",
            f"{large / each['wall_seconds']:,.0f}",
            f"{each['peak_memory_mb']:,.0f}",
        ]
        for each in report["embedding"]
        if report["datasets"][each["dataset"]] == large
    ]
    return "\n\n".join(
        [
            f"Suite `{report['suite']}`: {len(embedded)} models, controls included, on {sizes}. Embedding, from the "
            "start of the model's process to its end, checks and audit apart (features: columns of the layer that is "
            "scored):",
            _table(["model", "features", "wall s", "structures/s", "memory MB"], embedded),
            f"The whole run took {report['seconds'] / 60:,.0f} minutes ({report['executor']}; {report['machine']}; at "
            f"most {report['peak_memory_mb']:,.0f} MB in one process of the benchmark, mapped features included). Core "
            "seconds are those of the benchmark's own processes: models run in others.",
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
    compared = sum(kind["seconds"] for kind in report["kinds"] if kind["kind"] == "PairTask")
    models = len({each["model"] for each in report["embedding"]})
    pairs, wanted = models * (models - 1) // 2, MODELS * (MODELS - 1) // 2
    sizes = list(report["datasets"].values())
    more = DATASETS / sizes.count(max(sizes))
    scores = (seconds["Scoring"] - compared) / 3600 * MODELS / models
    similarities = compared / 3600 * more * wanted / pairs
    passes = (seconds["Comparing"] + seconds.get("Laying out", 0.0)) / 3600 * more
    least, most = passes * MODELS / models, passes * wanted / pairs
    rows = [
        [name, *(f"{hours:,.1f}" for hours in (low, high, low / CORES, high / CORES))]
        for name, low, high in (
            ("scores of each model", scores, scores * more),
            ("similarities of each pair", similarities, similarities),
            ("pass over all structures", least, most),
            ("together", scores + similarities + least, scores * more + similarities + most),
        )
    ]
    width = sum(each["features"] for each in report["embedding"]) / len(report["embedding"])
    disk = MODELS * DATASETS * 50_000 * ATOMS * DIMENSION * 4 / 1e9
    return "\n\n".join(
        [
            f"Scoring {MODELS} models on {DATASETS} data sets of 50,000 structures, in core hours from those above, "
            f"and divided over {CORES} cores beside one GPU; with eight GPUs and {8 * CORES} cores it takes an eighth. "
            f"Scores grow with the models ({models} above, of {width:,.0f} features on average), and at most with the "
            f"large data sets too ({sizes.count(max(sizes))} above). Similarities of pairs, "
            f"{compared / 3600:,.1f} hours of the scoring above, grow with the pairs ({pairs} above, {wanted:,} of "
            f"{MODELS}) and with the large data sets. The pass over all structures finds the distances of each "
            "model once and compares them pair by pair: it grows with the large data sets, and at least "
            "with the models, at most with their pairs.",
            _table(
                ["", "core hours, at least", "at most", f"hours on {CORES} cores, at least", "at most"],
                rows,
            ),
            "A data set of 1,000,000 structures is embedded whole and scored on draws: suites fix their size. What "
            "compares all structures with each other would grow with its square, 400 times from 50,000 to 1,000,000: "
            f"{400 * least:,.0f} to {400 * most:,.0f} core hours.",
            f"Features of {DIMENSION} numbers an atom take {disk:,.0f} GB for {MODELS} models and {DATASETS} data sets "
            f"of 50,000 structures, {20 * disk / 1000:,.1f} TB for those of 1,000,000.",
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
