"""What can be read once composition is projected out? The claims of arXiv:2603.03155."""

from __future__ import annotations

import math

import numpy as np

from .board import Board
from .text import interval, number, spread, table

CONTROLS = ("composition", "noise", "descriptor", "random")


def targets(board: Board) -> list[str]:
    """Labels that are probed on the probe's data set."""
    rows = board.scores[(board.scores["score"] == "r2_partial") & (board.scores["dataset"] == _probed(board))]
    return sorted(rows["target"].unique())


def readability(board: Board) -> str:
    """How far apart are models of one target, and does training show in it?"""
    rows = []
    for target in targets(board):
        values = {model: board.value("r2_partial", model, _probed(board), target) for model in board.trained}
        there = {model: value for model, value in values.items() if not math.isnan(value)}
        best, worst = max(there, key=there.__getitem__), min(there, key=there.__getitem__)
        control = max(
            board.control, key=lambda name: _or_nothing(board.value("r2_partial", name, _probed(board), target))
        )
        best_control = board.score("r2_partial", control, _probed(board), target)
        ahead = sum(_surely_above(board, model, control, target) for model in there)
        behind = sum(_surely_above(board, control, model, target) for model in there)
        random = [board.value("r2_partial", name, _probed(board), target) for name in board.random]
        rows.append([
            target, f"{number(there[worst])} ({worst})", f"{number(there[best])} ({best})", spread(np.array(random)),
            "-" if best_control is None else f"{number(best_control['value'])} ({control})",
            f"{ahead} above, {behind} below, of {len(there)}",
        ])  # fmt: skip
    head = ["label", "worst trained", "best trained", "random networks", "best control", "trained against it"]
    return table(head, rows)


def nonlinear(board: Board) -> str:
    """Do trees and perceptrons read more, or composition again?"""
    rows = []
    for model in [*board.trained, *sorted(board.control)]:
        cells = [model]
        for probe in ("mlp", "trees"):
            gains = [board.value(f"entanglement_{probe}", model, _probed(board), target) for target in targets(board)]
            there = [gain for gain in gains if not math.isnan(gain)]
            cells += [
                number(sum(there) / len(there)) if there else "-",
                number(board.value(f"r2_control_{probe}", model, _probed(board))),
            ]
        rows.append(cells)
    head = ["model", "MLP − linear", "MLP on composition's own target", "trees − linear", "trees on it"]
    return table(head, rows)


def isomers(board: Board) -> str:
    """Pairs of one formula put into the right order, chance 0.5."""
    rows = []
    for target in targets(board):
        trained = [board.value("isomer_order", model, _probed(board), target) for model in board.trained]
        random = [board.value("isomer_order", model, _probed(board), target) for model in board.random]
        rows.append([target, spread(np.array(trained)), number(np.nanmax(trained)), spread(np.array(random))])
    return table(["label", "trained: median (quartiles)", "best", "random networks"], rows)


def channels(board: Board) -> str:
    """The same label from invariant channels and from the norms of the L=1 channels."""
    rows = []
    for model in [*board.trained, *board.random]:
        for target in targets(board):
            vectors = board.score("r2_partial_vectors", model, _probed(board), target)
            scalars = board.score("r2_partial", model, _probed(board), target)
            if vectors is None or scalars is None:
                continue
            rows.append([
                model, target, f"{number(scalars['value'])} ({interval(scalars['low'], scalars['high'])})",
                number(vectors["value"]),
            ])  # fmt: skip
    return table(["model", "label", "L=0 channels", "norms of L=1 channels"], rows) if rows else "No L=1 channels."


def by_symmetry(board: Board) -> str:
    """Mean r2_partial over the probe's targets, models of each symmetry."""
    rows = []
    for symmetry in sorted({board.symmetry[model] for model in board.trained}):
        models = [model for model in board.trained if board.symmetry[model] == symmetry]
        families = {board.family[model] for model in models}
        values = np.array([board.value("cpd", model) for model in models])
        random = np.array([board.value("cpd", model) for model in board.random if board.symmetry[model] == symmetry])
        rows.append([symmetry, str(len(models)), ", ".join(sorted(families)), spread(values), spread(random)])
    return table(["symmetry", "trained models", "families", "cpd: median (quartiles)", "random networks"], rows)


def _probed(board: Board) -> str:
    return str(board.suite["probe_dataset"])


def _or_nothing(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _surely_above(board: Board, model: str, other: str, target: str) -> bool:
    """Whether the two intervals do not overlap."""
    rows = [board.score("r2_partial", name, _probed(board), target) for name in (model, other)]
    first, second = rows
    return first is not None and second is not None and bool(first["low"] > second["high"])
