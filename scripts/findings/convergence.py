"""Do models converge? The claims of arXiv:2512.03750."""

from __future__ import annotations

import math

import numpy as np

from .board import Board, correlation_over_families
from .text import interval, number, spread, table


def accuracy_and_alignment(board: Board) -> str:
    """Is a model with smaller energy errors more like the reference?"""
    rows = []
    for dataset in board.datasets:
        for metric, name in (("cknna", "cknna"), ("cknna_residual", "cknna, composition projected out")):
            found = [
                (
                    board.to_reference(metric, dataset, model),
                    -board.value("energy_mae_corrected", model, dataset),
                    model,
                )
                for model in board.trained
                if model != board.suite["reference"]
            ]
            found = [each for each in found if not math.isnan(each[0] + each[1])]
            families = [board.family[model] for *_, model in found]
            if not found:  # energies are compared on the data sets of ranked scores alone
                continue
            if len(set(families)) < 3:
                rows.append([dataset, name, str(len(found)), str(len(set(families))), "fewer than three families"])
                continue
            values, errors = [each[0] for each in found], [each[1] for each in found]
            correlation, low, high = correlation_over_families(values, errors, families)
            shown = f"{number(correlation)} ({interval(low, high)})"
            rows.append([dataset, name, str(len(found)), str(len(set(families))), shown])
    head = ["data set", "similarity to the reference", "models", "families", "Spearman with accuracy (95 %)"]
    return table(head, rows)


def kinds_of_pairs(board: Board) -> str:
    """How alike are trained models of different families, beside random networks and descriptors?"""
    trained, random = set(board.trained), set(board.random)
    kinds = {
        "trained, one family": lambda a, b: {a, b} <= trained and board.family[a] == board.family[b],
        "trained, two families": lambda a, b: {a, b} <= trained and board.family[a] != board.family[b],
        "trained and random": lambda a, b: len({a, b} & trained) == 1 and len({a, b} & random) == 1,
        "random and random": lambda a, b: {a, b} <= random,
        "trained and SOAP": lambda a, b: len({a, b} & trained) == 1 and "descriptor" in _kinds(board, a, b),
        "trained and composition": lambda a, b: len({a, b} & trained) == 1 and "composition" in _kinds(board, a, b),
    }
    rows = []
    for dataset in board.datasets:
        for kind, accepted in kinds.items():
            raw = board.between("cknna", dataset, "calibrated", accepted)
            residual = board.between("cknna_residual", dataset, "calibrated", accepted)
            rows.append([dataset, kind, str(len(raw)), spread(raw), spread(residual)])
    head = ["data set", "pairs of", "pairs", "cknna: median (quartiles)", "composition projected out"]
    return table(head, rows)


def collapse(board: Board) -> str:
    """Does every model say the same little out of distribution?"""
    rows = []
    for model in [*board.trained, *sorted(board.control)]:
        cells = [model if model not in board.control else f"{model} ({board.control[model]} control)"]
        for score in ("collapse_convergence_raw", "collapse_convergence", "collapse_information"):
            row = board.score(score, model)
            cells.append("-" if row is None else f"{number(row['value'])} ({interval(row['low'], row['high'])})")
        rows.append(cells)
    return table(["model", "convergence, raw", "convergence, calibrated", "information lost"], rows)


def collapse_counts(board: Board) -> dict[str, str]:
    """How many trained models are surely above, and surely below, zero in each measure of collapse."""
    counts = {}
    for score in ("collapse_convergence_raw", "collapse_convergence", "collapse_information"):
        found = [row for model in board.trained if (row := board.score(score, model)) is not None]
        above = sum(row["low"] > 0 for row in found)
        below = sum(row["high"] < 0 for row in found)
        counts[score] = f"{above} of {len(found)} trained models surely above 0, {below} surely below"
    return counts


def dimensions(board: Board) -> str:
    """Intrinsic dimension by data set: trained models, random networks, controls."""
    rows = []
    for dataset in board.datasets:
        for kind, models in (("trained", board.trained), ("random", board.random)):
            cells = [dataset, kind, str(len(models))]
            for score in ("intrinsic_dimension_mle", "intrinsic_dimension", "effective_rank", "composition_share"):
                cells.append(spread(np.array([board.value(score, model, dataset) for model in models])))
            if set(cells[3:]) != {"-"}:  # not measured on data sets without part in a ranked score
                rows.append(cells)
    head = ["data set", "models", "number", "MLE, k = 50", "TwoNN", "effective rank", "composition's share"]
    return table(head, rows)


def _kinds(board: Board, a: str, b: str) -> set[str]:
    return {board.control.get(a, ""), board.control.get(b, "")}
