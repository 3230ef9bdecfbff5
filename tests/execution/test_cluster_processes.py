"""A real cluster on one machine, with workers that are killed and stopped: the same tables as a local run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.execution import LocalExecutor
from benchmark.journal import Watched, runs
from benchmark.metrics.streaming import RowPass
from benchmark.run_report import read_report
from scripts.cluster_benchmark.processes import ClusterProcesses
from tests.end_to_end.conftest import finished_board, fresh_board  # noqa: F401  (fixtures)
from tests.end_to_end.test_run import tables

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

Copy = Callable[..., Path]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    variables = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "8s"}
    with ClusterProcesses(tmp_path_factory.mktemp("cluster"), 3, variables) as processes:
        yield processes


def start_run(folder: Path, scheduler: str, *arguments: str) -> subprocess.Popen[str]:
    variables = {**os.environ, "LATENT_MATTER_DATASETS": str(folder / "datasets")}
    command = [sys.executable, "-m", "benchmark.cli", "run", "--suite", "toy.yaml", "--accelerator", "cpu"]
    command += ["--executor", "dask", "--scheduler", scheduler, *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(process: subprocess.Popen[str], folder: Path, pattern: str) -> None:
    for _ in range(12000):
        if any((folder / ".latent-matter").glob(pattern)):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"no {pattern} after 600 s")


def assert_same_tables(folder: Path, other: Path) -> None:
    """To the byte, but for the commit that made the features: somebody may commit while the tests run."""
    here, there = tables(folder), tables(other)
    models = [pd.read_csv(each / "results" / "tables" / "models.csv").drop(columns="code") for each in (folder, other)]
    pd.testing.assert_frame_equal(*models)
    for name in ("models.csv", "models.parquet"):
        del here[name], there[name]
    assert here == there


class Block:
    """A block of a pass over arrays that every process makes for itself."""

    def __init__(self, number: int, seed: int) -> None:
        self.number, self.seed = number, seed

    def __call__(self, report: object) -> tuple[np.ndarray, np.ndarray]:
        del report
        rows = RowPass.of(arrays(self.seed), device="cpu")
        (block,) = rows.compute([rows.blocks[self.number]])
        return block.rank_sums, block.products

    def __str__(self) -> str:
        return f"block {self.number}"


def arrays(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    shared = generator.normal(size=(6200, 4))
    return {name: np.tanh(shared @ generator.normal(size=(4, 9))) for name in ("a", "b", "c")}


def test_blocks_of_a_pass_are_those_of_this_process_to_the_bit(cluster: ClusterProcesses) -> None:
    from benchmark.cluster import DaskExecutor

    tasks = [Block(number, 3) for number in range(len(RowPass.of(arrays(3), device="cpu").blocks))]
    assert len(tasks) > 2
    watched = Watched("blocks", None)
    here = {str(each.task): each.value for each in LocalExecutor(1).run(tasks, watched)}
    with distributed.Client(cluster.address, set_as_default=False) as client:
        there = {str(each.task): each.value for each in DaskExecutor(client).run(tasks, watched)}
    assert there.keys() == here.keys()
    for name, (ranks, products) in here.items():
        np.testing.assert_array_equal(there[name][0], ranks)
        np.testing.assert_array_equal(there[name][1], products)


def raise_in_task(report: object) -> None:
    del report
    raise ValueError("this task is wrong")


def test_a_task_that_raises_is_its_own_outcome(cluster: ClusterProcesses) -> None:
    from benchmark.cluster import DaskExecutor

    with distributed.Client(cluster.address, set_as_default=False) as client:
        outcomes = list(DaskExecutor(client).run([raise_in_task, Block(0, 3)], Watched("blocks", None)))
    errors = {type(each.task).__name__: each.error for each in outcomes}
    assert isinstance(errors["function"], ValueError) and errors["Block"] is None


def test_killed_and_stopped_workers_change_no_table(
    cluster: ClusterProcesses,
    fresh_board: Copy,  # noqa: F811
    finished_board: Path,  # noqa: F811
) -> None:
    folder = fresh_board()
    process = start_run(folder, cluster.address)
    wait_for(process, folder, "features/*/features.json")
    cluster.kill_at_work(0, folder / ".latent-matter")
    cluster.pause_at_work(1, folder / ".latent-matter")
    # Longer than the scheduler waits for a sign: what the stopped worker had runs again on the third.
    time.sleep(12)
    cluster.signal(1, signal.SIGCONT)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert_same_tables(folder, finished_board)
    report = read_report(runs(folder / ".latent-matter")[-1])
    assert (report.state, report.failures) == ("done", [])
    assert report.lost_attempts >= 1
    assert all(stage.finished == stage.tasks for stage in report.stages)


def test_an_interrupted_client_leaves_nothing_queued(cluster: ClusterProcesses, fresh_board: Copy) -> None:  # noqa: F811
    folder = fresh_board()
    process = start_run(folder, cluster.address)
    wait_for(process, folder, "features/*/features.json")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0, said
    assert read_report(runs(folder / ".latent-matter")[-1]).state == "interrupted"
    with distributed.Client(cluster.address, set_as_default=False) as client:
        for _ in range(600):
            if not client.processing() or not any(client.processing().values()):
                break
            time.sleep(0.1)
        assert not any(client.processing().values())


def test_workers_that_do_not_see_the_submissions_are_refused(cluster: ClusterProcesses, tmp_path: Path) -> None:
    from benchmark.cluster import ClusterError, on_cluster
    from benchmark.pipeline import Settings

    with pytest.raises(ClusterError, match=r"does not see .*/nowhere; workers need the submissions"):
        on_cluster(Settings(work=tmp_path), cluster.address, [tmp_path / "nowhere"], print)
    with pytest.raises(ClusterError, match=r"no worker of .* has the resource GPU"):
        on_cluster(Settings(work=tmp_path, accelerator="cuda"), cluster.address, [], print)
