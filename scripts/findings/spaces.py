"""How models encode chemical space. The claims of arXiv:2512.05717."""

from __future__ import annotations

import numpy as np

from .board import Board
from .text import number, spread, table, with_interval


def fine_tuning(board: Board) -> str:
    """Does a fine-tuned model stay near its parent?"""
    rows = []
    for model in board.trained:
        for dataset in board.datasets:
            bias = board.score("fine_tuning_bias", model, dataset)
            if bias is None:
                continue
            rows.append([
                model, board.parent[model], dataset,
                with_interval(bias["value"], bias["low"], bias["high"]),
                number(board.value("gfre_from_parent", model, dataset)),
                number(board.value("gfre_from_strangers", model, dataset)),
                number(board.value("cknna_parent", model, dataset)),
            ])  # fmt: skip
    head = ["child", "parent", "data set", "bias (95 %)", "gfre from parent", "from strangers", "cknna with parent"]
    return table(head, rows)


def last_layers(board: Board) -> str:
    """Is a last layer easier to reconstruct than a backbone?"""
    trained = set(board.trained)
    kinds = {
        "one family": lambda a, b: {a, b} <= trained and a != b and board.family[a] == board.family[b],
        "two families": lambda a, b: {a, b} <= trained and board.family[a] != board.family[b],
    }
    rows = []
    for dataset in board.datasets:
        for kind, accepted in kinds.items():
            cells = [dataset, kind]
            for metric in ("gfre", "gfre_last_layer", "gfre_backbone_last_layer"):
                values = board.between(metric, dataset, "value", accepted)
                cells += [spread(values)]
            rows.append([*cells, str(len(board.between("gfre", dataset, "value", accepted)))])
    head = ["data set", "pairs of", "backbone from backbone", "last from last layer", "last layer from backbone", "n"]
    return table(head, rows)


def cumulants(board: Board) -> str:
    """Do cumulants over the atoms hold what their mean does not?"""
    rows = []
    columns = [name for name in board.pooling.columns if str(name).startswith("r2_partial_")]
    for dataset in board.datasets:
        own = board.pooling[(board.pooling["dataset"] == dataset) & (board.pooling["layer"] == "backbone")]
        for column in columns:
            wide = own.pivot_table(index="model", columns="pooling", values=str(column))
            if wide.empty or "cumulants:1" not in wide:
                continue
            cells = [dataset, str(column).removeprefix("r2_partial_")]
            for kind, models in (("trained", board.trained), ("random", board.random)):
                these = wide.loc[[model for model in models if model in wide.index]]
                gains = {
                    order: (these[order] - these["cumulants:1"]).dropna() for order in wide if order != "cumulants:1"
                }
                if kind == "trained":
                    cells.append(spread(these["cumulants:1"].to_numpy()))
                for gain in gains.values():
                    sign = f", {int((gain > 0).sum())} of {len(gain)} up" if kind == "trained" else ""
                    cells.append(f"{number(float(np.median(gain)))}{sign}" if len(gain) else "-")
            rows.append(cells)
    orders = sorted(set(board.pooling["pooling"]) - {"cumulants:1"})
    head = ["data set", "label", "from the mean", *(f"gain of {each}" for each in orders)]
    return table([*head, *(f"random, {each}" for each in orders)], rows)
