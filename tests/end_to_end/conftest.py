import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.end_to_end.toy_board import write_board

REPOSITORY = Path(__file__).resolve().parents[2]


def latent_matter(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in `folder` as a user would."""
    environment = {**os.environ, "LATENT_MATTER_DATASETS": str(folder / "datasets"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "benchmark.cli", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def run_board(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`latent-matter run` on the toy board, in one process: another one takes longer to start than its work does."""
    return latent_matter(folder, "run", "--suite", "toy.yaml", "--accelerator", "cpu", "--jobs", "1", *arguments)


@pytest.fixture(scope="session")
def finished_board(shared_folder: Path) -> Path:
    """The toy board after an undisturbed run."""
    folder = shared_folder / "board"
    with FileLock(shared_folder / "board.lock"):
        if not (folder / "finished").is_file():
            write_board(folder, REPOSITORY / "submissions")
            result = run_board(folder)
            assert result.returncode == 0, result.stderr
            (folder / "finished").touch()
    return folder


@pytest.fixture
def fresh_board(finished_board: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the toy board: with its environments but nothing computed, or with everything."""

    def copy(finished: bool = False) -> Path:
        folder = tmp_path / "board"
        made = finished_board / ".latent-matter"
        # The environments and their compiled modules are large and name their own paths: share them.
        shared = {name for name in ("environments", "compiled") if (made / name).is_dir()}
        computed = {"results", "features", "conformance", "products", "work", "site", "journal"}
        ignored = shared if finished else shared | computed
        shutil.copytree(finished_board, folder, symlinks=True, ignore=lambda _, names: set(names) & ignored)
        for name in shared:
            (folder / ".latent-matter" / name).symlink_to(made / name)
        return folder

    return copy
