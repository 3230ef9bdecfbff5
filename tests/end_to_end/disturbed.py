"""A run of the toy board in a process of its own, to be disturbed."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.embedding.sandbox.backends import Bubblewrap, find_bubblewrap
from tests.end_to_end.conftest import REPOSITORY, run_board
from tests.end_to_end.test_run import tables

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
