# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ase==3.29.0",
#     "mace-torch==0.3.16",
#     "numpy==2.4.6",
#     "safetensors==0.8.0",
#     "torch==2.13.0",
#     "vesin==0.6.2",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""MACE [Batatia et al., NeurIPS 35, 11423 (2022)].

The readout reads every interaction layer. `backbone` is the scalars of all layers side by side, which
is what the package's `get_descriptors` returns; `equivariant` is their l>0 channels. `last_layer` is
what the energy is linear in: the scalars of the layers with a linear readout, then the hidden
activations of the last readout, those of the chosen head only.

Graphs are built here: the package's neighbour list puts a molecule into a box hundreds of Angstrom wide
and fails where an atom lies far from the origin, and its calculator computes forces in any case.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from mace.calculators import MACECalculator
from mace.modules import RealAgnosticResidualInteractionBlock, ScaleShiftMACE
from mace.modules.models import o3  # e3nn 0.4.4 itself cannot be imported before mace, which lets it read its tables
from vesin import NeighborList

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module


class MACEAdapter(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: `head` (multi-head models), `dtype` ("float32" where not given).

        `seed` instead of a checkpoint leaves a network of the shape of MACE-MP-0a (medium) untrained; with
        `energies` it returns energies all the same. Checkpoints are pickles: loading one runs its code.
        """
        self.dtype = str(options.get("dtype", "float32"))
        dtype = getattr(torch, self.dtype)
        torch.set_default_dtype(dtype)  # the package makes tensors of the default type during the forward pass
        if checkpoint is None:
            model = untrained(int(options["seed"]))
        else:
            model = torch.load(checkpoint, map_location="cpu", weights_only=False)
        self.gives_energies = checkpoint is not None or bool(options.get("energies", False))
        self.model = model.to(device=device, dtype=dtype).eval()
        self.device = device
        self.heads = list(getattr(model, "heads", None) or ["Default"])
        self.head = choose_head(self.heads, options.get("head"))
        self.numbers = model.atomic_numbers.cpu().numpy()
        self.neighbours = NeighborList(cutoff=float(model.r_max), full_list=True, sorted=True)
        self._find_columns()
        self.hidden: torch.Tensor | None = None
        last = model.readouts[-1]
        if hasattr(last, "linear_2"):
            last.linear_2.register_forward_pre_hook(lambda _, inputs: setattr(self, "hidden", inputs[0].detach()))

    def _find_columns(self) -> None:
        """Which columns of the model's `node_feats` are scalars of each layer, and which are not."""
        self.scalars: list[np.ndarray] = []
        vectors, irreps, start = [], [], 0
        for product in self.model.products:
            layer = o3.Irreps(str(product.linear.irreps_out))
            columns = [np.arange(part.start, part.stop) + start for part in layer.slices()]
            self.scalars.append(np.concatenate([c for c, (_, part) in zip(columns, layer, strict=True) if part.l == 0]))
            for place, (multiplicity, part) in zip(columns, layer, strict=True):
                if part.l > 0:
                    vectors.append(place)
                    irreps.append(f"{multiplicity}x{part}")
            start += layer.dim
        self.vectors = np.concatenate(vectors) if vectors else None
        self.irreps = "+".join(irreps)

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, Atoms)
        unknown = sorted(set(item.symbols[~np.isin(item.numbers, self.numbers)]))
        return f"the model was not trained for {', '.join(unknown)}" if unknown else None

    @torch.no_grad()
    def embed(self, inputs: Sequence[Atoms]) -> Features:
        output = self.model(self._batch(inputs), compute_force=False)
        found = output["node_feats"].cpu().numpy()
        layers = {
            "backbone": Layer(found[:, np.concatenate(self.scalars)]),
            "last_layer": Layer(self._last_layer(found)),
        }
        if self.vectors is not None:
            layers["equivariant"] = Layer(found[:, self.vectors], irreps=self.irreps)
        return Features(layers, output["energy"].double().cpu().numpy() if self.gives_energies else None)

    def _last_layer(self, found: np.ndarray) -> np.ndarray:
        only_last = len(self.model.readouts) == 1
        read = self.scalars[-1:] if only_last else self.scalars
        if self.hidden is None:
            return found[:, np.concatenate(read)]
        width = self.hidden.shape[1] // len(self.heads)
        hidden = self.hidden[:, self.head * width : (self.head + 1) * width].cpu().numpy()
        return np.concatenate([*(found[:, columns] for columns in read[:-1]), hidden], axis=1)

    def _batch(self, inputs: Sequence[Atoms]) -> dict[str, torch.Tensor]:
        """What the model reads, all structures as one graph of unconnected parts."""
        pairs, shifts = [], []
        sizes = np.array([len(atoms) for atoms in inputs])
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        for atoms, offset in zip(inputs, offsets, strict=False):
            i, j, images = self.neighbours.compute(atoms.positions, atoms.cell.array, atoms.pbc, "ijS")
            pairs.append(np.stack([i, j]).astype(np.int64) + offset)
            shifts.append(images @ atoms.cell.array)
        elements = np.searchsorted(self.numbers, np.concatenate([atoms.numbers for atoms in inputs]))
        count = len(inputs)
        return {
            "positions": self._tensor(np.concatenate([atoms.positions for atoms in inputs])),
            "node_attrs": torch.eye(len(self.numbers), device=self.device)[self._tensor(elements)],
            "edge_index": self._tensor(np.concatenate(pairs, axis=1)),
            "shifts": self._tensor(np.concatenate(shifts)),
            "cell": torch.zeros(3 * count, 3, device=self.device),  # read for stresses only
            "batch": self._tensor(np.repeat(np.arange(count), sizes)),
            "ptr": self._tensor(offsets),
            "head": torch.full((count,), self.head, device=self.device),
            # Read by models that condition on them; where nothing is said, structures are neutral singlets.
            "total_charge": self._tensor(np.array([float(atoms.info.get("charge", 0)) for atoms in inputs])),
            "total_spin": self._tensor(np.array([float(atoms.info.get("spin", 1)) for atoms in inputs])),
        }

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        dtype = torch.get_default_dtype() if values.dtype.kind == "f" else torch.int64
        return torch.as_tensor(values, dtype=dtype, device=self.device)

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.model, scale, seed)

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray:
        head = self.heads[self.head]
        calculator = MACECalculator(models=self.model, device=self.device, default_dtype=self.dtype, head=head)
        return np.array([calculator.get_potential_energy(atoms) for atoms in inputs])


def choose_head(heads: Sequence[str], asked: str | None) -> int:
    """Position of the head `asked` for; without one, of the only head or the one called "default".

    The package takes the last head where it does not know the name; here that is an error.
    """
    names = [name for name in heads if name == asked or (asked is None and name.lower() == "default")]
    if asked is None and len(heads) == 1:
        names = list(heads)
    if not names:
        raise ValueError(f"option head is {asked!r}; the model has {', '.join(heads)}")
    return heads.index(names[0])


def untrained(seed: int) -> torch.nn.Module:
    """The architecture of MACE-MP-0a (medium) as its training script has it, freshly initialised.

    Atomic energies and the energy's shift are zero, its scale one. Messages are divided by 60, about the mean
    number of neighbours within the cutoff in inorganic crystals.
    """
    torch.manual_seed(seed)
    elements = [*range(1, 84), *range(89, 95)]
    return ScaleShiftMACE(
        r_max=6.0,
        num_bessel=10,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls_first=RealAgnosticResidualInteractionBlock,
        interaction_cls=RealAgnosticResidualInteractionBlock,
        num_interactions=2,
        num_elements=len(elements),
        hidden_irreps=o3.Irreps("128x0e+128x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        correlation=3,
        atomic_energies=np.zeros(len(elements)),
        avg_num_neighbors=60.0,
        atomic_numbers=elements,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
