"""Which claims hold on these models, which do not, which cannot be told: by rules that are stated on the page."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .board import Board, correlation_over_families
from .reading import targets
from .text import interval, number, table

HOLDS, FAILS, OPEN, MIXED = "holds", "does not hold", "cannot be told", "mixed"


@dataclass(frozen=True)
class Verdict:
    """A claim, the rule that decides, what came out, and the numbers behind it."""

    claim: str
    paper: str
    rule: str
    outcome: str
    evidence: str


def verdicts(board: Board) -> list[Verdict]:
    """All claims, in the order of the page."""
    return [
        _accuracy(board, "cknna", "More accurate models are more like the reference"),
        _accuracy(board, "cknna_residual", "... also once composition is projected out"),
        _agreement(board),
        *_collapse(board),
        _geometry(board),
        _readable(board),
        _channels(board),
        _trees(board),
        _bias(board),
        _last_layer(board),
        _cumulants(board),
    ]


def summary(board: Board) -> str:
    """The table of all verdicts."""
    rows = [[each.claim, each.paper, f"**{each.outcome}**", each.evidence, each.rule] for each in verdicts(board)]
    return table(["claim", "paper", "here", "numbers", "rule"], rows)


def decide(above: int, below: int, total: int) -> str:
    """`holds` where all are surely above, `does not hold` where none is and some are below, else open or mixed."""
    if not total:
        return OPEN
    if above == total:
        return HOLDS
    if above and below:
        return MIXED
    if not above:
        return FAILS if below else OPEN
    return HOLDS if above >= 0.8 * total else MIXED


def _accuracy(board: Board, metric: str, claim: str) -> Verdict:
    above = below = total = 0
    shown = []
    for dataset in board.datasets:
        found = []
        for model in board.trained:
            similarity = board.to_reference(metric, dataset, model)
            error = board.value("energy_mae_corrected", model, dataset)
            if model != board.suite["reference"] and not math.isnan(similarity + error):
                found.append((similarity, -error, board.family[model]))
        if len({family for *_, family in found}) < 3:
            continue
        similarities, accuracies, families = zip(*found, strict=True)
        correlation, low, high = correlation_over_families(similarities, accuracies, families)
        above, below, total = above + (low > 0), below + (high < 0), total + 1
        shown.append(f"{dataset} {number(correlation)} ({interval(low, high)})")
    rule = "the 95 % interval of Spearman's correlation, families drawn with replacement, is above 0 on every data set"
    return Verdict(claim, "2512.03750", rule, decide(above, below, total), "; ".join(shown) or "too few families")


def _agreement(board: Board) -> Verdict:
    trained, random = set(board.trained), set(board.random)
    above = below = 0
    shown = []
    for dataset in board.datasets:
        own = board.between("cknna_residual", dataset, "calibrated", lambda a, b: _strangers(board, a, b))
        other = board.between(
            "cknna_residual",
            dataset,
            "calibrated",
            lambda a, b: len({a, b} & trained) == 1 and len({a, b} & random) == 1,
        )
        if not len(own) or not len(other):
            continue
        low, high = np.quantile(own, 0.25), np.quantile(other, 0.75)
        above, below = above + bool(low > high), below + bool(np.quantile(own, 0.75) < np.quantile(other, 0.25))
        shown.append(f"{dataset} {number(float(np.median(own)))} against {number(float(np.median(other)))}")
    rule = (
        "cknna without composition: the lower quartile of trained models of two families is above the upper quartile "
        "of a trained model with a random network, on every data set"
    )
    claim = "Trained models of different families agree more than training on nothing explains"
    return Verdict(claim, "2512.03750", rule, decide(above, below, len(shown)), "; ".join(shown))


def _collapse(board: Board) -> list[Verdict]:
    claims = {
        "collapse_convergence_raw": "Out of distribution all models come together (information imbalance falls)",
        "collapse_convergence": "... more than composition alone does",
        "collapse_information": "Out of distribution less of the energy can be read",
    }
    found = []
    for score, claim in claims.items():
        rows = [row for model in board.trained if (row := board.score(score, model)) is not None]
        above, below = sum(row["low"] > 0 for row in rows), sum(row["high"] < 0 for row in rows)
        shown = f"{above} of {len(rows)} trained models surely above 0, {below} surely below"
        noise = [board.value(score, name) for name, kind in board.control.items() if kind == "noise"]
        shown += "".join(f"; noise {number(value)}" for value in noise if not math.isnan(value))
        rule = "the 95 % interval is above 0 for at least four in five trained models and below for none"
        found.append(Verdict(claim, "2512.03750", rule, decide(above, below, len(rows)), shown))
    return found


def _geometry(board: Board) -> Verdict:
    values = [value for model in board.trained if not math.isnan(value := board.value("cpd", model))]
    rows = {model: row for model in board.trained if (row := board.score("cpd", model)) is not None}
    apart = bool(rows) and max(row["low"] for row in rows.values()) > min(row["high"] for row in rows.values())
    shown = f"{number(min(values))} to {number(max(values))}" if values else "no model has the score"
    rule = "the intervals of the best and the worst trained model do not overlap"
    claim = "Models differ in how much geometry lies open once composition is projected out"
    return Verdict(claim, "2603.03155", rule, HOLDS if apart else OPEN, shown)


def _readable(board: Board) -> Verdict:
    dataset = str(board.suite["probe_dataset"])
    above = below = total = 0
    shown = []
    for target in targets(board):
        controls = [
            row for name in board.control if (row := board.score("r2_partial", name, dataset, target)) is not None
        ]
        best = max(controls, key=lambda row: row["value"])
        rows = [row for name in board.trained if (row := board.score("r2_partial", name, dataset, target)) is not None]
        ahead = sum(row["low"] > best["high"] for row in rows)
        behind = sum(row["high"] < best["low"] for row in rows)
        above, below, total = above + ahead, below + behind, total + len(rows)
        shown.append(
            f"{target}: {ahead} above, {behind} below {best['model']} ({number(best['value'])}) of {len(rows)}"
        )
    rule = "at least four in five intervals of r2_partial are above the best control's, and none below"
    claim = "Training makes geometry readable beyond descriptors and random networks"
    return Verdict(claim, "2603.03155", rule, decide(above, below, total), "; ".join(shown))


def _channels(board: Board) -> Verdict:
    dataset = str(board.suite["probe_dataset"])
    agree, total, shown = 0, 0, []
    for target, vectors_win in (("dipole_norm", True), ("gap", False)):
        wins = counted = 0
        for model in board.trained:
            vectors = board.value("r2_partial_vectors", model, dataset, target)
            scalars = board.value("r2_partial", model, dataset, target)
            if not math.isnan(vectors + scalars):
                counted += 1
                wins += (vectors > scalars) == vectors_win
        agree, total = agree + wins, total + counted
        if counted:
            shown.append(f"{target} better from {'L=1' if vectors_win else 'L=0'} in {wins} of {counted}")
    rule = "in at least four of five models with L=1 channels, without intervals; below half: does not hold"
    claim = "Vectors carry the dipole, scalars the gap"
    outcome = OPEN if not total else HOLDS if agree >= 0.8 * total else FAILS if agree < 0.5 * total else MIXED
    return Verdict(claim, "2603.03155", rule, outcome, "; ".join(shown) or "no model with L=1 channels")


def _trees(board: Board) -> Verdict:
    dataset = str(board.suite["probe_dataset"])
    values = [board.value("r2_control_trees", model, dataset) for model in board.trained]
    there = [value for value in values if not math.isnan(value)]
    again = sum(value > 0.5 for value in there)
    shown = f"median {number(float(np.median(there)))}, {again} of {len(there)} above 0.5" if there else "none"
    rule = "trees reach R² above 0.5 on a target that is composition alone, after it was projected out, in four of five"
    outcome = OPEN if not there else HOLDS if again >= 0.8 * len(there) else FAILS if not again else MIXED
    return Verdict("Nonlinear probes learn composition again", "2603.03155", rule, outcome, shown)


def _bias(board: Board) -> Verdict:
    rows = [row for model in board.trained if (row := board.score("fine_tuning_bias", model)) is not None]
    above, below = sum(row["low"] > 0 for row in rows), sum(row["high"] < 0 for row in rows)
    shown = "; ".join(f"{row['model']} {number(row['value'])} ({interval(row['low'], row['high'])})" for row in rows)
    rule = "the 95 % interval of fine_tuning_bias is above 0 for every child"
    claim = "A fine-tuned model keeps the space of its parent"
    return Verdict(claim, "2512.05717", rule, decide(above, below, len(rows)), shown or "no child")


def _last_layer(board: Board) -> Verdict:
    above = below = 0
    shown = []
    for dataset in board.datasets:
        backbone = board.between("gfre", dataset, "value", lambda a, b: _strangers(board, a, b))
        last = board.between("gfre_last_layer", dataset, "value", lambda a, b: _strangers(board, a, b))
        if not len(backbone) or not len(last):
            continue
        above += bool(np.quantile(last, 0.75) < np.quantile(backbone, 0.25))
        below += bool(np.quantile(last, 0.25) > np.quantile(backbone, 0.75))
        medians = number(float(np.median(last))), number(float(np.median(backbone)))
        shown.append(f"{dataset} {medians[0]} against {medians[1]}")
    rule = "gfre between families: the quartiles of the last layers lie below those of the backbones, on every data set"
    claim = "Last layers are closer to each other than backbones"
    return Verdict(claim, "2512.05717", rule, decide(above, below, len(shown)), "; ".join(shown) or "no last layers")


def _cumulants(board: Board) -> Verdict:
    up, total, shown = 0, 0, []
    columns = [str(name) for name in board.pooling.columns if str(name).startswith("r2_partial_")]
    own = board.pooling[(board.pooling["layer"] == "backbone") & board.pooling["model"].isin(board.trained)]
    for dataset in board.datasets:
        for column in columns:
            wide = own[own["dataset"] == dataset].pivot_table(index="model", columns="pooling", values=column)
            if wide.empty or not {"cumulants:1", "cumulants:2"} <= set(wide.columns):
                continue
            gain = (wide["cumulants:2"] - wide["cumulants:1"]).dropna()
            up, total = up + int((gain > 0).sum()), total + len(gain)
            target = column.removeprefix("r2_partial_")
            shown.append(f"{dataset} {target} {float(gain.median()):+.3f} ({int((gain > 0).sum())} of {len(gain)} up)")
    rule = "r2_partial rises from the mean to two cumulants in four of five models; no intervals, and width doubles"
    outcome = OPEN if not total else HOLDS if up >= 0.8 * total else FAILS if up < 0.5 * total else MIXED
    return Verdict("Means hide what cumulants show", "2512.05717", rule, outcome, "; ".join(shown))


def _strangers(board: Board, a: str, b: str) -> bool:
    """Two trained models of different families."""
    trained = set(board.trained)
    return {a, b} <= trained and board.family[a] != board.family[b]
