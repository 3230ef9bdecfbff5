"""The contract between a model and the benchmark.

A submission's `adapter.py` defines one class that derives from `Adapter`. It runs in the model's
own environment, in a process of its own, without labels and without the rest of this package:
this module imports numpy and ase only, and an adapter imports nothing of ours but this module.

The benchmark calls `load` once and `embed` many times, with a few structures each. Layers:

- `backbone` (required): last hidden per-atom features before the readout, rotation-invariant part;
- `last_layer`: what the final linear map of the energy readout consumes;
- `equivariant`: L>0 channels beside the invariant ones, with their irreps;
- any other name is stored and never ranked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms

Level = Literal["atom", "structure"]
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Layer:
    """Features of one layer for a batch of inputs.

    values: (atoms, d) in the order of the atoms, structure after structure, or (structures, d).
    level: whether the rows are atoms or structures.
    irreps: how the d columns transform under rotation, in e3nn notation and order, for example
        "64x0e" or "128x0e+64x1o+32x2e": for each term the multiplicity runs outside, the 2l+1
        components inside; l=1 components are x, y, z. Leave None for d invariant scalars.
    """

    values: np.ndarray
    level: Level = "atom"
    irreps: str | None = None


@dataclass(frozen=True)
class Features:
    """What `embed` returns: layers by name, and total energies in eV, one a structure, if the model has them."""

    layers: Mapping[str, Layer] = field(default_factory=dict)
    energies: np.ndarray | None = None


class Adapter(ABC):
    """A model that can be embedded with. Subclasses need no constructor arguments."""

    @abstractmethod
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Build the network on `device` ("cpu" or "cuda").

        checkpoint: the verified local file that submission.yaml declares; None for kind `none`.
        options: the model's `options` of submission.yaml, as they stand there.
        """

    @abstractmethod
    def embed(self, inputs: Sequence[Atoms] | Sequence[str]) -> Features:
        """Features of `inputs`: ase.Atoms, or strings where the submission's modality says so.

        Row order follows the inputs. A structure's features may not depend on its batch. Where the data set has them,
        `atoms.info` holds the integers "charge" (total, elementary charges) and "spin" (multiplicity 2S + 1).
        """

    def unsupported(self, item: Atoms | str) -> str | None:
        """Why the model cannot embed `item`, such as an element it does not know; None where it can.

        Inputs with a reason are never handed to `embed`. They are left out of the scores of this
        and every other model, and the record names them: give the reason, not a guess.
        """
        del item
        return None

    def perturb_weights(self, scale: float, seed: int) -> bool:
        """Multiply every weight by 1 + `scale` * a standard normal number; return whether there were any.

        The conformance checks use it to see that the features come from the network. A
        descriptor without weights keeps this default.
        """
        del scale, seed
        return False

    def reference_energies(self, inputs: Sequence[Atoms]) -> np.ndarray | None:
        """Energies in eV from the package's own calculator, (structures,), or None where it has none.

        The conformance checks compare them with the energies that `embed` returns.
        """
        del inputs
        return None


def perturb_torch_module(module: Any, scale: float, seed: int) -> bool:
    """`perturb_weights` for a torch module: deterministic, in place."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    found = False
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.mul_((1.0 + scale * noise).to(parameter.device, parameter.dtype))
            found = True
    return found
