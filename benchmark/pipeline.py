"""Prepare, embed, score, export: from a suite and its submissions to published tables.

structures -> features -> scores -> tables. Each step can be run alone and resumed: products are
named by content keys, so a second run does only what the first has not done, and a changed input
recomputes only what hangs on it. A model that fails is named and passed over; it never costs
another model its result.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.datasets.store import find_dataset
from benchmark.embedding.conformance import NOT_AT_HAND, find_conformance, run_conformance
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.extraction import EmbeddingSettings, embed, feature_key, find_features, prepare
from benchmark.embedding.features import Sidecar
from benchmark.embedding.machine import Accelerator
from benchmark.embedding.sandbox import SandboxMode
from benchmark.evaluation import Evaluation, PairTask, PassTask, Scored, ScoreTask, call
from benchmark.execution import Progress, available_cores, in_processes, in_threads
from benchmark.export import export_results, write_settings
from benchmark.files import content_key, write_json
from benchmark.recording import Embedded, describe_failure, failed_record, reproduce, scored_record
from benchmark.results.records import ConformanceCheck, PairValue, Record, read_record, write_record
from benchmark.schema import InvalidFileError
from benchmark.submission import BrokenSubmission, Entry
from benchmark.suite import Suite


@dataclass(frozen=True)
class Settings:
    """Where a run works and how."""

    work: Path = Path(".latent-matter")
    results: Path = Path("results")
    accelerator: Accelerator = "auto"
    jobs: int = field(default_factory=available_cores)
    timeout: float = 900.0
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    offline: bool = False
    sandbox: SandboxMode = "auto"

    @property
    def embedding(self) -> EmbeddingSettings:
        """The part of the settings that embedding needs; the cores are shared among the jobs."""
        return EmbeddingSettings(
            cache=self.work,
            accelerator=self.accelerator,
            threads=max(1, available_cores() // max(1, self.jobs)),
            timeout=self.timeout,
            offline=self.offline,
            checkpoints=self.checkpoints,
            sandbox=self.sandbox,
        )

    def record_path(self, suite: Suite, model: str) -> Path:
        """Where the record of `model` lies."""
        return self.results / suite.key / "records" / f"{model}.json"

    def pairs_path(self, suite: Suite) -> Path:
        """Where the pairwise values of the suite lie."""
        return self.results / suite.key / "pairs.json"


@dataclass(frozen=True)
class EmbeddingTask:
    """Embed one data set with one model, or (dataset None) run the model's conformance checks."""

    model: str
    dataset: str | None

    def __str__(self) -> str:
        return f"{self.model} · {self.dataset or 'conformance'}"


def select_models(suite: Suite, entries: Mapping[str, Entry], wanted: Sequence[str] | None) -> list[str]:
    """Models of a run: the suite's own selection, or `wanted` and those that its scores depend on.

    Raises InvalidFileError for a name that no submission declares.
    """
    if wanted is None:
        if suite.models is not None:
            return sorted(name for name in suite.models if name in entries)
        return sorted(name for name, entry in entries.items() if entry.family.submission.modality == "atoms")
    unknown = sorted(set(wanted) - set(entries))
    if unknown:
        raise InvalidFileError(f"no submission declares {', '.join(unknown)}; known: {', '.join(sorted(entries))}")
    needed = {*wanted, *(name for name in suite.frozen_models() if name in entries)}
    for name in wanted:
        parent = entries[name].model.fine_tuned_from
        if parent in entries:
            needed.add(str(parent))
    return sorted(needed)


def embed_models(
    suite: Suite, entries: Mapping[str, Entry], models: Sequence[str], settings: Settings, progress: Progress
) -> Embedded:
    """Check and embed every model on every data set of the suite. A failing model is named and passed over."""
    done = check_models(entries, models, settings, progress)
    datasets = {name: find_dataset(name) for name in suite.datasets()}
    tasks = [EmbeddingTask(model, name) for model in models if model not in done.failures for name in datasets]
    progress.begin("Embedding", len(tasks))

    def run(task: EmbeddingTask) -> Sidecar:
        dataset = datasets[str(task.dataset)]
        report = functools.partial(progress.update, str(task))
        return embed(entries[task.model], dataset, settings.embedding, progress=report)

    for result in in_threads(tasks, run, settings.jobs):
        place = result.task.model, str(result.task.dataset)
        if result.value is not None:
            done.add(place, result.value)
        else:
            done.missing[place] = describe_failure(result.error)
        progress.finish(str(result.task), done.missing.get(place, "embedded"))
    # What a model does on one data set stands, whatever becomes of it on another one.
    embedded = {model for model, _ in done.sidecars}
    for (model, _), reason in sorted(done.missing.items()):
        if model not in embedded:
            done.failures.setdefault(model, reason)
    return done


def check_models(
    entries: Mapping[str, Entry], models: Sequence[str], settings: Settings, progress: Progress
) -> Embedded:
    """Run every model's conformance checks. A model that fails one has its reason in `failures`."""
    done = Embedded()
    tasks = [EmbeddingTask(model, None) for model in models]
    progress.begin("Checking adapters", len(tasks))
    check = functools.partial(_check, entries, settings.embedding)
    for outcome in in_threads(tasks, check, settings.jobs):
        model = outcome.task.model
        if outcome.value is not None:
            done.checks[model] = outcome.value
            broken = [f"{each.id}: {each.detail}" for each in outcome.value if each.status == "failed"]
            absent = [each.detail for each in outcome.value if each.id == NOT_AT_HAND]
            if absent:
                done.failures[model] = done.not_at_hand[model] = absent[0]
            elif broken:
                done.failures[model] = f"{entries[model].family.folder}: conformance: {'; '.join(broken)}"
        else:
            done.failures[model] = describe_failure(outcome.error)
        progress.finish(str(outcome.task), done.failures.get(model, "passed"))
    return done


def find_embedded(suite: Suite, entries: Mapping[str, Entry], settings: Settings) -> Embedded:
    """What the work folder holds of the suite's features and checks, without starting a model."""
    done = Embedded()
    for model in select_models(suite, entries, None):
        try:
            prepared = prepare(entries[model], settings.embedding)
            found = find_conformance(prepared, settings.embedding)
            if found is None or any(check.status == "failed" for check in found):
                continue
            done.checks[model] = found
            for name in suite.datasets():
                sidecar = find_features(settings.work, feature_key(prepared, find_dataset(name)))
                if sidecar is not None:
                    done.add((model, name), sidecar)
        except EmbeddingError as error:
            done.failures[model] = describe_failure(error)
    return done


def _check(entries: Mapping[str, Entry], settings: EmbeddingSettings, task: EmbeddingTask) -> list[ConformanceCheck]:
    return run_conformance(entries[task.model], settings)


def score_models(
    suite: Suite,
    entries: Mapping[str, Entry],
    models: Sequence[str],
    embedded: Embedded,
    settings: Settings,
    progress: Progress,
    beside: Sequence[str] = (),
) -> list[Record]:
    """Score every model and compare every pair; write records and pairs.json; return the records.

    beside: embedded models that `models` are compared with, without records of their own. What has its key on disk
    already is kept as it stands.
    """
    evaluation = Evaluation(suite, entries, embedded.sidecars, settings.work)
    records: dict[str, Record] = {}
    tasks: list[ScoreTask | PairTask] = []
    for model in models:
        if model in embedded.failures:
            records[model] = failed_record(suite, entries[model], embedded, embedded.failures[model])
            write_record(settings.record_path(suite, model), records[model])
            continue
        found = _existing(settings.record_path(suite, model))
        if found is not None and found.key == evaluation.record_key(model) and found.status != "failed":
            records[model] = found
        else:
            tasks.append(ScoreTask(evaluation, model))
    present = [model for model in sorted({*models, *beside}) if model not in embedded.failures]
    pairs_key = evaluation.pairs_key(present)
    known = _has_pairs(settings.pairs_path(suite), pairs_key)
    pair_tasks = [] if known else _pair_tasks(evaluation, present, set(beside) - set(models))
    tasks += pair_tasks
    passes = _pass_tasks(evaluation, present) if tasks else []
    progress.begin("Scoring", len(passes) + len(tasks))
    for done in in_processes(passes, call, settings.jobs):
        # without the pass every task computes its own; what is wrong with a model shows there, under its name
        progress.finish(str(done.task), "compared" if done.error is None else describe_failure(done.error))
    pairs: dict[str, list[PairValue]] = {}
    for outcome in in_processes(tasks, call, settings.jobs):
        task = outcome.task
        if isinstance(task, PairTask):
            if isinstance(outcome.value, list):
                pairs[str(task)] = outcome.value
            progress.finish(str(task), "compared" if outcome.error is None else describe_failure(outcome.error))
            continue
        if isinstance(outcome.value, Scored):
            record = scored_record(evaluation, entries[task.model], embedded, outcome.value)
        else:
            record = failed_record(suite, entries[task.model], embedded, f"scoring: {describe_failure(outcome.error)}")
        records[task.model] = record
        write_record(settings.record_path(suite, task.model), record)
        progress.finish(str(task), record.reason or "scored")
    if pair_tasks:
        values = [value.model_dump() for task in pair_tasks for value in pairs.get(str(task), [])]
        whole = len(pairs) == len(pair_tasks)
        write_json(settings.pairs_path(suite), {"key": pairs_key if whole else None, "values": values})
    return [records[model] for model in models]


def _pass_tasks(evaluation: Evaluation, models: Sequence[str]) -> list[PassTask]:
    present = {
        dataset: tuple(model for model in models if (model, dataset) in evaluation.sidecars)
        for dataset in evaluation.suite.datasets()
    }
    return [PassTask(evaluation, there, dataset) for dataset, there in present.items() if len(there) > 1]


def _pair_tasks(evaluation: Evaluation, models: Sequence[str], beside: Set[str]) -> list[PairTask]:
    """A task a model and data set: its pairs with the models that follow, unless both are `beside`."""
    tasks = []
    for dataset in evaluation.suite.datasets():
        present = [model for model in models if (model, dataset) in evaluation.sidecars]
        for index, model in enumerate(present[:-1]):
            others = tuple(other for other in present[index + 1 :] if not {model, other} <= beside)
            if others:
                tasks.append(PairTask(evaluation, model, others, dataset))
    return tasks


def _has_pairs(path: Path, key: str) -> bool:
    try:
        return bool(json.loads(path.read_text())["key"] == key)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def score_embedded(suite: Suite, entries: Mapping[str, Entry], settings: Settings, progress: Progress) -> list[Record]:
    """Score and compare the models that are embedded already."""
    embedded = find_embedded(suite, entries, settings)
    models = sorted({model for model, _ in embedded.sidecars} | set(embedded.failures))
    if not embedded.sidecars:
        raise InvalidFileError(f"{settings.work}: holds no features of suite {suite.key}; run `latent-matter embed`")
    write_settings(settings.results, suite)
    return score_models(suite, entries, models, embedded, settings, progress)


def score_bundle(
    suite: Suite,
    entries: Mapping[str, Entry],
    wanted: Sequence[str],
    embedded: Embedded,
    settings: Settings,
    progress: Progress,
) -> list[Record]:
    """Score the models `wanted` of a bundle, compare them with all others in it, and write the tables.

    Raises InvalidFileError for a model that no submission declares.
    """
    models = {*wanted, *(model for model, _ in embedded.sidecars)}
    unknown = sorted(models - set(entries))
    if unknown:
        raise InvalidFileError(f"no submission declares {', '.join(unknown)}, which the bundle holds")
    write_settings(settings.results, suite)
    beside = sorted(models - set(wanted))
    records = score_models(suite, entries, wanted, embedded, settings, progress, beside)
    export_results(settings.results, entries)
    return records


def record_broken(suite: Suite, broken: Sequence[BrokenSubmission], settings: Settings) -> list[Record]:
    """A failed record for every model that an unreadable submission seems to declare."""
    records = []
    for submission in broken:
        for model in submission.models:
            record = Record(
                key=content_key([suite.key, model, submission.message]),
                suite=suite.id,
                suite_version=suite.version,
                model=model,
                family=submission.folder.name,
                control=None,
                status="failed",
                reason=submission.message,
                reproduce=reproduce(suite, model),
            )
            write_record(settings.record_path(suite, model), record)
            records.append(record)
    return records


def run(
    suite: Suite,
    entries: Mapping[str, Entry],
    broken: Sequence[BrokenSubmission],
    settings: Settings,
    progress: Progress,
    wanted: Sequence[str] | None = None,
) -> list[Record]:
    """The whole way. Returns the records of this run, failed ones included; tables cover all records on disk."""
    models = select_models(suite, entries, wanted)
    write_settings(settings.results, suite)
    failed = record_broken(suite, broken if wanted is None else [], settings)
    embedded = embed_models(suite, entries, models, settings, progress)
    records = score_models(suite, entries, models, embedded, settings, progress)
    progress.begin("Writing tables", 1)
    export_results(settings.results, entries)
    progress.finish("tables", str(settings.results / "tables"))
    return [*records, *failed]


def _existing(path: Path) -> Record | None:
    """A whole record of the present format, or None."""
    try:
        return read_record(path)
    except InvalidFileError:
        return None
