"""How a run shows its progress: bars on a terminal, plain lines elsewhere, or JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class TerminalProgress:
    """One bar a stage on a terminal; on a pipe one line a finished task. Everything goes to stderr."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.live = self.console.is_terminal
        self.stage = ""
        self.total = 0
        self.done = 0
        self.running: dict[str, float] = {}
        self.started = time.monotonic()
        self.bars = Bars(
            TextColumn("{task.description:<20}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
        )
        self.bar: TaskID | None = None

    def __enter__(self) -> TerminalProgress:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def begin(self, stage: str, total: int) -> None:
        """A stage of `total` tasks starts."""
        self.stage, self.total, self.done, self.running = stage, total, 0, {}
        if total:
            self.bar = self.bars.add_task(stage, total=total)

    def update(self, task: str, fraction: float) -> None:
        """A running task is `fraction` done; the bar moves by parts of tasks."""
        self.running[task] = min(1.0, fraction)
        self._move()

    def finish(self, task: str, outcome: str) -> None:
        """A task ended."""
        self.running.pop(task, None)
        self.done += 1
        self._move()
        if not self.live:
            elapsed = time.monotonic() - self.started
            self.say(f"{elapsed:7.1f} s  {self.stage} {self.done}/{self.total}: {task}: {outcome}")
        elif outcome not in ("passed", "embedded", "scored", "compared"):
            self.say(f"{task}: {outcome}")

    def say(self, line: str) -> None:
        """One line for the reader."""
        self.console.print(line, markup=False)
        sys.stderr.flush()

    def _move(self) -> None:
        if self.bar is not None:
            self.bars.update(self.bar, completed=self.done + sum(self.running.values()))


class JsonProgress:
    """One JSON object a line on stderr: stages, tasks that come on (no more often than every second) and that end."""

    def __init__(self) -> None:
        self.stage = ""
        self.said = 0.0

    def __enter__(self) -> JsonProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begin(self, stage: str, total: int) -> None:
        """A stage of `total` tasks starts."""
        self.stage = stage
        self._write("stage", total=total)

    def update(self, task: str, fraction: float) -> None:
        """A running task is `fraction` done."""
        if time.monotonic() - self.said > 1.0:
            self.said = time.monotonic()
            self._write("progress", task=task, share=round(fraction, 4))

    def finish(self, task: str, outcome: str) -> None:
        """A task ended."""
        self._write("finished", task=task, outcome=outcome)

    def say(self, line: str) -> None:
        """One line for the reader."""
        self._write("note", text=line)

    def _write(self, event: str, **fields: object) -> None:
        line = {"time": round(time.time(), 3), "event": event, "stage": self.stage, **fields}
        print(json.dumps(line), file=sys.stderr, flush=True)
