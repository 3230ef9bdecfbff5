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
"""M3GNet [Chen and Ong, Nature Computational Science 2, 718 (2022)] as matgl 2 implements and trains it.

matgl 2, not a newer one: from 3.0 on messages run in the other direction, and checkpoints of before load
without an error and give wrong energies. Its own requirements hold torch at 2.7 and ask for torchdata,
which nothing here imports; the header overrides both. DGL 1.1 is the last without libraries that are compiled
for one version of torch. The build that PyPI has computes on the CPU, and so does this adapter.

The package's three-body layer takes the number of a bond among the bonds below the three-body cutoff for its number
among all bonds. Where short and long bonds alternate, as in its own graphs, angles then meet the atoms of other bonds,
and features depend on the order of atoms and on the batch (by up to 6e-3 of the spread). Graphs here have their short
bonds first, so that both numbers are the same. On 60 frames of MPtrj this leaves the error of the energies as it was
(38.2 meV an atom for M3GNet-MP) and moves single energies by at most 0.3 meV an atom from the package's calculator;
a permutation of atoms changes them by less than 4e-4 meV an atom instead of up to 0.03.

`backbone` are the features of atoms after the last convolution, `last_layer` what the last linear map of the
readout's value branch consumes (its sigmoid gate has a branch of its own).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["MATGL_BACKEND"] = "DGL"  # read when matgl is imported

import dgl
import matgl
import numpy as np
import torch
from ase import Atoms
from matgl.apps._pes_dgl import Potential
from matgl.ext._ase_dgl import PESCalculator
from matgl.models._m3gnet import M3GNet
from pymatgen.optimization.neighbors import find_points_in_spheres

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module


class M3GNetAdapter(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: for a freshly initialised network `seed`, `architecture`, and `energies` to return them."""
        del device
        if checkpoint is None:
            self.potential = Potential(model=untrained(options), calc_stresses=False)
        else:
            self.potential = matgl.load_model(path=str(checkpoint))
        self.with_energies = checkpoint is not None or bool(options.get("energies", False))
        self.potential.eval()
        self.model = self.potential.model
        self.types = {symbol: index for index, symbol in enumerate(self.model.element_types)}
        self.caught: dict[str, torch.Tensor] = {}
        self._catch("last_layer", self.model.final_layer.gated.layers[-2])

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
        layers = {
            "backbone": Layer(graph.ndata["node_feat"].numpy()),
            "last_layer": Layer(self.caught["last_layer"].numpy()),
        }
        return Features(layers, self._totals(graph, lengths) if self.with_energies else None)

    def _totals(self, graph: dgl.DGLGraph, lengths: np.ndarray) -> np.ndarray:
        """Total energies in eV, summed in double precision, (structures,)."""
        energies = graph.ndata["atomic_properties"].reshape(-1).double().numpy() * float(self.potential.data_std)
        if self.potential.element_refs is not None:
            energies += self.potential.element_refs.property_offset.double().numpy()[graph.ndata["node_type"].numpy()]
        return np.add.reduceat(energies, np.cumsum(lengths) - lengths) + float(self.potential.data_mean)

    def _graph(self, inputs: Sequence[Atoms]) -> tuple[dgl.DGLGraph, np.ndarray]:
        """All structures as one graph, and their numbers of atoms."""
        lengths = np.array([len(atoms) for atoms in inputs])
        found = [neighbours(atoms, float(self.model.cutoff)) for atoms in inputs]
        offsets = np.repeat(np.cumsum(lengths) - lengths, [len(shifts) for _, shifts in found])
        ends = np.concatenate([pairs for pairs, _ in found], axis=1) + offsets
        shifts = np.concatenate([shifts for _, shifts in found])
        positions = np.concatenate([atoms.positions for atoms in inputs])
        order = short_first(ends, shifts, positions, float(self.model.threebody_cutoff))
        shifts, pairs = shifts[order], torch.as_tensor(ends[:, order], dtype=torch.int32)
        graph = dgl.graph((pairs[0], pairs[1]), num_nodes=int(lengths.sum()))
        types = [self.types[symbol] for atoms in inputs for symbol in atoms.symbols]
        graph.ndata["node_type"] = torch.as_tensor(types, dtype=torch.int64)
        graph.ndata["pos"] = torch.as_tensor(positions, dtype=torch.float32)
        graph.edata["pbc_offshift"] = torch.as_tensor(shifts, dtype=torch.float32)
        graph.edata["pbc_offset"] = torch.zeros_like(graph.edata["pbc_offshift"])  # copied about, and not used
        return graph, lengths

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.model, scale, seed)

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray | None:
        """By the package's calculator on its own graphs with their short bonds first.

        It takes structures that are not periodic in all directions for molecules.
        """
        if not self.with_energies:
            return None
        calculator = PESCalculator(self.potential)
        calculator.graph_converter = ShortFirst(calculator.graph_converter, float(self.model.threebody_cutoff))
        return np.array([calculator.get_potential_energy(atoms) for atoms in inputs])


class ShortFirst:
    """The package's converter from structures to graphs, with the bonds up to `cutoff` before the longer ones."""

    def __init__(self, converter: Any, cutoff: float) -> None:
        self.converter = converter
        self.cutoff = cutoff

    def get_graph(self, atoms: Atoms) -> tuple[dgl.DGLGraph, torch.Tensor, Any]:
        """As the package's converter has it."""
        graph, lattice, state = self.converter.get_graph(atoms)
        pairs = torch.stack(graph.edges()).numpy()
        shifts = (graph.edata["pbc_offset"].to(lattice.dtype) @ lattice.reshape(3, 3)).numpy()
        order = torch.as_tensor(short_first(pairs, shifts, atoms.positions, self.cutoff))
        sorted_graph = dgl.graph(tuple(torch.as_tensor(pairs)[:, order]), num_nodes=len(atoms))
        for name, values in graph.ndata.items():
            sorted_graph.ndata[name] = values
        for name, values in graph.edata.items():
            sorted_graph.edata[name] = values[order]
        return sorted_graph, lattice, state


def untrained(options: Options) -> M3GNet:
    """A network of the given architecture whose weights depend on the seed alone.

    The package collects its layers in a set, whose order is that of their addresses: they are initialised again.
    """
    torch.manual_seed(int(options["seed"]))
    model = M3GNet(is_intensive=False, **options["architecture"])
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return model


def short_first(pairs: np.ndarray, shifts: np.ndarray, positions: np.ndarray, cutoff: float) -> np.ndarray:
    """Order of the bonds, (bonds,), in which those up to `cutoff` come first and both kinds keep their order."""
    # As the package computes lengths: in single precision, a bond at the cutoff falls on the same side.
    vectors = (
        positions[pairs[1]].astype(np.float32) + shifts.astype(np.float32) - positions[pairs[0]].astype(np.float32)
    )
    lengths = torch.linalg.norm(torch.as_tensor(vectors), dim=1).numpy()
    return np.argsort(lengths > np.float32(cutoff), kind="stable")


def neighbours(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Directed pairs up to `cutoff`, (2, pairs), and what brings the second atom to its image, (pairs, 3), Angstrom.

    Sorted by the first atom: the package numbers angles as if they were.
    """
    cell = np.ascontiguousarray(atoms.cell.complete(), dtype=np.float64)
    positions = np.ascontiguousarray(atoms.positions, dtype=np.float64)
    periodic = np.asarray(atoms.pbc, dtype=np.int64)
    centres, others, images, lengths = find_points_in_spheres(positions, positions, cutoff, periodic, cell, tol=1e-8)
    apart = lengths > 1e-8  # an atom is not its own neighbour
    order = np.flatnonzero(apart)[np.argsort(centres[apart], kind="stable")]
    return np.stack([centres[order], others[order]]), images[order] @ cell
