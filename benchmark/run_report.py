"""What a run took, from its journal: for `latent-matter status` while it runs and for its report afterwards."""

from __future__ import annotations

import os
import socket
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from benchmark.files import write_json, write_text
from benchmark.journal import read_lines
from benchmark.schema import InvalidFileError, Strict

SLOWEST = 10
SILENT_SECONDS = 900.0
"""A run on another machine that has said nothing for so long is taken for lost."""

Line = Mapping[str, Any]
State = Literal["running", "done", "failed", "interrupted", "lost"]


class Timed(Strict):
    """A task and its seconds, or its share while it runs."""

    stage: str
    task: str
    seconds: float
    share: float | None = None


class Failed(Strict):
    """A task that raised or was lost, and how."""

    stage: str
    task: str
    reason: str


class Stage(Strict):
    """All tasks of one kind. core_seconds: of its processes and of what they started and waited for."""

    stage: str
    tasks: int
    finished: int
    failed: int
    wall_seconds: float
    core_seconds: float
    products_found: int
    products_made: int


class Kind(Strict):
    """All finished tasks of one kind, whose cost grows with their units; seconds: from start to end of each, added."""

    kind: str
    tasks: int
    units: int
    seconds: float


class RunReport(Strict):
    """report.json. peak_memory_mb: of the largest of the benchmark's own processes; models state theirs in sidecars."""

    format: Literal[1] = 1
    run: str
    suite: str
    state: State
    started: float
    seconds: float
    silent_seconds: float
    executor: str
    machine: str
    machines: int
    processes: int
    peak_memory_mb: float
    stages: list[Stage]
    kinds: list[Kind]
    failures: list[Failed]
    lost_attempts: int
    running: list[Timed]
    slowest: list[Timed]


def read_report(folder: Path, now: float | None = None) -> RunReport:
    """The report of the run whose journal `folder` is, as of now. Raises InvalidFileError for anything else."""
    lines = sorted(read_lines(folder), key=lambda line: float(line["time"]))
    begun = next((line for line in lines if line["event"] == "run"), None)
    if begun is None:
        raise InvalidFileError(f"{folder}: no journal of a run")
    now = time.time() if now is None else now
    ended = next((line for line in reversed(lines) if line["event"] == "ended"), None)
    last = float((ended or lines[-1])["time"])
    state: State = ended["state"] if ended is not None else _state(begun, now - last)
    open_tasks, finished, lost = _tasks(lines)
    return RunReport(
        run=folder.name,
        suite=begun["suite"],
        state=state,
        started=begun["time"],
        seconds=round((now if state == "running" else last) - begun["time"], 3),
        silent_seconds=round(max(0.0, now - last), 1) if state == "running" else 0.0,
        executor=begun["executor"],
        machine=begun["machine"],
        machines=len({line["host"] for line in lines}),
        processes=len({(line["host"], line["pid"]) for line in lines}),
        peak_memory_mb=max(float(line["peak_memory_mb"]) for line in lines),
        stages=_stages(lines, finished),
        kinds=_kinds(finished),
        failures=[
            Failed(stage=line["stage"], task=line["task"], reason=line["outcome"])
            for line in finished
            if line["outcome"] != "ok"
        ],
        lost_attempts=lost + (0 if state == "running" else len(open_tasks)),
        running=[
            Timed(stage=line["stage"], task=line["task"], seconds=round(now - line["time"], 1), share=line.get("share"))
            for line in (open_tasks if state == "running" else [])
        ],
        slowest=[
            Timed(stage=line["stage"], task=line["task"], seconds=line["seconds"])
            for line in sorted(finished, key=lambda line: -line["seconds"])[:SLOWEST]
        ],
    )


def write_report(folder: Path, report: RunReport) -> None:
    """report.json and report.md in `folder`."""
    write_json(folder / "report.json", report.model_dump())
    write_text(folder / "report.md", as_markdown(report))


def as_markdown(report: RunReport) -> str:
    """The report for people."""
    rows = [
        f"| {each.stage} | {each.finished} of {each.tasks} | {each.failed} | {each.wall_seconds:.1f} | "
        f"{each.core_seconds:.1f} | {each.products_found} | {each.products_made} |"
        for each in report.stages
    ]
    slowest = [f"- {each.seconds:.1f} s: {each.stage}: {each.task}" for each in report.slowest]
    failures = [f"- {each.stage}: {each.task}: {each.reason}" for each in report.failures]
    parts = [
        f"# {report.suite}: {report.state} after {report.seconds:.1f} s",
        f"{report.executor}, {report.processes} processes on {report.machines} machines "
        f"({report.machine}); at most {report.peak_memory_mb:.0f} MB in one of them, models apart. "
        f"{report.lost_attempts} attempts were lost with their process.",
        "\n".join(
            [
                "| stage | finished | failed | wall s | core s | products found | made |",
                "|---|---|---|---|---|---|---|",
                *rows,
            ]
        ),
        "\n".join(["Slowest tasks:", "", *slowest]) if slowest else "No task ended.",
        "\n".join(["Failed tasks:", "", *failures]) if failures else "No task failed.",
    ]
    return "\n\n".join(parts) + "\n"


def _state(begun: Line, silent: float) -> State:
    """Whether a run that has not said that it ended still runs."""
    if begun["host"] == socket.gethostname():
        try:
            os.kill(begun["pid"], 0)
        except ProcessLookupError:
            return "lost"
        except PermissionError:
            pass
        return "running"
    return "running" if silent < SILENT_SECONDS else "lost"


def _tasks(lines: Iterable[Line]) -> tuple[list[dict[str, Any]], list[Line], int]:
    """What has started and not ended (with its share), what ended, and how many attempts were started again."""
    started: dict[tuple[str, str], dict[str, Any]] = {}
    finished: dict[tuple[str, str], Line] = {}
    lost = 0
    for line in lines:
        if "task" not in line:
            continue
        place = (line["stage"], line["task"])
        if line["event"] == "started":
            lost += place in started
            started[place] = dict(line)
        elif line["event"] == "progress" and place in started:
            started[place]["share"] = line["share"]
        elif line["event"] == "finished":
            # A task whose worker came back after it had been given to another one ends twice, with the same product.
            started.pop(place, None)
            finished[place] = line
    return list(started.values()), list(finished.values()), lost


def _stages(lines: Iterable[Line], finished: Iterable[Line]) -> list[Stage]:
    totals: dict[str, int] = {}
    times: dict[str, list[float]] = defaultdict(list)
    cores: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for line in lines:
        if "stage" not in line:
            continue
        stage = line["stage"]
        if line["event"] == "stage":
            totals[stage] = totals.get(stage, 0) + int(line["total"])
        times[stage].append(float(line["time"]))
        cores[stage, line["host"], line["pid"]].append(float(line["core_seconds"]))
    ended: dict[str, list[Line]] = defaultdict(list)
    for line in finished:
        ended[line["stage"]].append(line)
    return [
        Stage(
            stage=stage,
            tasks=total,
            finished=len(ended[stage]),
            failed=sum(line["outcome"] != "ok" for line in ended[stage]),
            wall_seconds=round(max(times[stage]) - min(times[stage]), 3),
            core_seconds=round(sum(max(c) - min(c) for (name, _, _), c in cores.items() if name == stage), 3),
            products_found=sum(line["found"] for line in ended[stage]),
            products_made=sum(line["made"] for line in ended[stage]),
        )
        for stage, total in totals.items()
    ]


def _kinds(finished: Iterable[Line]) -> list[Kind]:
    ended: dict[str, list[Line]] = defaultdict(list)
    for line in finished:
        ended[line["kind"]].append(line)
    return [
        Kind(
            kind=kind,
            tasks=len(lines),
            units=sum(line["units"] for line in lines),
            seconds=round(sum(line["seconds"] for line in lines), 3),
        )
        for kind, lines in ended.items()
    ]
