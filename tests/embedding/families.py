"""Small submissions written for a test: an adapter of a few lines in a folder of its own."""

from __future__ import annotations

import datetime
import platform
import sys
import sysconfig
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms

from benchmark.datasets.store import Dataset, structures_from_atoms, write_dataset
from benchmark.embedding.environment import Environment
from benchmark.embedding.probes import default_probes
from benchmark.submission import Entry, Family, LayerDeclaration, Model, NoCheckpoint, Submission

HEADER = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["ase==3.29.0", "numpy==2.4.6"]
# [tool.uv]
# exclude-newer = "2026-11-15T00:00:00Z"
# ///
"""

# A smooth invariant descriptor: for each atom its number and Gaussian sums over neighbours, weighted by
# their atomic numbers. `vectors` is the same with directions: l=1, (x, y, z).
DESCRIPTOR = '''
import os, sys, time
from pathlib import Path
import numpy as np
from ase.neighborlist import neighbor_list
from benchmark.adapter import Adapter, Features, Layer

CUTOFF = 4.0
WIDTHS = (0.7, 1.1, 1.9)

def pairs(atoms):
    i, j, distance, vector = neighbor_list("ijdD", atoms, CUTOFF)
    weight = atoms.numbers[j] * (1 + np.cos(np.pi * distance / CUTOFF)) / 2
    return i, distance, vector, weight

def scalars(atoms, scale=1.0):
    i, distance, _, weight = pairs(atoms)
    columns = [atoms.numbers.astype(float)]
    for width in WIDTHS:
        value = weight * np.exp(-((distance / width / 2) ** 2))
        columns.append(np.bincount(i, value, len(atoms)) * scale)
    return np.stack(columns, axis=1)

def vectors(atoms):
    i, distance, vector, weight = pairs(atoms)
    out = np.zeros((len(atoms), 3))
    np.add.at(out, i, (weight / distance)[:, None] * vector)
    return out

def tensors(atoms):
    """l=2 in e3nn's order: xz, xy, (2yy-xx-zz)/(2 sqrt 3), yz, (zz-xx)/2."""
    i, distance, vector, weight = pairs(atoms)
    x, y, z = (vector / distance[:, None]).T
    parts = np.stack([x*z, x*y, (2*y*y - x*x - z*z) / (2 * 3**0.5), y*z, (z*z - x*x) / 2], axis=1)
    out = np.zeros((len(atoms), 5))
    np.add.at(out, i, weight[:, None] * parts)
    return out
'''

WELL_BEHAVED = """
class Descriptor(Adapter):
    def load(self, checkpoint, options, device):
        self.scale = 1.0

    def embed(self, inputs):
        return Features({"backbone": Layer(np.concatenate([scalars(atoms, self.scale) for atoms in inputs]))})
"""


def write_family(
    folder: Path,
    adapter: str = WELL_BEHAVED,
    *,
    layers: Mapping[str, LayerDeclaration] | None = None,
    options: Mapping[str, Any] | None = None,
    symmetry: Any = "equivariant",
    parameters: int = 0,
    checkpoint: Any = None,
    modality: Any = "atoms",
) -> Entry:
    """A family with the one model `toy`, whose adapter is the descriptor's functions and `adapter`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter.py").write_text(HEADER + DESCRIPTOR + textwrap.dedent(adapter))
    model = Model(
        id="toy",
        title="Toy",
        checkpoint=checkpoint or NoCheckpoint(kind="none"),
        options=dict(options or {}),
        layers=dict(layers or {"backbone": LayerDeclaration(dimension=4)}),
        parameters=parameters,
        training_data=[],
        training_targets=[],
        released=datetime.date(2026, 1, 1),
    )
    submission = Submission(
        family="toy",
        title="Toy",
        description="A toy.",
        modality=modality,
        symmetry=symmetry,
        authors=["A. Tester"],
        links={},
        licence={"code": "Apache-2.0"},  # type: ignore[arg-type]
        models=[model],
    )
    return Entry(Family(folder, submission), model)


def this_environment() -> Environment:
    """The interpreter that runs the tests, in place of an environment of the adapter's own."""
    return Environment(
        python=Path(sys.executable),
        site_packages=Path(sysconfig.get_path("purelib")),
        key="0" * 64,
        packages={"numpy": np.__version__},
        python_version=platform.python_version(),
        device="cpu",
        build_seconds=0.0,
    )


def write_small_dataset(folder: Path, count: int = 10) -> Dataset:
    """`count` rattled copies of the probe structures with a label."""
    images: list[Atoms] = []
    generator = np.random.default_rng(1)
    while len(images) < count:
        for atoms in default_probes():
            atoms.positions += 0.02 * generator.normal(size=atoms.positions.shape)
            images.append(atoms)
    images = images[:count]
    ids = [f"s{number:03d}" for number in range(count)]
    card = {
        "id": "small",
        "version": 1,
        "title": "Small",
        "description": "For tests.",
        "source": {"description": "Made by a test."},
        "licence": "CC0-1.0",
        "periodic": False,
        "labels": {"energy": {"unit": "eV", "description": "Secret."}},
        "composition_basis": "counts",
    }
    labels = pd.DataFrame({"energy": np.arange(count, dtype=float)}, index=ids)
    return write_dataset(folder, card, structures_from_atoms(ids, images), labels)
