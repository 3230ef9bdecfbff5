"""A whole suite: on this machine, and on a cluster whose workers are killed and stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmark.files import remove_tree
from benchmark.journal import runs
from benchmark.run_report import RunReport, read_report
from scripts.cluster_benchmark.passes import STOPPED_SECONDS, WORKER_TTL, WORKERS
from scripts.cluster_benchmark.processes import ClusterProcesses
from scripts.cluster_benchmark.report import load

ROOT = Path(__file__).resolve().parents[2]
# Wall times and memory of models are the one thing that two equal runs may disagree on.
MEASURED_COSTS = ("costs.csv", "costs.parquet")


def measure_suite(folder: Path, limit: int | None) -> dict[str, Any]:
    """The quick suite twice. Environments of models are built once, by the local run."""
    local, cluster = folder / "local", folder / "cluster"
    first = run(local, limit)
    remove_tree(cluster)
    (cluster / "work").mkdir(parents=True)
    for name in ("environments", "compiled"):
        if (local / "work" / name).is_dir():
            (cluster / "work" / name).symlink_to(local / "work" / name)
    variables = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": WORKER_TTL}
    with ClusterProcesses(folder / "processes", WORKERS, variables) as processes:
        second = run(cluster, limit, "--executor", "dask", "--scheduler", processes.address, processes=processes)
    pairs = [(path, cluster / path.relative_to(local)) for path in tables(local)]
    differing = [here.name for here, there in pairs if here.read_bytes() != there.read_bytes()]
    return {
        "suite": second.suite,
        "local": numbers(first),
        "disturbed": {**numbers(second), "processes": WORKERS},
        "tables": len(tables(local)),
        "differing": differing,
        "equal": not differing,
    }


def tables(folder: Path) -> list[Path]:
    """The tables of a run, and its pairwise values."""
    found = [path for path in (folder / "results" / "tables").iterdir() if path.name not in MEASURED_COSTS]
    return sorted([*found, *(folder / "results").glob("*/pairs.json")])


def numbers(report: RunReport) -> dict[str, Any]:
    """What a run took."""
    return {
        "wall_seconds": report.seconds,
        "core_seconds": round(sum(stage.core_seconds for stage in report.stages), 1),
        "tasks": sum(stage.tasks for stage in report.stages),
        "lost_attempts": report.lost_attempts,
        "failures": len(report.failures),
        "load": load(),
    }


def run(folder: Path, limit: int | None, *arguments: str, processes: ClusterProcesses | None = None) -> RunReport:
    """`latent-matter run` in `folder`; with `processes`, one is killed among the embeddings and one stopped."""
    for name in ("results", *(() if processes else ("work/features", "work/products", "work/conformance"))):
        shutil.rmtree(folder / name, ignore_errors=True)
    command = [sys.executable, "-m", "benchmark.cli", "run", "--suite", "quick", "--accelerator", "cpu", "--jobs", "2"]
    command += ["--submissions", str(ROOT / "submissions"), "--work", "work", *arguments]
    command += ["--limit", str(limit)] if limit is not None else []
    folder.mkdir(parents=True, exist_ok=True)
    variables = {**os.environ, "LATENT_MATTER_DATASETS": str(folder.parent / "datasets"), "PYTHONPATH": str(ROOT)}
    with (folder / "run.log").open("wb") as log:
        running = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=subprocess.STDOUT)
        if processes is not None:
            disturb(processes, folder / "work", running)
        code = running.wait()
    if code != 0:
        raise RuntimeError((folder / "run.log").read_text(errors="replace")[-5000:])
    return read_report(runs(folder / "work")[-1])


def disturb(processes: ClusterProcesses, work: Path, running: subprocess.Popen[bytes]) -> None:
    """Kill a worker while models embed; stop one while scores are computed, and let it go on later."""
    moments = [
        ("features/*/features.json", 4, 0, processes.kill_at_work),
        ("products/agreement/*/*.json", 20, 1, processes.pause_at_work),
    ]
    for pattern, count, worker, interrupt in moments:
        while len(list(work.glob(pattern))) < count and running.poll() is None:
            time.sleep(0.5)
        interrupt(worker, work)
    time.sleep(STOPPED_SECONDS)
    processes.signal(1, signal.SIGCONT)
