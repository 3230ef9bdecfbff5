import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark import locks
from benchmark.locks import computing_alone

HOLDER = """
import sys, time
from pathlib import Path
from benchmark import locks
locks.TOUCH_SECONDS = 0.1
with locks.computing_alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(path: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(locks, "LOST_SECONDS", 1.5)


def test_whoever_waits_for_a_living_holder_gets_the_lock_after_it(tmp_path: Path) -> None:
    process = hold(tmp_path / "lock", 4.0)
    with computing_alone(tmp_path / "lock") as held:
        assert held
        assert process.wait(timeout=5) == 0


def test_a_stopped_holder_holds_nobody_up(tmp_path: Path) -> None:
    process = hold(tmp_path / "lock", 60.0)
    os.kill(process.pid, signal.SIGSTOP)
    started = time.monotonic()
    with computing_alone(tmp_path / "lock") as held:
        assert not held
    assert 1.5 < time.monotonic() - started < 20
    process.kill()
    process.wait()


def test_a_killed_holder_gives_the_lock_away_at_once(tmp_path: Path) -> None:
    process = hold(tmp_path / "lock", 60.0)
    process.kill()
    process.wait()
    with computing_alone(tmp_path / "lock") as held:
        assert held
