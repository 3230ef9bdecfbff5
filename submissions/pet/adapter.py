# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ase==3.29.0",
#     "metatrain==2026.4.1",
#     "numpy==2.4.6",
#     "safetensors==0.8.0",
#     "torch==2.13.0",
#     "upet==0.3.1",
#     "vesin==0.6.2",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Point-edge transformer, PET [Pozdnyakov, Ceriotti, NeurIPS 36, 79469 (2023)], as UPET distributes it.

`backbone` is what metatrain calls the output "feature": node features and the sum over neighbours of
cutoff-weighted edge features, of every layer that is read out. `last_layer` is its output
"..._last_layer_features": what the final linear maps to the energy consume, built in the same way.

The adapter calls the plain-torch core of metatrain's PET, which takes a whole batch as a few tensors,
instead of the metatomic interface, whose objects cost as much as the forward pass of a small model.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from metatrain.pet import PET
from metatrain.utils.architectures import get_default_hypers
from metatrain.utils.data import DatasetInfo
from metatrain.utils.data.target_info import get_energy_target_info
from metatrain.utils.io import load_model
from upet.ase import UPETCalculator
from vesin import NeighborList

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module

TARGET = "energy"


class PETAdapter(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options, only without a checkpoint: `seed`, `elements` (1 to this number), `hypers` that are not default."""
        self.checkpoint, self.device = checkpoint, torch.device(device)
        model = untrained(options) if checkpoint is None else trained(checkpoint)
        for name in [name for name in model.target_names if name != TARGET]:
            model.remove_output(name)  # direct forces and stress: every head runs whether asked for or not
        self.model = model.to(device).eval()
        self.backend = model.backend
        self.dtype = next(model.backend.parameters()).dtype
        self.width = float(model.hypers["cutoff_width_adaptive"])
        self.elements = frozenset(int(number) for number in model.atomic_types)
        self.neighbors = NeighborList(cutoff=float(model.cutoff), full_list=True)
        self.scale, self.baseline = energy_scale_and_baseline(model)

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, Atoms)
        unknown = sorted(set(item.symbols[[number not in self.elements for number in item.numbers]]))
        return f"the model was not trained on {', '.join(unknown)}" if unknown else None

    @torch.no_grad()
    def embed(self, inputs: Sequence[Atoms]) -> Features:
        graph = self._graph(inputs)
        batch = self.backend.preprocess(**graph, cutoff_width_adaptive=self.width)
        owners = graph["system_indices"]
        if self.model.system_conditioning is not None:
            charges, spins = (self._per_structure(inputs, key) for key in (("charge", 0), ("spin", 1)))
            self.model.system_conditioning.validate(charges, spins)
            batch |= {"charge": charges, "spin_multiplicity": spins, "system_indices": owners}
        nodes, edges = self.backend.calculate_features(batch)
        predicted, last_nodes, last_edges = self.backend.predict(nodes, edges, batch, graph["cells"], owners, [TARGET])
        weights = batch["cutoff_factors"][:, :, None]
        backbone = [*nodes, *((edge * weights).sum(dim=1) for edge in edges)]
        last_layer: list[torch.Tensor] = []
        for node, edge in zip(last_nodes[TARGET], last_edges[TARGET], strict=True):
            last_layer += [node, (edge * weights).sum(dim=1)]
        layers = {
            "backbone": Layer(torch.cat(backbone, dim=1).cpu().numpy()),
            "last_layer": Layer(torch.cat(last_layer, dim=1).cpu().numpy()),
        }
        per_atom = predicted[TARGET][0].reshape(-1).double() * self.scale + self.baseline[graph["species"].long()]
        energies = torch.zeros(len(inputs), dtype=torch.float64, device=self.device).index_add_(0, owners, per_atom)
        return Features(layers, energies.cpu().numpy() if self.checkpoint is not None else None)

    def _graph(self, inputs: Sequence[Atoms]) -> dict[str, torch.Tensor]:
        """What `PETBackend.preprocess` takes: atoms, cells and directed pairs of all structures on end."""
        pairs, images = [], []
        first = 0
        # Pairs are found in the precision of the network, as the package's calculator finds them.
        positions = [torch.from_numpy(atoms.positions).to(self.dtype) for atoms in inputs]
        cells = [torch.from_numpy(periodic_cell(atoms)).to(self.dtype) for atoms in inputs]
        for atoms, points, cell in zip(inputs, positions, cells, strict=True):
            i, j, image = self.neighbors.compute(
                points.double().numpy(), cell.double().numpy(), atoms.pbc, quantities="ijS"
            )
            pairs.append(np.stack([i, j]).astype(np.int64) + first)
            images.append(image)
            first += len(atoms)
        centers, neighbors = torch.from_numpy(np.concatenate(pairs, axis=1))
        sizes = torch.tensor([len(atoms) for atoms in inputs])
        tensors = {
            "positions": torch.cat(positions),
            "centers": centers,
            "neighbors": neighbors,
            "species": torch.from_numpy(np.concatenate([atoms.numbers for atoms in inputs])).to(torch.int32),
            "cells": torch.stack(cells),
            "cell_shifts": torch.from_numpy(np.concatenate(images).astype(np.int32)),
            "system_indices": torch.repeat_interleave(torch.arange(len(inputs)), sizes),
        }
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}

    def _per_structure(self, inputs: Sequence[Atoms], key: tuple[str, int]) -> torch.Tensor:
        name, default = key
        return torch.tensor([int(atoms.info.get(name, default)) for atoms in inputs], device=self.device)

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.backend, scale, seed)

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray | None:
        if self.checkpoint is None:
            return None
        # In float64: atomic energies of thousands of eV leave the package's float32 sums coarser than the tolerance.
        calculator = UPETCalculator(
            checkpoint_path=self.checkpoint, dtype=torch.float64, device=str(self.device), uncertainty_threshold=None
        )
        return np.array([calculator.get_potential_energy(atoms) for atoms in inputs])


def trained(checkpoint: Path) -> PET:
    """The network of a metatrain checkpoint; where uncertainty heads wrap it, what they wrap."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PET assumes that Cartesian tensors of rank 2 are stress-like")
        loaded = load_model(checkpoint)
    model = getattr(loaded, "model", loaded)
    if not isinstance(model, PET) or TARGET not in model.target_names:
        raise ValueError(f"{checkpoint.name}: no PET network with the target {TARGET!r}")
    if model.long_range or len(model.additive_models) != 1:
        raise ValueError(f"{checkpoint.name}: PET with long-range or ZBL terms; this adapter computes neither")
    return model


def untrained(options: Options) -> PET:
    """The architecture with weights as metatrain initialises them."""
    hypers: dict[str, Any] = get_default_hypers("pet")["model"] | dict(options["hypers"])
    target = get_energy_target_info(TARGET, {"quantity": "energy", "unit": "eV"}, add_position_gradients=True)
    elements = list(range(1, int(options["elements"]) + 1))
    torch.manual_seed(int(options["seed"]))
    return PET(hypers, DatasetInfo(length_unit="angstrom", atomic_types=elements, targets={TARGET: target}))


def energy_scale_and_baseline(model: PET) -> tuple[float, torch.Tensor]:
    """The factor in eV on the network's output, and the energy in eV of each atomic number, (119,).

    Atomic energies of some elements are thousands of eV: in float64, as the package adds them.
    """
    device = next(model.parameters()).device
    scale = model.scaler.model.scales[TARGET].block().values
    if len(torch.unique(scale)) != 1:
        raise ValueError("the energy is scaled by element; this adapter knows one scale for all")
    baseline = torch.zeros(119, dtype=torch.float64, device=device)
    weights = model.additive_models[0].model.weights[TARGET].block()
    baseline[weights.samples.column("center_type").long().to(device)] = weights.values.double().reshape(-1).to(device)
    return float(scale.reshape(-1)[0]), baseline


def periodic_cell(atoms: Atoms) -> np.ndarray:
    """Cell vectors in Angstrom with zeros along directions without periodicity, (3, 3)."""
    return np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
