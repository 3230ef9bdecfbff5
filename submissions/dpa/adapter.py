# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ase==3.29.0",
#     "deepmd-kit==3.2.0",
#     "e3nn==0.6.0",
#     "mpich==5.0.2",
#     "numpy==2.4.6",
#     "safetensors==0.8.0",
#     "torch==2.13.0",
#     "vesin==0.6.2",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""DPA-2 and DPA-3 [Zhang et al., npj Comput. Mater. 10, 293 (2024); arXiv:2506.01686 (2025)] by deepmd-kit.

`backbone` is the descriptor, `last_layer` the last hidden activation of the fitting network: the first
two results of the package's own `eval_embedding`. Inside, both architectures are invariant.

The package evaluates frames of one size at a time. Here all structures of a batch make one frame: their
atoms, the periodic images that are anybody's neighbour, and a neighbour list that keeps structures
apart. Features and energies come from one forward pass without forces.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import deepmd.env
import numpy as np
import torch
from ase import Atoms
from vesin import NeighborList

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module

# The package's compiled operators fit one version of torch and serve training, compression and parallel
# molecular dynamics only. Without the folder the package does without them; with it, it refuses this torch.
deepmd.env.SHARED_LIB_DIR = Path(os.devnull)


class DPAAdapter(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: `head`, the branch of a multi-task model; or `model`, a model section of deepmd's input, untrained.

        The package itself chooses the device: the accelerator where torch sees one.
        """
        from deepmd.infer import DeepPot  # after the folder was set
        from deepmd.pt.model.model import get_model

        self.pretrained = checkpoint is not None
        if checkpoint is None:
            self.model = get_model(dict(options["model"])).eval()
        else:
            self.potential = DeepPot(str(checkpoint), head=options.get("head"), no_jit=True)
            self.model = self.potential.deep_eval.dp.model["Default"]
        self.device = next(self.model.parameters()).device
        del device
        self.types = {symbol: index for index, symbol in enumerate(self.model.get_type_map())}
        self.neighbours = NeighborList(cutoff=float(self.model.get_rcut()), full_list=True, sorted=True, n_threads=1)
        if not self.model.mixed_types():
            raise ValueError("the model keeps neighbours of each type apart; DPA-2 and DPA-3 do not")
        self.most_neighbours = int(sum(self.model.get_sel()))
        self.flows = dynamic_flows(self.model.atomic_model.descriptor)
        self.statistics = () if self.flows is None else (self.flows.mean, self.flows.stddev)

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, Atoms)
        unknown = sorted(set(item.symbols) - set(self.types))
        return f"{', '.join(unknown)} not in the model's type map" if unknown else None

    @torch.no_grad()
    def embed(self, inputs: Sequence[Atoms]) -> Features:
        positions, types, images, neighbours = self._frame(inputs)
        atomic_model = self.model.atomic_model
        self._cut_statistics(neighbours.shape[-1])
        fitted = atomic_model.forward_atomic(positions, types, neighbours, mapping=images, return_atomic_feature=True)
        self._cut_statistics(self.most_neighbours)
        layers = {
            "backbone": Layer(fitted["descriptor"][0].float().cpu().numpy()),
            "last_layer": Layer(fitted["atomic_feature"][0].float().cpu().numpy()),
        }
        if not self.pretrained:
            return Features(layers)
        local = types[:, : neighbours.shape[1]]
        atomic = atomic_model.apply_out_stat({"energy": fitted["energy"]}, local)["energy"]
        starts = np.cumsum([0] + [len(atoms) for atoms in inputs[:-1]])
        return Features(layers, np.add.reduceat(atomic.double().cpu().numpy().reshape(-1), starts))

    def _frame(self, inputs: Sequence[Atoms]) -> tuple[torch.Tensor, ...]:
        """All structures as one frame.

        Returns positions (1, all, 3) and types (1, all) of the atoms followed by their periodic images, for
        each the atom that it is an image of (1, all), and neighbours (1, atoms, width), nearest first, -1 for none.
        """
        centres, partners, distances, origins, image_positions = [], [], [], [], []
        placed = [near_origin(atoms) for atoms in inputs]
        offset, extra = 0, sum(len(atoms) for atoms in inputs)
        for atoms, local in zip(inputs, placed, strict=True):
            first, second, shifts, lengths = self.neighbours.compute(
                points=local, box=atoms.cell.array, periodic=atoms.pbc, quantities="ijSd"
            )
            second, shifts = second.astype(np.int64), np.asarray(shifts, dtype=np.int64)
            outside = shifts.any(axis=1)
            unique, which = np.unique(np.column_stack([second, shifts])[outside], axis=0, return_inverse=True)
            partner = second + offset
            partner[outside] = which.reshape(-1) + extra
            centres.append(first.astype(np.int64) + offset)
            partners.append(partner)
            distances.append(lengths)
            origins.append(unique[:, 0] + offset)
            image_positions.append(local[unique[:, 0]] + unique[:, 1:] @ atoms.cell.array)
            offset, extra = offset + len(atoms), extra + len(unique)
        images = np.concatenate([np.arange(offset), *origins])
        types = np.array([self.types[symbol] for atoms in inputs for symbol in atoms.symbols])
        neighbours = rows_of_neighbours(*map(np.concatenate, (centres, partners, distances)), offset)
        return (
            torch.as_tensor(np.concatenate([*placed, *image_positions]), device=self.device)[None],
            torch.as_tensor(types[images], device=self.device)[None],
            torch.as_tensor(images, device=self.device)[None],
            torch.as_tensor(self._fitted_width(neighbours), device=self.device)[None],
        )

    def _fitted_width(self, neighbours: np.ndarray) -> np.ndarray:
        """As many columns as the model takes: all of its own, or where it drops empty ones only those in use.

        The model computes angles between all columns before it drops the empty ones, thousands for each in use.
        """
        most = self.most_neighbours
        width = most if self.flows is None else min(max(neighbours.shape[1], 1), most)
        missing = max(width - neighbours.shape[1], 0)
        return np.pad(neighbours, ((0, 0), (0, missing)), constant_values=-1)[:, :width]

    def _cut_statistics(self, width: int) -> None:
        """Leave as many columns of the descriptor's statistics, one a neighbour, as the neighbour list has."""
        if self.flows is not None:
            self.flows.mean, self.flows.stddev = (values[:, :width] for values in self.statistics)

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.model, scale, seed)

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray | None:
        if not self.pretrained:
            return None
        return np.array([self._package_call(self.potential.eval, atoms)[0].item() for atoms in inputs])

    def _package_call(self, call: Any, atoms: Atoms) -> Any:
        """`eval` or `eval_embedding` of the package on one structure."""
        cell = atoms.cell.array.reshape(1, 9) if atoms.pbc.all() else None
        return call(atoms.positions[None], cell, [self.types[symbol] for symbol in atoms.symbols])


def dynamic_flows(descriptor: Any) -> Any | None:
    """The part of a DPA-3 descriptor that drops empty columns of the neighbour list; None where nothing does."""
    flows = getattr(descriptor, "repflows", None)
    return flows if flows is not None and flows.use_dynamic_sel else None


def near_origin(atoms: Atoms) -> np.ndarray:
    """Positions inside the cell, or around the origin without one: single precision is finest there."""
    if atoms.pbc.any():
        return atoms.get_positions(wrap=True)
    return atoms.positions - atoms.positions.mean(axis=0)


def rows_of_neighbours(centres: np.ndarray, partners: np.ndarray, distances: np.ndarray, atoms: int) -> np.ndarray:
    """Neighbours of each of `atoms` atoms in a row, nearest first, filled up with -1."""
    order = np.lexsort((distances, centres))
    counts = np.bincount(centres, minlength=atoms)
    columns = np.arange(len(centres)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.full((atoms, counts.max(initial=0)), -1, dtype=np.int64)
    rows[centres[order], columns] = partners[order]
    return rows
