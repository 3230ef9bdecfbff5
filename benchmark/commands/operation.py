"""What commands that run tasks share: where these run, how a run is logged and reported; and `status`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.common import WORK, JsonFlag, WorkOption, print_table, say, wrong_use
from benchmark.datasets.store import EMBEDDED, find_dataset
from benchmark.embedding.machine import find_device, hardware
from benchmark.execution import Progress
from benchmark.journal import Journal, runs
from benchmark.pipeline import Settings
from benchmark.reporting import JsonProgress, TerminalProgress
from benchmark.run_report import RunReport, as_markdown, read_report, write_report
from benchmark.schema import InvalidFileError
from benchmark.suite import Suite

ExecutorOption = Annotated[
    str, typer.Option("--executor", help="local: this machine. dask: the workers of --scheduler, see docs/cluster.md.")
]
SchedulerOption = Annotated[
    str | None, typer.Option("--scheduler", help="Address of a Dask scheduler, for example tcp://10.0.0.1:8786.")
]
LogFormatOption = Annotated[str, typer.Option("--log-format", help="text, or json: one object a line on stderr.")]


@contextlib.contextmanager
def operated(
    settings: Settings,
    suite: Suite,
    submissions: Path,
    executor: str,
    scheduler: str | None,
    log_format: str,
    *,
    scored: bool = True,
    models: bool = True,
) -> Iterator[tuple[Settings, Progress]]:
    """Settings and progress of a run that is journalled, and reported when it ends, however it ends.

    scored: the report also goes to the results of the suite. models: models are started.
    """
    if executor not in ("local", "dask"):
        wrong_use(f"--executor: found {executor!r}, accepted are local, dask")
    if log_format not in ("text", "json"):
        wrong_use(f"--log-format: found {log_format!r}, accepted are text, json")
    if (executor == "dask") != (scheduler is not None):
        wrong_use("--executor dask and --scheduler ADDRESS go together")
    with JsonProgress() if log_format == "json" else TerminalProgress() as progress:
        place = f"{settings.jobs} jobs on this machine"
        if scheduler is not None:
            prepared = [find_dataset(name).folder for name in suite.datasets()]
            folders = [submissions, *(each for each in prepared if not each.is_relative_to(EMBEDDED))]
            settings = _on_cluster(settings, scheduler, folders, progress, models)
            place = f"Dask, {settings.threads} threads a model"
        journal = Journal.of_new_run(settings.work, suite.id)
        machine = hardware(find_device(settings.accelerator))
        structures = {name: find_dataset(name).card.structures for name in suite.datasets()}
        journal.write("run", suite=suite.key, structures=structures, executor=place, machine=machine)
        state = "failed"
        try:
            yield dataclasses.replace(settings, journal=journal), progress
            state = "done"
        except KeyboardInterrupt:
            state = "interrupted"
            raise
        finally:
            journal.write("ended", state=state)
            report = read_report(journal.folder)
            write_report(journal.folder, report)
            if scored:
                write_report(settings.results / suite.key, report)


def _on_cluster(
    settings: Settings, scheduler: str, folders: Sequence[Path], progress: Progress, models: bool
) -> Settings:
    try:
        from benchmark.cluster import on_cluster
    except ModuleNotFoundError as error:
        raise InvalidFileError(f"--executor dask: {error}; pip install 'latent-matter[cluster]'") from None
    return on_cluster(settings, scheduler, folders, progress.say, models=models)


def status(
    run: Annotated[str | None, typer.Argument(help="Name of a run; the newest where not given.")] = None,
    work: WorkOption = WORK,
    as_json: JsonFlag = False,
) -> None:
    """Show how far a run is or how it ended, and the runs before it.

    latent-matter status
    latent-matter status 20261121T120000-quick-4711 --json
    """
    known = runs(work)
    if not known:
        say(f"{work}: holds no journal of a run")
        raise SystemExit(1)
    chosen = [path for path in known if path.name == run] if run is not None else known[-1:]
    if not chosen:
        wrong_use(f"{run}: no such run; known: {', '.join(path.name for path in known)}")
    report = read_report(chosen[0])
    if as_json:
        print(json.dumps(report.model_dump(), indent=2))
        return
    _show(report)
    if run is None and len(known) > 1:
        print(f"earlier runs: {', '.join(path.name for path in known[-6:-1])}")


def _show(report: RunReport) -> None:
    started = datetime.fromtimestamp(report.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    silent = f", last sign {report.silent_seconds:.0f} s ago" if report.state == "running" else ""
    print(f"{report.run}: {report.state}, started {started}, {report.seconds:.0f} s{silent}")
    if report.state != "running":
        print(as_markdown(report))
        return
    columns = ["stage", "finished", "tasks", "failed", "wall s", "core s"]
    print_table(
        columns,
        [[s.stage, s.finished, s.tasks, s.failed, s.wall_seconds, s.core_seconds] for s in report.stages],
    )
    rows = [
        [each.task, each.stage, each.seconds, "" if each.share is None else f"{each.share:.0%}"]
        for each in report.running
    ]
    print_table(["running", "stage", "seconds", "done"], rows)
    for each in report.failures:
        print(f"failed: {each.task}: {each.reason}")
