"""Does geometry lie open for the label that a network was trained on? [Steier, arXiv:2603.03155v2].

The same architecture is trained on the gap and on the energy of the same molecules, and not at all. Each network is
embedded as a model of the board, and linear probes with composition projected out read both labels from the features
of molecules that it was not trained on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.datasets.store import Dataset
from benchmark.metrics.probes import cpd_many
from benchmark.scoring.data import FloatArray, scoring_data
from probe_networks.train import Order, Task, split, train_networks

TRAINED_ON = ("gap", "energy", "nothing")
PROBED = ("gap", "energy_per_atom")
LAYERS = ("backbone", "last_layer")


@dataclass(frozen=True)
class Plan:
    """What is measured: every architecture, label and seed. A seed fixes weights, order and held-out molecules."""

    architectures: tuple[str, ...] = ("schnet", "painn")
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int = Task.epochs

    def tasks(self) -> Iterator[tuple[str, Task]]:
        """What each network is trained on, and how; a whole seed at a time, so that a part of it can be read."""
        for seed in self.seeds:
            for architecture in self.architectures:
                for trained_on in TRAINED_ON:
                    # The untrained network is the one that training on the gap starts from.
                    label = "gap" if trained_on == "nothing" else trained_on
                    epochs = 0 if trained_on == "nothing" else self.epochs
                    yield (
                        trained_on,
                        Task(
                            architecture,
                            label,
                            seed=seed,
                            split_seed=seed,
                            epochs=epochs,
                            per_atom=label == "energy",
                        ),
                    )


def measure(plan: Plan, dataset: Dataset, work: Path, cache: Path) -> list[dict[str, Any]]:
    """One record a network, in the order of the plan. Networks that lie in `work` are not trained again."""
    orders = []
    for trained_on, task in plan.tasks():
        kept = work / file_name(trained_on, task)
        if not kept.with_suffix(".json").is_file():
            orders.append(Order(task, *(kept.with_suffix(suffix) for suffix in (".safetensors", ".npz", ".json"))))
    if orders:
        train_networks(orders, dataset, cache)
    records = []
    for trained_on, task in plan.tasks():
        path = work / f"{file_name(trained_on, task)}.json"
        features = np.load(path.with_suffix(".npz"))
        report = json.loads(path.read_text())
        probes = {layer: probe(features[layer], dataset, task) for layer in LAYERS}
        trained = int(split(dataset.structures().formulas, task.share, task.split_seed).sum())
        facts = {"trained_on": trained_on, "trained_on_molecules": trained, "task": dataclasses.asdict(task)}
        records.append({**facts, **report, "probes": probes})
    return records


def file_name(trained_on: str, task: Task) -> str:
    """Name of a network's files, without suffix."""
    return f"{task.architecture}-{trained_on}-{task.seed}-{task.epochs}"


def probe(features: FloatArray, dataset: Dataset, task: Task) -> dict[str, dict[str, float]]:
    """R^2 of linear probes for each label on the molecules held out from `task`; features (molecules, d).

    Composition is projected out as element fractions, of which the constants of the elements in a mean over atoms
    are a linear function: what is left of an energy per atom is not composition in another guise.
    """
    held_out = np.flatnonzero(~split(dataset.structures().formulas, task.share, task.split_seed))
    data = scoring_data(dataset, held_out)
    targets = np.column_stack([data.label(name) for name in PROBED])
    results = cpd_many(features[held_out], data.fractions, targets, groups=data.groups, seed=task.seed)
    return {
        name: {"r2_partial": result.r2_partial, "r2_geometry": result.r2_geometry, "n": result.n, "d": result.d}
        for name, result in zip(PROBED, results, strict=True)
    }
