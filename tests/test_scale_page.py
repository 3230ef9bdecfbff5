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
        {"model": name, "dataset": dataset, "wall_seconds": seconds, "peak_memory_mb": 512.0}
        for name in "abcde"
        for dataset, seconds in (("large", 250.0), ("small", 3.0))
    ],
    "seconds": 600.0,
    "executor": "1 jobs on this machine",
    "machine": "a machine",
    "peak_memory_mb": 1234.0,
    "stages": [
        {"stage": "Laying out", "tasks": 1, "finished": 1, "wall_seconds": 7.0, "core_seconds": 6.0},
        {"stage": "Comparing", "tasks": 3, "finished": 3, "wall_seconds": 99.0, "core_seconds": 30.0},
        {"stage": "Scoring", "tasks": 5, "finished": 5, "wall_seconds": 400.0, "core_seconds": 1800.0},
    ],
    "slowest": [{"seconds": 300.0, "stage": "Scoring", "task": "a"}],
}
STRUCTURES: dict[str, Any] = {
    "structures": 1_000_000,
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
    assert row(text, "prepare") == ["prepare", "305", "211", "1.0", "900"]
    # 1800 s of 5 models are 6 h of 60; a pass of 36 s is 0.12 h at twelve times and 1.77 h at 177 times
    assert row(text, "scores of 60 models") == ["scores of 60 models", "6.0", "0.4"]
    assert row(text, "pass over 60 models, at least")[1:] == ["0.1", "0.0"]
    assert row(text, "pass over 60 models, at most")[1:] == ["1.8", "0.1"]
    assert row(text, "together")[1] == "7.8"
    assert "48 to 708 core hours" in text


def test_each_model_is_shown_with_what_it_took_of_the_large_data_set() -> None:
    assert row(page(REPORT, STRUCTURES), "a |") == ["a", "250", "200", "512"]


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
    others = costs.assign(suite_version=2, wall_seconds=1.0)
    pd.concat([costs, others]).to_csv(results / "tables" / "costs.csv", index=False)
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


def test_a_note_on_the_run_stands_beside_its_times(run: Path) -> None:
    text = page(read_run(run, "toy@1", note="It ran at night."), STRUCTURES)
    assert "own processes. It ran at night.\n" in text
    assert "own processes.\n" in page(REPORT, STRUCTURES)


def test_what_interrupted_runs_had_done_is_added(run: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.json"
    stages = [{"stage": "Comparing", "tasks": 4, "finished": 1, "wall_seconds": 1.0, "core_seconds": 10.0}]
    slow = [{"seconds": 400.0, "stage": "Comparing", "task": "b"}]
    before = REPORT | {"state": "interrupted", "seconds": 100.0, "stages": stages, "slowest": slow, "lost_attempts": 2}
    earlier.write_text(json.dumps(before))
    found = read_run(run, "toy@1", [earlier])
    assert found["seconds"] == 700.0
    found["stages"].sort(key=lambda stage: stage["stage"])
    assert [(stage["stage"], stage["tasks"]) for stage in found["stages"]] == [
        ("Comparing", 4),
        ("Laying out", 1),
        ("Scoring", 5),
    ]
    # 30 s and 10 s of finished tasks, and two that had run for the 99 s that are no stage's
    assert found["stages"][0]["core_seconds"] == 40.0 + 2 * 99.0
    assert found["stages"][0]["wall_seconds"] == 99.0 + 100.0
    assert [each["task"] for each in found["slowest"]] == ["b", "a"]
    earlier.write_text(json.dumps(before | {"suite": "another@1"}))
    with pytest.raises(ValueError, match=r"earlier\.json: expected .* of toy@1, found one of another@1"):
        read_run(run, "toy@1", [earlier])


def test_what_embedding_took_is_read_from_features_that_were_made_apart(run: Path, tmp_path: Path) -> None:
    for place in REPORT["embedding"]:
        folder = tmp_path / "work" / "features" / f"{place['model']}-{place['dataset']}"
        folder.mkdir(parents=True)
        made = {"wall_seconds": 1.0, "peak_memory_mb": 2.0, "device": "cpu"}
        sidecar = {"model": place["model"], "dataset": place["dataset"], "provenance": made}
        (folder / "features.json").write_text(json.dumps(sidecar))
    found = read_run(run, "toy@1", work=tmp_path / "work")["embedding"]
    assert found[0] == {"model": "a", "dataset": "large", "wall_seconds": 1.0, "peak_memory_mb": 2.0}
    assert len(found) == len(REPORT["embedding"])
    (tmp_path / "work" / "features" / "a-small" / "features.json").unlink()
    with pytest.raises(ValueError, match="expected features of a on small, found none"):
        read_run(run, "toy@1", work=tmp_path / "work")


def test_hours_of_gpus_follow_from_published_throughputs_with_their_sources() -> None:
    cells = row(page(REPORT, STRUCTURES), "Orb v3 direct, A100")
    # 60 models, 2 data sets of 50,000 structures of 30 atoms, 24,000 atoms a second
    assert float(cells[2]) == round(60 * 2 * 50_000 * 30 / 24_000 / 3600, 1)
    assert float(cells[4]) == round(20 * 60 * 2 * 50_000 * 30 / 24_000 / 3600, 1)
    assert re.search(r"\[source\]\(https://", cells[6])
