"""Synthetic data sets and models with known answers, for the tests of scoring.

A structure is a composition and a few hidden coordinates ("geometry"). Models see linear or nonlinear images of both;
labels are composition plus a function of the geometry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.embedding.features import FeatureSet, LayerArray
from benchmark.scoring.data import Cache, Lineage, ScoringData, no_cache
from benchmark.scoring.scorer import Scorer
from benchmark.suite import Suite

FloatArray = NDArray[np.float64]
COORDINATES = 6
ATOMS = 4
Model = Callable[[FloatArray, FloatArray, np.random.Generator], FloatArray]
"""(atoms, elements) composition, (atoms, coordinates) geometry -> (atoms, d) features."""


class World:
    """Two data sets of n structures; `inside` has more elements and formulas than `outside`."""

    def __init__(self, n: int = 120, elements: int = 5, seed: int = 0) -> None:
        self.data: dict[str, ScoringData] = {}
        self.geometry: dict[str, FloatArray] = {}
        for number, name in enumerate(("inside", "outside")):
            rng = np.random.default_rng([seed, number])
            formulas = rng.integers(0, 4, size=(n // 3, elements)) + np.eye(elements, dtype=int)[0]
            counts = formulas[rng.integers(0, len(formulas), size=n)].astype(float)
            geometry = rng.normal(size=(n, COORDINATES))
            composition = counts / counts.sum(axis=1, keepdims=True)
            labels = {
                "energy": composition @ rng.normal(size=elements) + geometry @ rng.normal(size=COORDINATES) * 0.3,
                "gap": composition @ rng.normal(size=elements) + geometry[:, 0],
            }
            groups = tuple(" ".join(map(str, row.astype(int))) for row in counts)
            offsets = np.arange(0, ATOMS * n + 1, ATOMS)
            self.data[name] = ScoringData(
                name, composition, groups, pd.DataFrame(labels), offsets, ids=tuple(f"{name}-{i}" for i in range(n))
            )
            self.geometry[name] = geometry

    def features(self, name: str, dataset: str, model: Model, scale_of_atoms: float = 0.1) -> FeatureSet:
        """What `model` makes of a data set: every atom sees its structure, a little displaced."""
        data = self.data[dataset]
        rng = np.random.default_rng([len(name), *name.encode(), *dataset.encode()])
        shared = np.random.default_rng([7, *dataset.encode()])
        displaced = np.repeat(self.geometry[dataset], ATOMS, axis=0)
        displaced = displaced + scale_of_atoms * shared.normal(size=displaced.shape)
        values = model(np.repeat(data.composition, ATOMS, axis=0), displaced, rng)
        layers = {"backbone": LayerArray(values.astype(np.float32), "atom", None)}
        energies = data.label("energy") * ATOMS
        return FeatureSet(name, dataset, layers, energies, data.offsets)


def mixed(width: int, seed: int, geometry: float = 1.0, strength: float = 0.5) -> Model:
    """Random tanh features of composition and geometry with a little noise; models of one seed are the same."""

    def model(c: FloatArray, g: FloatArray, rng: np.random.Generator) -> FloatArray:
        del rng
        own = np.random.default_rng(seed)
        linear = 3.0 * c @ own.normal(size=(c.shape[1], width))
        linear = linear + geometry * g @ own.normal(size=(g.shape[1], width))
        return np.tanh(strength * linear) + 0.2 * np.repeat(own.normal(size=(len(c) // ATOMS, width)), ATOMS, axis=0)

    return model


def linear_image(parent: Model, seed: int, width: int) -> Model:
    """A linear map of what `parent` gives."""

    def model(c: FloatArray, g: FloatArray, rng: np.random.Generator) -> FloatArray:
        values = parent(c, g, rng)
        return values @ np.random.default_rng(seed).normal(size=(values.shape[1], width))

    return model


def composition_only(c: FloatArray, g: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The composition itself."""
    del g, rng
    return c


def noise(c: FloatArray, g: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Gaussian noise, per structure the same for all its atoms."""
    del g
    return np.repeat(rng.normal(size=(len(c) // ATOMS, 16)), ATOMS, axis=0)


MODELS: dict[str, Model] = {
    "reference": mixed(24, 1),
    "panel-a": mixed(24, 2),
    "panel-b": mixed(20, 3),
    "panel-c": mixed(28, 4, strength=1.0),
    "composition": composition_only,
    "noise": noise,
    "descriptor": mixed(12, 5, geometry=0.15),
    "random": mixed(16, 6, geometry=0.05),
    "child": linear_image(mixed(24, 2), 8, 24),
    "stranger": mixed(24, 9),
    "twin": mixed(24, 1),
}
COLLAPSED: dict[str, Model] = {"inside": mixed(24, 11), "outside": mixed(24, 11, geometry=0.0)}
"""A model that sees the geometry in distribution and composition alone outside."""

CONTROLS = {"composition": "composition", "noise": "noise", "descriptor": "descriptor", "random": "random"}
LINEAGE = Lineage(
    parents={"child": "panel-a", "stranger": "panel-a"},
    families={name: "a" if name in ("panel-a", "panel-b", "child", "stranger") else "b" for name in MODELS},
    controls=frozenset(CONTROLS),
)


def suite(**changes: object) -> Suite:
    """A small suite over the two data sets."""
    fields = {
        "id": "synthetic",
        "version": 1,
        "title": "Synthetic",
        "description": "Two synthetic data sets",
        "in_distribution": "inside",
        "out_of_distribution": "outside",
        "reference": "reference",
        "panel": ["panel-a", "panel-b", "panel-c"],
        "controls": {"composition": "composition", "noise": "noise", "descriptor": "descriptor", "random": ["random"]},
        "energy_targets": {"inside": "energy", "outside": "energy"},
        "probe": {"dataset": "outside", "targets": ["gap"]},
        "k": 10,
        "k_sweep": [5, 10],
        "permutations": 40,
        "subsamples": 10,
        "seed": 5,
        **changes,
    }
    return Suite.model_validate(fields)


def scorer(world: World, models: Mapping[str, Model] = MODELS, cache: Cache = no_cache, **changes: object) -> Scorer:
    """A scorer over synthetic models; one that is in neither `models` nor called "collapsed" has no features."""
    found: dict[tuple[str, str], FeatureSet] = {}

    def features(name: str, dataset: str) -> FeatureSet | None:
        model = COLLAPSED[dataset] if name == "collapsed" else models.get(name)
        if model is not None and (name, dataset) not in found:
            found[name, dataset] = world.features(name, dataset, model)
        return found.get((name, dataset))

    return Scorer(suite(**changes), world.data, features, LINEAGE, cache)
