"""Train networks of submissions/pyg. Runs in that family's environment: `python training.py jobs.json`.

Of the project it may import what the adapter itself imports, the adapter and `benchmark.adapter`.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from ase import Atoms

LARGEST_GRADIENT = 10.0
EMBEDDED_AT_ONCE = 32


def main(jobs_path: Path) -> None:
    """Carry out jobs, one after the other: see `job_for` in train.py for their fields."""
    jobs = json.loads(jobs_path.read_text())
    for job in jobs:
        torch.set_num_threads(int(job["threads"]))
        carry_out(job, load_adapter(Path(job["adapter"])))


def carry_out(job: dict[str, Any], adapter: ModuleType) -> None:
    """Train a network; write its checkpoint, its features as the adapter gives them, and last of all its errors."""
    arrays = np.load(job["molecules"])
    bounds = arrays["offsets"]
    molecules = [
        Atoms(numbers=arrays["numbers"][a:b], positions=arrays["positions"][a:b]) for a, b in itertools.pairwise(bounds)
    ]
    labels = arrays["labels"] / np.diff(bounds) if job["description"]["per_atom"] else arrays["labels"]
    train, held_out = np.flatnonzero(arrays["train"]), np.flatnonzero(~arrays["train"])

    torch.manual_seed(int(job["seed"]))
    elements = sorted({int(number) for index in train for number in molecules[index].numbers})
    network = adapter.ProbeNetwork(adapter.Description(**{**job["description"], "elements": elements}))
    fit_constants(network, [molecules[index] for index in train], labels[train], elements)
    graphs = Batches(adapter, network.cutoff, molecules, labels)
    fit(network, graphs, train, job)
    network.eval()
    report = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "train": errors(network, graphs, train),
        "held_out": errors(network, graphs, held_out),
    }
    output = Path(job["output"])
    partial = output.with_name(f"{output.name}.partial")
    adapter.save_network(partial, network)
    partial.replace(output)
    if job["features"] is not None:
        write_features(Path(job["features"]), adapter, output, job["description"]["architecture"], molecules)
    Path(job["report"]).write_text(json.dumps(report))


def write_features(
    path: Path, adapter: ModuleType, checkpoint: Path, architecture: str, molecules: list[Atoms]
) -> None:
    """Mean over atoms of each invariant layer of the checkpoint, loaded and embedded as the board's worker does it."""
    model = adapter.MoleculeNetwork()
    model.load(checkpoint, {"architecture": architecture}, "cpu")
    means: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(molecules), EMBEDDED_AT_ONCE):
        some = molecules[start : start + EMBEDDED_AT_ONCE]
        ends = np.cumsum([len(atoms) for atoms in some])
        for name, layer in model.embed(some).layers.items():
            if layer.irreps is None:
                parts = np.split(layer.values.astype(np.float64), ends[:-1])
                means.setdefault(name, []).append(np.array([part.mean(axis=0) for part in parts]))
    np.savez(path, **{name: np.concatenate(parts) for name, parts in means.items()})


def load_adapter(path: Path) -> ModuleType:
    """The adapter's module, which holds the networks."""
    spec = importlib.util.spec_from_file_location("adapter", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["adapter"] = module
    spec.loader.exec_module(module)
    return module


class Batches:
    """Molecules and their labels, a batch at a time."""

    def __init__(self, adapter: ModuleType, cutoff: float, molecules: list[Atoms], labels: np.ndarray) -> None:
        self.adapter = adapter
        self.cutoff = cutoff
        self.molecules = molecules
        self.labels = labels

    def batch(self, rows: np.ndarray) -> tuple[Any, torch.Tensor]:
        """The graph of the molecules `rows` and their labels (rows,)."""
        graph = self.adapter.make_graph([self.molecules[index] for index in rows], self.cutoff)
        return graph, torch.as_tensor(self.labels[rows])


def fit_constants(network: Any, molecules: list[Atoms], labels: np.ndarray, elements: list[int]) -> None:
    """The constants of the elements by least squares on the labels, and the spread of what they leave as scale."""
    fractions = np.array([[np.mean(atoms.numbers == number) for number in elements] for atoms in molecules])
    constants, *_ = np.linalg.lstsq(fractions, labels, rcond=None)
    network.constants[elements] = torch.as_tensor(constants)
    network.scale.fill_(float(np.std(labels - fractions @ constants)))


def fit(network: Any, graphs: Batches, train: np.ndarray, job: dict[str, Any]) -> None:
    """Mean squared error in units of the scale, Adam, cosine decay; a fixed number of epochs, no early stopping."""
    epochs, size = int(job["epochs"]), int(job["batch"])
    if epochs == 0:
        return
    steps = epochs * math.ceil(len(train) / size)
    optimizer = torch.optim.Adam(network.network.parameters(), lr=float(job["rate"]))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = np.random.default_rng(int(job["seed"]))
    network.train()
    for epoch in range(epochs):
        total = 0.0
        order = rng.permutation(train)
        for start in range(0, len(order), size):
            graph, labels = graphs.batch(order[start : start + size])
            loss = (((network(graph) - labels) / network.scale) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(labels)
        if (epoch + 1) % 10 == 0 or epoch + 1 == epochs:
            print(f"epoch {epoch + 1}: mean squared error {total / len(order):.4f} of the variance", flush=True)


@torch.no_grad()
def errors(network: Any, graphs: Batches, rows: np.ndarray) -> dict[str, float]:
    """Mean absolute error in the label's unit (an atom for sums), and R^2 beyond the constants of the elements."""
    if not len(rows):
        return {}
    predicted, constants, labels = [], [], []
    for start in range(0, len(rows), 64):
        graph, given = graphs.batch(rows[start : start + 64])
        predicted.append(network(graph))
        constants.append(graphs.adapter.mean_over_atoms(network.constants[graph.numbers], graph))
        labels.append(given)
    label, prediction = torch.cat(labels), torch.cat(predicted)
    left = label - torch.cat(constants)
    return {
        "mean_absolute_error": float((prediction - label).abs().mean()),
        "r2_beyond_elements": 1.0 - float(((prediction - label) ** 2).sum() / (left**2).sum()),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
