"""SchNet, DimeNet++, ViSNet and PaiNN against their packages, and as checkpoints of one's own."""

import json
import sys
from pathlib import Path

import pytest

from benchmark.datasets.store import load_dataset
from benchmark.embedding.conformance import run_conformance
from benchmark.embedding.extraction import EmbeddingSettings
from benchmark.submission import Entry, load_family
from tests.submissions.inside import ROOT, run_inside

sys.path.insert(0, str(ROOT / "scripts"))

from probe_networks.train import HYPERPARAMETERS, Order, Task, train_networks

pytestmark = pytest.mark.slow
FAMILY = load_family(ROOT / "submissions/pyg")
MOLECULES = load_dataset(ROOT / "benchmark/datasets/embedded/molecules-mini")


def entry_of(name: str) -> Entry:
    return Entry(FAMILY, next(model for model in FAMILY.submission.models if model.id == name))


COMPARE = """
import torch
architecture, hyperparameters = arguments[0], json.loads(arguments[1])
folder = Path(arguments[2])
torch.manual_seed(1)
network = adapter.ProbeNetwork(adapter.Description(architecture, hyperparameters, "energy", "eV", True, (1, 6, 7, 8)))
network.constants[6] = -1000.0
adapter.save_network(folder / "network.safetensors", network)
model = adapter.MoleculeNetwork()
model.load(folder / "network.safetensors", {"architecture": architecture}, "cpu")
molecules = [molecule(name) for name in ("CH3CH2OH", "C6H6", "CH3CONH2", "CO")]
molecules += [Atoms("H"), Atoms("CC", [[0, 0, 0], [9, 0, 0]])]
for seed, atoms in enumerate(molecules):
    atoms.rattle(0.05, seed=seed)
features = model.embed(molecules)
atoms_of = np.array([len(atoms) for atoms in molecules])
ends = np.cumsum(atoms_of)
carbons = np.array([(atoms.numbers == 6).sum() for atoms in molecules])
found = {
    "energy": (np.abs(features.energies - model.reference_energies(molecules)) / atoms_of).max(),
    "spread": np.std(features.energies + 1000.0 * carbons),
    "finite": all(np.isfinite(layer.values).all() for layer in features.layers.values()),
    "alone": max(
        np.abs(np.split(layer.values, ends[:-1])[index] - model.embed([atoms]).layers[name].values).max()
        for name, layer in features.layers.items() for index, atoms in enumerate(molecules)
    ),
    "unsupported": [
        model.unsupported(atoms) for atoms in (bulk("Si"), Atoms("U"), Atoms("Og"), Atoms("F"), molecules[0])
    ],
}
report(found)
"""


@pytest.mark.parametrize("architecture", sorted(HYPERPARAMETERS))
def test_energies_are_those_of_the_package_and_features_do_not_depend_on_the_batch(
    architecture: str, real_work: Path, tmp_path: Path
) -> None:
    hyperparameters = {**HYPERPARAMETERS[architecture], **({"num_spherical": 3} if architecture == "dimenetpp" else {})}
    found = run_inside("pyg", real_work, COMPARE, architecture, json.dumps(hyperparameters), str(tmp_path))
    assert found["energy"] < 1e-5
    assert found["spread"] > 1e-3
    assert found["finite"]
    assert found["alone"] < 1e-4
    periodic, *unknown, known = found["unsupported"]
    assert "periodic" in periodic
    assert [reason.split()[1] for reason in unknown] == ["U", "Og", "F"]
    assert known is None


FEATURES = """
import torch
from torch_geometric.nn.models import schnet, visnet

# The representation of PyTorch Geometric's own networks, and PaiNN's of SchNetPack, called on one molecule.
atoms = molecule("CH3CONH2")
atoms.rattle(0.05, seed=0)
graph = adapter.make_graph([atoms], 5.0)
schnet.radius_graph = visnet.radius_graph = adapter.all_pairs
found = {}
for architecture in ("visnet", "schnet", "painn"):
    torch.manual_seed(0)
    network = adapter.ProbeNetwork(adapter.Description(architecture, json.loads(arguments[0])[architecture])).eval()
    with torch.no_grad():
        network(graph)
        caught = network.network.caught
        if architecture == "visnet":
            own = network.network.model.representation_model
            own.distance = visnet.Distance(5.0)
            x, vectors = own(graph.numbers, graph.positions, graph.structure)
        elif architecture == "schnet":
            own, vectors = network.network.model, None
            edges, lengths = schnet.RadiusInteractionGraph(5.0)(graph.positions, graph.structure)
            x = own.embedding(graph.numbers)
            for block in own.interactions:
                x = x + block(x, edges, lengths, own.distance_expansion(lengths))
        else:
            schnetpack = adapter.import_schnetpack()
            neighbours = schnetpack.transform.ASENeighborList(cutoff=5.0)
            convert = schnetpack.interfaces.AtomsConverter(neighbours, device="cpu")
            inputs = schnetpack.atomistic.PairwiseDistances()(convert(atoms))
            inputs = network.network.representation(inputs)
            x, vectors = inputs["scalar_representation"], inputs["vector_representation"]
    found[architecture] = [float((x - caught["backbone"]).abs().max())]
    if vectors is not None:
        found[architecture].append(float((vectors - caught["equivariant"]).abs().max()))
report(found)
"""


def test_features_are_those_of_the_packages_representation(real_work: Path) -> None:
    found = run_inside("pyg", real_work, FEATURES, json.dumps(HYPERPARAMETERS))
    assert sorted(map(len, found.values())) == [1, 2, 2]
    assert max(max(differences) for differences in found.values()) < 1e-5


def test_a_trained_checkpoint_conforms_and_gives_energies(real_work: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "painn-energy.safetensors"
    task = Task("painn", "energy", epochs=1, batch=64, share=0.1, per_atom=True)
    [errors] = train_networks([Order(task, checkpoint)], MOLECULES, real_work)
    entry = entry_of("painn-energy")
    assert errors["parameters"] == entry.model.parameters
    settings = EmbeddingSettings(real_work, accelerator="cpu", threads=1, checkpoints={"painn-energy": checkpoint})
    outcomes = {check.id: check.status for check in run_conformance(entry, settings)}
    assert "failed" not in outcomes.values()
    assert outcomes["energies"] == outcomes["equivariance"] == outcomes["sensitivity"] == "passed"


def test_a_checkpoint_of_another_architecture_is_refused(real_work: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "network.safetensors"
    train_networks([Order(Task("schnet", "gap", epochs=0), checkpoint)], MOLECULES, real_work)
    entry = entry_of("painn-gap")
    settings = EmbeddingSettings(real_work, accelerator="cpu", threads=1, checkpoints={"painn-gap": checkpoint})
    [outcome] = run_conformance(entry, settings)
    assert outcome.status == "failed" and "holds architecture 'schnet'" in outcome.detail
