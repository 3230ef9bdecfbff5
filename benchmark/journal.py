"""What a run did and when: one JSON object a line, below `<work>/journal/<run>/`.

Each process writes to a file of its own, so lines never mix, on network file systems neither. A process that is
killed leaves a task that started and never ended. `run_report.py` reads them all.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.products import counts

FOLDER = "journal"
PROGRESS_SECONDS = 5.0
"""A task says no more often how far it is."""

Report = Callable[[float], None]
"""Called with the share of a task that is done, between 0 and 1."""
_one_at_a_time = threading.Lock()


def runs(work: Path) -> list[Path]:
    """Journals of a work folder, oldest first."""
    return sorted(path for path in (work / FOLDER).glob("*") if path.is_dir())


def read_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """All lines of a run's journal, process after process."""
    for path in sorted(folder.glob("*.jsonl")):
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                yield json.loads(text)
            except ValueError:
                continue  # the last line of a process that was killed


@dataclass(frozen=True)
class Journal:
    """The journal of one run."""

    folder: Path

    @classmethod
    def of_new_run(cls, work: Path, suite: str) -> Journal:
        """A journal named by time, suite and process."""
        started = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        return cls(work.absolute() / FOLDER / f"{started}-{suite}-{os.getpid()}")

    def write(self, event: str, **fields: Any) -> None:
        """Append a line with time, host, process and what the process has taken so far."""
        own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        line = {
            "time": round(time.time(), 3),
            "event": event,
            **fields,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "core_seconds": round(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, 3),
            "peak_memory_mb": round(own.ru_maxrss / 1e3, 1),
        }
        content = (json.dumps(line) + "\n").encode()
        path = self.folder / f"{line['host']}-{line['pid']}.jsonl"
        with _one_at_a_time:
            self.folder.mkdir(parents=True, exist_ok=True)
            # One write: a reader sees whole lines, but for the last one of a process that was killed.
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, content)
            finally:
                os.close(descriptor)


@dataclass(frozen=True)
class Watched:
    """Runs tasks of a stage and writes into the journal when they start, come on and end.

    A task is called with a `Report`, and its text names it; its cost grows with its `units`, 1 where it has none.
    update: also called with the task's name and its share, where the task runs in this process.
    """

    stage: str
    journal: Journal | None
    update: Callable[[str, float], None] | None = None

    def __call__(self, task: Any) -> Any:
        """The task's own value; whatever it raises."""
        name, started, before = str(task), time.monotonic(), counts.copy()
        said = started

        def report(share: float) -> None:
            nonlocal said
            if self.update is not None:
                self.update(name, share)
            if self.journal is not None and time.monotonic() - said > PROGRESS_SECONDS:
                said = time.monotonic()
                self.journal.write("progress", stage=self.stage, task=name, share=round(share, 4))

        def finished(outcome: str) -> None:
            if self.journal is not None:
                products = {kind: counts[kind] - before[kind] for kind in ("found", "made")}
                seconds = round(time.monotonic() - started, 3)
                size = {"kind": type(task).__name__, "units": getattr(task, "units", 1)}
                fields = {"stage": self.stage, "task": name, "outcome": outcome, "seconds": seconds}
                self.journal.write("finished", **fields, **size, **products)

        if self.journal is not None:
            self.journal.write("started", stage=self.stage, task=name)
        try:
            value = task(report)
        except Exception as error:
            finished(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")
            raise
        finished("ok")
        return value

    def __getstate__(self) -> dict[str, Any]:
        # Another process cannot call back; it writes to the journal.
        return {"stage": self.stage, "journal": self.journal, "update": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
