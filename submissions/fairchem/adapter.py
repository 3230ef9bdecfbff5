# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ase==3.29.0",
#     "fairchem-core==2.24.0",
#     "numpy==2.4.6",
#     "omegaconf==2.3.1",
#     "safetensors==0.8.0",
#     "torch==2.13.0",
#     "vesin==0.6.2",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""UMA [Wood et al., arXiv 2506.23971] and eSEN [Fu et al., arXiv 2502.12147] by way of fairchem.

`backbone` and `equivariant` are the l=0 and l>0 parts of the backbone's output after its last norm,
`last_layer` the input of the final linear map to the atomic energy, caught by a hook. Task, charge,
spin and the mean composition of a structure enter every block, so one network is one entry a task.

Structures run unmerged in one batch, in full float32, on a neighbour list made here; forces are
switched off, since the package's blocks turn gradients back on where forces are wanted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.geometry import wrap_positions
from fairchem.core import FAIRChemCalculator
from fairchem.core.datasets.atomic_data import AtomicData
from fairchem.core.graph.radius_graph_pbc import get_max_neighbors_mask
from fairchem.core.models.base import HydraModel
from fairchem.core.units.mlip_unit import MLIPPredictUnit, load_predict_unit
from fairchem.core.units.mlip_unit.api.inference import InferenceSettings
from fairchem.core.units.mlip_unit.utils import tf32_context_manager
from omegaconf import OmegaConf
from vesin import NeighborList

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module

ISOLATED_ATOMS = "iso_atom_elem_refs.yaml"


class FairchemAdapter(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: `task`; without a checkpoint also `seed` and the configurations `backbone` and `heads`.

        checkpoint: a file, or a folder with one and the package's table of energies of isolated atoms.
        """
        self.checkpoint, self.device, self.task = checkpoint, device, str(options["task"])
        self.predictor: MLIPPredictUnit | None = None
        if checkpoint is None:
            model = untrained(options)
        else:
            self.predictor = predictor(checkpoint, device, external_graph_gen=True)
            model = self.predictor.model.module
        known = model.dataset_to_tasks if self.predictor is not None else [self.task]
        if self.task not in known:
            raise ValueError(f"option task: the checkpoint has no {self.task!r}; accepted: {', '.join(sorted(known))}")
        self.model: HydraModel = model.requires_grad_(False).to(device).eval()
        for task in self.model.tasks.values() if self.predictor is not None else ():
            task.normalizer.to(device)
            if task.element_references is not None:
                task.element_references.to(device)
        config = self.model.backbone.regress_config
        config.forces = config.stress = config.hessian = False
        self.cutoff, self.lmax = float(self.model.backbone.cutoff), int(self.model.backbone.lmax)
        self.neighbors = NeighborList(cutoff=self.cutoff, full_list=True, sorted=True)
        self.caught: dict[str, torch.Tensor] = {}
        self.model.backbone.register_forward_hook(
            lambda *call: self.caught.__setitem__("nodes", call[2]["node_embedding"])
        )
        last = final_linear_map(self.model, self.task)
        last.register_forward_pre_hook(lambda _, inputs: self.caught.__setitem__("last_layer", inputs[0]))

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, Atoms)
        most = int(self.model.backbone.max_num_elements)
        unknown = sorted(set(item.symbols[item.numbers >= most]))
        return f"the network ends at atomic number {most - 1}, before {', '.join(unknown)}" if unknown else None

    @torch.no_grad()
    def embed(self, inputs: Sequence[Atoms]) -> Features:
        batch = self._batch(inputs)
        with tf32_context_manager(tf32=False):
            output = self.model(batch)
        nodes = self.caught["nodes"]
        blocks = {order: nodes[:, order**2 : (order + 1) ** 2] for order in range(self.lmax + 1)}
        # Coefficients come before channels here, and after them in e3nn.
        tensors = [blocks[order].transpose(1, 2).flatten(1) for order in range(1, self.lmax + 1)]
        channels = nodes.shape[2]
        layers = {
            "backbone": Layer(blocks[0][:, 0].cpu().numpy()),
            "last_layer": Layer(self.caught["last_layer"].cpu().numpy()),
            "equivariant": Layer(
                torch.cat(tensors, dim=1).cpu().numpy(),
                irreps="+".join(f"{channels}x{order}e" for order in range(1, self.lmax + 1)),
            ),
        }
        return Features(layers, None if self.predictor is None else self._energies(inputs, batch, output))

    def _energies(self, inputs: Sequence[Atoms], batch: AtomicData, output: dict[str, Any]) -> np.ndarray:
        """Total energies in eV, (structures,); isolated atoms by the package's table where there is one."""
        assert self.predictor is not None
        found = self.predictor._process_outputs(batch, output, True)
        (name,) = (task.name for task in self.model.dataset_to_tasks[self.task] if task.property == "energy")
        energies = found[name].double().cpu().numpy().reshape(-1)
        for index, atoms in enumerate(inputs):
            if len(atoms) == 1 and not atoms.pbc.any() and self.predictor.atom_refs:
                energies[index] = float(self.predictor.predict(self._batch([atoms]))["energy"])
        return energies

    def _batch(self, inputs: Sequence[Atoms]) -> AtomicData:
        """All structures with their edges, neighbour to centre, one structure after the other."""
        sizes = torch.tensor([len(atoms) for atoms in inputs])
        positions, edges, images, counts = [], [], [], []
        for atoms, first in zip(inputs, (torch.cumsum(sizes, 0) - sizes).tolist(), strict=True):
            cell = atoms.cell.complete().array
            wrapped = wrap_positions(atoms.positions, cell, pbc=atoms.pbc, eps=0)
            centers, neighbors, image = self.neighbors.compute(wrapped, cell, atoms.pbc, quantities="ijS")
            positions.append(wrapped)
            edges.append(np.stack([neighbors, centers]).astype(np.int64) + first)
            images.append(image)
            counts.append(len(image))
        total = int(sizes.sum())
        batch = AtomicData(
            pos=torch.from_numpy(np.concatenate(positions)).float(),
            atomic_numbers=torch.from_numpy(np.concatenate([atoms.numbers for atoms in inputs])).long(),
            cell=torch.from_numpy(np.stack([atoms.cell.complete().array for atoms in inputs])).float(),
            pbc=torch.from_numpy(np.stack([atoms.pbc for atoms in inputs])),
            natoms=sizes,
            edge_index=torch.from_numpy(np.concatenate(edges, axis=1)),
            cell_offsets=torch.from_numpy(np.concatenate(images).astype(np.float32)),
            nedges=torch.tensor(counts),
            charge=torch.tensor([int(atoms.info.get("charge", 0)) for atoms in inputs]),
            spin=torch.tensor([int(atoms.info.get("spin", self.task == "omol")) for atoms in inputs]),
            fixed=torch.zeros(total, dtype=torch.long),
            tags=torch.zeros(total, dtype=torch.long),
            batch=torch.repeat_interleave(torch.arange(len(inputs)), sizes),
            sid=[""] * len(inputs),
            dataset=[self.task] * len(inputs),
        )
        self._keep_closest(batch)
        return batch.to(self.device)

    def _keep_closest(self, batch: AtomicData) -> None:
        """Drop edges beyond the number of neighbours that the network was trained with, as the package does."""
        most = int(self.model.backbone.max_neighbors)
        centers = batch.edge_index[1]
        if len(centers) == 0 or int(torch.bincount(centers).max()) <= most:
            return
        owners = batch.batch[centers]
        shifts = torch.einsum("ij,ijk->ik", batch.cell_offsets, batch.cell[owners])
        vectors = batch.pos[batch.edge_index[0]] - batch.pos[centers] + shifts
        strictly = bool(self.model.backbone.enforce_max_neighbors_strictly)
        kept, _ = get_max_neighbors_mask(
            batch.natoms, centers, (vectors**2).sum(dim=1), most, enforce_max_strictly=strictly
        )
        batch.edge_index, batch.cell_offsets = batch.edge_index[:, kept], batch.cell_offsets[kept]
        batch.nedges = torch.bincount(owners[kept], minlength=len(batch.natoms))

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.model, scale, seed)

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray | None:
        if self.checkpoint is None:
            return None
        calculator = FAIRChemCalculator(predictor(self.checkpoint, self.device), task_name=self.task)
        return np.array([calculator.get_potential_energy(atoms) for atoms in inputs])


def predictor(checkpoint: Path, device: str, external_graph_gen: bool = False) -> MLIPPredictUnit:
    """The package's predictor in full float32 without merged experts, compilation or kernels of reduced precision."""
    settings = InferenceSettings(
        tf32=False,
        activation_checkpointing=False,
        merge_mole=False,
        compile=False,
        external_graph_gen=external_graph_gen,
        execution_mode="general",
    )
    references = None
    if checkpoint.is_dir():
        references = OmegaConf.load(next(checkpoint.rglob(ISOLATED_ATOMS)))
        (checkpoint,) = checkpoint.rglob("*.pt")
    return load_predict_unit(str(checkpoint), settings, device=device, atom_refs=references)


def untrained(options: Options) -> HydraModel:
    """The network of a configuration as the package writes them into checkpoints, freshly initialised."""
    torch.manual_seed(int(options["seed"]))
    return HydraModel(
        backbone=dict(options["backbone"]) | {"otf_graph": False, "always_use_pbc": False},
        heads={name: dict(head) for name, head in options["heads"].items()},
        pass_through_head_outputs=True,
        model_id=options.get("model_id"),
    )


def final_linear_map(model: HydraModel, task: str) -> torch.nn.Module:
    """The last map of the head that predicts the energy: of all tasks, or of this one where each has its own."""
    blocks = {
        name: module.energy_block
        for name, module in model.output_heads.named_modules()
        if getattr(module, "energy_block", None) is not None
    }
    chosen = [block for name, block in blocks.items() if len(blocks) == 1 or name.startswith(task)]
    if len(chosen) != 1:
        raise ValueError(
            f"one energy head is needed for task {task!r}; the checkpoint has {', '.join(blocks) or 'none'}"
        )
    (block,) = chosen
    return block[-1] if isinstance(block, torch.nn.Sequential) else block
