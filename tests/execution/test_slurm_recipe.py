"""The recipe of docs/cluster.md makes the jobs that it says; dask-jobqueue writes their scripts without SLURM."""

import ast
import re
from pathlib import Path

import pytest

slurm = pytest.importorskip("dask_jobqueue.slurm")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"
OF_THE_CLUSTER = ("interface", "scheduler_options")


def job_scripts() -> list[str]:
    """The script of a job of each SLURMCluster on the page."""
    scripts = []
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "SLURMCluster":
                given = {str(each.arg): ast.literal_eval(each.value) for each in node.keywords}
                options = {name: value for name, value in given.items() if name not in OF_THE_CLUSTER}
                job = slurm.SLURMJob(scheduler="tcp://10.0.0.1:8786", name="worker", **options)
                scripts.append(job.job_script())
    return scripts


def test_gpu_jobs_have_one_worker_with_one_thread_and_the_resource() -> None:
    script = job_scripts()[0]
    assert "#SBATCH --gres=gpu:1" in script
    assert "#SBATCH --cpus-per-task=8" in script
    (command,) = [line for line in script.splitlines() if "dask_worker" in line]
    assert "--nthreads 1 " in command and "--nworkers" not in command
    assert "--resources GPU=1" in command
    assert "--preload benchmark.evaluation" in command


def test_cpu_jobs_have_many_workers_with_one_thread_each() -> None:
    (command,) = [line for line in job_scripts()[1].splitlines() if "dask_worker" in line]
    assert "--nthreads 1 " in command and "--nworkers 32 " in command
    assert "--resources" not in command
