"""Scoring in this or another process: one model, or all pairs of one model, at a time.

`Evaluation` holds what scoring needs in a form that can be sent to another process; each process
makes one `Scorer` of it and keeps it. Intermediate products lie on disk under content keys that
include a digest of the scoring code.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import benchmark
from benchmark.datasets.store import find_dataset
from benchmark.embedding.extraction import load_embedded
from benchmark.embedding.features import FeatureSet, Sidecar, kept_positions
from benchmark.files import content_key, sha256_of_tree
from benchmark.journal import Report
from benchmark.products import ProductCache
from benchmark.results.records import (
    PROTOCOL_VERSION,
    Coordinates,
    LayerValue,
    LearningPoint,
    PairValue,
    PooledLayer,
    Score,
)
from benchmark.scoring.data import lineage, scoring_data
from benchmark.scoring.passes import PassFolder
from benchmark.scoring.scorer import Scorer
from benchmark.submission import Entry
from benchmark.suite import Suite

SCORING_CODE = ("metrics", "scoring")
GROUP = 12
"""Models whose reconstruction errors are found by one task; each is factorised once a task."""


@dataclass(frozen=True)
class Evaluation:
    """What scoring needs, in a form that another process can be given."""

    suite: Suite
    entries: Mapping[str, Entry]
    sidecars: Mapping[tuple[str, str], Sidecar]
    work: Path

    def scorer(self) -> Scorer:
        """A scorer whose intermediate products are kept below the work folder."""
        datasets = {name: find_dataset(name) for name in self.suite.datasets()}
        structures = {name: dataset.structures() for name, dataset in datasets.items()}
        shared = {name: kept_positions(each.ids, self.left_out(name)) for name, each in structures.items()}
        data = {name: scoring_data(dataset, shared[name]) for name, dataset in datasets.items()}

        @functools.cache
        def features(model: str, dataset: str) -> FeatureSet | None:
            sidecar = self.sidecars.get((model, dataset))
            if sidecar is None:
                return None
            return load_embedded(self.work, sidecar.key, structures[dataset]).take(shared[dataset])

        cache = ProductCache(self.work / "products", scoring_version())
        return Scorer(self.suite, data, features, lineage(self.entries), cache)

    @property
    def passes(self) -> Path:
        """Where passes are laid out for several processes."""
        return self.work.absolute() / "work" / "passes"

    def left_out(self, dataset: str) -> list[str]:
        """Structures that some model cannot embed: no model is scored on them, so that all are compared on the same."""
        return sorted(
            {each for (_, where), made in self.sidecars.items() if where == dataset for each in made.left_out}
        )

    def record_key(self, model: str) -> str:
        """Digest of everything the record of `model` depends on."""
        parent = self.entries[model].model.fine_tuned_from
        wanted = {model, parent, *self.suite.frozen_models()}
        used = {f"{name} {dataset}": made.key for (name, dataset), made in self.sidecars.items() if name in wanted}
        datasets = [find_dataset(name) for name in self.suite.datasets()]
        labels = {each.card.id: [each.labels_fingerprint(), each.card.composition_basis] for each in datasets}
        parents = {name: entry.model.fine_tuned_from for name, entry in self.entries.items() if name in wanted}
        suite = self.suite.model_dump(mode="json", exclude={"title", "description", "changelog", "models"})
        control = self.entries[model].model.control
        return content_key([model, control, used, labels, parents, suite, self._unshared(), scoring_version()])

    def _unshared(self) -> dict[str, list[str]]:
        return {name: self.left_out(name) for name in self.suite.datasets()}

    def pairs_key(self, models: Sequence[str]) -> str:
        """Digest of everything the pairwise values of `models` depend on."""
        used = {f"{name} {dataset}": made.key for (name, dataset), made in self.sidecars.items() if name in models}
        suite = self.suite.model_dump(mode="json", exclude={"models"})
        return content_key([list(models), used, suite, self._unshared(), scoring_version()])


@dataclass(frozen=True)
class Scored:
    """The part of a record that scoring fills in."""

    scores: list[Score]
    layers: list[LayerValue]
    pooling: list[PooledLayer]
    learning_curves: list[LearningPoint]
    coordinates: list[Coordinates]
    quality: list[str]


def scoring_version() -> dict[str, str | int]:
    """Protocol version and a digest of the code that computes scores."""
    root = Path(benchmark.__file__).parent
    return {"protocol": PROTOCOL_VERSION, **{name: sha256_of_tree(root / name) for name in SCORING_CODE}}


LAYER_MEASURES = ("intrinsic_dimension", "effective_rank", "composition_share")


def layer_values(model: str, evaluation: Evaluation, scores: Sequence[Score]) -> list[LayerValue]:
    """Every stored layer of `model`, with what was measured on it; probes of several labels are told apart."""
    values = []
    for dataset in evaluation.suite.datasets():
        sidecar = evaluation.sidecars.get((model, dataset))
        for layer, stored in sidecar.layers.items() if sidecar is not None else ():
            here = [score for score in scores if (score.dataset, score.layer) == (dataset, layer)]
            measures = {score.id: score.value for score in here if score.id in LAYER_MEASURES}
            measures |= {f"r2_partial_{score.target}": score.value for score in here if score.id == "r2_partial"}
            values.append(
                LayerValue(
                    dataset=dataset,
                    layer=layer,
                    level=stored.level,
                    dimension=stored.dimension,
                    irreps=stored.irreps,
                    measures=measures,
                )
            )
    return values


_scorers: dict[str, Scorer] = {}


def _scorer_of(evaluation: Evaluation) -> Scorer:
    """The process's scorer for `evaluation`: neighbour lists and the like are shared by its tasks."""
    key = content_key([evaluation.suite.key, sorted(made.key for made in evaluation.sidecars.values())])
    if key not in _scorers:
        _scorers.clear()
        _scorers[key] = evaluation.scorer()
    return _scorers[key]


@dataclass(frozen=True)
class ScoreTask:
    """Score one model."""

    evaluation: Evaluation
    model: str

    def __call__(self, report: Report) -> Scored:
        del report
        scorer = _scorer_of(self.evaluation)
        scores = scorer.score(self.model)
        layers = layer_values(self.model, self.evaluation, [*scores, *scorer.layer_scores(self.model)])
        return Scored(
            scores,
            layers,
            scorer.pooled_layers(self.model),
            scorer.learning_curves(self.model),
            scorer.coordinates(self.model),
            scorer.quality(self.model),
        )

    def __str__(self) -> str:
        return self.model


@dataclass(frozen=True)
class PairTask:
    """Compare one model with each of `others` on one data set."""

    evaluation: Evaluation
    model: str
    others: tuple[str, ...]
    dataset: str

    def __call__(self, report: Report) -> list[PairValue]:
        del report
        return _scorer_of(self.evaluation).pairs(self.model, self.others, self.dataset)

    @property
    def units(self) -> int:
        return len(self.others)

    def __str__(self) -> str:
        return f"{self.model} · {self.dataset}"


@dataclass(frozen=True)
class LayOutTask:
    """Lay out the passes over all of `models` on one data set; gives their blocks that are to be computed."""

    evaluation: Evaluation
    models: tuple[str, ...]
    dataset: str

    def __call__(self, report: Report) -> list[BlockTask]:
        del report
        passes = _scorer_of(self.evaluation).lay_out_passes(self.models, self.dataset, self.evaluation.passes)
        return [BlockTask(each, block, self.dataset, len(self.models)) for each in passes for block in each.missing()]

    @property
    def units(self) -> int:
        return len(self.models)

    def __str__(self) -> str:
        return f"lay out · {self.dataset}"


@dataclass(frozen=True)
class BlockTask:
    """Compute a block of rows of a pass."""

    passing: PassFolder
    block: tuple[int, int]
    dataset: str
    models: int

    @property
    def units(self) -> int:
        return self.models * (self.block[1] - self.block[0])

    def __call__(self, report: Report) -> None:
        del report
        self.passing.compute(self.block)

    def __str__(self) -> str:
        return f"{self.passing.folder.name[:8]} · {self.dataset} · rows {self.block[0]}-{self.block[1] - 1}"


@dataclass(frozen=True)
class PassTask:
    """Put the blocks of the passes over `models` on one data set together, for the tasks above to find."""

    evaluation: Evaluation
    models: tuple[str, ...]
    dataset: str

    def __call__(self, report: Report) -> None:
        del report
        _scorer_of(self.evaluation).stream(self.models, self.dataset, self.evaluation.passes)

    @property
    def units(self) -> int:
        return len(self.models)

    def __str__(self) -> str:
        return f"all pairs · {self.dataset}"


@dataclass(frozen=True)
class ReconstructTask:
    """Reconstruction errors between the models of two groups on one data set, for the tasks above to find."""

    evaluation: Evaluation
    groups: tuple[tuple[str, ...], tuple[str, ...]]
    dataset: str

    def __call__(self, report: Report) -> None:
        del report
        _scorer_of(self.evaluation).reconstruct(self.groups, self.dataset)

    @property
    def units(self) -> int:
        first, second = map(len, self.groups)
        return first * (first - 1) // 2 if self.groups[0] == self.groups[1] else first * second

    def __str__(self) -> str:
        spans = " with ".join(dict.fromkeys(f"{group[0]} to {group[-1]}" for group in self.groups))
        return f"reconstruct · {self.dataset} · {spans}"


def pass_tasks(evaluation: Evaluation, models: Sequence[str]) -> list[PassTask]:
    """What compares all models on each data set that several of them have features on."""
    return [PassTask(evaluation, there, name) for name, there in _together(evaluation, models).items()]


def lay_out_tasks(evaluation: Evaluation, models: Sequence[str]) -> list[LayOutTask]:
    """What has to run before those."""
    return [LayOutTask(evaluation, there, name) for name, there in _together(evaluation, models).items()]


def reconstruct_tasks(evaluation: Evaluation, models: Sequence[str]) -> list[ReconstructTask]:
    """Reconstruction errors of all pairs, groups of models at a time."""
    tasks = []
    for name, there in _together(evaluation, models).items():
        groups = [there[start : start + GROUP] for start in range(0, len(there), GROUP)]
        tasks += [
            ReconstructTask(evaluation, pair, name) for pair in itertools.combinations_with_replacement(groups, 2)
        ]
    return tasks


def pair_tasks(evaluation: Evaluation, models: Sequence[str], beside: Set[str]) -> list[PairTask]:
    """A task a model and data set: its pairs with the models that follow, unless both are `beside`. Largest first."""
    tasks = []
    for dataset in evaluation.suite.datasets():
        present = [model for model in models if (model, dataset) in evaluation.sidecars]
        for index, model in enumerate(present[:-1]):
            others = tuple(other for other in present[index + 1 :] if not {model, other} <= beside)
            if others:
                tasks.append(PairTask(evaluation, model, others, dataset))
    structures = {place: sidecar.structures for place, sidecar in evaluation.sidecars.items()}
    return sorted(tasks, key=lambda task: -len(task.others) * structures[task.model, task.dataset])


def _together(evaluation: Evaluation, models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    present = {
        dataset: tuple(model for model in models if (model, dataset) in evaluation.sidecars)
        for dataset in evaluation.suite.datasets()
    }
    return {dataset: there for dataset, there in present.items() if len(there) > 1}
