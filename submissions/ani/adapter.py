# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ase==3.29.0",
#     "numpy==2.4.6",
#     "safetensors==0.8.0",
#     "torch==2.13.0",
#     "torchani==2.9.0",
#     "vesin==0.6.2",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""ANI [Smith, Isayev, Roitberg, Chem. Sci. 8, 3192 (2017)], as torchani keeps it.

An atom's surroundings become an atomic environment vector (AEV), a fixed descriptor, and each element
has a perceptron of its own that reads it. The two are layers of their own:

- `aev`: the descriptor; nothing in it was learned.
- `backbone`: the last hidden activations of the element's perceptron, which its final linear map
  consumes; so there is no `last_layer` beside it. The perceptrons differ in width and share no space:
  each element has its block of columns, in the model's order of elements, and zeros elsewhere.

Published models are ensembles of eight perceptrons an element. Their hidden spaces are unrelated, so
nothing can be averaged: the features are those of the first member, the energies those of the ensemble.
"""

import copy
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.units import Hartree
from vesin import NeighborList

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module

os.environ.setdefault("TORCHANI_NO_WARN_EXTENSIONS", "1")

from torchani import neurochem
from torchani.arch import ANI, Assembler, simple_ani
from torchani.neighbors import Neighbors
from torchani.utils import SYMBOLS_1X, SYMBOLS_2X, SYMBOLS_2X_ZNUM_ORDER

MEMBERS = 8  # of each published ensemble


class ANIAdapter(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: `architecture` (ani1x, ani1ccx, ani2x, ani2xr, ani2dr), and `seed` for one untrained member.

        A checkpoint is torchani's state dict of the whole ensemble, or a folder in NeuroChem's format
        with one member, which says itself what it is made of.
        """
        if checkpoint is None:
            torch.manual_seed(int(options["seed"]))
            model = assemble(options["architecture"], members=1)
        elif checkpoint.is_dir():
            model = read_neurochem(checkpoint)
        else:
            model = assemble(options["architecture"], MEMBERS)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
        self.pretrained = checkpoint is not None
        self.device = device
        self.model: ANI = model.to(device).eval()
        # Total energies of 1e5 eV do not fit float32: self energies are added here in double precision.
        self.model.set_enabled("energy_shifter", False)
        self.neighbours = NeighborList(cutoff=float(model.cutoff), full_list=False, n_threads=1)
        self.elements = {int(number): index for index, number in enumerate(model.atomic_numbers)}
        networks = model.neural_networks
        first = networks.members[0] if hasattr(networks, "members") else networks
        self.blocks = column_blocks(first.atomics)
        self.caught: dict[str, torch.Tensor] = {}
        networks.register_forward_pre_hook(lambda _, inputs: self._keep("aev", inputs[1]))
        for symbol, network in first.atomics.items():
            network.final_layer.register_forward_pre_hook(
                lambda _, inputs, symbol=symbol: self._keep(symbol, inputs[0])
            )

    def _keep(self, name: str, values: torch.Tensor) -> None:
        self.caught[name] = values.detach()

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, Atoms)
        unknown = sorted(set(item.symbols[[int(number) not in self.elements for number in item.numbers]]))
        if unknown:
            return f"{', '.join(unknown)} not among the model's elements {', '.join(self.model.symbols)}"
        return None

    @torch.no_grad()
    def embed(self, inputs: Sequence[Atoms]) -> Features:
        self.caught.clear()  # an element that the batch lacks leaves nothing behind
        elements = np.concatenate([[self.elements[int(number)] for number in atoms.numbers] for atoms in inputs])
        species = torch.as_tensor(elements, dtype=torch.int64, device=self.device)[None]
        positions = torch.zeros((1, len(elements), 3), device=self.device)  # all that matters is in the neighbours
        output = self.model.compute_from_neighbors(species, positions, self._neighbours(inputs), atomic=True)
        layers = {"backbone": Layer(self._backbone(elements)), "aev": Layer(self.caught["aev"][0].cpu().numpy())}
        if not self.pretrained:
            return Features(layers)
        selves = self.model.energy_shifter.self_energies.double().cpu().numpy()[elements]
        atomic = output.energies[0].double().cpu().numpy() + selves
        starts = np.cumsum([0] + [len(atoms) for atoms in inputs[:-1]])
        return Features(layers, np.add.reduceat(atomic, starts) * Hartree)

    def _backbone(self, elements: np.ndarray) -> np.ndarray:
        """The first member's last hidden activations, (atoms, sum of the widths)."""
        width = max(block.stop for block in self.blocks.values())
        values = np.zeros((len(elements), width), dtype=np.float32)
        for index, symbol in enumerate(self.model.symbols):
            if symbol in self.caught:
                values[elements == index, self.blocks[symbol]] = self.caught[symbol].cpu().numpy()
        return values

    def _neighbours(self, inputs: Sequence[Atoms]) -> Neighbors:
        """Every pair once, of all structures as one system; vectors from second to first, as torchani has them."""
        pairs, vectors = [], []
        offset = 0
        for atoms in inputs:
            found, towards_second = self.neighbours.compute(
                points=atoms.positions, box=atoms.cell.array, periodic=atoms.pbc, quantities="PD"
            )
            pairs.append(found.astype(np.int64) + offset)
            vectors.append(-towards_second)
            offset += len(atoms)
        stacked = np.concatenate(vectors)
        return Neighbors(
            torch.as_tensor(np.concatenate(pairs).T.copy(), device=self.device),
            torch.as_tensor(np.linalg.norm(stacked, axis=1), dtype=torch.float32, device=self.device),
            torch.as_tensor(stacked, dtype=torch.float32, device=self.device),
        )

    def perturb_weights(self, scale: float, seed: int) -> bool:
        """The descriptor has no weights: its widths are changed in their place, so that `aev` answers too."""
        with torch.no_grad():
            for term in (self.model.aev_computer.radial, self.model.aev_computer.angular):
                term.eta.mul_(1.0 + scale)
        return perturb_torch_module(self.model, scale, seed)

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray | None:
        if not self.pretrained:
            return None
        return calculator_energies(self.model, inputs)


def assemble(architecture: str, members: int) -> ANI:
    """A freshly initialised network of torchani's named architecture, with `members` perceptrons an element."""
    if architecture in ("ani2xr", "ani2dr"):
        return simple_ani(
            lot="wb97x-631gd" if architecture == "ani2xr" else "b973c-def2mtzvp",
            symbols=SYMBOLS_2X_ZNUM_ORDER,
            ensemble_size=members,
            dispersion=architecture == "ani2dr",
            repulsion=True,
        )
    generation = "ani2x" if architecture == "ani2x" else "ani1x"
    assembler = Assembler()
    assembler.set_symbols(SYMBOLS_2X if generation == "ani2x" else SYMBOLS_1X)
    assembler.set_atomic_networks(ctor=generation)
    assembler.set_global_cutoff_fn("cosine")
    assembler.set_aev_computer(angular=generation, radial=generation)
    assembler.set_gsaes_as_self_energies("ccsd(t)star-cbs" if architecture == "ani1ccx" else "wb97x-631gd")
    return assembler.assemble(members)


def read_neurochem(folder: Path) -> ANI:
    """One member in NeuroChem's format: `*.params`, `sae_linfit.dat` and the folder `networks`."""
    constants = sorted(folder.glob("*.params"))
    if len(constants) != 1:
        raise FileNotFoundError(f"{folder.name}: {len(constants)} files *.params; exactly one is needed")
    computer, symbols = neurochem.load_aev_computer_and_symbols(constants[0])
    networks = neurochem.load_member(symbols, folder / "networks")
    return ANI(symbols, computer, networks, neurochem.load_sae(folder / "sae_linfit.dat"))


def column_blocks(networks: Mapping[str, Any]) -> dict[str, slice]:
    """Columns of each element's last hidden layer."""
    blocks, start = {}, 0
    for symbol, network in networks.items():
        width = network.final_layer.in_features
        blocks[symbol] = slice(start, start + width)
        start += width
    return blocks


def calculator_energies(model: ANI, inputs: Sequence[Atoms]) -> np.ndarray:
    """Energies in eV of the package's own ase calculator in double precision, (structures,)."""
    double = copy.deepcopy(model).double()
    double.set_enabled("energy_shifter", True)
    calculator = double.ase()
    energies = []
    for atoms in inputs:
        calculator.calculate(atoms, properties=["energy"])
        energies.append(float(calculator.results["energy"]))
    return np.array(energies)
