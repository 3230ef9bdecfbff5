"""Prepare, embed, score, export: from a suite and its submissions to published tables.

structures -> features -> scores -> tables. Each step can be run alone and resumed: products are
named by content keys, so a second run does only what the first has not done, and a changed input
recomputes only what hangs on it. A model that fails is named and passed over; it never costs
another model its result.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.datasets.store import find_dataset
from benchmark.embedding.conformance import NOT_AT_HAND, find_conformance
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.extraction import EmbeddingSettings, feature_key, find_features, prepare
from benchmark.embedding.machine import Accelerator
from benchmark.embedding.sandbox import SandboxMode
from benchmark.embedding.tasks import CheckTask, EmbedTask, largest_first, located, size_of
from benchmark.evaluation import (
    BlockTask,
    Evaluation,
    PairTask,
    Scored,
    ScoreTask,
    lay_out_tasks,
    pair_tasks,
    pass_tasks,
    reconstruct_tasks,
)
from benchmark.execution import Executor, LocalExecutor, Outcome, Progress, TaskT, available_cores
from benchmark.export import export_results, write_settings
from benchmark.files import content_key, write_json
from benchmark.journal import Journal, Watched
from benchmark.recording import Embedded, describe_failure, failed_record, reproduce, scored_record
from benchmark.results.records import PairValue, Record, read_record, write_record
from benchmark.schema import InvalidFileError
from benchmark.submission import BrokenSubmission, Entry
from benchmark.suite import Suite


@dataclass(frozen=True)
class Settings:
    """Where a run works and how.

    jobs: tasks at once on this machine. threads: of each model; None shares the cores among the jobs. executor: where
    tasks run; None: on this machine. journal: where to write what happens.
    """

    work: Path = Path(".latent-matter")
    results: Path = Path("results")
    accelerator: Accelerator = "auto"
    jobs: int = field(default_factory=available_cores)
    timeout: float = 900.0
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    offline: bool = False
    sandbox: SandboxMode = "auto"
    threads: int | None = None
    executor: Executor | None = None
    journal: Journal | None = None

    @functools.cached_property
    def runner(self) -> Executor:
        """Where tasks run."""
        return self.executor or LocalExecutor(self.jobs)

    @property
    def embedding(self) -> EmbeddingSettings:
        """The part of the settings that embedding needs."""
        return EmbeddingSettings(
            cache=self.work,
            accelerator=self.accelerator,
            threads=self.threads or max(1, available_cores() // max(1, self.jobs)),
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


def _run(
    stage: str, tasks: Sequence[TaskT], settings: Settings, progress: Progress, *, models: bool = False
) -> Iterable[Outcome[TaskT, Any]]:
    """Outcomes of the tasks of a stage, as they end; what they do is in the journal."""
    return settings.runner.run(tasks, Watched(stage, settings.journal, progress.update), models=models)


def _begin(stage: str, total: int, settings: Settings, progress: Progress) -> str:
    progress.begin(stage, total)
    if settings.journal is not None:
        settings.journal.write("stage", stage=stage, total=total)
    return stage


def embed_models(
    suite: Suite, entries: Mapping[str, Entry], models: Sequence[str], settings: Settings, progress: Progress
) -> Embedded:
    """Check and embed every model on every data set of the suite. A failing model is named and passed over."""
    done = check_models(entries, models, settings, progress)
    sizes = {name: size_of(find_dataset(name)) for name in suite.datasets()}
    wanted = [
        EmbedTask(located(entries[model]), size, settings.embedding)
        for model in models
        if model not in done.failures
        for size in sizes.values()
    ]
    tasks = largest_first(wanted, settings.work)
    parts = {task: task.parts(settings.runner.shards_per_task) for task in tasks}
    stage = _begin("Embedding", len(tasks) + sum(map(len, parts.values())), settings, progress)
    # Whole data sets, and parts of large ones beside them; then what puts the parts together.
    first = [each for task in tasks for each in parts[task] or [task]]
    for result in _run(stage, first, settings, progress, models=True):
        _embedded(done, result, progress)
    last = [task for task in tasks if parts[task] and task.place not in done.missing]
    for result in _run(stage, last, settings, progress, models=True):
        _embedded(done, result, progress)
    # What a model does on one data set stands, whatever becomes of it on another one.
    embedded = {model for model, _ in done.sidecars}
    for (model, _), reason in sorted(done.missing.items()):
        if model not in embedded:
            done.failures.setdefault(model, reason)
    return done


def _embedded(done: Embedded, result: Outcome[EmbedTask, Any], progress: Progress) -> None:
    place = result.task.place
    if result.error is not None:
        done.missing[place] = describe_failure(result.error)
    elif result.value is not None:  # the whole, no part of it
        done.add(place, result.value)
    progress.finish(str(result.task), done.missing.get(place, "embedded"))


def check_models(
    entries: Mapping[str, Entry], models: Sequence[str], settings: Settings, progress: Progress
) -> Embedded:
    """Run every model's conformance checks. A model that fails one has its reason in `failures`."""
    done = Embedded()
    tasks = [CheckTask(located(entries[model]), settings.embedding) for model in models]
    stage = _begin("Checking adapters", len(tasks), settings, progress)
    for outcome in _run(stage, tasks, settings, progress, models=True):
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
    controls = suite.controls.ids()
    # Every model is compared with the controls: scored last, all processes would come to wait for their scores.
    for model in sorted(models, key=lambda model: model not in controls):
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
    compared = [] if known else pair_tasks(evaluation, present, set(beside) - set(models))
    tasks += compared
    if tasks:
        _compare_all(evaluation, present, settings, progress)
    stage = _begin("Scoring", len(tasks), settings, progress)
    pairs: dict[str, list[PairValue]] = {}
    for outcome in _run(stage, tasks, settings, progress):
        task = outcome.task
        if isinstance(task, PairTask):
            if isinstance(outcome.value, list):
                pairs[str(task)] = outcome.value
            progress.finish(str(task), _compared(outcome.error))
            continue
        if isinstance(outcome.value, Scored):
            record = scored_record(evaluation, entries[task.model], embedded, outcome.value)
        else:
            record = failed_record(suite, entries[task.model], embedded, f"scoring: {describe_failure(outcome.error)}")
        records[task.model] = record
        write_record(settings.record_path(suite, task.model), record)
        progress.finish(str(task), record.reason or "scored")
    if compared:
        by_place = sorted(compared, key=lambda task: (suite.datasets().index(task.dataset), task.model))
        values = [value.model_dump() for task in by_place for value in pairs.get(str(task), [])]
        whole = len(pairs) == len(compared)
        write_json(settings.pairs_path(suite), {"key": pairs_key if whole else None, "values": values})
    return [records[model] for model in models]


def _compare_all(evaluation: Evaluation, models: Sequence[str], settings: Settings, progress: Progress) -> None:
    """What pairs share is computed for all of them at once: blocks of rows, then what they add up to.

    Without it every task computes its own; what is wrong with a model shows there, under its name.
    """
    laying_out = lay_out_tasks(evaluation, models)
    stage = _begin("Laying out", len(laying_out), settings, progress)
    blocks: list[BlockTask] = []
    for laid_out in _run(stage, laying_out, settings, progress):
        blocks += laid_out.value or []
        progress.finish(str(laid_out.task), _compared(laid_out.error))
    blocks.sort(key=lambda task: (task.dataset, task.passing.folder, task.block))
    sums = pass_tasks(evaluation, models)
    # The longest tasks first: they need no blocks, and one of them alone at the end would keep all workers waiting.
    at_once = [*reconstruct_tasks(evaluation, models), *blocks]
    stage = _begin("Comparing", len(at_once) + len(sums), settings, progress)
    for tasks in (at_once, sums):
        for done in _run(stage, tasks, settings, progress):
            progress.finish(str(done.task), _compared(done.error))


def _compared(error: Exception | None) -> str:
    return "compared" if error is None else describe_failure(error)


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
