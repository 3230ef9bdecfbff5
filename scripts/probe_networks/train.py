"""Train a network of submissions/pyg on a label: the side of the project, which has the data sets."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
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
    epochs: int = 100
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


def train_network(task: Task, dataset: Dataset, output: Path, cache: Path) -> dict[str, Any]:
    """Train, write the checkpoint `output` and return its errors on the molecules trained on and held out.

    ValueError where the data set has no such label or is periodic.
    """
    structures, labels = dataset.structures(), dataset.labels()
    if dataset.card.periodic:
        raise ValueError(f"data set {dataset.card.id} is periodic; these networks know molecules only")
    if task.label not in labels:
        raise ValueError(f"data set {dataset.card.id} has no label {task.label!r}; it has {sorted(labels)}")
    train = split(structures.formulas, task.share, task.split_seed)
    environment = ensure_environment(ADAPTER, cache, "cpu")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as name:
        folder = Path(name)
        np.savez(
            folder / "molecules.npz",
            numbers=structures.numbers,
            positions=structures.positions,
            offsets=structures.offsets,
            labels=labels[task.label].to_numpy(),
            train=train,
        )
        job = job_for(task, dataset, folder, output)
        job["description"]["training"]["ids"] = [structures.ids[index] for index in np.flatnonzero(train)]
        (folder / "job.json").write_text(json.dumps(job))
        script = Path(__file__).with_name("training.py")
        variables = {**os.environ, "PYTHONPATH": str(stage_runtime(cache)), "OMP_NUM_THREADS": str(task.threads)}
        subprocess.run([environment.python, script, folder / "job.json"], check=True, env=variables)
        report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return {**report, "trained_on": int(train.sum()), "held_out_molecules": int((~train).sum())}


def job_for(task: Task, dataset: Dataset, folder: Path, output: Path) -> dict[str, Any]:
    """The job that training.py carries out; `description` becomes the checkpoint's own."""
    hyperparameters = {**HYPERPARAMETERS[task.architecture], **task.hyperparameters}
    training = {
        "dataset": f"{dataset.card.id}@{dataset.card.version}",
        "fingerprint": dataset.card.fingerprint,
        "epochs": task.epochs,
        "seed": task.seed,
        "split_seed": task.split_seed,
        "share": task.share,
    }
    return {
        "adapter": str(ADAPTER),
        "molecules": str(folder / "molecules.npz"),
        "report": str(folder / "report.json"),
        "output": str(output),
        "seed": task.seed,
        "epochs": task.epochs,
        "batch": task.batch,
        "rate": task.rate,
        "threads": task.threads,
        "description": {
            "architecture": task.architecture,
            "hyperparameters": hyperparameters,
            "label": task.label,
            "unit": dataset.card.labels[task.label].unit,
            "per_atom": task.per_atom,
            "training": training,
        },
    }
