# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ase==3.29.0",
#     "numpy==2.4.6",
#     "orb-models==0.5.5",
#     "safetensors==0.8.0",
#     "torch==2.13.0",
#     "vesin==0.6.2",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Orb [Neumann et al., arXiv:2410.22570 (v2); Rhodes et al., arXiv:2504.06231 (v3)].

`backbone` is the node features after the last message-passing step. The energy head averages them over
the atoms before its perceptron, so `last_layer`, the input of that perceptron's last linear map, has one
row a structure. Edge vectors enter through plain perceptrons: nothing here is invariant under rotation.

An atom keeps its nearest neighbours up to a number. Where no atom has more, the graph is unique and is
built here for all structures; where one has, which of equally distant neighbours stay is the package's
own choice, and the package builds the graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from orb_models.forcefield import pretrained
from orb_models.forcefield.atomic_system import SystemConfig, ase_atoms_to_atom_graphs
from orb_models.forcefield.base import AtomGraphs
from orb_models.forcefield.calculator import ORBCalculator
from vesin import NeighborList

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module

CUTOFF = 6.0  # Angstrom, of every public model
ELEMENTS = 118  # rows of the embedding table, by atomic number
CHARGE_AND_SPIN = {"charge": 0, "spin": 1}  # of structures that say nothing, where a model asks


@dataclass(frozen=True)
class Edges:
    """Directed edges of one structure, grouped by sender."""

    senders: np.ndarray  # (edges,)
    receivers: np.ndarray  # (edges,)
    vectors: np.ndarray  # (edges, 3), from sender to receiver, Angstrom


class OrbAdapter(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: `architecture` (a key of `build`), `neighbours` kept per atom, `steps` of message passing.

        `seed` instead of a checkpoint leaves the network untrained; with `energies` it returns energies all
        the same.
        """
        torch.set_float32_matmul_precision("highest")  # the package's own default rounds products to TF32
        torch.manual_seed(int(options.get("seed", 0)))
        self.config = SystemConfig(radius=CUTOFF, max_num_neighbors=int(options["neighbours"]))
        model = build(str(options["architecture"]), int(options["steps"]), self.config)
        if checkpoint is not None:
            model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True), strict=True)
        self.gives_energies = checkpoint is not None or bool(options.get("energies", False))
        self.model = model.to(device).eval()
        self.device = device
        self.neighbours = NeighborList(cutoff=CUTOFF, full_list=True, sorted=True)
        self.hidden = torch.empty(0)
        last = [module for module in model.heads["energy"].mlp if isinstance(module, torch.nn.Linear)][-1]
        last.register_forward_pre_hook(lambda _, inputs: setattr(self, "hidden", inputs[0].detach()))

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, Atoms)
        if item.pbc.any() and not item.pbc.all():
            return "the model's graphs are periodic along all directions or along none"
        reference = self.model.heads["energy"].reference.linear.weight.reshape(-1)
        unknown = [number for number in np.unique(item.numbers) if number >= ELEMENTS or reference[number] == 0]
        names = ", ".join(Atoms(numbers=unknown).symbols)
        return f"the model has no reference energy for {names}" if unknown else None

    @torch.no_grad()
    def embed(self, inputs: Sequence[Atoms]) -> Features:
        batch = self._batch(inputs)
        nodes = self.model.model(batch)["node_features"]
        energies = self.model.heads["energy"].predict(nodes, batch)
        if self.model.pair_repulsion:
            energies = energies + self.model.pair_repulsion_fn(batch)["energy"]
        layers = {
            "backbone": Layer(nodes.cpu().numpy()),
            "last_layer": Layer(self.hidden.cpu().numpy(), level="structure"),
        }
        return Features(layers, energies.double().cpu().numpy() if self.gives_energies else None)

    def _batch(self, inputs: Sequence[Atoms]) -> AtomGraphs:
        graphs = [self._edges(atoms) for atoms in inputs]
        sizes, edges = [len(atoms) for atoms in inputs], [len(graph.senders) for graph in graphs]
        offsets = np.repeat(np.cumsum([0, *sizes[:-1]]), edges)
        numbers = self._tensor(np.concatenate([atoms.numbers for atoms in inputs]))
        return AtomGraphs(
            senders=self._tensor(np.concatenate([graph.senders for graph in graphs]) + offsets),
            receivers=self._tensor(np.concatenate([graph.receivers for graph in graphs]) + offsets),
            n_node=self._tensor(np.array(sizes)),
            n_edge=self._tensor(np.array(edges)),
            node_features={
                "positions": self._tensor(np.concatenate([atoms.positions for atoms in inputs])),
                "atomic_numbers": numbers,
                "atomic_numbers_embedding": torch.nn.functional.one_hot(numbers, ELEMENTS).float(),
            },
            edge_features={"vectors": self._tensor(np.concatenate([graph.vectors for graph in graphs]))},
            system_features={
                "cell": self._tensor(np.stack([atoms.cell.array for atoms in inputs])),
                "total_charge": self._states(inputs, "charge"),
                "total_spin": self._states(inputs, "spin"),
            },
            node_targets=None,
            edge_targets=None,
            system_targets=None,
            system_id=None,
            fix_atoms=None,
            tags=None,
            radius=CUTOFF,
            max_num_neighbors=self._tensor(np.full(len(inputs), self.config.max_num_neighbors)),
        )

    def _edges(self, atoms: Atoms) -> Edges:
        i, j, vectors = self.neighbours.compute(atoms.positions, atoms.cell.array, atoms.pbc, "ijD")
        if np.bincount(i.astype(np.int64), minlength=1).max() <= self.config.max_num_neighbors:
            return Edges(i.astype(np.int64), j.astype(np.int64), vectors)
        graph = ase_atoms_to_atom_graphs(atoms, self.config, device=torch.device("cpu"))
        return Edges(graph.senders.numpy(), graph.receivers.numpy(), graph.edge_features["vectors"].numpy())

    def _states(self, inputs: Sequence[Atoms], name: str) -> torch.Tensor:
        """Charge or spin multiplicity of each structure."""
        values = [float(atoms.info.get(name, CHARGE_AND_SPIN[name])) for atoms in inputs]
        return torch.tensor(values, device=self.device)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        dtype = torch.float32 if values.dtype.kind == "f" else torch.int64
        return torch.as_tensor(values, dtype=dtype, device=self.device)

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.model, scale, seed)

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray:
        calculator = ORBCalculator(self.model, device=self.device)
        for atoms in inputs:
            atoms.info = {**CHARGE_AND_SPIN, **atoms.info}
        return np.array([calculator.get_potential_energy(atoms) for atoms in inputs], dtype=float).reshape(-1)


def build(architecture: str, steps: int, config: SystemConfig) -> torch.nn.Module:
    """An untrained network of one of the package's architectures; `-omol` is conditioned on charge and spin."""
    if architecture == "v2":
        return pretrained.orb_v2_architecture(num_message_passing_steps=steps, system_config=config, device="cpu")
    makers = {
        "v3-conservative": pretrained.orb_v3_conservative_architecture,
        "v3-direct": pretrained.orb_v3_direct_architecture,
    }
    conditioned = architecture.endswith("-omol")
    return makers[architecture.removesuffix("-omol")](
        num_message_passing_steps=steps,
        has_charge_spin_cond=conditioned,
        has_stress=not conditioned,
        system_config=config,
        device="cpu",
    )
