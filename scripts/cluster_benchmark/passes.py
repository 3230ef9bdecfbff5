"""The metric pass over synthetic arrays: here, on a cluster, and on one whose workers are killed and stopped."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from distributed import Client

from benchmark.cluster import DaskExecutor
from benchmark.evaluation import BlockTask
from benchmark.execution import Executor, LocalExecutor, Outcome
from benchmark.files import content_key, remove_tree
from benchmark.journal import Journal, Watched, runs
from benchmark.metrics.validation import features
from benchmark.run_report import read_report
from benchmark.scoring.passes import PassFolder
from scripts.cluster_benchmark.processes import ClusterProcesses
from scripts.cluster_benchmark.report import load

WORKERS = 4
LOCAL_JOBS = 2
STOPPED_SECONDS = 30.0
WORKER_TTL = "15s"
"""How long the scheduler of the disturbed run waits for a sign of a worker: less than one is stopped."""


@dataclass(frozen=True)
class Imported:
    """A task that only makes its process import what the others need."""

    number: int

    def __call__(self, report: object) -> None:
        del report
        time.sleep(0.5)  # so that every process gets one

    def __str__(self) -> str:
        return f"import {self.number}"


def lay_out(folder: Path, rows: int, models: int) -> PassFolder:
    """Arrays (rows, 64 to 256): noisy, bent views of the same twelve directions."""
    generator = np.random.default_rng(2025)
    shared = generator.normal(size=(rows, 12))
    arrays = {}
    for number in range(models):
        width = (64, 128, 256)[number % 3]
        bent = np.tanh(shared @ generator.normal(size=(12, width)) * 0.3)
        arrays[f"model-{number:02d}"] = bent + 0.1 * generator.normal(size=(rows, width))
    remove_tree(folder)
    found = PassFolder(folder)
    found.lay_out({name: features(name, array, minimum_rows=4) for name, array in arrays.items()})
    return found


def table(laid_out: PassFolder) -> str:
    """Digest of the imbalances and distance correlations of all pairs, to the last bit."""
    found = laid_out.reduce()
    pairs = [(a, b) for a in found.names for b in found.names if a != b]
    values = [[found.information_imbalance(*pair), found.distance_correlation(*pair, biased=True)] for pair in pairs]
    return content_key([[value.hex() for value in row] for row in values])


def without_blocks(laid_out: PassFolder) -> None:
    """Forget what was computed."""
    for path in laid_out.folder.glob("block-*"):
        path.unlink()


def compute(
    laid_out: PassFolder, executor: Executor, processes: int, parents: Sequence[int], journal: Journal | None = None
) -> dict[str, Any]:
    """Compute all blocks once every process has imported; wall and core seconds of the blocks alone.

    parents: processes whose core seconds count, with all that they have started.
    """
    models = len(laid_out_names(laid_out))
    finished(executor.run([Imported(number) for number in range(2 * processes)], Watched("import", None)))
    tasks = [BlockTask(laid_out, block, "synthetic", models) for block in laid_out.missing()]
    before, started = core_seconds(parents), time.monotonic()
    finished(executor.run(tasks, Watched("blocks", journal)))
    seconds, cores = time.monotonic() - started, core_seconds(parents) - before
    return {
        "blocks": len(tasks),
        "wall_seconds": round(seconds, 1),
        "core_seconds": round(cores, 1),
        "load": load(),
        "table": table(laid_out),
    }


def finished(outcomes: Iterable[Outcome[Any, Any]]) -> None:
    """Wait for all, and raise what one of them raised."""
    for outcome in list(outcomes):
        if outcome.error is not None:
            raise outcome.error


def laid_out_names(laid_out: PassFolder) -> list[Path]:
    """The files of the arrays."""
    return sorted(laid_out.folder.glob("*.npy"))


def core_seconds(parents: Sequence[int]) -> float:
    """User and system time of these processes and of their living children."""
    total = 0.0
    for pid in parents:
        try:
            parent = psutil.Process(pid)
            for process in [parent, *parent.children(recursive=True)]:
                times = process.cpu_times()
                total += times.user + times.system
        except psutil.NoSuchProcess:
            continue  # killed, on purpose
    return total


def here(laid_out: PassFolder, jobs: int) -> dict[str, Any]:
    """The local executor."""
    without_blocks(laid_out)
    executor = LocalExecutor(jobs)
    try:
        return {"processes": jobs, **compute(laid_out, executor, jobs, [psutil.Process().pid])}
    finally:
        executor.close()


def there(laid_out: PassFolder, folder: Path, workers: int) -> dict[str, Any]:
    """A cluster of so many workers; the scheduler's and this process's core seconds count too."""
    without_blocks(laid_out)
    with cluster(folder, workers) as (processes, executor):
        parents = [psutil.Process().pid]  # all of them are its children
        return {"processes": workers, **compute(laid_out, executor, len(processes.workers), parents)}


@contextmanager
def cluster(folder: Path, workers: int, **variables: str) -> Iterator[tuple[ClusterProcesses, DaskExecutor]]:
    """Processes and an executor on them, once all workers are there."""
    with (
        ClusterProcesses(folder, workers, variables) as processes,
        Client(processes.address, set_as_default=False, timeout=120) as client,
    ):
        client.wait_for_workers(workers, timeout=300)
        yield processes, DaskExecutor(client)


def measure_scaling(folder: Path, rows: int, models: int) -> dict[str, Any]:
    """Local processes against one to four workers."""
    laid_out = lay_out(folder / "arrays", rows, models)
    local = [here(laid_out, jobs) for jobs in (1, LOCAL_JOBS)]
    dask = [there(laid_out, folder / f"cluster-{count}", count) for count in range(1, WORKERS + 1)]
    tables = {each["table"] for each in (*local, *dask)}
    base = {each["processes"]: each for each in local}
    for each in dask:
        # More workers than cores are held against as many local processes as there are cores.
        against = base[min(each["processes"], LOCAL_JOBS)]
        for name in ("wall_seconds", "core_seconds"):
            each[f"{name.removesuffix('_seconds')}_overhead"] = round(each[name] / against[name] - 1.0, 4)
    return {"rows": rows, "models": models, "local": local, "dask": dask, "equal": len(tables) == 1}


def measure_pass(folder: Path, rows: int, models: int) -> dict[str, Any]:
    """An undisturbed local run, and one on four workers of which one is killed and one stopped and continued."""
    laid_out = lay_out(folder / "arrays", rows, models)
    local = here(laid_out, LOCAL_JOBS)
    without_blocks(laid_out)
    journal = Journal.of_new_run(folder, "pass")
    journal.write("run", suite="pass", structures={}, executor="Dask", machine="")
    with cluster(folder / "cluster", WORKERS, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=WORKER_TTL) as (found, executor):
        blocks = len(laid_out.missing())
        trouble = threading.Thread(
            target=disturb, args=(found, folder, lambda: blocks - len(laid_out.missing()), blocks)
        )
        trouble.start()
        disturbed = compute(laid_out, executor, WORKERS, [psutil.Process().pid], journal)
        trouble.join()
    journal.write("ended", state="done")
    del disturbed["core_seconds"]  # those of the killed worker went with it
    report = read_report(runs(folder)[-1])
    disturbed |= {"processes": WORKERS, "lost_attempts": report.lost_attempts, "failures": len(report.failures)}
    return {
        "rows": rows,
        "models": models,
        "local": local,
        "disturbed": disturbed,
        "equal": local["table"] == disturbed["table"],
    }


def disturb(processes: ClusterProcesses, work: Path, done: Callable[[], int], total: int) -> None:
    """Kill a worker after a quarter of the work, stop another one after half of it, and let that go on later."""
    while done() < total // 4:
        time.sleep(0.2)
    processes.kill_at_work(0, work)
    while done() < total // 2:
        time.sleep(0.2)
    processes.pause_at_work(1, work)
    time.sleep(STOPPED_SECONDS)
    processes.signal(1, signal.SIGCONT)
