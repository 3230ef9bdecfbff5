"""The page of costs says what follows from the numbers that it is given."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.scale_estimate.page import page, read_run  # noqa: E402

REPORT: dict[str, Any] = {
    "suite": "toy@1",
    "state": "done",
    "failures": [],
    "datasets": {"large": 50_000, "small": 700},
    "embedding": [
        {"model": name, "dataset": dataset, "features": 64, "wall_seconds": seconds, "peak_memory_mb": 512.0}
        for name in "abcde"
        for dataset, seconds in (("large", 250.0), ("small", 3.0))
    ],
    "seconds": 600.0,
    "executor": "1 jobs on this machine",
    "machine": "a machine",
    "peak_memory_mb": 1234.0,
    "stages": [
        {"stage": name, "tasks": 5, "wall_seconds": wall, "core_seconds": core, "products_found": found}
        for name, wall, core, found in (
            ("Embedding", 260.0, 20.0, 0),
            ("Laying out", 7.0, 6.0, 0),
            ("Comparing", 99.0, 30.0, 0),
            ("Scoring", 2400.0, 3000.0, 12),
        )
    ],
    "kinds": [
        {"kind": "ScoreTask", "tasks": 5, "units": 5, "seconds": 900.0},
        {"kind": "PairTask", "tasks": 8, "units": 20, "seconds": 1200.0},
    ],
    "slowest": [{"seconds": 300.0, "stage": "Scoring", "task": "a"}],
}
STRUCTURES: dict[str, Any] = {
    "structures": 1_000_000,
    "prepared": 999_970,
    "limit": 5000,
    "machine": "a machine",
    "source_mb": 500.0,
    "store_mb": 100.0,
    "peak_memory_mb": 900.0,
    "steps": {"prepare": {"seconds": 305.1, "cpu_seconds": 211.2, "load": 1.04, "peak_memory_mb": 900.0}},
}


def row(text: str, first: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_costs_of_sixty_models_follow_from_those_of_a_model_and_of_a_pair() -> None:
    text = page(REPORT, STRUCTURES)
    assert "30 that repeat others left out" in " ".join(text.split())
    assert row(text, "prepare") == ["prepare", "305", "211", "1.0", "900"]
    # 3000 s less 1200 s of pairs for 5 models are 6 h for 60, and at most 12 h with a second large data set
    assert row(text, "scores of each model")[1:] == ["6.0", "12.0", "0.4", "0.8"]
    # 1200 s of 10 pairs are 59 h for 1770, and 118 h on two large data sets
    assert row(text, "similarities of each pair")[1:3] == ["118.0", "118.0"]
    # a pass of 36 s is 0.24 h at twelve times and 3.54 h at 177 times, each over two data sets
    assert row(text, "pass over all structures")[1:3] == ["0.2", "3.5"]
    assert row(text, "together")[1:3] == ["124.2", "133.5"]
    assert "96 to 1,416 core hours" in text


def test_each_model_is_shown_with_what_it_took_of_the_large_data_set() -> None:
    assert row(page(REPORT, STRUCTURES), "a |") == ["a", "64", "250", "200", "512"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Results of a run that ended."""
    results = tmp_path / "results"
    folder = results / "toy@1"
    (folder / "datasets").mkdir(parents=True)
    (results / "tables").mkdir()
    for name, count in REPORT["datasets"].items():
        (folder / "datasets" / f"{name}.yaml").write_text(f"id: {name}\nstructures: {count}\n")
    costs = pd.DataFrame(REPORT["embedding"]).assign(suite="toy", suite_version=1, device="cpu", hardware="a machine")
    layers = costs.rename(columns={"features": "dimension"})[
        ["suite", "suite_version", "model", "dataset", "dimension"]
    ]
    costs = costs.drop(columns="features")
    others = costs.assign(suite_version=2, wall_seconds=1.0)
    pd.concat([costs, others]).to_csv(results / "tables" / "costs.csv", index=False)
    (folder / "suite.yaml").write_text("id: toy\nversion: 1\nlayer: backbone\n")
    layers = pd.concat([layers.assign(layer="backbone"), layers.assign(layer="input", dimension=3)])
    layers.to_csv(results / "tables" / "layers.csv", index=False)
    (folder / "report.json").write_text(json.dumps(REPORT))
    return results


def test_a_run_is_read_from_its_results_and_only_if_it_ended(run: Path) -> None:
    report = run / "toy@1" / "report.json"
    assert read_run(run, "toy@1") == REPORT
    report.write_text(json.dumps(REPORT | {"state": "interrupted"}))
    with pytest.raises(ValueError, match="no finished run of toy@1"):
        read_run(run, "toy@1")
    report.write_text(json.dumps(REPORT | {"failures": [{"stage": "Scoring", "task": "a"}]}))
    with pytest.raises(ValueError, match="1 tasks of toy@1 failed"):
        read_run(run, "toy@1")


@pytest.mark.parametrize(("stage", "field", "value"), [(0, "wall_seconds", 9.0), (1, "products_found", 2)])
def test_a_run_that_resumed_another_is_refused(run: Path, stage: int, field: str, value: float) -> None:
    stages = [dict(each) for each in REPORT["stages"]]
    stages[stage][field] = value
    (run / "toy@1" / "report.json").write_text(json.dumps(REPORT | {"stages": stages}))
    with pytest.raises(ValueError, match="toy@1 resumed an earlier one"):
        read_run(run, "toy@1")


def test_hours_of_gpus_follow_from_published_throughputs_with_their_sources() -> None:
    cells = row(page(REPORT, STRUCTURES), "Orb v3 direct, A100")
    # 60 models, 2 data sets of 50,000 structures of 30 atoms, 24,000 atoms a second
    assert float(cells[2]) == round(60 * 2 * 50_000 * 30 / 24_000 / 3600, 1)
    assert float(cells[4]) == round(20 * 60 * 2 * 50_000 * 30 / 24_000 / 3600, 1)
    assert re.search(r"\[source\]\(https://", cells[6])
