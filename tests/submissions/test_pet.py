"""PET against metatrain and UPET themselves, on untrained networks saved as metatrain saves trained ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.embedding.conformance import run_conformance
from benchmark.embedding.extraction import EmbeddingSettings
from benchmark.submission import load_submissions
from tests.submissions.inside import ROOT, run_inside

pytestmark = pytest.mark.slow

XS = '{"d_node": 512, "d_pet": 128, "d_head": 128, "d_feedforward": 256, "num_heads": 8}'

# A network with heads for direct forces beside the energy, an energy for each element and a scale that is not 1.
SAVE = """
import torch
import metatensor.torch as mts
from metatrain.llpr import LLPRUncertaintyModel
from metatrain.pet import PET
from metatrain.utils.architectures import get_default_hypers
from metatrain.utils.data import DatasetInfo
from metatrain.utils.data.target_info import get_energy_target_info, get_generic_target_info

def save(path, uncertainty=False, **hypers):
    forces = {"quantity": "force", "unit": "eV/A", "sample_kind": "atom", "num_subtargets": 1}
    forces["type"] = {"cartesian": {"rank": 1}}
    targets = {"energy": get_energy_target_info("energy", {"quantity": "energy", "unit": "eV"}, True),
               "non_conservative_force": get_generic_target_info("non_conservative_force", forces)}
    hypers = get_default_hypers("pet")["model"] | dict(adapter_hypers, **hypers)
    torch.manual_seed(3)
    model = PET(hypers, DatasetInfo(length_unit="angstrom", atomic_types=list(range(1, 93)), targets=targets))
    composition, scaler = model.additive_models[0], model.scaler
    for module, maps, name, fill in (
        (composition, composition.model.weights, "energy_composition_buffer", lambda v: v.uniform_(-3000, 0)),
        (scaler, scaler.model.scales, "energy_scaler_buffer", lambda v: v.fill_(1.7)),
        (scaler, scaler.model.per_target_scales, "energy_per_target_scaler_buffer", lambda v: v.fill_(1.7)),
    ):
        fill(maps["energy"].block().values)
        setattr(module, name, mts.save_buffer(mts.make_contiguous(maps["energy"])))
    for parameter in model.backend.parameters():  # charge and spin start without effect
        parameter.data += 0.02 * torch.randn_like(parameter)
    checkpoint = model.get_checkpoint() | {"best_epoch": 1}
    if uncertainty:  # around the network, as in the public checkpoints that estimate it
        wrapper = LLPRUncertaintyModel(get_default_hypers("llpr")["model"], model.dataset_info)
        wrapper.set_wrapped_model(model)
        checkpoint = wrapper.get_checkpoint() | {"wrapped_model_checkpoint": checkpoint}
    torch.save(checkpoint, path)

adapter_hypers = dict(cutoff=7.5, num_neighbors_adaptive=16, num_attention_layers=1, d_node=64, d_pet=32, d_head=32,
                      d_feedforward=64, num_heads=4)
"""

COMPARE = """
from metatomic.torch import ModelOutput
from upet.ase import UPETCalculator

structures = [molecule(name) for name in ("CH3CH2OH", "H2O", "CH3CONH2", "CH3Cl")]
structures += [bulk("NaCl", "rocksalt", a=5.64, cubic=True), bulk("Ti", "hcp", a=2.95, c=4.68)]
for seed, atoms in enumerate(structures):
    atoms.rattle(0.05, seed=seed)
slab = bulk("Cu", "fcc", a=3.6, cubic=True)
slab.pbc = (True, True, False)
outside = bulk("NaCl", "rocksalt", a=5.64)
outside.positions += 40.0
structures += [slab, outside, Atoms("H"), Atoms("OH", positions=[(0, 0, 0), (0, 0, 0.97)], cell=[400] * 3, pbc=True)]
"""

RUN = """
def compare(path):
    model = adapter.PETAdapter()
    model.load(Path(path), {}, "cpu")
    for atoms, charge, spin in zip(structures, (1, 0, -1), (2, 3, 2)):
        atoms.info.update(charge=charge, spin=spin)
    features = model.embed(structures)
    alone = [model.embed([atoms]) for atoms in structures]
    sizes = np.array([len(atoms) for atoms in structures])
    differences = {"energy": abs(features.energies - model.reference_energies(structures)) / sizes}
    package = {"backbone": "feature", "last_layer": "mtt::aux::energy_last_layer_features"}
    calculator = UPETCalculator(checkpoint_path=path, device="cpu").calculator
    outputs = {output: ModelOutput(sample_kind="atom") for output in package.values()}
    found = [calculator.run_model(atoms, outputs) for atoms in structures]
    for name, output in package.items():
        values = features.layers[name].values
        expected = np.concatenate([part[output].block().values.detach().numpy() for part in found])
        one_by_one = np.concatenate([part.layers[name].values for part in alone])
        differences[name] = abs(values - expected) / expected.std()
        differences[name + " alone"] = abs(values - one_by_one) / expected.std()
    structures[0].info.update(charge=0, spin=1)
    neutral = model.embed(structures[:1]).layers["backbone"].values
    differences["charge"] = abs(neutral - features.layers["backbone"].values[: len(neutral)])
    return {name: float(values.max()) for name, values in differences.items()} | {
        "unsupported": [model.unsupported(Atoms(symbol)) for symbol in ("U", "Pu")]}

found = {}
for name, hypers in json.loads(arguments[1]).items():
    save(arguments[0], **hypers)
    found[name] = compare(arguments[0])
report(found)
"""

NETWORKS: dict[str, dict[str, Any]] = {
    "feed-forward": {},
    "uncertainty": {"uncertainty": True},
    "charge and spin": {"system_conditioning": True},
    "residual": {"featurizer_type": "residual", "adaptive_cutoff_method": "grid", "cutoff_function": "Cosine"},
    "fixed cutoff": {"num_neighbors_adaptive": None, "cutoff": 4.5, "num_gnn_layers": 1},
}


@pytest.fixture(scope="module")
def compared(real_work: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Largest differences by network: one batch of molecules, crystals, a slab, a single atom and a huge cell."""
    path = tmp_path_factory.mktemp("pet") / "model.ckpt"
    return run_inside("pet", real_work, SAVE + COMPARE + RUN, str(path), json.dumps(NETWORKS))


@pytest.mark.parametrize("network", NETWORKS)
def test_energies_and_both_layers_are_those_of_the_package(network: str, compared: Any) -> None:
    largest = compared[network]
    assert largest["energy"] < 1e-5
    assert max(largest["backbone"], largest["last_layer"]) < 1e-4
    assert max(largest["backbone alone"], largest["last_layer alone"]) < 1e-4


def test_charge_and_spin_count_where_the_network_knows_them(compared: Any) -> None:
    changed = {network: largest["charge"] > 1e-3 for network, largest in compared.items()}
    assert changed == {network: network == "charge and spin" for network in NETWORKS}


def test_an_element_outside_the_training_set_is_named(compared: Any) -> None:
    assert compared["feed-forward"]["unsupported"] == [None, "the model was not trained on Pu"]


def test_a_checkpoint_given_as_a_file_passes_every_conformance_check(real_work: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    run_inside("pet", real_work, SAVE + "save(arguments[0], **json.loads(arguments[1]))\nreport(0)", str(path), XS)
    entry = load_submissions(ROOT / "submissions")[0]["pet-mad-xs-1.6"]
    settings = EmbeddingSettings(real_work, accelerator="cpu", threads=1, checkpoints={entry.model.id: path})
    outcomes = {check.id: check for check in run_conformance(entry, settings)}
    assert {id: check.detail for id, check in outcomes.items() if check.status == "failed"} == {}
    assert outcomes["energies"].status == outcomes["sensitivity"].status == "passed"
