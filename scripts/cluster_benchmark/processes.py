"""A Dask scheduler and workers on this machine, each a process of its own, started as on a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from benchmark.journal import read_lines, runs

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
BUSY_SECONDS = 600.0
# What Dask would do a hundred times a second beside every task.
QUIET = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False", "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "500ms"}


class ClusterProcesses:
    """`dask scheduler` and `workers` times `dask worker`, from `with` on. Workers have no nanny: a killed one is gone.

    folder: for logs and what workers spill. variables: environment of all processes, besides this one's.
    """

    def __init__(self, folder: Path, workers: int, variables: Mapping[str, str] | None = None) -> None:
        self.folder, self.count = folder, workers
        # Workers import tasks that are defined in scripts and tests.
        own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **QUIET}
        self.variables = {**os.environ, **own, **(variables or {})}
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.address = ""

    def __enter__(self) -> ClusterProcesses:
        self.folder.mkdir(parents=True, exist_ok=True)
        description = self.folder / "scheduler.json"
        description.unlink(missing_ok=True)
        arguments = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(description)]
        self.scheduler = self._start("scheduler", arguments, "scheduler")
        waited = time.monotonic()
        while not self.address:
            if self.scheduler.poll() is not None or time.monotonic() - waited > START_SECONDS:
                self.stop()
                raise RuntimeError((self.folder / "scheduler.log").read_text(errors="replace"))
            time.sleep(0.1)
            if description.is_file() and (text := description.read_text()):
                self.address = json.loads(text)["address"]
        for _ in range(self.count):
            self.add_worker()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def add_worker(self) -> None:
        """Start one more worker."""
        name = f"worker-{len(self.workers)}"
        arguments = [self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", name]
        arguments += ["--memory-limit", "0", "--local-directory", str(self.folder / "spill")]
        # As a cluster's prolog would: the modules are there when the first task comes.
        self.workers.append(self._start("worker", [*arguments, "--preload", "benchmark.evaluation"], name))

    def signal(self, worker: int, number: signal.Signals) -> None:
        """Send a signal to one worker."""
        self.workers[worker].send_signal(number)

    def pause_at_work(self, worker: int, work: Path) -> None:
        """SIGSTOP a worker in the middle of a task of the newest run in `work`.

        An idle worker that is stopped or killed disturbs nothing. RuntimeError: it had no task for `BUSY_SECONDS`.
        """
        process = self.workers[worker]
        waited = time.monotonic()
        while time.monotonic() - waited < BUSY_SECONDS:
            if has_open_task(work, process.pid):
                process.send_signal(signal.SIGSTOP)
                time.sleep(0.1)  # until it has come to a halt
                if has_open_task(work, process.pid):
                    return
                process.send_signal(signal.SIGCONT)
            time.sleep(0.05)
        raise RuntimeError(f"worker {worker} had no task for {BUSY_SECONDS:.0f} s")

    def kill_at_work(self, worker: int, work: Path) -> None:
        """SIGKILL a worker in the middle of a task, as `pause_at_work` finds it."""
        self.pause_at_work(worker, work)
        self.signal(worker, signal.SIGKILL)

    def stop(self) -> None:
        """Kill every process that is left."""
        for process in [*self.workers, *([self.scheduler] if self.scheduler is not None else [])]:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def _start(self, program: str, arguments: list[str], name: str) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).parent / "dask"), program, *arguments]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(command, env=self.variables, stdout=log, stderr=subprocess.STDOUT)


def has_open_task(work: Path, pid: int) -> bool:
    """Whether a process has started a task of the newest run in `work` and not ended it."""
    open_tasks = 0
    for folder in runs(work)[-1:]:
        for line in read_lines(folder):
            if line["pid"] == pid and "task" in line:
                open_tasks += {"started": 1, "finished": -1}.get(line["event"], 0)
    return open_tasks > 0
