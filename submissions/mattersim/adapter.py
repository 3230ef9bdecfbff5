# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#     "ase==3.29.0",
#     "mattersim==1.2.3",
#     "numpy==2.4.6",
#     "safetensors==0.8.0",
#     # Later versions import torchvision, which comes in no build for every torch.
#     "setuptools==80.10.2",
#     "torch==2.13.0",
#     "torchmetrics==1.4.3",
#     "vesin==0.6.2",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""MatterSim [Yang et al., arXiv:2405.04967 (2024)]: M3GNet, the architecture of its public checkpoints.

`backbone` is what the readout perceptron consumes: atom features after all blocks. The readout is the
product of two perceptrons; `last_layer` is what the final linear maps of both consume, side by side.
Both are caught by hooks in one forward pass without forces.

Graphs of a batch are built at once here: the package's converter works structure by structure and puts
molecules into a large box. The energies of both agree: see `reference_energies`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from mattersim.datasets.utils.threebody_indices import compute_threebody
from mattersim.forcefield.m3gnet.m3gnet import M3Gnet
from mattersim.forcefield.potential import MatterSimCalculator, Potential
from vesin import NeighborList

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module


class MatterSimAdapter(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: `seed` for a freshly initialised network, then also arguments of M3Gnet such as `num_blocks`."""
        if checkpoint is None:
            architecture = dict(options)
            torch.manual_seed(int(architecture.pop("seed")))
            model = M3Gnet(device=device, **architecture).to(device)
            self.potential = Potential(model, device=device)
        else:
            self.potential = Potential.from_checkpoint(str(checkpoint), device=device, load_training_state=False)
        self.pretrained = checkpoint is not None
        self.device = device
        self.model = self.potential.model.eval()
        arguments = self.model.model_args
        self.angle_cutoff = float(arguments["threebody_cutoff"])
        self.neighbours = NeighborList(cutoff=float(arguments["cutoff"]), full_list=True, sorted=True, n_threads=1)
        self.caught: dict[str, torch.Tensor] = {}
        self._catch("backbone", self.model.final)
        self._catch("last_layer_value", self.model.final.g[-1])
        self._catch("last_layer_gate", self.model.final.sigma[-1])

    def _catch(self, name: str, module: torch.nn.Module) -> None:
        module.register_forward_pre_hook(lambda _, inputs: self.caught.__setitem__(name, inputs[0].detach()))

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, Atoms)
        unknown = sorted(set(item.symbols[item.numbers > self.model.max_z]))
        if unknown:
            return f"{', '.join(unknown)} beyond the model's last atomic number, {self.model.max_z}"
        return None

    @torch.no_grad()
    def embed(self, inputs: Sequence[Atoms]) -> Features:
        energies = self.model(self._batch(inputs)).double().cpu().numpy()
        last = torch.cat([self.caught["last_layer_value"], self.caught["last_layer_gate"]], dim=1)
        layers = {"backbone": Layer(self.caught["backbone"].cpu().numpy()), "last_layer": Layer(last.cpu().numpy())}
        return Features(layers, energies if self.pretrained else None)

    def _batch(self, inputs: Sequence[Atoms]) -> dict[str, torch.Tensor | int]:
        """What M3Gnet consumes: directed bonds sorted by their first atom, and ordered pairs of short bonds."""
        sizes = np.array([len(atoms) for atoms in inputs])
        offsets = np.cumsum(sizes) - sizes
        positions, bonds, images, lengths = [], [], [], []
        for atoms, offset in zip(inputs, offsets, strict=True):
            placed = near_origin(atoms)
            pairs, shifts, distances = self.neighbours.compute(
                points=placed, box=atoms.cell.array, periodic=atoms.pbc, quantities="PSd"
            )
            positions.append(placed)
            bonds.append(pairs.astype(np.int64) + offset)
            images.append(shifts)
            lengths.append(distances)
        edges = np.concatenate(bonds)
        angles, angles_of_bond = self._angles(edges, np.concatenate(lengths), int(sizes.sum()))
        return {
            "atom_pos": self._tensor(np.concatenate(positions)),
            "cell": self._tensor(np.stack([atoms.cell.array for atoms in inputs])),
            "pbc_offsets": self._tensor(np.concatenate(images).astype(float)),
            "atom_attr": self._tensor(np.concatenate([atoms.numbers for atoms in inputs]).astype(float)[:, None]),
            "edge_index": self._tensor(edges.T),
            "three_body_indices": self._tensor(angles),
            "num_bonds": self._tensor(np.array([len(pairs) for pairs in bonds])),
            "num_triple_ij": self._tensor(angles_of_bond[:, None]),
            "num_atoms": self._tensor(sizes),
            "num_graphs": self._tensor(np.array(len(inputs))),
            "batch": self._tensor(np.repeat(np.arange(len(inputs)), sizes)),
            "total_num_atoms": int(sizes.sum()),
            "total_num_bonds": len(edges),
            "bond_index_bias": self._tensor(np.zeros((1, 1), dtype=np.int64)),  # numbers count through the batch
            "three_body_edge_map": self._tensor(np.repeat(np.arange(len(edges)), angles_of_bond)),
        }

    def _angles(self, bonds: np.ndarray, lengths: np.ndarray, atoms: int) -> tuple[np.ndarray, np.ndarray]:
        """Ordered pairs of bonds within the angle cutoff that share their first atom, and their number a bond."""
        short = np.flatnonzero(lengths <= self.angle_cutoff)
        if not len(short):  # the package's function has no answer to that
            return np.empty((0, 2), dtype=np.int64), np.zeros(len(bonds), dtype=np.int64)
        pairs, per_short_bond, _, _ = compute_threebody(
            np.ascontiguousarray(bonds[short], dtype=np.int32), np.array([atoms], dtype=np.int32)
        )
        per_bond = np.zeros(len(bonds), dtype=np.int64)
        per_bond[short] = per_short_bond
        return short[pairs], per_bond

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        dtype = torch.float32 if values.dtype.kind == "f" else torch.int64
        return torch.as_tensor(values, dtype=dtype, device=self.device)

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.model, scale, seed)

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray | None:
        if not self.pretrained:
            return None
        calculator = MatterSimCalculator(self.potential, compute_stress=False, device=self.device)
        return np.array([calculator_energy(calculator, atoms) for atoms in inputs])


def near_origin(atoms: Atoms) -> np.ndarray:
    """Positions inside the cell, or around the origin without one: single precision is finest there."""
    if atoms.pbc.any():
        return atoms.get_positions(wrap=True)
    return atoms.positions - atoms.positions.mean(axis=0)


def calculator_energy(calculator: MatterSimCalculator, atoms: Atoms) -> float:
    """Energy in eV by the package's own ase calculator."""
    alone = atoms.copy()
    if alone.pbc.any():
        alone.cell = alone.cell.complete()  # the package inverts the cell
    calculator.calculate(alone)
    return float(calculator.results["energy"])
