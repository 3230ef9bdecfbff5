"""AIMNet2 against its package, on an untrained network in a checkpoint of the package's own format."""

from pathlib import Path

import pytest

from tests.submissions.inside import run_inside

pytestmark = pytest.mark.slow

COMPARE = """
import torch, yaml
from importlib.resources import files
from aimnet.config import build_module
from aimnet.train.export_model import export_model

folder = Path(arguments[0])
config = files("aimnet.models") / "aimnet2_dftd3_wb97m.yaml"
torch.manual_seed(1)
torch.save(build_module(yaml.safe_load(config.read_text())).state_dict(), folder / "weights.pt")
(folder / "sae.yaml").write_text("".join(f"{number}: {-27.2 * number}\\n" for number in adapter.ELEMENTS))
export_model.callback(
    weights=str(folder / "weights.pt"), output=str(folder / "model.pt"), model=str(config),
    sae=str(folder / "sae.yaml"), needs_coulomb=None, needs_dispersion=None,
)
model = adapter.AIMNet2Adapter()
model.load(folder / "model.pt", {}, "cpu")

boron_nitride = bulk("BN", "zincblende", a=3.6)
structures = [molecule("CH3CH2OH"), bulk("Si", cubic=True), molecule("SO2"), molecule("NO"), boron_nitride]
for seed, atoms in enumerate(structures):
    atoms.rattle(0.05, seed=seed)
structures += [
    Atoms("H"),
    Atoms("C", cell=[2.5] * 3, pbc=True),
    Atoms("OH", positions=[(0, 0, 0), (0, 0, 0.97)], cell=[400] * 3, pbc=True),
    Atoms("C2", positions=[(0, 0, 0), (1.42, 0, 0)], cell=[[2.46, 0, 0], [-1.23, 2.13, 0], [0, 0, 0]], pbc=(1, 1, 0)),
]
features = model.embed(structures)
sizes = np.array([len(atoms) for atoms in structures])
difference = np.abs(features.energies - model.reference_energies(structures)) / sizes

# The package's own model call on one structure at a time, without hooks' leftovers from a batch.
backbone, last_layer = [], []
for atoms in structures:
    data = {"coord": atoms.positions.astype("float32"), "numbers": atoms.numbers, "charge": 0.0}
    if atoms.pbc.any():
        data |= {"cell": atoms.cell.complete().array.astype("float32"), "pbc": atoms.pbc}
    output = model.calculator.model(model.calculator.prepare_input(data))
    backbone.append(output["aim"][: len(atoms)].detach())
    last_layer.append(model.model.outputs["energy_mlp"].mlp[:-1](backbone[-1]).detach())
layers = {"backbone": torch.cat(backbone), "last_layer": torch.cat(last_layer)}
report({
    "energy": difference.max(),
    "layers": {name: np.abs(own.numpy() - features.layers[name].values).max() for name, own in layers.items()},
    "finite": all(np.isfinite(layer.values).all() for layer in features.layers.values()),
    "unsupported": [model.unsupported(Atoms("UF6", positions=np.random.rand(7, 3))), model.unsupported(structures[0])],
})
"""


def test_energies_and_layers_are_those_of_the_package(real_work: Path, tmp_path: Path) -> None:
    found = run_inside("aimnet2", real_work, COMPARE, str(tmp_path))
    assert found["energy"] < 1e-5
    assert found["layers"]["backbone"] < 1e-5
    assert found["layers"]["last_layer"] < 1e-5
    assert found["finite"]
    assert found["unsupported"] == ["U not among the model's elements", None]
