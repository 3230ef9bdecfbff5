"""Runs on a full disk, beside another run, ended by signals, and in a folder that cannot be written to.

Each ends with the tables of an undisturbed run or refuses in lines that say why; nothing of it runs on, and the
next run gives the tables of an undisturbed one.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.embedding.sandbox.backends import Bubblewrap, find_bubblewrap
from tests.end_to_end.conftest import REPOSITORY, run_board
from tests.end_to_end.test_run import tables

pytestmark = pytest.mark.slow

Copy = Callable[..., Path]
COMMAND = [sys.executable, "-m", "benchmark.cli", "run", "--suite", "toy.yaml", "--accelerator", "cpu"]
BUBBLEWRAP = find_bubblewrap()
needs_bubblewrap = pytest.mark.skipif(not isinstance(BUBBLEWRAP, Bubblewrap), reason=str(BUBBLEWRAP))


def start(folder: Path, *before: str, arguments: tuple[str, ...] = (), largest_file: int | None = None) -> Run:
    """`latent-matter run` on the toy board, after the words `before`. largest_file: bytes that a file may have."""
    variables = {**os.environ, "LATENT_MATTER_DATASETS": str(folder / "datasets"), "PYTHONPATH": str(REPOSITORY)}

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    process = subprocess.Popen(
        [*before, *COMMAND, *arguments],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=limit,
    )
    return Run(process, folder)


class Run:
    """A run under way."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder

    def finish(self) -> tuple[int, str]:
        """Exit code and everything it said."""
        said, _ = self.process.communicate(timeout=900)
        return self.process.returncode, said

    def wait_for(self, pattern: str) -> None:
        """Wait until the work folder has a file like `pattern`."""
        for _ in range(15_000):
            if any((self.folder / ".latent-matter").glob(pattern)):
                return
            assert self.process.poll() is None, self.finish()
            time.sleep(0.02)
        raise AssertionError(f"no {pattern} after five minutes")


def processes_of(folder: Path) -> list[str]:
    """Command lines of living processes that name `folder`, apart from this one's."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in words and int(entry.name) != os.getpid():
                found.append(words)
    return found


def assert_clear_refusal(code: int, said: str, clue: str) -> None:
    """Said in lines without a traceback, with the reason."""
    assert code == 1, said
    assert "Traceback" not in said, said
    assert clue in said, said


def assert_next_run_is_undisturbed(folder: Path, finished_board: Path) -> None:
    """Nothing is left that the next run would stumble over."""
    result = run_board(folder)
    assert result.returncode == 0, result.stderr
    assert tables(folder) == tables(finished_board)


def test_two_runs_at_once_in_one_folder_both_end_with_the_tables(fresh_board: Copy, finished_board: Path) -> None:
    folder = fresh_board()
    first, second = start(folder), start(folder)
    for run in (first, second):
        code, said = run.finish()
        assert code == 0, said
    assert tables(folder) == tables(finished_board)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("moment", ["work/conformance-*/first/output/*", "work/*/output/shard-*", "features/*/*.json"])
def test_a_run_that_is_ended_leaves_no_process_and_nothing_half_done(
    fresh_board: Copy, finished_board: Path, number: signal.Signals, moment: str
) -> None:
    folder = fresh_board()
    run = start(folder)
    run.wait_for(moment)
    run.process.send_signal(number)
    run.finish()
    for _ in range(100):
        if not processes_of(folder):
            break
        time.sleep(0.1)
    assert not processes_of(folder)
    assert_next_run_is_undisturbed(folder, finished_board)


def test_files_that_may_not_grow_are_refused_clearly(fresh_board: Copy, finished_board: Path) -> None:
    folder = fresh_board()
    code, said = start(folder, largest_file=6000).finish()
    assert_clear_refusal(code, said, "File too large")
    assert_next_run_is_undisturbed(folder, finished_board)


@needs_bubblewrap
def test_a_full_disk_is_refused_clearly(fresh_board: Copy, finished_board: Path) -> None:
    size = 1_500_000  # bytes: room for the first features, not for all
    folder = fresh_board()
    assert isinstance(BUBBLEWRAP, Bubblewrap)
    (folder / "full").mkdir()
    program = [BUBBLEWRAP.program, "--dev-bind", "/", "/", "--size", str(size), "--tmpfs", str(folder / "full")]
    for name in ("environments", "compiled"):
        made = (folder / ".latent-matter" / name).resolve()
        program += ["--symlink", str(made), str(folder / "full" / name)]
    code, said = start(folder, *program, arguments=("--work", "full")).finish()
    assert_clear_refusal(code, said, "No space left on device")
    assert_next_run_is_undisturbed(folder, finished_board)


@needs_bubblewrap
def test_a_finished_board_in_a_read_only_folder_is_read_or_refused_clearly(
    fresh_board: Copy, finished_board: Path
) -> None:
    folder = fresh_board(finished=True)
    assert isinstance(BUBBLEWRAP, Bubblewrap)
    work = str(folder / ".latent-matter")
    before = tables(folder)
    code, said = start(folder, BUBBLEWRAP.program, "--dev-bind", "/", "/", "--ro-bind", work, work).finish()
    assert "Traceback" not in said
    if code:
        assert_clear_refusal(code, said, "Read-only file system")
    assert tables(folder) == before == tables(finished_board)


@needs_bubblewrap
def test_a_new_board_in_a_read_only_folder_is_refused_clearly(fresh_board: Copy, finished_board: Path) -> None:
    folder = fresh_board()
    assert isinstance(BUBBLEWRAP, Bubblewrap)
    work = str(folder / ".latent-matter")
    code, said = start(folder, BUBBLEWRAP.program, "--dev-bind", "/", "/", "--ro-bind", work, work).finish()
    assert_clear_refusal(code, said, "Read-only file system")
    assert_next_run_is_undisturbed(folder, finished_board)
