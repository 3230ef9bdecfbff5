"""Orb against orb-models itself, on untrained networks of all its architectures."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.embedding.conformance import run_conformance
from benchmark.embedding.extraction import EmbeddingSettings
from benchmark.submission import load_submissions
from tests.submissions.inside import ROOT, run_inside

pytestmark = pytest.mark.slow

# Diamond and titanium have more than 20 neighbours within the cutoff, diamond more than 120.
STRUCTURES = """
import torch
structures = [molecule(name) for name in ("CH3CH2OH", "H2O", "CH3CONH2", "C6H6")]
structures += [bulk("NaCl", "rocksalt", a=5.64, cubic=True), bulk("Ti", "hcp", a=2.95, c=4.68), bulk("C", a=3.57)]
for seed, atoms in enumerate(structures):
    atoms.rattle(0.05, seed=seed)
outside = bulk("NaCl", "rocksalt", a=5.64)
outside.rattle(0.05)
outside.positions += 40.0
# Equally distant neighbours, of which 20 are kept: only the package's own choice gives its energy.
perfect = bulk("NaCl", "rocksalt", a=5.64)
structures += [outside, perfect, Atoms("H")]
structures.append(Atoms("OH", positions=[(0, 0, 0), (0, 0, 0.97)], cell=[400] * 3, pbc=True))
"""

RUN = """
from orb_models.forcefield.atomic_system import ase_atoms_to_atom_graphs

def compare(options):
    model = adapter.OrbAdapter()
    model.load(None, {"seed": 1, "energies": True, **options}, "cpu")
    torch.save(model.model.state_dict(), arguments[0])
    loaded = adapter.OrbAdapter()
    loaded.load(Path(arguments[0]), options, "cpu")
    features = loaded.embed(structures)
    sizes = np.array([len(atoms) for atoms in structures])
    differences = {"energy": abs(features.energies - model.reference_energies(structures)) / sizes}
    nodes = []
    for atoms in structures:
        atoms.info.update(charge=0, spin=1)
        with torch.no_grad():
            nodes.append(model.model.model(ase_atoms_to_atom_graphs(atoms, model.config))["node_features"])
    expected = torch.cat(nodes).numpy()
    differences["backbone"] = abs(features.layers["backbone"].values - expected) / expected.std()
    alone = [loaded.embed([atoms]).layers["last_layer"].values for atoms in structures]
    last = features.layers["last_layer"].values
    differences["last_layer alone"] = abs(last - np.concatenate(alone)) / last.std()
    weights = sum(weight.numel() for weight in loaded.model.parameters() if weight.requires_grad)
    slab = Atoms("H", cell=[3, 3, 9], pbc=(True, True, False))
    return {name: float(values.max()) for name, values in differences.items()} | {
        "weights": weights, "unsupported": [loaded.unsupported(atoms) for atoms in (slab, Atoms("Og"), Atoms("U"))]}

report({name: compare(options) for name, options in json.loads(arguments[1]).items()})
"""

SUBMITTED = {name: entry for name, entry in load_submissions(ROOT / "submissions")[0].items() if name.startswith("orb")}
# One model for every architecture and number of neighbours.
NETWORKS = (
    "orb-v2",
    "orb-d3-sm-v2",
    "orb-d3-xs-v2",
    "orb-v3-conservative-20-omat",
    "orb-v3-conservative-inf-omat",
    "orb-v3-direct-20-omat",
    "orb-v3-direct-inf-omat",
    "orb-v3-conservative-omol",
    "orb-v3-direct-omol",
)


@pytest.fixture(scope="module")
def compared(real_work: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Largest differences by model: one batch of molecules, crystals, a single atom and a huge cell."""
    path = tmp_path_factory.mktemp("orb") / "network.ckpt"
    options = {name: SUBMITTED[name].model.options for name in NETWORKS}
    return run_inside("orb", real_work, STRUCTURES + RUN, str(path), json.dumps(options))


@pytest.mark.parametrize("name", NETWORKS)
def test_energies_and_features_are_those_of_the_package(name: str, compared: Any) -> None:
    assert compared[name]["energy"] < 1e-5
    assert compared[name]["backbone"] < 1e-4
    assert compared[name]["last_layer alone"] < 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_the_number_of_weights_is_the_declared_one(name: str, compared: Any) -> None:
    assert compared[name]["weights"] == SUBMITTED[name].model.parameters


def test_what_the_package_cannot_embed_is_named(compared: Any) -> None:
    reasons = compared["orb-v2"]["unsupported"]
    assert reasons[0] == "the model's graphs are periodic along all directions or along none"
    assert reasons[1:] == ["the model has no reference energy for Og", None]


def test_the_random_network_passes_every_conformance_check_with_its_energies(real_work: Path) -> None:
    entry = SUBMITTED["orb-random"]
    options = {**entry.model.options, "energies": True}
    entry = type(entry)(entry.family, entry.model.model_copy(update={"options": options}))
    outcomes = {check.id: check for check in run_conformance(entry, EmbeddingSettings(real_work, "cpu", threads=1))}
    assert {id: check.detail for id, check in outcomes.items() if check.status == "failed"} == {}
    assert outcomes["energies"].status == outcomes["sensitivity"].status == "passed"
    assert outcomes["rotation"].status == "reported"
