# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ase==3.29.0",
#     "e3nn-jax==0.21.0",
#     "equinox==0.13.8",
#     "jax==0.10.2",
#     "jraph==0.0.6.dev0",
#     "matscipy==1.3.1",
#     "nequix==0.4.5",
#     "numpy==2.4.6",
#     "safetensors==0.8.0",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Nequix [Koker, Kotak and Smidt, arXiv:2508.16067; phonon fine-tuning: arXiv:2601.07742].

`backbone` is the output of the last convolution, scalars only. The readout is one linear map of it, so
`last_layer` is the same array. `equivariant` is the l>0 part of the convolution before, the deepest point
where there is one. All come from one forward pass without forces.

XLA compiles the network once for each shape of its input. Structures are therefore packed into parts of
at most EDGES edges, and each part is padded to one of a few shapes; edges and atoms that only fill up
hang together among themselves and reach no atom of a structure.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before jax is imported: as many threads as the benchmark allows, and no search for a GPU that is not asked for.
os.environ.setdefault("NPROC", os.environ.get("OMP_NUM_THREADS", "1"))

import equinox as eqx
import jax
import jax.numpy as jnp
import jraph
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from matscipy.neighbours import neighbour_list
from nequix.calculator import NequixCalculator
from nequix.model import Nequix, save_model

from benchmark.adapter import Adapter, Features, Layer, Options

EDGES = 4096  # filled by about 80 atoms of a crystal
SHAPES = ((512, 64), (EDGES, 512))  # edges, atoms; larger structures double the last
ARCHITECTURE = (
    "hidden_irreps",
    "lmax",
    "cutoff",
    "n_layers",
    "radial_basis_size",
    "radial_mlp_size",
    "radial_mlp_layers",
    "radial_polynomial_p",
    "mlp_init_scale",
    "index_weights",
    "layer_norm",
    "shift",
    "scale",
    "avg_n_neighbors",
)


@dataclass(frozen=True)
class Graph:
    """Directed edges of one structure."""

    species: np.ndarray  # (atoms,)
    senders: np.ndarray  # (edges,)
    receivers: np.ndarray  # (edges,)
    displacements: np.ndarray  # (edges, 3), from receiver to sender, Angstrom


class NequixAdapter(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: for a freshly initialised network `seed`, its configuration, and `energies` to return them."""
        jax.config.update("jax_platforms", "cuda" if device == "cuda" else "cpu")
        jax.config.update("jax_default_matmul_precision", "highest")  # no TF32
        if checkpoint is None:
            self.config = dict(options["config"])
            key = jax.random.key(int(options["seed"]))
            self.model = Nequix(key, n_species=len(self.config["atomic_numbers"]), **architecture(self.config))
        else:
            self.model, self.config = read_checkpoint(checkpoint)
        self.checkpoint = checkpoint
        self.with_energies = checkpoint is not None or bool(options.get("energies", False))
        self.species = np.full(len(chemical_symbols), -1)
        known = sorted(self.config["atomic_numbers"])
        self.species[known] = np.arange(len(known))
        # The last convolution keeps scalars alone; its predecessor has all irreps, scalars first.
        irreps = self.model.layers[-2].output_irreps
        self.scalars = irreps.count("0e")
        self.irreps = "+".join(str(part) for part in irreps if part.ir.l > 0)

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, Atoms)
        unknown = sorted({chemical_symbols[number] for number in item.numbers if self.species[number] < 0})
        return f"element {unknown[0]} is not in the model's type map" if unknown else None

    def embed(self, inputs: Sequence[Atoms] | Sequence[str]) -> Features:
        graphs = [self._graph(atoms) for atoms in inputs if isinstance(atoms, Atoms)]
        counts = np.array([len(graph.species) for graph in graphs])
        ends = np.cumsum(counts)
        backbone = np.empty((ends[-1], self.model.readout.irreps_in.dim), dtype=np.float32)
        equivariant = np.empty((ends[-1], self.model.layers[-2].output_irreps.dim - self.scalars), dtype=np.float32)
        energies = np.empty(ends[-1])
        for part in parts(graphs):
            rows = np.concatenate([np.arange(ends[index] - counts[index], ends[index]) for index in part])
            found = forward(self.model, **padded([graphs[index] for index in part], float(self.config["cutoff"])))
            per_atom, last, previous = (np.asarray(values)[: len(rows)] for values in found)
            backbone[rows], equivariant[rows], energies[rows] = last, previous[:, self.scalars :], per_atom
        layers = {
            "backbone": Layer(backbone),
            "last_layer": Layer(backbone),
            "equivariant": Layer(equivariant, irreps=self.irreps),
        }
        totals = np.add.reduceat(energies, ends - counts)
        return Features(layers, totals if self.with_energies else None)

    def _graph(self, atoms: Atoms) -> Graph:
        receivers, senders, displacements = neighbour_list(
            "ijD",
            positions=atoms.positions,
            cell=atoms.cell.complete(),
            pbc=atoms.pbc,
            cutoff=float(self.config["cutoff"]),
        )
        return Graph(self.species[atoms.numbers], senders, receivers, displacements)

    def perturb_weights(self, scale: float, seed: int) -> bool:
        generator = np.random.default_rng(seed)

        def perturbed(weights: Any) -> Any:
            if not eqx.is_inexact_array(weights):
                return weights
            return weights * (1 + scale * generator.normal(size=weights.shape)).astype(weights.dtype)

        self.model = jax.tree.map(perturbed, self.model)
        return True

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray | None:
        """By the package's calculator, which drops periodic images unless all three directions have them."""
        if not self.with_energies:
            return None
        graphs = [self._graph(atoms) for atoms in inputs]
        with tempfile.TemporaryDirectory() as folder:
            path = self.checkpoint
            if path is None:
                path = Path(folder) / "untrained.nqx"
                save_model(path, self.model, self.config)
            calculator = PackageCalculator(model_path=path, use_kernel=False)
        calculator.edges = max(len(graph.senders) for graph in graphs) + 1
        calculator.atoms_with_padding = max(len(graph.species) for graph in graphs) + 1
        return np.array([calculator.get_potential_energy(atoms) for atoms in inputs])


class PackageCalculator(NequixCalculator):
    """The package's calculator, except that all structures are padded to one shape: it would compile for each."""

    edges = atoms_with_padding = 0

    def _pad_graph_jax(self, graph: jraph.GraphsTuple, numbers_changed: bool = False) -> jraph.GraphsTuple:
        del numbers_changed
        return jraph.pad_with_graphs(graph, n_node=self.atoms_with_padding, n_edge=self.edges, n_graph=2)


@eqx.filter_jit
def forward(
    model: Nequix, displacements: jax.Array, species: jax.Array, senders: jax.Array, receivers: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Energies of atoms in eV, (atoms,), and the outputs of the last convolution and of the one before."""
    outputs: list[Any] = []

    def recorded(layer: Any) -> Any:
        def call(*arguments: Any) -> Any:
            outputs.append(layer(*arguments))
            return outputs[-1]

        return call

    model = eqx.tree_at(lambda each: each.layers, model, [recorded(layer) for layer in model.layers])
    energies = model.node_energies(displacements, species, senders, receivers)
    return energies[:, 0], outputs[-1].array, outputs[-2].array


def parts(graphs: Sequence[Graph]) -> Iterator[list[int]]:
    """Indices of structures to compute together: at most the largest of SHAPES, or one large structure alone."""
    part: list[int] = []
    edges = atoms = 0
    for index, graph in enumerate(graphs):
        edges, atoms = edges + len(graph.senders), atoms + len(graph.species)
        if part and (edges > SHAPES[-1][0] or atoms >= SHAPES[-1][1]):
            yield part
            part, edges, atoms = [], len(graph.senders), len(graph.species)
        part.append(index)
    yield part


def padded(graphs: Sequence[Graph], cutoff: float) -> dict[str, jax.Array]:
    """One graph of `graphs`, filled up to one of SHAPES by edges of length `cutoff` at a last atom."""
    lengths = [len(graph.species) for graph in graphs]
    offsets = np.repeat(np.cumsum(lengths) - lengths, [len(graph.senders) for graph in graphs])
    edges, atoms = shape(len(offsets), sum(lengths) + 1)
    senders, receivers = np.full((2, edges), atoms - 1, dtype=np.int32)
    displacements = np.tile(np.array([cutoff, 0.0, 0.0], dtype=np.float32), (edges, 1))
    species = np.zeros(atoms, dtype=np.int32)
    species[: sum(lengths)] = np.concatenate([graph.species for graph in graphs])
    senders[: len(offsets)] = np.concatenate([graph.senders for graph in graphs]) + offsets
    receivers[: len(offsets)] = np.concatenate([graph.receivers for graph in graphs]) + offsets
    displacements[: len(offsets)] = np.concatenate([graph.displacements for graph in graphs])
    arrays = {"displacements": displacements, "species": species, "senders": senders, "receivers": receivers}
    return {name: jnp.asarray(values) for name, values in arrays.items()}


def shape(edges: int, atoms: int) -> tuple[int, int]:
    """The smallest of SHAPES, or of the doubles of the last, that holds `edges` and `atoms`."""
    for most_edges, most_atoms in SHAPES:
        if edges <= most_edges and atoms <= most_atoms:
            return most_edges, most_atoms
    while edges > most_edges or atoms > most_atoms:
        most_edges, most_atoms = 2 * most_edges, 2 * most_atoms
    return most_edges, most_atoms


def architecture(config: Options) -> dict[str, Any]:
    """The arguments of Nequix that `config` holds."""
    return {name: config[name] for name in ARCHITECTURE}


def read_checkpoint(path: Path) -> tuple[Nequix, dict[str, Any]]:
    """Model and configuration: a line of JSON and the arrays. The package's own reader initialises the network first,
    which takes longer than all the rest."""
    with path.open("rb") as file:
        config = json.loads(file.readline())
        species = len(config["atomic_numbers"])
        like = eqx.filter_eval_shape(Nequix, jax.random.key(0), n_species=species, **architecture(config))
        return eqx.tree_deserialise_leaves(file, like), config
