"""Reference values of other people's code, where they lie beside the checkout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden"


@dataclass(frozen=True)
class Golden:
    """Feature arrays by model, and values by model or by ordered pair `A|B`."""

    arrays: dict[str, NDArray[np.float32]]
    values: dict[str, dict[str, float | list[float]]]

    def pairs(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32], dict[str, float]]]:
        """(A, B, values) of every ordered pair."""
        found = []
        for key, values in self.values.items():
            if "|" in key:
                first, second = key.split("|")
                found.append((self.arrays[first], self.arrays[second], values))
        return found


@pytest.fixture(scope="session")
def golden() -> Golden:
    """Values of reference implementations on features of real models."""
    if not (GOLDEN / "peers.json").is_file():
        pytest.skip("the reference values of other implementations are not beside this checkout")
    with np.load(GOLDEN / "peers.npz") as arrays:
        return Golden({name: arrays[name] for name in arrays.files}, json.loads((GOLDEN / "peers.json").read_text()))
