"""What scoring works on: data sets, lineage, and one model's features on one data set.

Everything that several scores share (float64 features without dead columns, residual features, neighbour lists) is
derived here once a model and data set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.datasets.store import Dataset
from benchmark.embedding.features import FeatureSet, column_deviations
from benchmark.files import content_key, sha256_of_bytes
from benchmark.metrics import Representation, half_subsets, spread_of_whole
from benchmark.metrics.composition import EXPLAINED, composition_projection
from benchmark.metrics.representation import Known
from benchmark.submission import Entry
from benchmark.suite import Suite

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Cache = Callable[[str, Mapping[str, Any], Callable[[], Any]], Any]
"""cache(kind, inputs, compute): `compute()`, which returns what JSON can hold, remembered under kind and inputs."""

DEAD_COLUMN = 1e-8
"""Columns whose standard deviation is below this share of the largest carry rounding noise only."""


def no_cache(kind: str, inputs: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
    """A `Cache` that remembers nothing."""
    del kind, inputs
    return compute()


@dataclass(frozen=True, eq=False)
class ScoringData:
    """One data set as scoring sees it.

    composition: (n, elements) counts or fractions, as the card says.
    groups: n labels that cross-validation keeps together (reduced formulas).
    labels: columns of n values by name. offsets: (n + 1,), the atoms of structure i are offsets[i]:offsets[i+1].
    formulas: n full formulas, whose equals are isomers; the groups where not given. ids: n names of structures.
    """

    id: str
    composition: FloatArray
    groups: tuple[str, ...]
    labels: Mapping[str, FloatArray] | pd.DataFrame
    offsets: IntArray
    formulas: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Number of structures."""
        return len(self.groups)

    @cached_property
    def fractions(self) -> FloatArray:
        """Element fractions (n, elements)."""
        shares: FloatArray = self.composition / self.composition.sum(axis=1, keepdims=True)
        return shares

    @cached_property
    def isomers(self) -> tuple[str, ...]:
        """Full formulas, one a structure."""
        return self.formulas or self.groups

    @cached_property
    def structure_of_atom(self) -> IntArray:
        """Index of the structure of each atom, (atoms,)."""
        return np.repeat(np.arange(self.n), np.diff(self.offsets))

    def label(self, name: str) -> FloatArray:
        """A finite label column (n,). Raises ValueError naming data set and label."""
        if name not in self.labels:
            raise ValueError(
                f"data set {self.id}: label {name!r} is missing; there are {sorted(map(str, self.labels))}"
            )
        values = np.asarray(self.labels[name], dtype=np.float64)
        if values.shape != (self.n,) or not np.isfinite(values).all():
            raise ValueError(f"data set {self.id}: label {name!r} must have {self.n} finite values")
        return values

    @cached_property
    def key(self) -> str:
        """Digest of composition, groups and atom counts."""
        arrays = [digest(self.composition), digest(self.offsets)]
        return content_key([self.id, list(self.groups), list(self.isomers), arrays])

    def subsamples(self, suite: Suite) -> Subsamples:
        """The subsamples that every model is scored on; they depend on data set and suite alone."""
        seed = derived_seed(suite.seed, "subsets", self.id)
        rows = half_subsets(self.n, subsets=suite.subsamples, seed=seed, largest=suite.largest_subsample)
        return Subsamples(rows, self.n)

    def drawn(self, most: int, seed: int) -> IntArray:
        """Structures for what takes too long on all of a large data set, ascending: all, or `most` of them.

        The same for every model; `seed` is that of one purpose.
        """
        if self.n <= most:
            return np.arange(self.n)
        return np.sort(np.random.default_rng(seed).choice(self.n, most, replace=False))


@dataclass(frozen=True)
class Subsamples:
    """Rows (m,) of each of a suite's subsamples of n structures."""

    rows: list[IntArray]
    n: int

    def numbers(self, values: FloatArray | Sequence[float]) -> list[float | None]:
        """`values` (subsamples,) with the spread that the whole has, as stored in JSON."""
        return numbers(spread_of_whole(values, len(self.rows[0]), self.n))


def scoring_data(dataset: Dataset, positions: IntArray | None = None) -> ScoringData:
    """What scoring needs of a stored data set, or of the structures at `positions` (ascending) of it."""
    structures = dataset.structures()
    kept = np.arange(len(structures)) if positions is None else positions
    lengths = np.diff(structures.offsets)[kept]
    groups = structures.reduced_formulas()
    return ScoringData(
        id=dataset.card.id,
        composition=structures.composition(dataset.card.composition_basis)[kept],
        groups=tuple(groups[index] for index in kept),
        labels=dataset.labels().iloc[kept].reset_index(drop=True),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        formulas=tuple(structures.formulas[index] for index in kept),
        ids=tuple(structures.ids[index] for index in kept),
    )


@dataclass(frozen=True)
class Lineage:
    """Who comes from whom. `parents`: model -> what it was fine-tuned from; `controls`: models that are no models."""

    parents: Mapping[str, str | None]
    families: Mapping[str, str] = field(default_factory=dict)
    controls: frozenset[str] = frozenset()

    def ancestors(self, model: str) -> list[str]:
        """What `model` was fine-tuned from, nearest first."""
        found: list[str] = []
        parent = self.parents.get(model)
        while parent is not None and parent not in found:
            found.append(parent)
            parent = self.parents.get(parent)
        return found

    def related(self, a: str, b: str) -> bool:
        """Whether the two are one model, or one descends from the other."""
        return a == b or a in self.ancestors(b) or b in self.ancestors(a)


def lineage(entries: Mapping[str, Entry]) -> Lineage:
    """The lineage that the submissions declare."""
    return Lineage(
        parents={name: entry.model.fine_tuned_from for name, entry in entries.items()},
        families={name: entry.family.submission.family for name, entry in entries.items()},
        controls=frozenset(name for name, entry in entries.items() if entry.model.control is not None),
    )


class LayerFeatures:
    """One layer of one model on one data set: costs nothing until its features per atom are asked for."""

    def __init__(self, features: FeatureSet, layer: str, data: ScoringData) -> None:
        if layer not in features.layers:
            raise ValueError(f"{features.model} on {data.id}: layer {layer!r} is missing")
        self.model = features.model
        self.layer = layer
        self.data = data
        self._features = features

    @cached_property
    def key(self) -> dict[str, str]:
        """What a product of these features depends on."""
        source = self._features.key or digest(self._features.layers[self.layer].values)
        return {"features": source, "layer": self.layer, "data": self.data.key}

    @property
    def per_atom(self) -> bool:
        """Whether there are features per atom."""
        return self._features.layers[self.layer].level == "atom"

    @cached_property
    def atoms(self) -> NDArray[np.float32] | None:
        """Features per atom (atoms, d) with the live columns, as stored; None for features per structure.

        Metrics convert what they take of them to float64: all of a large data set may not fit in memory.
        """
        found = self._features.layers[self.layer]
        if found.level != "atom":
            return None
        alive = _alive(column_deviations(found.values))
        return found.values if alive.all() else np.ascontiguousarray(found.values[:, alive])


class ModelFeatures(LayerFeatures):
    """One layer of one model on one data set, as the metrics take it."""

    def __init__(self, features: FeatureSet, layer: str, data: ScoringData, known: Known | None = None) -> None:
        """known: where the neighbours of `representation` are kept, if they shall outlive this object."""
        super().__init__(features, layer, data)
        self._known = known
        matrix = features.structures(layer)
        if len(matrix) != data.n:
            raise ValueError(f"{features.model} on {data.id}: {len(matrix)} rows of {layer} for {data.n} structures")
        self.energies = features.energies
        self.irreps = features.layers[layer].irreps
        self._alive = alive_columns(matrix)
        self.dead = int(matrix.shape[1] - self._alive.sum())
        self.matrix: FloatArray = np.ascontiguousarray(matrix[:, self._alive])

    @property
    def n(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def d(self) -> int:
        """Columns after the dead ones were dropped."""
        return int(self.matrix.shape[1])

    @property
    def whole(self) -> FloatArray:
        """Structure features with all columns, dead ones too: as wide on every data set."""
        return self._features.structures(self.layer)

    @cached_property
    def representation(self) -> Representation:
        return Representation(self.matrix, name=f"{self.model} on {self.data.id}", known=self._known)

    @cached_property
    def residual(self) -> Representation | None:
        """The features without their linear fit on composition; None where nothing but rounding is left."""
        left = without_composition(self.matrix, self.data.composition)
        return None if left is None else Representation(left, name=f"{self.model} on {self.data.id}, residual")

    @cached_property
    def duplicates(self) -> int:
        """Structures whose features another structure has too."""
        return self.n - len(np.unique(self.matrix, axis=0))


def alive_columns(matrix: FloatArray) -> NDArray[np.bool_]:
    """Which columns vary (PROTOCOL section 1). Where none does, the first is kept so that there is a matrix."""
    return _alive((matrix - matrix.mean(axis=0)).std(axis=0))


def _alive(spread: FloatArray) -> NDArray[np.bool_]:
    alive: NDArray[np.bool_] = spread > DEAD_COLUMN * spread.max(initial=0.0)
    if not alive.any():
        alive[0] = True
    return alive


def without_composition(matrix: FloatArray, composition: FloatArray) -> FloatArray | None:
    """Features (n, d) less their linear fit on composition; None where it explains all that varies.

    A column of which the fit leaves less than `EXPLAINED` of its own standard deviation holds the fit's rounding or
    its ridge penalty, nothing of the model, and is set to 0.
    """
    left = matrix - composition_projection(composition, matrix).predict(composition)
    left[:, left.std(axis=0) <= EXPLAINED * matrix.std(axis=0)] = 0.0
    return left if left.any() else None


def digest(array: NDArray[Any]) -> str:
    """SHA-256 of an array's type, shape and bytes."""
    contiguous = np.ascontiguousarray(array)
    return content_key([str(contiguous.dtype), list(contiguous.shape), sha256_of_bytes(contiguous.tobytes())])


def derived_seed(seed: int, *parts: str) -> int:
    """A seed of its own for each purpose, the same on every machine."""
    return int(content_key([seed, *parts])[:8], 16)


def number(value: float) -> float | None:
    """`value` as JSON can hold it: None for NaN and infinities."""
    return float(value) if np.isfinite(value) else None


def numbers(values: Sequence[float] | FloatArray) -> list[float | None]:
    """`values` as JSON can hold them."""
    return [number(float(value)) for value in values]


def array_of(values: Sequence[float | None]) -> FloatArray:
    """The way back: None becomes NaN."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
