# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "aimnet==0.2.5",
#     "ase==3.29.0",
#     "numpy==2.4.6",
#     "safetensors==0.8.0",
#     "torch==2.13.0",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""AIMNet2 [Anstine, Zubatyuk, Isayev, Chem. Sci. 16, 10228 (2025)].

`backbone` is the atoms-in-molecules vector that the last message-passing step leaves and every output
head reads; `last_layer` is what the final linear map of the energy head consumes. Vectors are contracted
inside the network, so there are no l>0 channels. Both layers are caught by hooks while the package's own
calculator works on many structures at once, without forces; it adds long-range Coulomb and dispersion
energies outside the network.

Structures that say nothing else are taken to be neutral and in the lowest spin that their
number of electrons allows, which only the open-shell models read.
"""

import warnings
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
import yaml
from aimnet.calculators import AIMNet2ASE, AIMNet2Calculator
from aimnet.config import build_module
from ase import Atoms
from ase.data import chemical_symbols

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module

# Of the general models, for a network without a checkpoint to say it.
ELEMENTS = (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 53)


class AIMNet2Adapter(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: `seed` for a freshly initialised network of the package's own configuration."""
        source = untrained(int(options["seed"])) if checkpoint is None else str(checkpoint.absolute())
        self.pretrained = checkpoint is not None
        self.device = device
        self.calculator = AIMNet2Calculator(source, device=device)
        self.model = self.calculator.model.eval()
        self.elements = frozenset((self.calculator.metadata or {}).get("implemented_species") or ELEMENTS)
        self.caught: dict[str, torch.Tensor] = {}
        self.model.register_forward_hook(lambda *call: self._keep("backbone", call[2]["aim"]))
        final = self.model.outputs["energy_mlp"].mlp[-1]
        final.register_forward_pre_hook(lambda _, inputs: self._keep("last_layer", inputs[0]))

    def _keep(self, name: str, values: torch.Tensor) -> None:
        self.caught[name] = values.detach()

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, Atoms)
        unknown = sorted({int(number) for number in item.numbers} - self.elements)
        if unknown:
            return f"{', '.join(chemical_symbols[number] for number in unknown)} not among the model's elements"
        return None

    @torch.no_grad()
    def embed(self, inputs: Sequence[Atoms]) -> Features:
        offsets = np.cumsum([0] + [len(atoms) for atoms in inputs])
        layers: dict[str, np.ndarray] = {}
        energies = np.zeros(len(inputs))
        # The calculator takes a batch with cells or one without: molecules interact differently at long range.
        for periodic in (False, True):
            chosen = [index for index, atoms in enumerate(inputs) if bool(atoms.pbc.any()) is periodic]
            if not chosen:
                continue
            energies[chosen] = self._evaluate([inputs[index] for index in chosen])
            rows = np.concatenate([np.arange(offsets[index], offsets[index + 1]) for index in chosen])
            for name, caught in self.caught.items():
                values = caught[: len(rows)].cpu().numpy()  # one row more pads the neighbour lists
                layers.setdefault(name, np.zeros((offsets[-1], values.shape[1]), dtype=np.float32))[rows] = values
        return Features({name: Layer(values) for name, values in layers.items()}, energies if self.pretrained else None)

    def _evaluate(self, inputs: Sequence[Atoms]) -> np.ndarray:
        """Total energies in eV of structures that are all periodic or all not, (structures,)."""
        data = {
            "coord": self._tensor(np.concatenate([atoms.positions for atoms in inputs])),
            "numbers": torch.as_tensor(np.concatenate([atoms.numbers for atoms in inputs]), device=self.device),
            "mol_idx": torch.as_tensor(
                np.repeat(np.arange(len(inputs)), [len(atoms) for atoms in inputs]), device=self.device
            ),
            "charge": self._tensor(np.array([float(atoms.info.get("charge", 0)) for atoms in inputs])),
            "mult": self._tensor(np.array([multiplicity(atoms) for atoms in inputs])),
        }
        if inputs[0].pbc.any():
            data["cell"] = self._tensor(np.stack([atoms.cell.complete().array for atoms in inputs]))
            data["pbc"] = torch.as_tensor(np.stack([atoms.pbc for atoms in inputs]), device=self.device)
        with quiet():
            if self.pretrained:
                return self.calculator.eval(data)["energy"].double().cpu().numpy().reshape(-1)
            output = self.model(self.calculator.prepare_input(data))
            return output["energy"].double().cpu().numpy().reshape(-1)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.model, scale, seed)

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray | None:
        if not self.pretrained:
            return None
        calculator = AIMNet2ASE(self.calculator)
        with quiet():
            return np.array([calculator_energy(calculator, atoms) for atoms in inputs])


def untrained(seed: int) -> torch.nn.Module:
    """The network of the package's `aimnet2.yaml`, freshly initialised; without the Coulomb term, which is no layer."""
    config = yaml.safe_load((files("aimnet.models") / "aimnet2.yaml").read_text())
    del config["kwargs"]["outputs"]["lrcoulomb"]
    torch.manual_seed(seed)
    return build_module(config)


def multiplicity(atoms: Atoms) -> int:
    """What the structure says, else 1 for an even number of electrons and 2 for an odd one."""
    electrons = int(atoms.numbers.sum()) - int(atoms.info.get("charge", 0))
    return int(atoms.info.get("spin", 1 + electrons % 2))


def calculator_energy(calculator: AIMNet2ASE, atoms: Atoms) -> float:
    """Energy in eV by the package's own ase calculator."""
    alone = atoms.copy()
    if alone.pbc.any():
        alone.cell = alone.cell.complete()  # the package inverts the cell
    alone.info["mult"] = multiplicity(alone)
    calculator.calculate(alone, ["energy"])
    return float(calculator.results["energy"])


def quiet() -> warnings.catch_warnings:
    """Silence the package's notes on Coulomb methods and ignored multiplicities, once a call."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)
