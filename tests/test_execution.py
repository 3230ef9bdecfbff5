import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmark.execution import LocalExecutor, in_threads


def square(value: int) -> int:
    if value == 3:
        raise ValueError("three")
    return value * value


def die_once(path: str) -> str:
    marker = Path(path)
    if not marker.exists():
        marker.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def in_processes(tasks, function, jobs):  # type: ignore[no-untyped-def]
    executor = LocalExecutor(jobs)
    yield from executor.run(tasks, function)
    executor.close()


@pytest.mark.parametrize("run", [in_threads, in_processes])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_task_that_raises_is_an_outcome_and_stops_no_other(run, jobs: int) -> None:  # type: ignore[no-untyped-def]
    outcomes = {outcome.task: outcome for outcome in run([1, 2, 3, 4], square, jobs)}
    assert {task: outcome.value for task, outcome in outcomes.items()} == {1: 1, 2: 4, 3: None, 4: 16}
    assert isinstance(outcomes[3].error, ValueError)


def test_a_killed_process_loses_no_task(tmp_path: Path) -> None:
    tasks = [str(tmp_path / name) for name in ("a", "b")]
    (tmp_path / "b").write_text("")
    outcomes = list(in_processes(tasks, die_once, 2))
    assert sorted(outcome.task for outcome in outcomes) == sorted(tasks)
    assert [outcome.value for outcome in outcomes] == ["alive", "alive"]


def threads_then_more(_: int) -> int:
    found = torch.get_num_threads()
    torch.set_num_threads(2)
    return found


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_task_has_one_thread_whatever_the_one_before_it_left_behind(jobs: int) -> None:
    before = torch.get_num_threads()
    assert [outcome.value for outcome in in_processes([1, 2, 3, 4], threads_then_more, jobs)] == [1, 1, 1, 1]
    assert torch.get_num_threads() == before


WAITING = """
import sys
from benchmark.execution import LocalExecutor
from tests.test_execution import say_and_wait
for _ in LocalExecutor(2).run([sys.argv[1] + "/a", sys.argv[1] + "/b"], say_and_wait):
    pass
"""


def say_and_wait(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(300)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_processes_end_with_the_one_that_started_them_even_when_it_is_killed(
    tmp_path: Path, number: signal.Signals
) -> None:
    root = Path(__file__).parents[1]
    run = subprocess.Popen([sys.executable, "-c", WAITING, str(tmp_path)], cwd=root, start_new_session=True)
    started = [tmp_path / name for name in ("a", "b")]
    for _ in range(600):
        if all(path.is_file() and path.read_text() for path in started):
            break
        time.sleep(0.1)
    pids = [int(path.read_text()) for path in started]
    run.send_signal(number)
    run.wait(timeout=20)
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            break
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
