"""UMA and eSEN against fairchem itself, on untrained networks saved as fairchem saves trained ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.embedding.conformance import run_conformance
from benchmark.embedding.extraction import EmbeddingSettings
from benchmark.embedding.rotations import random_rotation, rotate_features
from benchmark.submission import load_submissions
from tests.submissions.inside import ROOT, run_inside

pytestmark = pytest.mark.slow

ENTRIES, _ = load_submissions(ROOT / "submissions")
RANDOM = ENTRIES["uma-random"].model.options
SMALL = {"sphere_channels": 16, "hidden_channels": 16, "edge_channels": 16, "num_layers": 2}
SINGLE_HEAD = {
    "module": "fairchem.core.models.uma.escn_moe.DatasetSpecificSingleHeadWrapper",
    "head_cls": "fairchem.core.models.uma.escn_md.MLP_EFS_Head",
    "head_kwargs": {"wrap_property": False},
}
# What the public networks differ in: experts, order of the harmonics, heads, conserved or direct forces, neighbours.
NETWORKS: dict[str, dict[str, Any]] = {
    "small UMA": {
        "task": "omol",
        "backbone": RANDOM["backbone"] | SMALL,
        "heads": RANDOM["heads"],
        "model_id": "UMA-S-1.2.1",
    },
    "medium UMA": {
        "task": "omat",
        "backbone": RANDOM["backbone"] | SMALL | {"lmax": 4, "charge_balanced_channels": None},
        "heads": {"energyandforcehead": SINGLE_HEAD | {"dataset_names": ["omat", "omol"]}},
        "model_id": "UMA-1.1",
    },
    "direct eSEN": {
        "task": "omol",
        "backbone": RANDOM["backbone"]
        | SMALL
        | {"num_experts": 0, "max_neighbors": 10, "direct_forces": True, "regress_stress": False},
        "heads": {
            "energyandforcehead": SINGLE_HEAD
            | {"dataset_names": ["omol"], "head_cls": "fairchem.core.models.uma.escn_md.MLP_Energy_Head"},
        },
    },
}

SAVE = """
import copy, torch
from fairchem.core.models.base import HydraModel
from fairchem.core.units.mlip_unit.api.inference import MLIPInferenceCheckpoint

def tasks(names):
    generator = torch.Generator().manual_seed(5)
    return [{
        "_target_": "fairchem.core.units.mlip_unit.mlip_unit.Task", "name": f"{name}_energy", "level": "system",
        "property": "energy", "loss_fn": None, "metrics": [], "datasets": [name],
        "out_spec": {"_target_": "fairchem.core.units.mlip_unit.mlip_unit.OutputSpec", "dim": [1], "dtype": "float32"},
        "normalizer": {"_target_": "fairchem.core.modules.normalization.normalizer.Normalizer", "mean": 0.0,
                       "rmsd": 1.4},
        "element_references": {
            "_target_": "fairchem.core.modules.normalization.element_references.ElementReferences",
            "element_references": {"_target_": "torch.DoubleTensor",
                                   "_args_": [(-3000 * torch.rand(100, generator=generator)).tolist()]}},
    } for name in names]

def save(path, network):
    config = {"_target_": "fairchem.core.models.base.HydraModel", "backbone": network["backbone"],
              "heads": network["heads"], "pass_through_head_outputs": True}
    if network.get("model_id"):
        config["model_id"] = network["model_id"]
    torch.manual_seed(3)
    model = HydraModel(**{name: copy.deepcopy(value) for name, value in config.items() if name != "_target_"})
    (head,) = network["heads"].values()
    names = list(head.get("dataset_names") or head["dataset_mapping"])
    weights = torch.optim.swa_utils.AveragedModel(model).state_dict()
    torch.save(MLIPInferenceCheckpoint(config, model.state_dict(), weights, tasks(names)), path)
"""

COMPARE = """
from fairchem.core.datasets.atomic_data import AtomicData

structures = [molecule(name) for name in ("CH3CH2OH", "H2O", "CH3CONH2", "CH3Cl")]
structures += [bulk("NaCl", "rocksalt", a=5.64, cubic=True), bulk("Ti", "hcp", a=2.95, c=4.68)]
for seed, atoms in enumerate(structures):
    atoms.rattle(0.05, seed=seed)
for atoms, charge, spin in zip(structures, (1, 0, -1), (2, 3, 2)):
    atoms.info.update(charge=charge, spin=spin)
slab = bulk("Cu", "fcc", a=3.6, cubic=True)
slab.pbc = (True, True, False)
outside = bulk("NaCl", "rocksalt", a=5.64)
outside.positions += 40.0
structures += [slab, outside, Atoms("OH", positions=[(0, 0, 0), (0, 0, 0.97)], cell=[400] * 3, pbc=True)]

def package(model, atoms):
    '''The backbone's output for one structure with the graph that fairchem itself makes.'''
    atoms = atoms.copy()
    model.validate_atoms_data(atoms, model_task)
    data = AtomicData.from_ase(atoms, task_name=model_task, r_data_keys=["spin", "charge"])
    unit.predict(data.clone())
    with torch.no_grad():
        return unit.model.module.backbone(data)["node_embedding"].detach().numpy()

found = {}
for name, network in json.loads(arguments[1]).items():
    path, model_task = Path(arguments[0]), network["task"]
    save(path, network)
    model = adapter.FairchemAdapter()
    model.load(path, {"task": model_task}, "cpu")
    features = model.embed(structures)
    unit = adapter.predictor(path, "cpu")
    nodes = np.concatenate([package(unit, atoms) for atoms in structures])
    lmax = model.lmax
    expected = {"backbone": nodes[:, 0], "equivariant": np.concatenate(
        [nodes[:, l * l : (l + 1) ** 2].transpose(0, 2, 1).reshape(len(nodes), -1) for l in range(1, lmax + 1)], 1)}
    layers = {key: layer.values for key, layer in features.layers.items()}
    alone = [model.embed([atoms]).layers for atoms in structures]
    sizes = np.array([len(atoms) for atoms in structures])
    differences = {"energy": abs(features.energies - model.reference_energies(structures)) / sizes}
    for key in layers:
        one_by_one = np.concatenate([part[key].values for part in alone])
        differences[key + " alone"] = abs(layers[key] - one_by_one) / layers[key].std()
        if key in expected:
            differences[key] = abs(layers[key] - expected[key]) / expected[key].std()
    turned = structures[0].copy()
    turned.positions = turned.positions @ np.array(json.loads(arguments[2])).T
    atom = model.embed([structures[1], Atoms("H")])
    neutral = structures[0].copy()
    neutral.info.update(charge=0, spin=1)
    differences["charge"] = abs(model.embed([neutral]).layers["backbone"].values - layers["backbone"][: sizes[0]])
    found[name] = {
        "largest": {key: float(values.max()) for key, values in differences.items()},
        "irreps": features.layers["equivariant"].irreps,
        "before": layers["equivariant"][: sizes[0]].tolist(),
        "after": model.embed([turned]).layers["equivariant"].values.tolist(),
        "single atom": [bool(np.isfinite(layer.values).all()) for layer in atom.layers.values()],
        "unsupported": [model.unsupported(Atoms(symbol)) for symbol in ("Es", "Fm")],
        "gradients": any(layer.requires_grad for layer in model.caught.values()),
    }
report(found)
"""

# The files that the entries declare, below a folder as in the repository that holds them.
REPOSITORY = """
folder = Path(arguments[0])
(folder / "checkpoints").mkdir(parents=True)
(folder / "references").mkdir()
save(folder / "checkpoints" / "uma-s-1p2p1.pt", json.loads(arguments[1]))
(folder / "references" / "iso_atom_elem_refs.yaml").write_text("omol_elem_refs:\\n  1: {0: -13.5, 1: 0.0}\\n")
"""

ISOLATED = """
model = adapter.FairchemAdapter()
model.load(folder, {"task": "omol"}, "cpu")
proton = Atoms("H", info={"charge": 1, "spin": 1})
both = [Atoms("H"), molecule("H2O"), proton]
report({"given": model.embed(both).energies.tolist(), "package": model.reference_energies(both).tolist()})
"""

ROTATION = random_rotation(4)


@pytest.fixture(scope="module")
def compared(real_work: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What was found by network: one batch of molecules, crystals, a slab and a huge cell beside the package."""
    path = tmp_path_factory.mktemp("fairchem") / "model.pt"
    networks, rotation = json.dumps(NETWORKS), json.dumps(ROTATION.tolist())
    return run_inside("fairchem", real_work, SAVE + COMPARE, str(path), networks, rotation)


@pytest.mark.parametrize("network", NETWORKS)
def test_energies_and_backbone_are_those_of_the_package(network: str, compared: Any) -> None:
    largest = compared[network]["largest"]
    assert largest["energy"] < 1e-5
    assert max(largest["backbone"], largest["equivariant"]) < 1e-4
    assert max(largest[f"{layer} alone"] for layer in ("backbone", "last_layer", "equivariant")) < 1e-4
    assert not compared[network]["gradients"]


@pytest.mark.parametrize("network", NETWORKS)
def test_equivariant_channels_turn_with_the_structure_as_their_irreps_say(network: str, compared: Any) -> None:
    before, after = (np.array(compared[network][key]) for key in ("before", "after"))
    turned = rotate_features(before, compared[network]["irreps"], ROTATION)
    assert np.abs(turned - after).max() < 1e-4 * before.std()
    assert np.abs(before - after).max() > 0.1 * before.std()


@pytest.mark.parametrize("network", NETWORKS)
def test_charge_and_spin_reach_the_features(network: str, compared: Any) -> None:
    assert compared[network]["largest"]["charge"] > 1e-3


def test_a_single_atom_has_finite_features_and_an_element_too_heavy_is_named(compared: Any) -> None:
    assert all(compared["small UMA"]["single atom"])
    reason = "the network ends at atomic number 99, before Fm"
    assert compared["small UMA"]["unsupported"] == [None, reason]


def test_isolated_atoms_have_the_energies_of_the_packages_table(real_work: Path, tmp_path: Path) -> None:
    network = json.dumps(NETWORKS["small UMA"])
    found = run_inside("fairchem", real_work, SAVE + REPOSITORY + ISOLATED, str(tmp_path / "repository"), network)
    assert found["given"] == pytest.approx(found["package"], abs=1e-5)
    assert found["given"][0] == -13.5 and found["given"][2] == 0.0


def test_a_checkpoint_given_as_a_folder_passes_every_conformance_check(real_work: Path, tmp_path: Path) -> None:
    entry = ENTRIES["uma-s-1.2.1-omat"]
    shorter = RANDOM["backbone"] | {"num_layers": 1, "num_experts": 2}
    network = json.dumps({**RANDOM, "backbone": shorter, "model_id": "UMA-S-1.2.1"})
    run_inside("fairchem", real_work, SAVE + REPOSITORY + "report(0)", str(tmp_path / "uma"), network)
    settings = EmbeddingSettings(
        real_work, accelerator="cpu", threads=1, checkpoints={entry.model.id: tmp_path / "uma"}
    )
    outcomes = {check.id: check for check in run_conformance(entry, settings)}
    assert {id: check.detail for id, check in outcomes.items() if check.status == "failed"} == {}
    assert outcomes["energies"].status == outcomes["equivariance"].status == "passed"
