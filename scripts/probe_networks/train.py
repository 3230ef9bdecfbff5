"""Train a network of submissions/pyg on a label: the side of the project, which has the data sets."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.store import Dataset
from benchmark.embedding.environment import ensure_environment
from benchmark.embedding.process import stage_runtime

ROOT = Path(__file__).resolve().parents[2]
ADAPTER = ROOT / "submissions/pyg/adapter.py"

# Small enough for several hundred molecules and a laptop: three interactions of 64 channels.
HYPERPARAMETERS: dict[str, dict[str, Any]] = {
    "schnet": {"hidden_channels": 64, "num_filters": 64, "num_interactions": 3, "num_gaussians": 50, "cutoff": 5.0},
    "dimenetpp": {
        "hidden_channels": 64,
        "num_blocks": 3,
        "int_emb_size": 32,
        "basis_emb_size": 8,
        "out_emb_channels": 64,
        "num_spherical": 4,
        "num_radial": 6,
        "output_initializer": "glorot_orthogonal",
    },
    "visnet": {"hidden_channels": 64, "num_layers": 3},
    "painn": {"n_atom_basis": 64, "n_interactions": 3, "n_rbf": 20, "cutoff": 5.0},
}


@dataclass(frozen=True)
class Task:
    """What to train.

    label: a column of the data set. per_atom: the label is a sum over atoms (an energy), not a mean.
    share: of the molecules of each formula that are trained on; the others are held out.
    epochs: 0 writes the untrained network, with the constants and the scale of the label.
    """

    architecture: str
    label: str
    seed: int = 0
    split_seed: int = 0
    share: float = 0.6
    epochs: int = 20
    batch: int = 16
    rate: float = 1e-3
    per_atom: bool = False
    threads: int = 1
    hyperparameters: dict[str, Any] = field(default_factory=dict)


def split(formulas: tuple[str, ...], share: float, seed: int) -> NDArray[np.bool_]:
    """Which molecules are trained on: of each formula the `share`, rounded, drawn with `seed`."""
    rng = np.random.default_rng(seed)
    train = np.zeros(len(formulas), dtype=bool)
    names = np.array(formulas)
    for name in sorted(set(formulas)):
        rows = rng.permutation(np.flatnonzero(names == name))
        train[rows[: round(share * len(rows))]] = True
    return train


@dataclass(frozen=True)
class Order:
    """A task with the checkpoint to write, and where its features and its errors are kept if they are wanted.

    The errors are written last: where they are, everything is.
    """

    task: Task
    output: Path
    features: Path | None = None
    report: Path | None = None


def train_networks(orders: Sequence[Order], dataset: Dataset, cache: Path) -> list[dict[str, Any]]:
    """Train, write the checkpoints and return their errors on the molecules trained on and held out.

    Features are the mean over atoms of each invariant layer, one array a layer, rows in the order of the data set.
    ValueError where the data set has no such label or is periodic.
    """
    for order in orders:
        check(order.task, dataset)
    environment = ensure_environment(ADAPTER, cache, "cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = [job_for(order, dataset, folder, number) for number, order in enumerate(orders)]
        (folder / "jobs.json").write_text(json.dumps(jobs))
        script = Path(__file__).with_name("training.py")
        threads = str(max(order.task.threads for order in orders))
        variables = {**os.environ, "PYTHONPATH": str(stage_runtime(cache)), "OMP_NUM_THREADS": threads}
        subprocess.run([environment.python, script, folder / "jobs.json"], check=True, env=variables)
        return [json.loads(Path(job["report"]).read_text()) for job in jobs]


def check(task: Task, dataset: Dataset) -> None:
    """ValueError where `dataset` cannot be trained on as `task` says."""
    if dataset.card.periodic:
        raise ValueError(f"data set {dataset.card.id} is periodic; these networks know molecules only")
    if task.label not in dataset.card.labels:
        known = sorted(dataset.card.labels)
        raise ValueError(f"data set {dataset.card.id} has no label {task.label!r}; it has {known}")


def job_for(order: Order, dataset: Dataset, folder: Path, number: int) -> dict[str, Any]:
    """The job that training.py carries out, with its molecules in `folder`; `description` goes into the checkpoint."""
    task, structures = order.task, dataset.structures()
    train = split(structures.formulas, task.share, task.split_seed)
    molecules = folder / f"molecules-{number}.npz"
    np.savez(
        molecules,
        numbers=structures.numbers,
        positions=structures.positions,
        offsets=structures.offsets,
        labels=dataset.labels()[task.label].to_numpy(),
        train=train,
    )
    order.output.parent.mkdir(parents=True, exist_ok=True)
    training = {
        "dataset": f"{dataset.card.id}@{dataset.card.version}",
        "fingerprint": dataset.card.fingerprint,
        "epochs": task.epochs,
        "seed": task.seed,
        "ids": [structures.ids[index] for index in np.flatnonzero(train)],
    }
    return {
        "adapter": str(ADAPTER),
        "molecules": str(molecules),
        "report": str(order.report or folder / f"report-{number}.json"),
        "output": str(order.output),
        "features": None if order.features is None else str(order.features),
        "seed": task.seed,
        "epochs": task.epochs,
        "batch": task.batch,
        "rate": task.rate,
        "threads": task.threads,
        "description": {
            "architecture": task.architecture,
            "hyperparameters": {**HYPERPARAMETERS[task.architecture], **task.hyperparameters},
            "label": task.label,
            "unit": dataset.card.labels[task.label].unit,
            "per_atom": task.per_atom,
            "training": training,
        },
    }
