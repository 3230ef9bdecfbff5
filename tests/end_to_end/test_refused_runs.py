"""Runs on a full disk, beside another run, and in a folder that cannot be written to.

Each ends with the tables of an undisturbed run or refuses in lines that say why; the next run gives the tables of an
undisturbed one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.embedding.sandbox.backends import Bubblewrap
from tests.end_to_end.disturbed import (
    BUBBLEWRAP,
    Copy,
    assert_clear_refusal,
    assert_next_run_is_undisturbed,
    needs_bubblewrap,
    start,
)
from tests.end_to_end.test_run import tables

pytestmark = pytest.mark.slow


def test_two_runs_at_once_in_one_folder_both_end_with_the_tables(fresh_board: Copy, finished_board: Path) -> None:
    folder = fresh_board()
    first, second = start(folder), start(folder)
    for run in (first, second):
        code, said = run.finish()
        assert code == 0, said
    assert tables(folder) == tables(finished_board)


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
    work = folder / ".latent-matter"
    before = tables(folder)
    program = [BUBBLEWRAP.program, "--dev-bind", "/", "/"]
    for read_only in (work, *(path.resolve() for path in work.iterdir() if path.is_symlink())):
        program += ["--ro-bind", str(read_only), str(read_only)]
    code, said = start(folder, *program).finish()
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
