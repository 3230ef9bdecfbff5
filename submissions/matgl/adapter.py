# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#     "ase==3.29.0",
#     "dgl==1.1.3",
#     "matgl==2.0.4",
#     "numpy==2.4.6",
#     "pymatgen==2026.10.24",
#     "safetensors==0.8.0",
#     "torch==2.13.0",
#     "torch-geometric==2.8.1",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# override-dependencies = ["torch==2.13.0", "torchdata; python_version < '0'"]
# ///
"""TensorNet [Simeon and De Fabritiis, arXiv:2306.06482] in matgl 2, trained on MatPES [Kaplan, arXiv:2503.04070].

matgl 2, not a newer one: from 3.0 on messages run in the other direction, and checkpoints of before load
without an error and give wrong energies. Its own requirements hold torch at 2.7 and ask for torchdata,
which nothing here imports; the header overrides both. DGL is for the family matgl_dgl, which shares the environment.

`backbone` is the vector of an atom that the readout consumes, `last_layer` what the last linear map of the
readout's value branch consumes (its sigmoid gate has a branch of its own). `equivariant` are the
antisymmetric and the traceless symmetric part of the last layer's 3x3 tensors, as l=1 and l=2.
"""

import os
from collections.abc import Sequence
from pathlib import Path

os.environ["MATGL_BACKEND"] = "PYG"  # read when matgl is imported

import matgl
import numpy as np
import torch
from ase import Atoms
from matgl.apps._pes_pyg import Potential
from matgl.ext._ase_pyg import PESCalculator
from matgl.models._tensornet_pyg import TensorNet
from pymatgen.optimization.neighbors import find_points_in_spheres
from torch_geometric.data import Data

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module


class TensorNetAdapter(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: for a freshly initialised network `seed`, `architecture`, and `energies` to return them."""
        if checkpoint is None:
            self.potential = Potential(model=untrained(options), calc_stresses=False)
        else:
            self.potential = matgl.load_model(path=str(checkpoint))
        self.with_energies = checkpoint is not None or bool(options.get("energies", False))
        self.potential.to(device).eval()
        self.model = self.potential.model
        self.device = device
        self.types = {symbol: index for index, symbol in enumerate(self.model.element_types)}
        self.caught: dict[str, torch.Tensor] = {}
        self._catch("tensors", self.model.layers[-1])
        self._catch("backbone", self.model.linear)
        self._catch("last_layer", self.model.final_layer.gated.layers[-2])
        self._catch("energies", self.model.final_layer)

    def _catch(self, name: str, module: torch.nn.Module) -> None:
        module.register_forward_hook(lambda *call: self.caught.__setitem__(name, call[2].detach()))

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, Atoms)
        unknown = sorted(set(item.symbols) - set(self.types))
        return f"element {unknown[0]} is not in the model's type map" if unknown else None

    @torch.no_grad()
    def embed(self, inputs: Sequence[Atoms]) -> Features:
        graph, lengths = self._graph(inputs)
        self.model(g=graph)
        found = {name: values.cpu().numpy() for name, values in self.caught.items()}
        units = found["tensors"].shape[1]
        layers = {
            "backbone": Layer(found["backbone"]),
            "last_layer": Layer(found["last_layer"]),
            "equivariant": Layer(irreducible(found["tensors"]), irreps=f"{units}x1o+{units}x2e"),
        }
        return Features(layers, self._totals(graph, found["energies"], lengths) if self.with_energies else None)

    def _totals(self, graph: Data, per_atom: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Total energies in eV, summed in double precision, (structures,)."""
        energies = per_atom.reshape(-1).astype(np.float64) * float(self.potential.data_std)
        if self.potential.element_refs is not None:
            energies += (
                self.potential.element_refs.property_offset.double().cpu().numpy()[graph.node_type.cpu().numpy()]
            )
        return np.add.reduceat(energies, np.cumsum(lengths) - lengths) + float(self.potential.data_mean)

    def _graph(self, inputs: Sequence[Atoms]) -> tuple[Data, np.ndarray]:
        """All structures as one graph, and their numbers of atoms."""
        lengths = np.array([len(atoms) for atoms in inputs])
        found = [neighbours(atoms, float(self.model.cutoff)) for atoms in inputs]
        offsets = np.repeat(np.cumsum(lengths) - lengths, [len(shifts) for _, shifts in found])
        types = [self.types[symbol] for atoms in inputs for symbol in atoms.symbols]
        graph = Data(
            num_nodes=len(types),
            edge_index=self._tensor(np.concatenate([pairs for pairs, _ in found], axis=1) + offsets),
            node_type=self._tensor(np.array(types)),
            pos=self._tensor(np.concatenate([atoms.positions for atoms in inputs])),
            pbc_offshift=self._tensor(np.concatenate([shifts for _, shifts in found])),
        )
        return graph, lengths

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        dtype = torch.float32 if values.dtype.kind == "f" else torch.int64
        return torch.as_tensor(values, dtype=dtype, device=self.device)

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.model, scale, seed)

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray | None:
        """By the package's calculator, which takes structures that are not periodic in all directions for molecules."""
        if not self.with_energies:
            return None
        calculator = PESCalculator(self.potential)
        return np.array([calculator.get_potential_energy(atoms) for atoms in inputs])


def untrained(options: Options) -> TensorNet:
    """A network of the given architecture whose weights depend on the seed alone.

    The package collects its layers in a set, whose order is that of their addresses: they are initialised again.
    """
    torch.manual_seed(int(options["seed"]))
    model = TensorNet(is_intensive=False, **options["architecture"])
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return model


def neighbours(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Directed pairs up to `cutoff`, (2, pairs), and what brings the second atom to its image, (pairs, 3), Angstrom."""
    cell = np.ascontiguousarray(atoms.cell.complete(), dtype=np.float64)
    positions = np.ascontiguousarray(atoms.positions, dtype=np.float64)
    periodic = np.asarray(atoms.pbc, dtype=np.int64)
    centres, others, images, lengths = find_points_in_spheres(positions, positions, cutoff, periodic, cell, tol=1e-8)
    apart = lengths > 1e-8  # an atom is not its own neighbour
    return np.stack([centres[apart], others[apart]]), images[apart] @ cell


def irreducible(tensors: np.ndarray) -> np.ndarray:
    """The l=1 and l=2 parts of 3x3 matrices in e3nn's order, (atoms, units, 3, 3) -> (atoms, 8 units)."""
    odd = (tensors - np.swapaxes(tensors, -1, -2)) / 2
    even = (tensors + np.swapaxes(tensors, -1, -2)) / 2
    x, y, z = even[..., 0, :], even[..., 1, :], even[..., 2, :]
    vectors = np.stack([odd[..., 2, 1], odd[..., 0, 2], odd[..., 1, 0]], axis=-1)
    quadrupoles = np.stack(
        [
            x[..., 2],
            x[..., 1],
            (2 * y[..., 1] - x[..., 0] - z[..., 2]) / np.sqrt(12),
            y[..., 2],
            (z[..., 2] - x[..., 0]) / 2,
        ],
        axis=-1,
    )
    return np.concatenate([part.reshape(len(tensors), -1) for part in (vectors, quadrupoles)], axis=1)
