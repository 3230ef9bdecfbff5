"""MatterSim against its package, on an untrained network saved and loaded as the package does it."""

from pathlib import Path

import pytest

from tests.submissions.inside import run_inside

pytestmark = pytest.mark.slow

COMPARE = """
import torch
from mattersim.datasets.utils.build import build_dataloader
from mattersim.forcefield.potential import batch_to_dict

torch.manual_seed(1)
network = adapter.M3Gnet(device="cpu", num_blocks=3)
network.normalizer.shift.copy_(torch.linspace(-8.0, -1.0, len(network.normalizer.shift)))
path = Path(arguments[0]) / "model.pth"
torch.save({"model_name": "m3gnet", "model": network.state_dict(), "model_args": network.get_model_args()}, path)
model = adapter.MatterSimAdapter()
model.load(path, {}, "cpu")

rock_salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
structures = [molecule("CH3CH2OH"), rock_salt, bulk("Ti"), molecule("SO2"), bulk("BN", "zincblende", a=3.6)]
for seed, atoms in enumerate(structures):
    atoms.rattle(0.05, seed=seed)
structures += [
    Atoms("C", cell=[2.5] * 3, pbc=True),
    Atoms("OH", positions=[(399.9, 0, 0), (0.8, 0, 0)], cell=[400] * 3, pbc=True),
    Atoms("C2", positions=[(0, 0, 0), (1.42, 0, 0)], cell=[[2.46, 0, 0], [-1.23, 2.13, 0], [0, 0, 30]], pbc=(1, 1, 0)),
]
alone = [Atoms("U"), Atoms("H", cell=[50] * 3, pbc=True), Atoms("Ar", cell=[4.5] * 3, pbc=True)]
features = model.embed(structures + alone)
by_itself = np.concatenate([model.embed([atoms]).layers["backbone"].values for atoms in alone])
sizes = np.array([len(atoms) for atoms in structures])
difference = np.abs(features.energies[: len(structures)] - model.reference_energies(structures)) / sizes

arguments_ = model.model.model_args
own = {"backbone": [], "last_layer": []}
for graph in build_dataloader(structures, cutoff=arguments_["cutoff"], threebody_cutoff=arguments_["threebody_cutoff"],
                              batch_size=1, only_inference=True):
    model.model(batch_to_dict(graph, device="cpu"))
    atom_features = model.caught["backbone"]
    final = model.model.final
    own["backbone"].append(atom_features)
    own["last_layer"].append(torch.cat([final.g[:-1](atom_features), final.sigma[:-1](atom_features)], dim=1).detach())
layers = {name: np.abs(torch.cat(rows).numpy() - features.layers[name].values[: sizes.sum()]).max()
          for name, rows in own.items()}
report({
    "energy": difference.max(),
    "layers": layers,
    "finite": all(np.isfinite(layer.values).all() for layer in features.layers.values()),
    "unsupported": [model.unsupported(Atoms(["Bk", "O"])), model.unsupported(alone[0])],
    "alone": np.abs(by_itself - features.layers["backbone"].values[sizes.sum() :]).max(),
    "spread": features.layers["backbone"].values.std(),
})
"""


def test_energies_and_layers_are_those_of_the_package(real_work: Path, tmp_path: Path) -> None:
    found = run_inside("mattersim", real_work, COMPARE, str(tmp_path))
    assert found["energy"] < 1e-5
    assert found["layers"]["backbone"] < 1e-4 * found["spread"]
    assert found["layers"]["last_layer"] < 1e-4 * found["spread"]
    assert found["finite"]
    assert found["unsupported"] == ["Bk beyond the model's last atomic number, 94", None]
    assert found["alone"] < 1e-5 * found["spread"]  # also without a single bond, or without one short enough for angles
