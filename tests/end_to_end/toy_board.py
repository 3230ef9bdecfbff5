"""A small board that runs in seconds: two data sets, a suite, and families that need numpy and ase only.

The toy networks are real functions of the structure (random projections of distance histograms by
element), so every score is defined on them. The option `behaviour` makes a model misbehave.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from ase import Atoms
from ase.build import bulk, molecule

from benchmark.datasets.store import structures_from_atoms, write_dataset

HEADER = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["ase==3.29.0", "numpy==2.4.6", "safetensors==0.8.0"]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""

ADAPTER = (
    HEADER
    + '''
"""Random projections of distance histograms."""

import os
import time

import numpy as np
from ase.neighborlist import neighbor_list

from benchmark.adapter import Adapter, Features, Layer

CENTRES = np.linspace(1.0, 5.0, 8)


class Toy(Adapter):
    def load(self, checkpoint, options, device):
        self.options = options
        self.calls = 0
        parent = np.random.default_rng(options.get("parent_seed", options["seed"])).normal(size=(9 * 8, 12))
        own = np.random.default_rng(options["seed"]).normal(size=parent.shape)
        self.weights = parent + options.get("tuning", 0.0) * own
        if options.get("behaviour") == "raise":
            raise RuntimeError("these weights are for another network")

    def perturb_weights(self, scale, seed):
        self.weights = self.weights * (1 + scale * np.random.default_rng(seed).normal(size=self.weights.shape))
        return True

    def unsupported(self, item):
        small = self.options.get("behaviour") != "no large cells" or not item.pbc.any() or item.cell.volume < 75
        return None if small else "too large"

    def embed(self, inputs):
        self.calls += 1
        behaviour = self.options.get("behaviour")
        if behaviour == "hang":
            time.sleep(3600)
        if behaviour == "knows no caesium" and any(55 in atoms.numbers for atoms in inputs):
            raise ValueError("caesium is unknown")
        if behaviour == "slow":
            time.sleep(0.3)
        if behaviour == "chatty":
            print("{" * 1000, flush=True)
            os.write(2, b"\\xff" * 1000)
        rows = np.concatenate([self.describe(atoms) for atoms in inputs]) @ self.weights
        if behaviour == "nan":
            rows[0, 0] = np.nan
        if behaviour == "rows":
            rows = rows[:-1]
        if behaviour == "fickle":
            rows = rows + self.calls
        energies = np.array([float(np.sum(atoms.numbers)) for atoms in inputs])
        return Features({"backbone": Layer(np.tanh(rows).astype(np.float32))}, energies)

    def describe(self, atoms):
        centres, neighbours, distances = neighbor_list("ijd", atoms, 5.5)
        smooth = np.cos(np.pi * distances / 11.0) ** 2
        basis = np.exp(-((distances[:, None] - CENTRES) ** 2)) * smooth[:, None]
        out = np.zeros((len(atoms), 9, 8))
        kinds = np.log(atoms.numbers)
        np.add.at(out, (centres, 0), basis * 0.1)
        for power in range(1, 5):
            np.add.at(out, (centres, power), basis * np.cos(power * kinds[neighbours])[:, None] * 0.1)
            out[:, 4 + power] += np.cos(power * kinds)[:, None] * 0.3
        return out.reshape(len(atoms), -1)
'''
)

SUITE = {
    "id": "toy",
    "version": 1,
    "title": "Toy",
    "description": "A board for tests.",
    "in_distribution": "toy-crystals",
    "out_of_distribution": "toy-molecules",
    "reference": "toy-a",
    "panel": ["toy-b", "toy-c"],
    "controls": {"composition": "composition", "noise": "noise", "descriptor": "toy-soap", "random": ["toy-random"]},
    "energy_targets": {"toy-crystals": "energy_per_atom", "toy-molecules": "energy_per_atom"},
    "probe": {"dataset": "toy-molecules", "targets": ["gap"]},
    "maps": False,  # laying out takes longer than everything else on a board of this size
    "k": 5,
    "k_sweep": [2, 5],
    "permutations": 40,
    "subsamples": 10,
    "seed": 1,
}


def toy_model(name: str, seed: int, **fields: object) -> dict[str, object]:
    """An entry of submission.yaml."""
    options = {"seed": seed, **fields.pop("options", {})}  # type: ignore[dict-item]
    return {
        "id": name,
        "title": name,
        "checkpoint": {"kind": "none"},
        "options": options,
        "layers": {"backbone": {"dimension": 12}},
        "parameters": 864,
        "training_data": [],
        "training_targets": [],
        "released": "2026-01-01",
        **fields,
    }


def write_family(root: Path, family: str, models: list[dict[str, object]], adapter: str = ADAPTER) -> Path:
    """A submission folder with the toy adapter."""
    folder = root / family
    folder.mkdir(parents=True)
    submission = {
        "family": family,
        "title": family,
        "description": "A toy.",
        "modality": "atoms",
        "symmetry": "invariant",
        "authors": ["Nobody"],
        "links": {"code": "https://example.org"},
        "licence": {"code": "Apache-2.0"},
        "models": models,
    }
    (folder / "submission.yaml").write_text(yaml.safe_dump(submission, sort_keys=False))
    (folder / "adapter.py").write_text(adapter)
    return folder


def write_board(root: Path, controls: Path) -> None:
    """Data sets, suite and submissions below `root`; composition and noise are copied from `controls`."""
    submissions = root / "submissions"
    tuned = {"parent_seed": 3, "tuning": 0.2}
    write_family(
        submissions,
        "toy",
        [
            toy_model("toy-a", 1),
            toy_model("toy-b", 2),
            toy_model("toy-c", 3),
            toy_model("toy-tuned", 4, options=tuned, fine_tuned_from="toy-c"),
            toy_model("toy-random", 5, control="random"),
            toy_model("toy-soap", 6, control="descriptor"),
        ],
    )
    for name in ("composition", "noise"):
        target = submissions / name
        target.mkdir()
        for file in ("submission.yaml", "adapter.py"):
            (target / file).write_text((controls / name / file).read_text())
    (root / "toy.yaml").write_text(yaml.safe_dump(SUITE, sort_keys=False))
    write_toy_datasets(root / "datasets")


def write_toy_datasets(root: Path, structures: int = 72) -> None:
    """Strained crystals and shaken molecules with a made-up label that depends on distances and elements."""
    generator = np.random.default_rng(7)
    crystals, molecules = [], []
    cells = [
        ("NaCl", "rocksalt", 5.6),
        ("MgO", "rocksalt", 4.2),
        ("ZnS", "zincblende", 5.4),
        ("CsCl", "cesiumchloride", 4.1),
    ]
    cells += [
        ("LiF", "rocksalt", 4.0),
        ("GaAs", "zincblende", 5.7),
        ("KBr", "rocksalt", 6.6),
        ("AlN", "zincblende", 4.4),
    ]
    names = ["H2O", "CH4", "NH3", "CH3OH", "C2H6", "HCN", "C2H4", "H2CO"]
    for index in range(structures):
        formula, prototype, length = cells[index % len(cells)]
        crystal = bulk(formula, prototype, a=length)
        crystal.set_cell(crystal.cell @ (np.eye(3) + 0.05 * generator.normal(size=(3, 3))), scale_atoms=True)
        crystals.append(shaken(crystal, generator))
        molecules.append(shaken(molecule(names[index % len(names)]), generator))
    for name, images, periodic in (("toy-crystals", crystals, True), ("toy-molecules", molecules, False)):
        ids = [f"{name}-{index:03d}" for index in range(structures)]
        labels = pd.DataFrame(
            {"energy_per_atom": [pair_sum(a) for a in images], "gap": [spread(a) for a in images]}, ids
        )
        card = {
            "id": name,
            "version": 1,
            "title": name,
            "description": "For tests.",
            "source": {"description": "made here"},
            "licence": "CC0-1.0",
            "periodic": periodic,
            "labels": {
                "energy_per_atom": {"unit": "eV/atom", "description": "x"},
                "gap": {"unit": "eV", "description": "y"},
            },
            "composition_basis": "fractions" if periodic else "counts",
        }
        write_dataset(root / name, card, structures_from_atoms(ids, images), labels)


def shaken(atoms: Atoms, generator: np.random.Generator) -> Atoms:
    """The same with every atom displaced at random."""
    atoms.positions += 0.08 * generator.normal(size=atoms.positions.shape)
    return atoms


def pair_sum(atoms: Atoms) -> float:
    """A smooth function of distances and elements, per atom."""
    from ase.neighborlist import neighbor_list

    centres, neighbours, distances = neighbor_list("ijd", atoms, 4.0)
    terms = np.sqrt(atoms.numbers[centres] * atoms.numbers[neighbours]) * np.exp(-distances)
    return float(terms.sum() / len(atoms))


def spread(atoms: Atoms) -> float:
    """Standard deviation of the distances within 4 Angstrom, plus a share of the elements."""
    from ase.neighborlist import neighbor_list

    return float(neighbor_list("d", atoms, 4.0).std() + 0.01 * atoms.numbers.mean())
