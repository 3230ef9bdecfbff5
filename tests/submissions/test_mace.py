"""MACE against mace-torch itself, on untrained networks of every architecture in use and on a trained one."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmark.embedding.conformance import run_conformance
from benchmark.embedding.extraction import EmbeddingSettings
from benchmark.submission import load_submissions
from tests.submissions.inside import ROOT, run_inside

pytestmark = pytest.mark.slow

STRUCTURES = """
structures = [molecule(name) for name in ("CH3CH2OH", "H2O", "CH3CONH2")]
structures += [bulk("NaCl", "rocksalt", a=5.64, cubic=True), bulk("Ti", "hcp", a=2.95, c=4.68)]
for seed, atoms in enumerate(structures):
    atoms.rattle(0.05, seed=seed)
slab = bulk("Ti", "hcp", a=2.95, c=4.68)
slab.pbc = (True, True, False)
outside = bulk("NaCl", "rocksalt", a=5.64)
outside.positions += 40.0
structures += [slab, outside, Atoms("H"), Atoms("OH", positions=[(0, 0, 0), (0, 0, 0.97)], cell=[400] * 3, pbc=True)]
"""

# Small networks with what the public checkpoints have: l up to 2, density normalisation, pair repulsion, several
# heads with biased readouts, embedded charge and spin, one readout for all layers, l>0 channels in the last layer.
SAVE = """
import torch
from mace import modules
from mace.modules.models import o3

def save(path, hidden_irreps, heads=("Default",), blocks=("RealAgnosticResidual", "RealAgnosticResidual"), **more):
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    elements = [1, 6, 7, 8, 11, 17, 22]
    if "readout_cls" in more:
        more["readout_cls"] = getattr(modules, more["readout_cls"])
    model = modules.ScaleShiftMACE(
        r_max=4.5, num_bessel=6, num_polynomial_cutoff=5, max_ell=2, num_interactions=more.pop("layers", 2),
        interaction_cls_first=getattr(modules, blocks[0] + "InteractionBlock"),
        interaction_cls=getattr(modules, blocks[1] + "InteractionBlock"),
        num_elements=len(elements), atomic_numbers=elements, correlation=2, gate=torch.nn.functional.silu,
        hidden_irreps=o3.Irreps(hidden_irreps), MLP_irreps=o3.Irreps("6x0e"), avg_num_neighbors=20.0,
        atomic_energies=np.linspace(-5, -1, len(heads) * len(elements)).reshape(len(heads), -1),
        atomic_inter_scale=[1.5] * len(heads), atomic_inter_shift=[0.1] * len(heads), heads=list(heads), **more)
    for parameter in model.parameters():  # biases start at zero
        parameter.data += 0.02 * torch.randn_like(parameter)
    torch.save(model, path)
"""

COMPARE = """
def compare(path, options, last_layer_irreps=False):
    model = adapter.MACEAdapter()
    model.load(path and Path(path), options, "cpu")
    features = model.embed(structures)
    sizes = np.array([len(atoms) for atoms in structures])
    differences = {"energy": abs(features.energies - model.reference_energies(structures)) / sizes}
    calculator = adapter.MACECalculator(
        models=model.model, device="cpu", default_dtype=model.dtype, head=model.heads[model.head])
    backbone = features.layers["backbone"].values
    if not last_layer_irreps:  # there the package's own descriptors are cut at the wrong column
        expected = np.concatenate([calculator.get_descriptors(atoms) for atoms in structures])
        differences["backbone"] = abs(backbone - expected) / expected.std()
    shape = {name: [layer.values.shape[1], layer.irreps] for name, layer in features.layers.items()}
    return {name: float(values.max()) for name, values in differences.items()} | {
        "shape": shape, "unsupported": model.unsupported(Atoms("UO2Pu"))}
"""

RUN = """
found = {}
for name, given in json.loads(arguments[1]).items():
    options = {"dtype": "float64", **given.pop("options", {})}
    save(arguments[0], **given)
    found[name] = compare(arguments[0], options, given.get("keep_last_layer_irreps", False))
found["random"] = compare(None, {"seed": 0, "energies": True})
try:
    adapter.MACEAdapter().load(Path(arguments[0]), {"head": "omol"}, "cpu")
except ValueError as error:
    found["unknown head"] = str(error)
report(found)
"""

TRAINED = """
from ase.io import read
frames = read(arguments[1], ":20")
labels = np.array([atoms.get_potential_energy() for atoms in frames])
model = adapter.MACEAdapter()
model.load(Path(arguments[0]), {"dtype": "float64"}, "cpu")
errors = (model.embed(frames).energies - labels) / [len(atoms) for atoms in frames]
report({"errors": errors.tolist()})
"""

CHARGE_AND_SPIN = {
    "total_spin": {"type": "categorical", "per": "graph", "in_dim": 1, "emb_dim": 4, "num_classes": 5, "offset": 0},
    "total_charge": {"type": "categorical", "per": "graph", "in_dim": 1, "emb_dim": 4, "num_classes": 5, "offset": 2},
}
NETWORKS: dict[str, dict[str, Any]] = {
    "scalars": {"hidden_irreps": "8x0e"},
    "three layers, l=2": {"hidden_irreps": "8x0e+8x1o+8x2e", "layers": 3},
    "density": {
        "hidden_irreps": "8x0e+8x1o",
        "blocks": ["RealAgnosticDensity", "RealAgnosticDensityResidual"],
        "pair_repulsion": True,
        "distance_transform": "Agnesi",
    },
    "heads": {
        "hidden_irreps": "8x0e+8x1o",
        "heads": ["omat_pbe", "omol", "spice"],
        "readout_cls": "NonLinearBiasReadoutBlock",
        "options": {"head": "omol"},
    },
    "charge and spin": {"hidden_irreps": "8x0e+8x1o", "embedding_specs": CHARGE_AND_SPIN},
    "last readout only": {"hidden_irreps": "8x0e+8x1o", "use_last_readout_only": True},
    "vectors in the last layer": {"hidden_irreps": "8x0e+8x1o", "keep_last_layer_irreps": True},
}
# Dimensions of backbone, last layer and l>0 channels.
SHAPES = {
    "scalars": (16, 14, None),
    "three layers, l=2": (24, 22, "8x1o+8x2e+8x1o+8x2e"),
    "density": (16, 14, "8x1o"),
    "heads": (16, 14, "8x1o"),
    "charge and spin": (16, 14, "8x1o"),
    "last readout only": (16, 6, "8x1o"),
    "vectors in the last layer": (16, 14, "8x1o+8x1o"),
    "random": (256, 144, "128x1o"),
}


@pytest.fixture(scope="module")
def compared(real_work: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Largest differences by network: one batch of molecules, crystals, a slab, a single atom and a huge cell."""
    path = tmp_path_factory.mktemp("mace") / "network.model"
    return run_inside("mace", real_work, STRUCTURES + SAVE + COMPARE + RUN, str(path), json.dumps(NETWORKS))


@pytest.mark.parametrize("network", SHAPES)
def test_energies_and_invariant_features_are_those_of_the_package(network: str, compared: Any) -> None:
    assert compared[network]["energy"] < 1e-5
    assert compared[network].get("backbone", 0.0) < 1e-4


@pytest.mark.parametrize("network", SHAPES)
def test_layers_have_the_channels_of_the_architecture(network: str, compared: Any) -> None:
    shape = compared[network]["shape"]
    irreps = shape["equivariant"][1] if "equivariant" in shape else None
    assert (shape["backbone"][0], shape["last_layer"][0], irreps) == SHAPES[network]


def test_elements_and_heads_that_the_model_does_not_know_are_named(compared: Any) -> None:
    assert compared["scalars"]["unsupported"] == "the model was not trained for Pu, U"
    assert compared["unknown head"] == "option head is 'omol'; the model has Default"


def test_an_untrained_checkpoint_given_as_a_file_passes_every_conformance_check(
    real_work: Path, tmp_path: Path
) -> None:
    path = tmp_path / "network.model"
    script = "import torch\ntorch.save(adapter.untrained(1), arguments[0])\nreport(0)"
    run_inside("mace", real_work, script, str(path))
    entry = load_submissions(ROOT / "submissions")[0]["mace-mp-0a-medium"]
    checkpoint = entry.model.checkpoint.model_copy(update={"sha256": None})
    entry = type(entry)(entry.family, entry.model.model_copy(update={"checkpoint": checkpoint}))
    settings = EmbeddingSettings(real_work, accelerator="cpu", threads=1, checkpoints={entry.model.id: path})
    outcomes = {check.id: check for check in run_conformance(entry, settings)}
    assert {id: check.detail for id, check in outcomes.items() if check.status == "failed"} == {}
    passed = ("energies", "sensitivity", "equivariance", "geometry")
    assert {outcomes[id].status for id in passed} == {"passed"}


def test_the_trained_model_predicts_its_validation_energies(real_work: Path) -> None:
    checkpoints = os.environ.get("LATENT_MATTER_CHECKPOINTS")
    folder = Path(checkpoints or "") / "mace-gesbte"
    if not checkpoints or not (folder / "validate.xyz").is_file():
        pytest.skip("needs mace-gesbte/mace_swa.model and validate.xyz below $LATENT_MATTER_CHECKPOINTS")
    files = [str(folder / name) for name in ("mace_swa.model", "validate.xyz")]
    errors = run_inside("mace", real_work, TRAINED, *files)["errors"]
    mean = sum(abs(error) for error in errors) / len(errors)
    assert 0.0 < mean < 0.012
