"""Similarities of two models on one data set, each computed once and remembered (PROTOCOL section 2)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import benchmark.metrics
from benchmark.files import content_key, sha256_of_tree
from benchmark.metrics import (
    NullDistribution,
    Representation,
    Streamed,
    distance_correlation,
    feature_space_pairs,
    id_correlation,
    information_imbalance,
    stream,
    subsample_values,
)
from benchmark.metrics.calibration import (
    DistanceSubsamples,
    Resampled,
    Similarity,
    calibrate_many,
    distance_subsamples,
    has_unbiased_null,
    without_samples,
)
from benchmark.metrics.representation import MATRIX_ROWS
from benchmark.metrics.validation import features as checked
from benchmark.results.records import Null
from benchmark.scoring.data import (
    Cache,
    FloatArray,
    LayerFeatures,
    ModelFeatures,
    array_of,
    derived_seed,
    number,
)
from benchmark.scoring.passes import PassFolder
from benchmark.suite import Suite

METRICS = Path(benchmark.metrics.__file__).parent
ID_COR_PERMUTATIONS = 100
"""Each costs one n x n sum and a search for two neighbours; the p-value needs no more."""


class _Unknown(Exception):
    """A product is not on disk."""


@dataclass(frozen=True)
class Agreement:
    """A symmetric similarity of two models with its permutation null."""

    value: float
    null: Null

    @property
    def calibrated(self) -> float:
        """The value on the scale where the null's 95 % quantile is 0 and identity is 1."""
        return float(self.on_calibrated_scale(self.value))

    def on_calibrated_scale(self, values: FloatArray | float) -> FloatArray:
        """(s - tau) / (1 - tau) of `values`."""
        scaled: FloatArray = (np.asarray(values) - self.null.quantile95) / (1.0 - self.null.quantile95)
        return scaled


class Comparisons:
    """Computes and remembers similarities. A method gives None where the similarity is not defined."""

    def __init__(self, suite: Suite, cache: Cache) -> None:
        self.suite = suite
        self.cache = cache
        self._distances: dict[str, DistanceSubsamples] = {}

    def lay_out_pass(self, models: Sequence[ModelFeatures], root: Path, *, residual: bool = False) -> PassFolder | None:
        """The pass that `stream` needs in a folder below `root`; None where all that it would find is known."""
        views, arrays = _arrays(models, residual)

        def unknown() -> float | None:
            raise _Unknown

        try:
            for a, b in itertools.permutations(views.values(), 2):
                self.cache("imbalance", _pair("information_imbalance", a, b, residual), unknown)
                if not residual:
                    self.cache("dcor_biased", _pair("dcor_biased", a, b, False), unknown)
                if has_unbiased_null("dcor", a.n):
                    self.cache("dcor", _pair("dcor", a, b, residual), unknown)
        except _Unknown:
            folder = self._pass_folder(views, root, residual)
            folder.lay_out({name: checked(name, array, minimum_rows=4) for name, array in arrays.items()})
            return folder
        return None

    def stream(self, models: Sequence[ModelFeatures], *, residual: bool = False, root: Path | None = None) -> None:
        """Imbalances both ways and distance correlations of all pairs, remembered, from one pass.

        The unbiased one where its null needs no permutations, which would give the value along with them.

        Models whose residual is not defined are left out of a residual pass. What is known already is not computed.
        root: where `lay_out_pass` made the pass, and blocks of it may be computed already.
        """
        views, arrays = _arrays(models, residual)
        folder = self._pass_folder(views, root, residual) if root is not None else None

        @functools.cache
        def found() -> Streamed:
            if folder is not None and folder.laid_out:
                return folder.reduce()
            return stream(arrays, cosine=0, euclidean=0)

        def correlation(x: str, y: str, biased: bool) -> float | None:
            return number(found().distance_correlation(x, y, biased=biased))

        for first, second in itertools.permutations(arrays, 2):
            a, b = views[first], views[second]
            ranks = functools.partial(lambda x, y: number(found().information_imbalance(x, y)), first, second)
            self.cache("imbalance", _pair("information_imbalance", a, b, residual), ranks)
            if not residual:
                biased = functools.partial(correlation, first, second, True)
                self.cache("dcor_biased", _pair("dcor_biased", a, b, False), biased)
            if has_unbiased_null("dcor", a.n):
                unbiased = functools.partial(correlation, first, second, False)
                self.cache("dcor", _pair("dcor", a, b, residual), unbiased)
        if folder is not None:
            folder.remove()

    def _pass_folder(self, views: Mapping[str, ModelFeatures], root: Path, residual: bool) -> PassFolder:
        # The code that computes it may change between two runs.
        key = content_key([[view.key for view in views.values()], residual, sha256_of_tree(METRICS)])
        return PassFolder(root / key)

    def reconstruct(
        self,
        models: Sequence[LayerFeatures],
        last_layers: Sequence[LayerFeatures] = (),
        between: tuple[Collection[str], Collection[str]] | None = None,
    ) -> None:
        """gfre per atom of all pairs of models both ways, remembered; without features per atom one is left out.

        Where there are `last_layers`, also between these and from `models` to them. A model is factorised once a layer.
        between: pairs of a model of the one and a model of the other group only.
        """
        views = {f"{view.layer} of {view.model}": view for view in (*models, *last_layers)}
        arrays = _varying(views)
        pairs = [
            (x, y)
            for x, y in itertools.combinations(arrays, 2)
            if views[x].model != views[y].model and _lies_between(views[x].model, views[y].model, between)
        ]
        layer = models[0].layer

        @functools.cache
        def found() -> dict[tuple[str, str], float]:
            return feature_space_pairs(arrays, groups=models[0].data.structure_of_atom, pairs=pairs).gfre

        for first, second in (way for pair in pairs for way in (pair, pair[::-1])):
            if views[first].layer == layer or views[second].layer != layer:
                error = functools.partial(lambda x, y: number(found()[x, y]), first, second)
                self.cache("gfre", _pair("gfre", views[first], views[second], False), error)

    def agreement(
        self, metric: Similarity, a: ModelFeatures, b: ModelFeatures, *, residual: bool = False, k: int | None = None
    ) -> Agreement | None:
        """A symmetric similarity with its null; `k` neighbours, the suite's where not given."""
        return self.agreements(metric, [a], b, residual=residual, k=k)[0]

    def agreements(
        self,
        metric: Similarity,
        models: Sequence[ModelFeatures],
        b: ModelFeatures,
        *,
        residual: bool = False,
        k: int | None = None,
    ) -> list[Agreement | None]:
        """`agreement` of each of `models` with b, whose rows are permuted once for all that are not known yet."""
        neighbours = k or self.suite.k
        sampling: dict[str, Any] = {
            "permutations": self.suite.permutations,
            "seed": derived_seed(self.suite.seed, "permutations", b.data.id),
        }
        of_neighbours = {"k": neighbours} if metric in ("cknna", "mutual_knn") else {}
        views = {model.model: _views(model, b, residual) for model in models}
        defined = {name: view for name, view in views.items() if view is not None and neighbours < b.n}

        @functools.cache
        def batch() -> dict[str, dict[str, float | None]]:
            if metric == "dcor" and has_unbiased_null(metric, b.n):
                ours = [model for model in models if model.model in defined]
                values = {model.model: self._distance_correlation(model, b, residual) for model in ours}
                return {name: _json(without_samples(value, b.n)) for name, value in values.items()}
            sources = [view[0] for view in defined.values()]
            target = next(iter(defined.values()))[1]
            nulls = calibrate_many(metric, sources, target, k=neighbours, **sampling)
            return {name: _json(null) for name, null in zip(defined, nulls, strict=True)}

        found: list[Agreement | None] = []
        for model in models:
            name = model.model
            if name not in defined:
                found.append(None)
                continue
            inputs = {**_pair(metric, model, b, residual), **sampling, **of_neighbours}
            # `batch` is made on the first unknown pair; with all pairs known it is never called
            product = self.cache("agreement", inputs, functools.partial(_entry, batch, name))
            found.append(_agreement(product))
        return found

    def _distance_correlation(self, a: ModelFeatures, b: ModelFeatures, residual: bool) -> float:
        """The unbiased one of all rows, NaN where it is not defined; from the pass where there was one."""
        views = _views(a, b, residual)

        def compute() -> float | None:
            return None if views is None else number(distance_correlation(views[0].array, views[1].array))

        found: float | None = self.cache("dcor", _pair("dcor", a, b, residual), compute)
        return float("nan") if found is None else found

    def resampled(self, metric: Resampled, a: ModelFeatures, b: ModelFeatures, *, residual: bool = False) -> FloatArray:
        """A similarity on the suite's subsamples, (subsamples,); the information imbalance goes a -> b at k = 1."""
        views = _views(a, b, residual)
        if views is None:
            return np.full(self.suite.subsamples, np.nan)
        k = 1 if metric == "information_imbalance" else self.suite.k
        sampling = {"k": k, "subsamples": self.suite.subsamples, "seed": self.suite.seed}
        sampling |= self.suite.subsample_limit

        def compute() -> list[float | None]:
            drawn = a.data.subsamples(self.suite)
            if a.n > MATRIX_ROWS and metric in ("dcor", "information_imbalance"):
                return drawn.numbers(self._of_distances(metric, a, b, residual))
            return drawn.numbers(subsample_values(metric, *views, drawn.rows, k=k))

        return array_of(self.cache("resampled", {**_pair(metric, a, b, residual), **sampling}, compute))

    def _of_distances(self, metric: Resampled, a: ModelFeatures, b: ModelFeatures, residual: bool) -> FloatArray:
        """dcor or the information imbalance a -> b on the suite's subsamples, found together with the other way's."""
        place = content_key(_pair("distances", a, b, residual))
        known, back = self._distances.get(place), self._distances.get(content_key(_pair("distances", b, a, residual)))
        if known is None and back is not None and metric == "information_imbalance":
            return back.imbalance_back
        if known is None:
            views = _views(a, b, residual)
            assert views is not None, "undefined ones are told apart before"
            known = distance_subsamples(*views, a.data.subsamples(self.suite).rows)
            self._distances[place] = known
        return known.dcor if metric == "dcor" else known.imbalance

    def imbalance(self, a: ModelFeatures, b: ModelFeatures, *, residual: bool = False) -> float | None:
        """Information imbalance a -> b at k = 1."""
        views = _views(a, b, residual)
        if views is None:
            return None

        def compute() -> float | None:
            return number(information_imbalance(views[0].array, views[1].array))

        found: float | None = self.cache("imbalance", _pair("information_imbalance", a, b, residual), compute)
        return found

    def biased_distance_correlation(self, a: ModelFeatures, b: ModelFeatures) -> float | None:
        """Squared distance correlation, V-statistic."""

        def compute() -> float | None:
            return number(distance_correlation(a.matrix, b.matrix, biased=True))

        found: float | None = self.cache("dcor_biased", _pair("dcor_biased", a, b, False), compute)
        return found

    def dimension_correlation(self, a: ModelFeatures, b: ModelFeatures) -> Agreement | None:
        """Intrinsic-dimension correlation with its permutation null."""
        seed = derived_seed(self.suite.seed, "id_cor", a.data.id)
        inputs = {**_pair("id_cor", a, b, False), "permutations": ID_COR_PERMUTATIONS, "seed": seed}

        def compute() -> dict[str, float | None]:
            found = id_correlation(a.matrix, b.matrix, permutations=ID_COR_PERMUTATIONS, seed=seed)
            fields = {"value": found.value, "mean": found.null_mean, "quantile95": found.null_quantile95}
            found_values = {name: number(value) for name, value in {**fields, "p_value": found.p_value}.items()}
            return {**found_values, "permutations": ID_COR_PERMUTATIONS}

        return _agreement(self.cache("id_cor", inputs, compute))

    def reconstruction(self, a: LayerFeatures, b: LayerFeatures) -> float | None:
        """gfre a -> b per atom, split by structure; None where one of them has no features per atom that vary."""
        if not (a.per_atom and b.per_atom):
            return None

        def compute() -> float | None:
            arrays = _varying({"a": a, "b": b})
            if len(arrays) < 2:
                return None
            pairs = feature_space_pairs(arrays, groups=a.data.structure_of_atom)
            return number(pairs.gfre["a", "b"])

        found: float | None = self.cache("gfre", _pair("gfre", a, b, False), compute)
        return found


def _arrays(models: Sequence[ModelFeatures], residual: bool) -> tuple[dict[str, ModelFeatures], dict[str, FloatArray]]:
    """Models and arrays (n, d) of a pass by name, without those that have none."""
    found = {model.model: (model, model.residual if residual else model.representation) for model in models}
    arrays = {name: view.array for name, (_, view) in found.items() if view is not None}
    return {name: found[name][0] for name in arrays}, arrays


def _lies_between(x: str, y: str, groups: tuple[Collection[str], Collection[str]] | None) -> bool:
    return groups is None or (x in groups[0] and y in groups[1]) or (y in groups[0] and x in groups[1])


def _varying(layers: Mapping[str, LayerFeatures]) -> dict[str, NDArray[np.float32]]:
    """Features per atom (atoms, d) of those that have such and that tell any atoms apart."""
    arrays = {name: layer.atoms for name, layer in layers.items() if layer.per_atom}
    return {name: array for name, array in arrays.items() if array is not None and np.ptp(array, axis=0).any()}


def _views(a: ModelFeatures, b: ModelFeatures, residual: bool) -> tuple[Representation, Representation] | None:
    first, second = (a.residual, b.residual) if residual else (a.representation, b.representation)
    return None if first is None or second is None else (first, second)


def _pair(metric: str, a: LayerFeatures, b: LayerFeatures, residual: bool) -> dict[str, Any]:
    return {"metric": metric, "a": a.key, "b": b.key, "residual": residual}


def _entry(batch: Callable[[], dict[str, Any]], name: str) -> Any:
    return batch()[name]


def _json(null: NullDistribution) -> dict[str, float | None]:
    fields = {"value": null.value, "mean": null.mean, "quantile95": null.quantile95, "p_value": null.p_value}
    return {**{name: number(value) for name, value in fields.items()}, "permutations": null.samples.size}


def _agreement(found: dict[str, float | None]) -> Agreement | None:
    if any(value is None for value in found.values()):
        return None
    null = {name: value for name, value in found.items() if name != "value"}
    return Agreement(float(found["value"] or 0.0), Null.model_validate(null))
