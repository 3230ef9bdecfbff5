"""DPA against deepmd-kit, on untrained networks saved as the package saves them, one task or several."""

from pathlib import Path

import pytest
from ase.data import chemical_symbols

from benchmark.submission import load_family
from tests.submissions.inside import run_inside

COMPARE = """
import copy, torch, yaml
from deepmd.pt.model.model import get_model
from deepmd.pt.train.wrapper import ModelWrapper

family, folder, architecture = Path(arguments[0]), Path(arguments[1]), arguments[2]
entries = yaml.safe_load((family / "submission.yaml").read_text())["models"]
options = {entry["id"]: entry.get("options") for entry in entries}
section = options["dpa3-random"]["model"]
if architecture == "dpa2":
    section = copy.deepcopy(section)
    section["descriptor"] = {
        "type": "dpa2",
        "repinit": {"tebd_dim": 8, "rcut": 6.0, "rcut_smth": 0.5, "nsel": 200, "neuron": [8, 16, 32],
                    "axis_neuron": 4, "activation_function": "tanh", "three_body_sel": 60, "three_body_rcut": 4.0,
                    "three_body_rcut_smth": 3.5, "use_three_body": True, "three_body_neuron": [8, 16, 32]},
        "repformer": {"rcut": 4.0, "rcut_smth": 3.5, "nsel": 60, "nlayers": 2, "g1_dim": 32, "g2_dim": 16,
                      "attn2_hidden": 16, "attn2_nhead": 4, "attn1_hidden": 16, "attn1_nhead": 4, "axis_neuron": 4,
                      "update_g1_has_conv": True, "update_g1_has_grrg": True, "update_g1_has_drrd": True},
        "precision": "float64", "add_tebd_to_repinit_out": False, "seed": 1,
    }
model = get_model(copy.deepcopy(section))
with torch.no_grad():
    bias = model.atomic_model.out_bias
    bias.copy_(torch.linspace(-90.0, -5.0, bias.numel()).reshape(bias.shape))
torch.save({"model": ModelWrapper(model, model_params=section).state_dict()}, folder / "model.pt")
model = adapter.DPAAdapter()
model.load(folder / "model.pt", {}, "cpu")

rock_salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
structures = [molecule("CH3CH2OH"), rock_salt, bulk("Ti"), molecule("SO2"), bulk("BN", "zincblende", a=3.6)]
for seed, atoms in enumerate(structures):
    atoms.rattle(0.05, seed=seed)
structures += [
    Atoms("H"),
    Atoms("C", cell=[2.5] * 3, pbc=True),
    Atoms("OH", positions=[(399.9, 0, 0), (0.8, 0, 0)], cell=[400] * 3, pbc=True),
]
slab = Atoms("C2", positions=[(0, 0, 0), (1.42, 0, 0)], cell=[[2.46, 0, 0], [-1.23, 2.13, 0], [0, 0, 0]], pbc=(1, 1, 0))
features = model.embed([*structures, slab])
sizes = np.array([len(atoms) for atoms in structures])
energy = np.abs(features.energies[:-1] - model.reference_energies(structures)) / sizes

def own_embedding(atoms):
    # frames of the package are single structures; its default precision is single
    return model._package_call(model.potential.eval_embedding, atoms)

own = [own_embedding(atoms) for atoms in structures]
layers = {}
for index, name in enumerate(("backbone", "last_layer")):
    rows = np.concatenate([result[index][0] for result in own])
    given = features.layers[name].values[: len(rows)]
    layers[name] = np.abs(rows - given).max() / rows.std()
report({
    "energy": energy.max(), "layers": layers,
    "finite": all(np.isfinite(layer.values).all() for layer in features.layers.values()),
    "unsupported": [model.unsupported(Atoms(["Og", "Ts", "X"])), model.unsupported(rock_salt)],
})
"""
FAMILY = Path(__file__).parents[2] / "submissions" / "dpa"


def test_the_untrained_network_knows_every_element() -> None:
    options = next(model.options for model in load_family(FAMILY).submission.models if model.id == "dpa3-random")
    assert options["model"]["type_map"] == chemical_symbols[1:]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["dpa3", "dpa2"])
def test_energies_and_layers_are_those_of_the_package(architecture: str, real_work: Path, tmp_path: Path) -> None:
    found = run_inside("dpa", real_work, COMPARE, str(FAMILY), str(tmp_path), architecture)
    assert found["energy"] < 1e-5
    assert found["layers"]["backbone"] < 1e-4
    assert found["layers"]["last_layer"] < 1e-4
    assert found["finite"]
    assert found["unsupported"] == ["X not in the model's type map", None]
