# /// script
# requires-python = ">=3.11"
# dependencies = ["ase==3.29.0", "numpy==2.4.6", "safetensors==0.8.0"]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Control: the chemical element and nothing else.

Each atom is a one-hot vector, so the mean over a structure's atoms is its element fractions. Whatever
a score gives to this row, it gives to composition.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from benchmark.adapter import Adapter, Features, Layer, Options

ELEMENTS = 103  # hydrogen to lawrencium


class Composition(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """There is nothing to load."""

    def embed(self, inputs: Sequence[Atoms]) -> Features:
        numbers = np.concatenate([atoms.numbers for atoms in inputs])
        unknown = sorted(set(numbers[(numbers < 1) | (numbers > ELEMENTS)].tolist()))
        if unknown:
            raise ValueError(f"atomic numbers {unknown} are outside 1 to {ELEMENTS}")
        one_hot = np.zeros((len(numbers), ELEMENTS), dtype=np.float32)
        one_hot[np.arange(len(numbers)), numbers - 1] = 1.0
        return Features({"backbone": Layer(one_hot)})
