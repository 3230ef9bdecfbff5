"""Nequix against its own calculator, on an untrained network and on the real checkpoints where they are at hand."""

import json
import os
from pathlib import Path

import pytest

from benchmark.submission import load_submissions
from tests.submissions.inside import ROOT, run_inside

pytestmark = pytest.mark.slow

STRUCTURES = """
structures = [molecule("H2O"), bulk("NaCl", "rocksalt", a=5.64), molecule("CH3CONH2"), Atoms("H")]
for seed, atoms in enumerate(structures):
    atoms.rattle(0.05, seed=seed)
structures += [Atoms("OH", positions=[(0, 0, 0), (0, 0, 0.97)], cell=[400] * 3, pbc=True)]
model = adapter.NequixAdapter()
"""

COMPARE = """
model.load(None, {**json.loads(arguments[0]), "energies": True}, "cpu")
features = model.embed(structures)
sizes = np.array([len(atoms) for atoms in structures])
differences = {"energy": abs(features.energies - model.reference_energies(structures)) / sizes}
# Another padding: the features of an atom may not depend on what fills the shape up.
adapter.SHAPES = ((700, 40),)
other = model.embed(structures)
for name, layer in features.layers.items():
    differences[name] = abs(layer.values - other.layers[name].values) / layer.values.std()
again = adapter.NequixAdapter()
again.load(None, json.loads(arguments[0]), "cpu")
repeated = again.embed(structures).layers["backbone"].values
report({"largest": {name: values.max() for name, values in differences.items()},
        "same": abs(repeated - other.layers["backbone"].values).max(),
        "unsupported": [model.unsupported(Atoms(symbol)) for symbol in ("U", "Po")]})
"""

PHYSICS = """
import ase.io
frames = [atoms for atoms in ase.io.read(arguments[0], ":200") if len(atoms) <= 12][:40]
errors = {}
for path in arguments[1:]:
    model.load(Path(path), {}, "cpu")
    differences = model.embed(frames).energies - [atoms.get_potential_energy() for atoms in frames]
    errors[Path(path).stem] = np.mean(abs(differences) / [len(atoms) for atoms in frames])
report(errors)
"""


def test_energies_are_those_of_the_package_and_padding_changes_nothing(real_work: Path) -> None:
    options = load_submissions(ROOT / "submissions")[0]["nequix-random"].model.options
    found = run_inside("nequix", real_work, STRUCTURES + COMPARE, json.dumps(options))
    assert found["largest"]["energy"] < 1e-5
    assert max(found["largest"][layer] for layer in ("backbone", "last_layer", "equivariant")) < 1e-4
    assert found["same"] < 1e-5
    assert found["unsupported"] == [None, "element Po is not in the model's type map"]


def test_real_checkpoints_give_the_energies_of_their_training_data(real_work: Path) -> None:
    """MPtrj has energies of the Materials Project, on which MP-1 and OAM-1 were trained."""
    data, weights = os.environ.get("LATENT_MATTER_REAL_DATA"), os.environ.get("LATENT_MATTER_CHECKPOINTS")
    if not data or not weights:
        pytest.skip("needs $LATENT_MATTER_REAL_DATA with mptrj-random-1k.xyz and $LATENT_MATTER_CHECKPOINTS")
    names = ("nequix-mp-1.nqx", "nequix-mp-1-pft.nqx", "nequix-oam-1.nqx", "nequix-oam-1-pft.nqx")
    paths = [str(path) for name in names for path in Path(weights).rglob(name)]
    if not paths:
        pytest.skip(f"none of {', '.join(names)} lies below $LATENT_MATTER_CHECKPOINTS")
    errors = run_inside("nequix", real_work, STRUCTURES + PHYSICS, str(Path(data) / "mptrj-random-1k.xyz"), *paths)
    assert max(errors.values()) < 0.03, errors  # eV/atom
