# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ase==3.29.0",
#     "numpy==2.4.6",
#     "safetensors==0.8.0",
#     "schnetpack==2.0.4",
#     "scipy==1.17.1",
#     "torch==2.13.0",
#     "torch-geometric==2.8.1",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Networks for molecules that one trains oneself: SchNet, DimeNet++, ViSNet (PyTorch Geometric), PaiNN (SchNetPack).

SchNet [Schuett et al., arXiv:1706.08566], DimeNet++ [Gasteiger et al., arXiv:2011.14115], ViSNet [Wang et al.,
arXiv:2210.16518], PaiNN [Schuett et al., arXiv:2102.03150]. A checkpoint is a safetensors file whose metadata entry
`network` names the architecture, its hyperparameters and the label; `scripts/train_probe_network` writes such files.

All four are used in one way: the network gives a number an atom, their mean times a scale plus a constant of each
element (mean over atoms) is the label, times the number of atoms where the label grows with it. So networks trained
on different labels differ in nothing but the label.

Neighbour lists are made here and hold every neighbour: PyTorch Geometric's own need a compiled library, and keep 32
neighbours an atom, chosen by the order of the atoms.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.spatial import KDTree
from torch_geometric.nn.models import dimenet, schnet, visnet

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module

ELEMENTS = {"schnet": 99, "dimenetpp": 94, "visnet": 99, "painn": 99}
"""The largest atomic number that an architecture's embedding has a row for."""


@dataclass(frozen=True)
class Graph:
    """Molecules in one batch.

    numbers, structure: (atoms,). positions: (atoms, 3), Angstrom. counts: (structures,), atoms of each.
    edges: (2, directed edges), source and target; those of one target stand together.
    """

    numbers: torch.Tensor
    positions: torch.Tensor
    structure: torch.Tensor
    counts: torch.Tensor
    edges: torch.Tensor


def make_graph(molecules: Sequence[Atoms], cutoff: float, device: str = "cpu") -> Graph:
    """All pairs of atoms of one molecule nearer than `cutoff` (Angstrom), in both directions."""
    counts = np.array([len(atoms) for atoms in molecules])
    starts = np.cumsum(counts) - counts
    pairs = [
        KDTree(atoms.positions).query_pairs(cutoff, output_type="ndarray") + start
        for atoms, start in zip(molecules, starts, strict=True)
    ]
    one_way = np.concatenate(pairs).reshape(-1, 2)
    edges = np.concatenate([one_way, one_way[:, ::-1]])
    edges = edges[np.lexsort(edges.T)].T
    return Graph(
        numbers=torch.as_tensor(np.concatenate([atoms.numbers for atoms in molecules]), device=device).long(),
        positions=torch.as_tensor(
            np.concatenate([atoms.positions for atoms in molecules]), dtype=torch.float32, device=device
        ),
        structure=torch.as_tensor(np.repeat(np.arange(len(counts)), counts), device=device),
        counts=torch.as_tensor(counts, device=device),
        edges=torch.as_tensor(np.ascontiguousarray(edges), device=device).long(),
    )


class Network(torch.nn.Module):
    """One architecture: `forward` gives the mean over atoms of its readout, (structures,), and fills `caught`.

    caught: `backbone` and `last_layer` (atoms, d), and `equivariant` (atoms, 3, d), x, y, z, where there is any.
    """

    def __init__(self) -> None:
        super().__init__()
        self.caught: dict[str, torch.Tensor] = {}

    def catch_input(self, name: str, module: torch.nn.Module) -> None:
        """Keep what `module` is given first."""
        module.register_forward_pre_hook(lambda _, inputs: self.caught.__setitem__(name, inputs[0]))


class GivenEdges(torch.nn.Module):
    """Hands a network the edges of the graph at hand in place of those that it would look for itself."""

    def __init__(self, with_vectors: bool) -> None:
        super().__init__()
        self.with_vectors = with_vectors
        self.edges = torch.zeros((2, 0), dtype=torch.long)

    def forward(self, positions: torch.Tensor, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Edges, distances and, for ViSNet, vectors and an edge of length 0 from every atom to itself."""
        del batch
        vectors = positions[self.edges[0]] - positions[self.edges[1]]
        distances = vectors.norm(dim=-1)
        if not self.with_vectors:
            return self.edges, distances
        own = torch.arange(len(positions), device=positions.device).expand(2, -1)
        return (
            torch.cat([self.edges, own], dim=1),
            torch.cat([distances, positions.new_zeros(len(positions))]),
            torch.cat([vectors, torch.zeros_like(positions)]),
        )


class SchNet(Network):
    def __init__(self, **hyperparameters: Any) -> None:
        super().__init__()
        self.given = GivenEdges(with_vectors=False)
        self.model = schnet.SchNet(interaction_graph=self.given, readout="mean", **hyperparameters)
        self.catch_input("backbone", self.model.lin1)
        self.catch_input("last_layer", self.model.lin2)

    def forward(self, graph: Graph) -> torch.Tensor:
        self.given.edges = graph.edges
        return self.model(graph.numbers, graph.positions, graph.structure)[:, 0]


class ViSNet(Network):
    def __init__(self, **hyperparameters: Any) -> None:
        super().__init__()
        self.model = visnet.ViSNet(reduce_op="mean", **hyperparameters)
        self.given = self.model.representation_model.distance = GivenEdges(with_vectors=True)
        readout = self.model.output_model.output_network
        self.catch_input("backbone", readout[0])
        self.catch_input("last_layer", readout[1].update_net[2])
        readout[0].register_forward_pre_hook(lambda _, inputs: self.caught.__setitem__("equivariant", inputs[1]))

    def forward(self, graph: Graph) -> torch.Tensor:
        self.given.edges = graph.edges
        return self.model(graph.numbers, graph.positions, graph.structure)[0][:, 0]


class DimeNetPlusPlus(Network):
    """The package's network with its forward pass written out: its own needs compiled libraries for the graph.

    `last_layer` is what the final linear maps of all output blocks consume, one after the other: their results add
    up. `backbone` is the atom's sum of messages that the last output block starts from.
    """

    def __init__(self, **hyperparameters: Any) -> None:
        super().__init__()
        self.model = dimenet.DimeNetPlusPlus(out_channels=1, **hyperparameters)
        blocks = self.model.output_blocks
        self.catch_input("backbone", blocks[-1].lin_up)
        for number, block in enumerate(blocks):
            self.catch_input(f"last_layer {number}", block.lin)

    def forward(self, graph: Graph) -> torch.Tensor:
        source, target = graph.edges
        incoming, outgoing = paths(graph.edges, len(graph.numbers))
        vectors = graph.positions[target] - graph.positions[source]
        distances = vectors.norm(dim=-1)
        along, across = vectors[outgoing], vectors[incoming]
        angles = torch.atan2(torch.linalg.cross(along, across).norm(dim=-1), (along * across).sum(dim=-1))
        radial = self.model.rbf(distances)
        angular = self.model.sbf(distances, angles, incoming)
        messages = self.model.emb(graph.numbers, radial, target, source)
        atoms = len(graph.numbers)
        output = self.model.output_blocks[0](messages, radial, target, num_nodes=atoms)
        for interaction, block in zip(self.model.interaction_blocks, self.model.output_blocks[1:], strict=True):
            messages = interaction(messages, radial, angular, incoming, outgoing)
            output = output + block(messages, radial, target, num_nodes=atoms)
        parts = [self.caught.pop(f"last_layer {number}") for number in range(len(self.model.output_blocks))]
        self.caught["last_layer"] = torch.cat(parts, dim=1)
        return mean_over_atoms(output[:, 0], graph)


def paths(edges: torch.Tensor, atoms: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs of edges k -> j and j -> i with k other than i: the numbers of the first and of the second edge.

    edges: (2, edges), source and target, those of one target together and in the order of targets.
    """
    source, target = edges
    incoming_count = torch.bincount(target, minlength=atoms)
    first = torch.cumsum(incoming_count, 0) - incoming_count
    repeats = incoming_count[source]
    outgoing = torch.repeat_interleave(torch.arange(len(source), device=edges.device), repeats)
    within = torch.arange(len(outgoing), device=edges.device) - torch.repeat_interleave(
        torch.cumsum(repeats, 0) - repeats, repeats
    )
    incoming = first[source[outgoing]] + within
    different = source[incoming] != target[outgoing]
    return incoming[different], outgoing[different]


class PaiNN(Network):
    def __init__(self, n_atom_basis: int = 128, n_interactions: int = 3, n_rbf: int = 20, cutoff: float = 5.0) -> None:
        super().__init__()
        schnetpack = import_schnetpack()
        self.representation = schnetpack.representation.PaiNN(
            n_atom_basis=n_atom_basis,
            n_interactions=n_interactions,
            radial_basis=schnetpack.nn.BesselRBF(n_rbf, cutoff),
            cutoff_fn=schnetpack.nn.CosineCutoff(cutoff),
        )
        self.readout = schnetpack.atomistic.Atomwise(n_in=n_atom_basis, aggregation_mode="avg")
        self.catch_input("last_layer", self.readout.outnet[-1])

    def forward(self, graph: Graph) -> torch.Tensor:
        source, target = graph.edges
        inputs = {
            "_atomic_numbers": graph.numbers,
            "_Rij": graph.positions[source] - graph.positions[target],
            "_idx_i": target,
            "_idx_j": source,
            "_idx_m": graph.structure,
            "_n_atoms": graph.counts,
        }
        inputs = self.readout(self.representation(inputs))
        self.caught["backbone"] = inputs["scalar_representation"]
        self.caught["equivariant"] = inputs["vector_representation"]
        return inputs["y"]


def import_schnetpack() -> Any:
    """SchNetPack; slow to import, so only where it is used.

    Its 2.0.4 takes the type variable `T_co` from a module of torch that no longer has it, for an annotation.
    """
    from torch.utils.data import dataloader

    if not hasattr(dataloader, "T_co"):
        dataloader.T_co = TypeVar("T_co", covariant=True)
    import schnetpack

    return schnetpack


def mean_over_atoms(values: torch.Tensor, graph: Graph) -> torch.Tensor:
    """Mean of `values` (atoms,) over the atoms of each molecule, (structures,)."""
    sums = values.new_zeros(len(graph.counts)).index_add(0, graph.structure, values)
    return sums / graph.counts


ARCHITECTURES: Mapping[str, type[Network]] = {
    "schnet": SchNet,
    "dimenetpp": DimeNetPlusPlus,
    "visnet": ViSNet,
    "painn": PaiNN,
}


@dataclass(frozen=True)
class Description:
    """What a checkpoint says of itself.

    label, unit: what the network was trained on. per_atom: the label is a sum over atoms, an energy; else a mean.
    elements: atomic numbers that occur in the training molecules, none for a network that was never trained.
    training: how it was made, for the reader.
    """

    architecture: str
    hyperparameters: Mapping[str, Any]
    label: str = ""
    unit: str = ""
    per_atom: bool = False
    elements: tuple[int, ...] = ()
    training: Mapping[str, Any] | None = None


class ProbeNetwork(torch.nn.Module):
    """A network with the scale and the constants of the elements that make its output the label."""

    def __init__(self, description: Description) -> None:
        super().__init__()
        if description.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture {description.architecture!r}; accepted: {', '.join(ARCHITECTURES)}")
        self.description = description
        self.network = ARCHITECTURES[description.architecture](**description.hyperparameters)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("constants", torch.zeros(1 + max(ELEMENTS.values()), dtype=torch.float64))

    @property
    def cutoff(self) -> float:
        """Angstrom."""
        defaults = {"schnet": 10.0}
        return float(self.description.hyperparameters.get("cutoff", defaults.get(self.description.architecture, 5.0)))

    def forward(self, graph: Graph) -> torch.Tensor:
        """The label in its unit, divided by the number of atoms where it is a sum over atoms, (structures,)."""
        return self.scale * self.network(graph) + mean_over_atoms(self.constants[graph.numbers], graph)


def save_network(path: Path, network: ProbeNetwork) -> None:
    """Write a checkpoint."""
    tensors = {name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}
    save_file(tensors, str(path), {"network": json.dumps(vars(network.description))})


def load_network(path: Path) -> ProbeNetwork:
    """Read a checkpoint. ValueError names the file where it is none."""
    with safe_open(str(path), framework="pt") as stream:
        text = (stream.metadata() or {}).get("network")
        if text is None:
            raise ValueError(f"{path.name}: no entry `network` in the metadata; scripts/train_probe_network writes it")
        described = json.loads(text)
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    described["elements"] = tuple(described["elements"])
    network = ProbeNetwork(Description(**described))
    network.load_state_dict(tensors)
    return network


class MoleculeNetwork(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: `architecture`, which a checkpoint must have; without one `seed` and `hyperparameters`."""
        architecture = str(options["architecture"])
        if checkpoint is None:
            torch.manual_seed(int(options["seed"]))
            network = ProbeNetwork(Description(architecture, options["hyperparameters"]))
        else:
            network = load_network(checkpoint)
            if network.description.architecture != architecture:
                found = network.description.architecture
                raise ValueError(f"{checkpoint.name}: holds architecture {found!r}, this model is {architecture!r}")
        self.network = network.to(device).eval()
        self.device = device

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, Atoms)
        if item.pbc.any():
            return "a periodic structure: the network knows molecules only"
        described = self.network.description
        largest = ELEMENTS[described.architecture]
        for number in sorted(set(item.numbers.tolist())):
            if number > largest or number < 1:
                return f"element {chemical_symbols[number]} has no embedding"
            if described.elements and number not in described.elements:
                return f"element {chemical_symbols[number]} does not occur in the training molecules"
        return None

    @torch.no_grad()
    def embed(self, inputs: Sequence[Atoms]) -> Features:
        graph = make_graph(inputs, self.network.cutoff, self.device)
        label = self.network(graph)
        caught = self.network.network.caught
        layers = {name: Layer(caught[name].cpu().numpy()) for name in ("backbone", "last_layer")}
        if "equivariant" in caught:
            vectors = caught["equivariant"].transpose(1, 2)  # (atoms, channels, 3)
            channels = vectors.shape[1]
            layers["equivariant"] = Layer(vectors.reshape(-1, 3 * channels).cpu().numpy(), irreps=f"{channels}x1o")
        return Features(layers, (label * graph.counts).double().cpu().numpy() if self.gives_energies else None)

    @property
    def gives_energies(self) -> bool:
        described = self.network.description
        return described.per_atom and described.label.startswith("energy") and described.unit == "eV"

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.network, scale, seed)

    @torch.no_grad()
    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray | None:
        """One molecule at a time through the package's own forward pass, with a neighbour list of all pairs."""
        if not self.gives_energies:
            return None
        mean = reference_model(self.network, self.device)
        constants = self.network.constants.cpu().numpy()
        scale = float(self.network.scale)
        return np.array([scale * mean(atoms) * len(atoms) + constants[atoms.numbers].sum() for atoms in inputs])


def reference_model(network: ProbeNetwork, device: str) -> Callable[[Atoms], float]:
    """The mean over atoms of the readout for one molecule, by the package's own way from atoms to output."""
    described = network.description
    if described.architecture == "painn":
        schnetpack = import_schnetpack()
        neighbours = schnetpack.transform.ASENeighborList(cutoff=network.cutoff)
        convert = schnetpack.interfaces.AtomsConverter(neighbours, device=device)
        distances = [schnetpack.atomistic.PairwiseDistances()]
        parts = network.network
        potential = schnetpack.model.NeuralNetworkPotential(parts.representation, distances, [parts.readout])
        return lambda atoms: float(potential(convert(atoms))["y"])
    for module in (schnet, dimenet, visnet):  # theirs need a compiled library
        module.radius_graph = all_pairs
    dimenet.triplets = all_triplets
    if described.architecture == "schnet":
        model = schnet.SchNet(readout="mean", **described.hyperparameters)
    elif described.architecture == "visnet":
        model = visnet.ViSNet(reduce_op="mean", **described.hyperparameters)
    else:
        model = dimenet.DimeNetPlusPlus(out_channels=1, **described.hyperparameters)
    model.load_state_dict(network.network.model.state_dict())
    model = model.to(device).eval()

    def mean(atoms: Atoms) -> float:
        numbers = torch.as_tensor(atoms.numbers, device=device).long()
        positions = torch.as_tensor(atoms.positions, dtype=torch.float32, device=device)
        output = model(numbers, positions, torch.zeros_like(numbers))
        if described.architecture == "dimenetpp":
            return float(output) / len(atoms)
        return float(output[0] if described.architecture == "visnet" else output)

    return mean


def all_pairs(x: torch.Tensor, r: float, batch: torch.Tensor, loop: bool = False, **_: Any) -> torch.Tensor:
    """What `radius_graph` gives for one molecule, (2, edges), by looking at every pair and keeping every neighbour."""
    del batch
    near = torch.cdist(x, x) <= r
    near.fill_diagonal_(loop)
    return near.nonzero().T.flip(0)


def all_triplets(edge_index: torch.Tensor, num_nodes: int) -> tuple[torch.Tensor, ...]:
    """What `triplets` gives: i, j of every edge j -> i; i, j, k of every path k -> j -> i; the path's two edges."""
    del num_nodes
    j, i = edge_index
    kj, ji = ((i[:, None] == j[None]) & (j[:, None] != i[None])).nonzero().T
    return i, j, i[ji], j[ji], j[kj], kj, ji
