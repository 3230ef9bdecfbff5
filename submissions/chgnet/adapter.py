# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ase==3.29.0",
#     "chgnet==0.4.2",
#     "numpy==2.4.6",
#     "pymatgen==2026.10.24",
#     "safetensors==0.8.0",
#     "torch==2.13.0",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""CHGNet [Deng et al., Nature Machine Intelligence 5, 1031 (2023)].

`backbone` is what the readout perceptron consumes: atom features after all convolutions and, from
0.3.0 on, the final layer normalisation. The package's own `return_atom_feas` stops one convolution
earlier, and its `crystal_fea` is a sum over atoms. Both layers are caught by hooks in one forward pass
without forces.

Graphs are built here with array operations instead of the package's converter, which loops over
edges in Python and knows periodic cells only. The energies of both agree: see `reference_energies`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from chgnet.model.dynamics import CHGNetCalculator
from chgnet.model.model import BatchedGraph, CHGNet
from pymatgen.optimization.neighbors import find_points_in_spheres

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module

VACUUM = 8.0  # Angstrom, more than the longest cutoff


@dataclass(frozen=True)
class Graph:
    """Directed bonds of one structure and the angles between those below the bond-graph cutoff."""

    numbers: np.ndarray  # (atoms,)
    bonds: np.ndarray  # (directed bonds, 2): centre, neighbour
    vectors: np.ndarray  # (directed bonds, 3), from neighbour to centre, Angstrom
    undirected: np.ndarray  # (directed bonds,): bond that each direction belongs to
    angles: np.ndarray  # (angles, 2): directed bonds that share their centre


class CHGNetAdapter(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: `mlp_out_bias` (0.2.0 only), or `seed` for a freshly initialised network of 0.3.0's shape."""
        if checkpoint is None:
            torch.manual_seed(int(options["seed"]))
            model = CHGNet(composition_model=None)
        else:
            model = CHGNet.from_file(str(checkpoint), mlp_out_bias=bool(options.get("mlp_out_bias", False)))
        self.pretrained = checkpoint is not None
        self.model = model.to(device).eval()
        self.device = device
        self.cutoffs = (float(model.graph_converter.atom_graph_cutoff), float(model.graph_converter.bond_graph_cutoff))
        self.caught: dict[str, torch.Tensor] = {}
        self._catch("backbone", model.mlp)
        self._catch("last_layer", model.mlp.layers[-1])

    def _catch(self, name: str, module: torch.nn.Module) -> None:
        module.register_forward_pre_hook(lambda _, inputs: self.caught.__setitem__(name, inputs[0].detach()))

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, Atoms)
        last = self.model.atom_embedding.embedding.num_embeddings
        unknown = sorted(set(item.symbols[item.numbers > last]))
        return f"{', '.join(unknown)} beyond the model's last atomic number, {last}" if unknown else None

    def embed(self, inputs: Sequence[Atoms]) -> Features:
        graphs = [make_graph(atoms, *self.cutoffs) for atoms in inputs]
        offsets = np.cumsum([0] + [len(graph.numbers) for graph in graphs])
        layers = {name: np.zeros((offsets[-1], 64), dtype=np.float32) for name in ("backbone", "last_layer")}
        energies = np.zeros(len(graphs))
        # Without any angle the network skips its bond convolutions, whose bias (0.2.0) would otherwise
        # reach structures that have none: whether a structure has angles may not hang on its batch.
        for has_angles in (True, False):
            chosen = [index for index, graph in enumerate(graphs) if bool(len(graph.angles)) is has_angles]
            if not chosen:
                continue
            energies[chosen] = self._forward([graphs[index] for index in chosen])
            rows = np.concatenate([np.arange(offsets[index], offsets[index + 1]) for index in chosen])
            for name, values in layers.items():
                values[rows] = self.caught[name].cpu().numpy()
        return Features({name: Layer(values) for name, values in layers.items()}, energies if self.pretrained else None)

    @torch.no_grad()
    def _forward(self, graphs: Sequence[Graph]) -> np.ndarray:
        """Total energies in eV, (structures,); the hooks catch the layers."""
        batch = self._batch(graphs)
        counts = np.array([len(graph.numbers) for graph in graphs])
        per_atom = self.model._compute(batch)["e"].double().cpu().numpy()
        if self.model.composition_model is not None:
            reference = self.model.composition_model.fc.weight[0].double()[batch.atomic_numbers - 1].cpu().numpy()
            per_atom = per_atom + np.add.reduceat(reference, np.cumsum(counts) - counts) / counts
        return per_atom * counts

    def _batch(self, graphs: Sequence[Graph]) -> BatchedGraph:
        atom_offsets = np.cumsum([0] + [len(graph.numbers) for graph in graphs])
        bond_offsets = np.cumsum([0] + [len(graph.bonds) for graph in graphs])
        numbers, bonds, vectors, undirected, angles = (
            np.concatenate([getattr(graph, name) for graph in graphs])
            for name in ("numbers", "bonds", "vectors", "undirected", "angles")
        )
        bonds = bonds + np.repeat(atom_offsets[:-1], np.diff(bond_offsets))[:, None]
        undirected = undirected + np.repeat(bond_offsets[:-1] // 2, np.diff(bond_offsets))
        angles = angles + np.repeat(bond_offsets[:-1], [len(graph.angles) for graph in graphs])[:, None]
        lengths = np.zeros(len(bonds) // 2)
        lengths[undirected] = np.linalg.norm(vectors, axis=1)
        units = self._tensor(vectors / lengths[undirected][:, None])
        expand = self.model.bond_basis_expansion
        return BatchedGraph(
            atomic_numbers=self._tensor(numbers),
            bond_bases_ag=expand.rbf_expansion_ag(self._tensor(lengths)),
            bond_bases_bg=expand.rbf_expansion_bg(self._tensor(lengths)),
            angle_bases=self.model.angle_basis_expansion(*(units[self._tensor(side)] for side in angles.T)),
            batched_atom_graph=self._tensor(bonds),
            batched_bond_graph=self._tensor(
                np.column_stack([bonds[angles[:, 0], 0], undirected[angles[:, 0]], undirected[angles[:, 1]]])
            ),
            atom_owners=self._tensor(np.repeat(np.arange(len(graphs)), np.diff(atom_offsets))),
            directed2undirected=self._tensor(undirected),
            atom_positions=[],
            strains=[],
            volumes=[],
        )

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        dtype = torch.float32 if values.dtype.kind == "f" else torch.int64
        return torch.as_tensor(values, dtype=dtype, device=self.device)

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.model, scale, seed)

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray | None:
        if not self.pretrained:
            return None
        calculator = CHGNetCalculator(model=self.model, use_device=self.device, on_isolated_atoms="ignore")
        return np.array([calculator_energy(calculator, atoms) for atoms in inputs])


def make_graph(atoms: Atoms, cutoff: float, angle_cutoff: float) -> Graph:
    """Bonds up to `cutoff` and angles between bonds up to `angle_cutoff`, both in Angstrom."""
    periodic = np.asarray(atoms.pbc, dtype=np.int64)
    cell = np.ascontiguousarray(atoms.cell.complete(), dtype=np.float64)
    positions = np.ascontiguousarray(atoms.positions, dtype=np.float64)
    centres, neighbours, images, lengths = find_points_in_spheres(
        positions, positions, cutoff, periodic, cell, tol=1e-8
    )
    apart = lengths > 1e-8  # an atom is not its own neighbour
    centres, neighbours, images = centres[apart], neighbours[apart], np.rint(images[apart]).astype(np.int64)
    bonds = np.column_stack([centres, neighbours])
    short = np.flatnonzero(lengths[apart] <= angle_cutoff)
    return Graph(
        numbers=np.asarray(atoms.numbers),
        bonds=bonds,
        vectors=positions[centres] - positions[neighbours] - images @ cell,
        undirected=pair_directions(bonds, images),
        angles=pairs_within_groups(short, centres[short]),
    )


def pair_directions(bonds: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Number of the undirected bond that each directed bond (i, j, image) shares with (j, i, -image)."""
    forward = np.column_stack([bonds, images])
    backward = np.column_stack([bonds[:, ::-1], -images])
    differs = forward != backward
    first = np.argmax(differs, axis=1)[:, None]
    swap = np.take_along_axis(forward, first, 1) > np.take_along_axis(backward, first, 1)
    order = np.lexsort(np.where(swap, backward, forward).T)
    undirected = np.empty(len(bonds), dtype=np.int64)
    undirected[order] = np.arange(len(bonds)) // 2
    return undirected


def pairs_within_groups(items: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """All ordered pairs of different `items` with the same group, (pairs, 2)."""
    order = np.argsort(groups, kind="stable")
    items, groups = items[order], groups[order]
    starts = np.searchsorted(groups, groups)
    sizes = np.searchsorted(groups, groups, side="right") - starts
    left = np.repeat(np.arange(len(items)), sizes)
    right = np.arange(len(left)) - np.repeat(np.cumsum(sizes) - sizes - starts, sizes)
    different = left != right
    return np.column_stack([items[left[different]], items[right[different]]])


def calculator_energy(calculator: CHGNetCalculator, atoms: Atoms) -> float:
    """Energy in eV by the package's own way; a molecule goes into a box whose images do not see each other."""
    boxed = atoms.copy()
    if not boxed.pbc.any():
        boxed.center(vacuum=VACUUM)
        boxed.pbc = True
    calculator.calculate(boxed, properties=["energy"], task="e")
    return float(calculator.results["energy"])
