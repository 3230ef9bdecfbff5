"""A model that is ready to run, and what it gets: its job and its inputs without labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from benchmark.datasets.store import Structures
from benchmark.embedding.environment import Environment
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.weights import Weights
from benchmark.files import atomic_path, write_json
from benchmark.submission import Entry

# Raised when the worker or the packing change what comes out; it enters every key.
EMBEDDING_VERSION = 1


@dataclass(frozen=True)
class PreparedModel:
    """An entry with everything that running it needs: its environment and its verified weights."""

    entry: Entry
    environment: Environment
    weights: Weights

    def identity(self) -> dict[str, Any]:
        """What the features of this model depend on, apart from the structures; JSON values."""
        model = self.entry.model
        return {
            "version": EMBEDDING_VERSION,
            "model": model.id,
            "modality": self.entry.family.submission.modality,
            "adapter": self.entry.family.tree_hash(),
            "checkpoint": self.weights.sha256,
            "options": plain(model.options),
            "layers": {name: layer.model_dump() for name, layer in model.layers.items()},
            "environment": self.environment.key,
            "packages": self.environment.packages,
        }

    def job(self, inputs: Path, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The job that carries out `steps` on the inputs in the file `inputs`."""
        return {
            "adapter": str(self.entry.family.adapter.absolute()),
            "checkpoint": None if self.weights.path is None else str(self.weights.path),
            "options": plain(self.entry.model.options),
            "device": self.environment.device,
            "modality": self.entry.family.submission.modality,
            "inputs": str(inputs),
            "steps": list(steps),
        }


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` as JSON values: YAML dates become text."""
    converted: dict[str, Any] = json.loads(json.dumps(dict(options), default=str))
    return converted


def write_inputs(folder: Path, entry: Entry, structures: Structures) -> Path:
    """What the model may see, in a file: no ids, formulas or labels."""
    if entry.family.submission.modality != "atoms":
        path = folder / "strings.json"
        write_json(path, list(input_strings(entry, structures)))
        return path
    path = folder / "structures.safetensors"
    with atomic_path(path) as temporary:
        states = {"charge": structures.charges, "spin": structures.spins}
        save_file(
            {
                "numbers": np.ascontiguousarray(structures.numbers),
                "positions": np.ascontiguousarray(structures.positions),
                "offsets": np.ascontiguousarray(structures.offsets),
                "cells": np.ascontiguousarray(structures.cells),
                "pbc": np.ascontiguousarray(structures.pbc),
                **{name: np.ascontiguousarray(values) for name, values in states.items() if values is not None},
            },
            str(temporary),
        )
    return path


def input_strings(entry: Entry, structures: Structures) -> tuple[str, ...]:
    """What a model of strings reads, one a structure. Raises EmbeddingError where it cannot have them."""
    place, modality = entry.family.folder / "submission.yaml", entry.family.submission.modality
    strings = structures.strings(modality)
    if strings is None:
        raise EmbeddingError(place, "field modality", f"the data set has no {modality} strings")
    per_atom = sorted(name for name, layer in entry.model.layers.items() if layer.level == "atom")
    if per_atom:
        where = f"field models.{entry.model.id}.layers.{per_atom[0]}.level"
        raise EmbeddingError(place, where, "is atom, but a string has no atoms")
    return strings
