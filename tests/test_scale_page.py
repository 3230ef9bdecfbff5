"""The page of costs says what follows from the numbers that it is given."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.scale_estimate.page import page  # noqa: E402

REPORT: dict[str, Any] = {
    "suite": "toy@1",
    "models": 5,
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
    "steps": {"prepare": {"seconds": 305.1, "cpu_seconds": 211.2, "peak_memory_mb": 900.0}},
}


def row(text: str, first: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_costs_of_sixty_models_follow_from_those_of_a_model_and_of_a_pair() -> None:
    text = page(REPORT, STRUCTURES)
    assert row(text, "prepare") == ["prepare", "305", "211", "900"]
    # 1800 s over 5 models: 0.1 h each; 36 s over 10 pairs: 0.001 h each
    assert row(text, "60 models") == ["60 models", "0.100 each", "6.0", "0.4"]
    assert row(text, "1,770 pairs") == ["1,770 pairs", "0.0010 each", "1.8", "0.1"]
    assert row(text, "together")[2] == "7.8"


def test_hours_of_gpus_follow_from_published_throughputs_with_their_sources() -> None:
    cells = row(page(REPORT, STRUCTURES), "Orb v3 direct, A100")
    # 60 models, 2 data sets of 50,000 structures of 30 atoms, 24,000 atoms a second
    assert float(cells[2]) == round(60 * 2 * 50_000 * 30 / 24_000 / 3600, 1)
    assert float(cells[4]) == round(20 * 60 * 2 * 50_000 * 30 / 24_000 / 3600, 1)
    assert re.search(r"\[source\]\(https://", cells[6])
