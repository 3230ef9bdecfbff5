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

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
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
