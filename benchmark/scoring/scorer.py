"""All scores of one suite. The one class that knows which models a score needs.

A model's scores depend on its own features and on the suite's frozen models (reference, panel, controls), never on
who else was submitted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmark.embedding.features import FeatureSet
from benchmark.files import content_key
from benchmark.metrics.representation import Known
from benchmark.results.records import PROTOCOL_VERSION, Coordinates, LearningPoint, PairValue, PooledLayer, Score
from benchmark.scoring.alignment import alignment_scores
from benchmark.scoring.catalogue import HEADLINE, SCORES, better
from benchmark.scoring.channels import channel_scores
from benchmark.scoring.collapse import (
    Distance,
    convergence_scores,
    distance_to_panel,
    information_scores,
    skill,
)
from benchmark.scoring.comparisons import Comparisons
from benchmark.scoring.coordinates import coordinates
from benchmark.scoring.data import Cache, LayerFeatures, Lineage, ModelFeatures, ScoringData, no_cache
from benchmark.scoring.fine_tuning import NOT_FINE_TUNED, fine_tuning_scores, strangers
from benchmark.scoring.learning import learning_points, learning_scores
from benchmark.scoring.measured import missing
from benchmark.scoring.nonlinear import nonlinear_scores
from benchmark.scoring.pairs import last_layer_values, pair_values, prepare_pairs
from benchmark.scoring.passes import PassFolder
from benchmark.scoring.pooling import pooled_layers
from benchmark.scoring.probes import COMPONENTS, ProbeResult, cpd_score, narrow_scores, probe, probe_scores
from benchmark.scoring.representation import dimension_scales, energy_score, representation_scores
from benchmark.suite import Suite

FoundT = TypeVar("FoundT")
FeatureSource = Callable[[str, str], FeatureSet | None]
ROUNDING = 1e-9
LAST_LAYER = "last_layer"
KEPT, KEPT_ROWS, KEPT_AT_LEAST = 16, 200_000, 3
"""Models and data sets whose neighbour lists and distances stay in memory: about 80 MB each at 1,000 structures, and
1.5 GB at 50,000, of which so many rows together are kept. Neighbours in subsamples outlive the rest: 50 MB each there,
and a search of most of a minute."""


class Unavailable(Exception):
    """A model that a score needs has no features; the message is the score's reason."""


class Scorer:
    """Scores models of one suite.

    data: the suite's data sets by id. features: (model, data set) -> features, None for a model that failed.
    cache: remembers intermediate products under their content (see `Cache`).
    """

    def __init__(
        self,
        suite: Suite,
        data: Mapping[str, ScoringData],
        features: FeatureSource,
        lineage: Lineage,
        cache: Cache = no_cache,
    ) -> None:
        absent = [name for name in suite.datasets() if name not in data]
        if absent:
            raise ValueError(f"suite {suite.id}: data sets {absent} are missing")
        self.suite = suite
        self.data = data
        self.lineage = lineage
        self._source = features
        self._products: dict[str, Any] = {}
        self._cache = cache
        self._views: OrderedDict[tuple[str, str, str], ModelFeatures] = OrderedDict()
        self._neighbours: OrderedDict[tuple[str, str, str], Known] = OrderedDict()
        self._scored: dict[str, list[Score]] = {}
        self._comparisons = Comparisons(suite, self._remember)

    def score(self, model: str) -> list[Score]:
        """Every score of `model`, each with the controls that are better; without features, reasons instead."""
        scores = self._scores(model)
        rivals = self._of_controls(model, lambda name: _by_place(self._scores(name)))
        found = []
        for score in scores:
            place = _place(score)
            beaten_by = [
                name for name, theirs in rivals.items() if name != model and _is_better(theirs.get(place), score)
            ]
            found.append(score.model_copy(update={"beaten_by": beaten_by}))
        return found

    def pair_values(self, a: str, b: str, dataset: str) -> list[PairValue]:
        """Similarities of two models on one data set; none where one of them has no features there."""
        return self.pairs(a, [b], dataset)

    def pairs(self, model: str, others: Sequence[str], dataset: str) -> list[PairValue]:
        """`pair_values` of `model` with each of `others`: the same numbers, quicker than one by one."""
        views = []
        for name in (model, *others):
            try:
                views.append(self._view(name, dataset))
            except Unavailable:
                if name == model:
                    return []
        prepare_pairs(self._comparisons, views[0], views[1:])
        last = self._last_layers([view.model for view in views], dataset)
        rows = []
        for other in views[1:]:
            rows += pair_values(self._comparisons, views[0], other)
            rows += last_layer_values(self._comparisons, views[0], other, last)
        return rows

    def lay_out_passes(self, models: Sequence[str], dataset: str, root: Path) -> list[PassFolder]:
        """The passes over all `models` that `stream` needs, in folders below `root`, for blocks to be computed."""
        views = self._present(models, dataset)
        if len(views) < 2:
            return []
        found = [self._comparisons.lay_out_pass(views, root, residual=residual) for residual in (False, True)]
        return [folder for folder in found if folder is not None]

    def stream(self, models: Sequence[str], dataset: str, root: Path | None = None) -> None:
        """Remember what passes over all `models` at once find for `pairs` and `score` on one data set.

        root: where `lay_out_passes` put the passes.
        """
        views = self._present(models, dataset)
        if len(views) > 1:
            self._comparisons.stream(views, root=root)
            self._comparisons.stream(views, residual=True, root=root)

    def reconstruct(self, groups: tuple[Sequence[str], Sequence[str]], dataset: str) -> None:
        """Remember the reconstruction errors between the models of two groups, which may be one and the same."""
        views = self._present(list(dict.fromkeys([*groups[0], *groups[1]])), dataset)
        if len(views) > 1:
            last = self._last_layers([view.model for view in views], dataset)
            self._comparisons.reconstruct(views, list(last.values()), groups)

    def _present(self, models: Sequence[str], dataset: str) -> list[ModelFeatures]:
        return [self._view(model, dataset) for model in models if self._has(model, dataset)]

    def layer_scores(self, model: str) -> list[Score]:
        """Dimension, rank, composition's share and r2_partial of every stored invariant layer but the suite's.

        Without intervals: layers are looked at, not ranked. `Score.layer` tells them apart.
        """
        scores = []
        for dataset in self.suite.datasets():
            features = self._source(model, dataset)
            for layer in sorted(features.layers) if features is not None else []:
                if layer == self.suite.layer or features is None or features.layers[layer].irreps is not None:
                    continue
                view = self._view(model, dataset, layer)
                scores += representation_scores(self.suite, self._remember, view, intervals=False)
                probes = probe(self.suite, self._remember, view, resampled=False)
                scores += [s for s in probe_scores(self.suite, view, probes) if s.id == "r2_partial"]
        return scores

    def pooled_layers(self, model: str) -> list[PooledLayer]:
        """The suite's layer pooled to cumulants of each order, on every data set that the model has features on."""
        views = [self._view(model, name) for name in self.suite.datasets() if self._has(model, name)]
        return [pooled for view in views for pooled in pooled_layers(self.suite, self._remember, view)]

    def learning_curves(self, model: str) -> list[LearningPoint]:
        """The learning curves of the suite's probes."""
        dataset = self.suite.probe.dataset
        if not self._has(model, dataset):
            return []
        return learning_points(self.suite, self._remember, self._view(model, dataset))

    def coordinates(self, model: str) -> list[Coordinates]:
        """The model's structures in and out of distribution on one map; of one data set where it has no other."""
        datasets = (self.suite.in_distribution, self.suite.out_of_distribution)
        views = {name: self._view(model, name) for name in datasets if self._has(model, name)}
        return coordinates(self.suite, self._remember, views) if views and self.suite.maps else []

    def quality(self, model: str) -> list[str]:
        """What a reader should know before trusting the numbers, one line each."""
        lines = []
        for dataset in self.suite.datasets():
            try:
                view = self._view(model, dataset)
            except Unavailable as error:
                lines.append(str(error))
                continue
            if view.dead:
                lines.append(f"{dataset}: {view.dead} of {view.d + view.dead} columns of {view.layer} do not vary")
            if view.duplicates:
                lines.append(f"{dataset}: {view.duplicates} structures have the features of another one")
        for score in self.score(model):
            lines += _remarks(score)
        return list(dict.fromkeys(lines))

    def _scores(self, model: str) -> list[Score]:
        if model not in self._scored:
            sections = (self._alignment, self._collapse, self._representation, self._cpd, self._fine_tuning)
            self._scored[model] = [score for section in sections for score in section(model)]
        return self._scored[model]

    def _alignment(self, model: str) -> list[Score]:
        dataset = self.suite.in_distribution
        try:
            return alignment_scores(
                self._comparisons, self._view(model, dataset), self._view(self.suite.reference, dataset)
            )
        except Unavailable as error:
            return [
                missing("alignment", str(error), dataset=dataset, versus=self.suite.reference, layer=self.suite.layer)
            ]

    def _collapse(self, model: str) -> list[Score]:
        inside, outside = self.suite.in_distribution, self.suite.out_of_distribution
        scores = []
        try:
            skills = [self._skill(model, dataset) for dataset in (inside, outside)]
            fields = [self._fields(model, dataset, self.suite.energy_targets[dataset]) for dataset in (inside, outside)]
            scores += information_scores(skills[0], skills[1], fields[0], fields[1])
        except Unavailable as error:
            scores.append(missing("collapse_information", str(error)))
        try:
            distances = [self._distance(model, dataset) for dataset in (inside, outside)]
            control = [self._distance(self.suite.controls.composition, dataset) for dataset in (inside, outside)]
            scores += convergence_scores(distances, control, (inside, outside))
        except Unavailable as error:
            scores.append(missing("collapse_convergence", str(error)))
        return scores

    def _skill(self, model: str, dataset: str) -> Any:
        target = self.suite.energy_targets[dataset]
        controls = self._of_controls(model, lambda name: self._probes(name, dataset)[target])
        return skill(self._probes(model, dataset)[target], controls)

    def _of_controls(self, model: str, find: Callable[[str], FoundT]) -> dict[str, FoundT]:
        """What `find` finds of each control, in the suite's order.

        Looked for in an order of the model's own: tasks that begin together would all wait for whichever has the first
        control, one core busy and the others idle.
        """
        names = self.suite.controls.ids()
        first = int(content_key(["controls", model])[:8], 16) % len(names)
        found = {name: find(name) for name in (*names[first:], *names[:first])}
        return {name: found[name] for name in names}

    def _distance(self, model: str, dataset: str) -> Distance:
        members = [p for p in self.suite.panel if not self.lineage.related(p, model)]
        views = [self._view(p, dataset) for p in members]
        found = distance_to_panel(self._comparisons, self._view(model, dataset), views)
        if found is None:
            raise Unavailable(f"no panel model is unrelated to {model}")
        return found

    def _representation(self, model: str) -> list[Score]:
        scores = []
        for dataset in (self.suite.in_distribution, self.suite.out_of_distribution):
            try:
                view = self._view(model, dataset)
            except Unavailable as error:
                scores.append(missing("intrinsic_dimension", str(error), dataset=dataset, layer=self.suite.layer))
                continue
            scores += representation_scores(self.suite, self._remember, view)
            scores += dimension_scales(self._remember, view)
            scores.append(energy_score(self.suite, view, self.suite.energy_targets[dataset]))
        return scores

    def _cpd(self, model: str) -> list[Score]:
        dataset = self.suite.probe.dataset
        scores = []
        try:
            view = self._view(model, dataset)
            narrow = self._narrow_probes(model, dataset)
            scores.append(cpd_score("cpd", self.suite, view, self._probes(model, dataset)))
            scores.append(cpd_score(f"cpd_{COMPONENTS}", self.suite, view, narrow))
            scores += narrow_scores(view, narrow)
            scores += nonlinear_scores(self.suite, self._remember, view, self._probes(model, dataset))
            scores += learning_scores(self.suite, self._remember, view)
            features = self._source(model, dataset)
            scores += channel_scores(self.suite, self._remember, view, features) if features is not None else []
        except Unavailable as error:
            scores.append(missing("cpd", str(error), dataset=dataset, layer=self.suite.layer))
        for name in self.suite.datasets():
            try:
                scores += probe_scores(self.suite, self._view(model, name), self._probes(model, name))
            except Unavailable:
                continue
        return scores

    def _fine_tuning(self, model: str) -> list[Score]:
        parent = self.lineage.parents.get(model)
        inside = self.suite.in_distribution
        if parent is None:
            return [missing("fine_tuning_bias", NOT_FINE_TUNED, dataset=inside, layer=self.suite.layer)]
        scores = []
        others = strangers(self.suite, self.lineage, model)
        for dataset in self.suite.datasets():
            try:
                views = [self._view(name, dataset) for name in (model, parent, *others)]
            except Unavailable as error:
                fields = {"dataset": dataset, "versus": parent, "layer": self.suite.layer}
                scores.append(missing("fine_tuning_bias", str(error), **fields))
                continue
            scores += fine_tuning_scores(self._comparisons, views[0], views[1], views[2:], intervals=dataset == inside)
        return scores

    def _probes(self, model: str, dataset: str) -> dict[str, ProbeResult]:
        return probe(self.suite, self._remember, self._view(model, dataset))

    def _narrow_probes(self, model: str, dataset: str) -> dict[str, ProbeResult]:
        """On 64 principal components; all of them are kept where there are no more."""
        view = self._view(model, dataset)
        components = COMPONENTS if view.d > COMPONENTS else None
        return probe(self.suite, self._remember, view, components=components)

    def _fields(self, model: str, dataset: str, target: str) -> dict[str, Any]:
        view = self._view(model, dataset)
        return {"dataset": dataset, "target": target, "layer": view.layer, "n": view.n, "d": view.d}

    def _view(self, model: str, dataset: str, layer: str | None = None) -> ModelFeatures:
        """The model's features on a data set, from memory where they are. Raises Unavailable where there are none."""
        key = (model, dataset, layer or self.suite.layer)
        if key not in self._views:
            features = self._source(model, dataset)
            if features is None or key[2] not in features.layers:
                raise Unavailable(f"{model} has no {key[2]} features on {dataset}")
            self._views[key] = ModelFeatures(features, key[2], self.data[dataset], self._neighbours.setdefault(key, {}))
        self._views.move_to_end(key)
        self._neighbours.move_to_end(key)
        while len(self._views) > KEPT or (
            len(self._views) > KEPT_AT_LEAST and sum(view.n for view in self._views.values()) > KEPT_ROWS
        ):
            dropped, _ = self._views.popitem(last=False)
            for whole in [each for each in self._neighbours[dropped] if not each[1]]:
                del self._neighbours[dropped][whole]
        while len(self._neighbours) > KEPT:
            self._neighbours.popitem(last=False)
        return self._views[key]

    def _last_layers(self, models: Sequence[str], dataset: str) -> dict[str, LayerFeatures]:
        """The last layer per atom of each model that has one; in distribution only, since it costs what gfre does."""
        if dataset != self.suite.in_distribution or self.suite.layer == LAST_LAYER:
            return {}
        sources = {model: self._source(model, dataset) for model in models}
        layers = {
            model: LayerFeatures(source, LAST_LAYER, self.data[dataset])
            for model, source in sources.items()
            if source is not None and LAST_LAYER in source.layers
        }
        return {model: layer for model, layer in layers.items() if layer.per_atom}

    def _has(self, model: str, dataset: str) -> bool:
        features = self._source(model, dataset)
        return features is not None and self.suite.layer in features.layers

    def _remember(self, kind: str, inputs: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
        keyed = {**inputs, "protocol": PROTOCOL_VERSION}
        key = content_key([kind, keyed])
        if key not in self._products:
            self._products[key] = self._cache(kind, keyed, compute)
        return self._products[key]


SWEPT = ("cknna", "intrinsic_dimension_gride")
"""Scores that a model has one of for each k."""


def _place(score: Score) -> tuple[Any, ...]:
    """What must be equal for two models' scores to be comparable."""
    return score.id, score.dataset, score.target, score.layer, score.k if score.id in SWEPT else None


def _by_place(scores: list[Score]) -> dict[tuple[Any, ...], Score]:
    return {_place(score): score for score in scores}


def _is_better(control: Score | None, score: Score) -> bool:
    if control is None or control.value is None or score.value is None:
        return False
    # equal numbers computed in another order differ in their last digits
    equal = abs(control.value - score.value) <= ROUNDING * max(1.0, abs(score.value))
    return not equal and better(score.id, control.value, score.value)


def _remarks(score: Score) -> list[str]:
    if score.id not in HEADLINE or score.value is None:
        return []
    lines = []
    title = SCORES[score.id].title
    if score.null is not None and score.id != "fine_tuning_bias" and score.null.p_value > 0.05:
        lines.append(f"{title}: at its null (p = {score.null.p_value:.2g})")
    if score.beaten_by:
        lines.append(f"{title}: beaten by {', '.join(score.beaten_by)}")
    return lines
