"""The findings' statistics on boards whose answers are known."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from findings.board import Board, correlation_over_families, rank_correlation, read_board
from findings.convergence import accuracy_and_alignment, collapse_counts, kinds_of_pairs
from findings.reading import readability
from findings.spaces import fine_tuning, last_layers
from findings.verdicts import decide, summary, verdicts

MODELS = {"a-1": "a", "a-2": "a", "b-1": "b", "c-1": "c", "d-1": "d"}


def score(model: str, score: str, value: float, dataset: str | None = None, target: str | None = None) -> dict:
    return {
        "suite": "toy", "suite_version": 1, "model": model, "score": score, "dataset": dataset, "target": target,
        "value": value, "low": value - 0.1, "high": value + 0.1,
    }  # fmt: skip


def pair(metric: str, a: str, b: str, value: float) -> dict:
    return {
        "suite": "toy", "suite_version": 1, "metric": metric, "dataset": "inside", "a": a, "b": b, "value": value,
        "calibrated": value / 2,
    }  # fmt: skip


@pytest.fixture
def board() -> Board:
    """Five trained models, the smaller the error the nearer to the reference a-1; a random network; SOAP."""
    scores = [score(name, "energy_mae_corrected", 0.1 * i, "inside") for i, name in enumerate(MODELS)]
    scores += [score(name, "r2_partial", 0.9 - 0.1 * i, "inside", "gap") for i, name in enumerate(MODELS)]
    scores += [
        score("a-random", "r2_partial", 0.65, "inside", "gap"),
        score("soap", "r2_partial", 0.2, "inside", "gap"),
    ]
    scores += [score(name, "collapse_convergence", 0.3 - 0.15 * i) for i, name in enumerate(MODELS)]
    scores += [score("a-2", "fine_tuning_bias", 0.7, "inside"), score("a-2", "gfre_from_parent", 0.2, "inside")]
    pairs = [pair("cknna", "a-1", name, 0.9 - 0.1 * i) for i, name in enumerate(MODELS) if name != "a-1"]
    pairs += [pair("cknna", "a-random", name, 0.1) for name in MODELS]
    pairs += [pair("gfre", "a-1", "b-1", 0.5), pair("gfre_last_layer", "a-1", "b-1", 0.3)]
    suite = {
        "suite": "toy", "version": 1, "reference": "a-1", "in_distribution": "inside", "out_of_distribution": "inside",
        "probe_dataset": "inside", "further_datasets": None,
    }  # fmt: skip
    return Board(
        scores=pd.DataFrame(scores),
        pairs=pd.DataFrame(pairs),
        pooling=pd.DataFrame(columns=["model", "dataset", "layer", "pooling"]),
        suite=pd.Series(suite),
        structures={"inside": 10},
        control={"a-random": "random", "soap": "descriptor"},
        family={**MODELS, "a-random": "a", "soap": "soap"},
        parent={"a-2": "a-1"},
        symmetry=dict.fromkeys([*MODELS, "a-random", "soap"], "invariant"),
        failed={},
    )


def test_rank_correlation_is_spearmans_and_undefined_for_a_constant() -> None:
    assert rank_correlation([1, 2, 3, 4], [1, 10, 100, 1000]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)
    assert math.isnan(rank_correlation([1, 2, 3], [5, 5, 5]))


def test_an_interval_over_families_is_wide_where_models_repeat_their_family() -> None:
    random = np.random.default_rng(0)
    x = np.repeat(random.normal(size=4), 10)
    y = np.repeat(random.normal(size=4), 10)
    families = np.repeat(list("abcd"), 10)
    alone = [str(index) for index in range(40)]
    _, low, high = correlation_over_families(x, y, families)
    _, alone_low, alone_high = correlation_over_families(x, y, alone)
    assert high - low > 1.5 * (alone_high - alone_low)


def test_accuracy_and_alignment_that_go_together_correlate(board: Board) -> None:
    line = accuracy_and_alignment(board).splitlines()[2]
    assert line == "| inside | cknna | 4 | 4 | 1.00 (1.00 to 1.00) |"


def test_pairs_are_parted_by_family_and_training(board: Board) -> None:
    lines = {line.split(" | ")[1]: line for line in kinds_of_pairs(board).splitlines()[2:]}
    assert " | 1 | 0.40 (0.40 to 0.40) | - |" in lines["trained, one family"]
    assert " | 3 | 0.30 (0.28 to 0.32) | - |" in lines["trained, two families"]
    assert " | 5 | 0.05 (0.05 to 0.05) | - |" in lines["trained and random"]


def test_models_surely_on_one_side_of_zero_are_counted(board: Board) -> None:
    assert collapse_counts(board)["collapse_convergence"] == "2 of 5 trained models surely above 0, 2 surely below"


def test_the_best_control_stands_beside_the_best_and_the_worst_model(board: Board) -> None:
    line = readability(board).splitlines()[2]
    assert line == "| gap | 0.50 (d-1) | 0.90 (a-1) | 0.65 (0.65 to 0.65) | 0.65 (a-random) | 1 above, 0 below, of 5 |"


def test_children_and_last_layers_are_listed(board: Board) -> None:
    assert "| a-2 | a-1 | inside | 0.70 (0.60 to 0.80) | 0.20 | - | - |" in fine_tuning(board)
    assert "| inside | two families | 0.50 (0.50 to 0.50) | 0.30 (0.30 to 0.30) | - | 1 |" in last_layers(board)


def test_a_suite_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    columns = {"suites": "suite,version", "leaderboard": "suite,suite_version,model,status,reason"}
    for name in ("scores", "pairs", "pooling", "models", "suites", "datasets", "leaderboard"):
        (tmp_path / "tables" / f"{name}.csv").write_text(columns.get(name, "suite,suite_version") + "\n")
    with pytest.raises(ValueError, match="has no suite 'toy'"):
        read_board(tmp_path, "toy")


@pytest.mark.parametrize(
    ("above", "below", "total", "outcome"),
    [(5, 0, 5, "holds"), (4, 0, 5, "holds"), (3, 0, 5, "mixed"), (3, 2, 5, "mixed"), (0, 1, 5, "does not hold"),
     (0, 0, 5, "cannot be told"), (0, 0, 0, "cannot be told")],
)  # fmt: skip
def test_an_outcome_needs_intervals_on_its_side(above: int, below: int, total: int, outcome: str) -> None:
    assert decide(above, below, total) == outcome


def test_every_claim_has_an_outcome_and_its_numbers(board: Board) -> None:
    found = {each.claim: each for each in verdicts(board)}
    assert found["More accurate models are more like the reference"].outcome == "holds"
    assert (
        found["Out of distribution all models come together (information imbalance falls)"].outcome == "cannot be told"
    )
    assert found["... more than composition alone does"].outcome == "mixed"
    assert found["A fine-tuned model keeps the space of its parent"].evidence == "a-2 0.70 (0.60 to 0.80)"
    assert len(summary(board).splitlines()) == 2 + len(found)
