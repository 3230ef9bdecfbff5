# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ase==3.29.0",
#     "e3nn==0.6.0",
#     "numpy==2.4.6",
#     "safetensors==0.8.0",
#     "sevenn==0.13.0",
#     "torch==2.13.0",
#     "torch-geometric==2.8.1",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""SevenNet [Park et al., J. Chem. Theory Comput. 20, 4857 (2024)].

`backbone` is the output of the last equivariant gate (scalars only), `last_layer` the input of the
linear map to the atomic energy, `equivariant` the l>0 channels of the gate before the last, the
deepest point where there are any. Hooks catch all three in one forward pass without forces.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from sevenn.atom_graph_data import AtomGraphData
from sevenn.calculator import SevenNetCalculator
from sevenn.checkpoint import SevenNetCheckpoint
from sevenn.model_build import build_E3_equivariant_model
from sevenn.train.dataload import unlabeled_atoms_to_graph
from sevenn.util import load_checkpoint
from torch_geometric.loader.dataloader import Collater

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module


class SevenNetAdapter(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: `modal` (multi-fidelity models), `seed` to leave the network untrained."""
        loaded = load_checkpoint(str(checkpoint))
        self.checkpoint, self.device = checkpoint, device
        self.cutoff = float(loaded.config["cutoff"])
        self.numbers = np.array(sorted(loaded.config["_type_map"]))  # atomic numbers that it was made for
        self.modal = options.get("modal")
        self.pretrained = "seed" not in options
        self.model = loaded.build_model() if self.pretrained else untrained(loaded, int(options["seed"]))
        self.model.delete_module_by_key("force_output")
        self.model.set_is_batch_data(True)
        self.model.to(device).eval()
        modules = dict(self.model.named_children())
        gates = [module for name, module in modules.items() if name.endswith("_equivariant_gate")]
        self.caught: dict[str, torch.Tensor] = {}
        self._catch("backbone", gates[-1])
        self._catch("equivariant", gates[-2])
        self._catch("last_layer", modules["reduce_input_to_hidden"])
        irreps = gates[-2].gate.irreps_out
        self.scalars = sum(multiplicity for multiplicity, part in irreps if part.l == 0)
        self.irreps = "+".join(f"{multiplicity}x{part}" for multiplicity, part in irreps if part.l > 0)

    def _catch(self, name: str, module: torch.nn.Module) -> None:
        module.register_forward_hook(lambda *call: self.caught.__setitem__(name, call[2]["x"].detach()))

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, Atoms)
        unknown = sorted(set(item.symbols[~np.isin(item.numbers, self.numbers)]))
        return f"{', '.join(unknown)} not in the model's type map" if unknown else None

    @torch.no_grad()
    def embed(self, inputs: Sequence[Atoms]) -> Features:
        batch = Collater([])([self._graph(atoms) for atoms in inputs]).to(self.device)
        output = self.model(batch)
        found = {name: values.cpu().numpy() for name, values in self.caught.items()}
        layers = {
            "backbone": Layer(found["backbone"]),
            "last_layer": Layer(found["last_layer"]),
            "equivariant": Layer(found["equivariant"][:, self.scalars :], irreps=self.irreps),
        }
        energies = output["inferred_total_energy"].double().cpu().numpy().reshape(-1)
        return Features(layers, energies if self.pretrained else None)

    def _graph(self, atoms: Atoms) -> AtomGraphData:
        graph = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, self.cutoff))
        if self.modal is not None:
            graph["data_modality"] = self.modal
        return graph

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.model, scale, seed)

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray | None:
        if not self.pretrained:
            return None
        calculator = SevenNetCalculator(self.checkpoint, modal=self.modal, device=self.device)
        return np.array([calculator.get_potential_energy(atoms) for atoms in inputs])


def untrained(loaded: SevenNetCheckpoint, seed: int) -> torch.nn.Module:
    """The checkpoint's architecture with all trained weights as the package initialises them.

    What was computed from the training set and not trained stays: the energy's shift and scale, and
    the mean number of neighbours, without which activations would not keep their size.
    """
    torch.manual_seed(seed)
    fresh = build_E3_equivariant_model(loaded.config)
    with torch.no_grad():
        for parameter, trained in zip(fresh.parameters(), loaded.build_model().parameters(), strict=True):
            if not trained.requires_grad:
                parameter.copy_(trained)
    return fresh
