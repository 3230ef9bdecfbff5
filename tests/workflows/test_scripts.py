"""The scripts that only workflows call."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.workflows.conftest import REPOSITORY, commit
from tests.workflows.runner import git


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of a repository whose main has one commit, and whose branch `other` has one more."""
    origin = tmp_path / "origin"
    (origin / "scripts").mkdir(parents=True)
    shutil.copy(REPOSITORY / "scripts" / "verify_commit", origin / "scripts")
    git(origin, "init", "-q", "-b", "main")
    commit(origin, "First")
    git(origin, "switch", "-q", "-c", "other")
    (origin / "more").write_text("x")
    commit(origin, "More")
    git(tmp_path, "clone", "-q", str(origin), "clone")
    return tmp_path / "clone"


def verify(clone: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard error and the step's outputs of `verify_commit`."""
    written = clone / "outputs"
    environment = {**os.environ, "GITHUB_OUTPUT": str(written)}
    command = [str(clone / "scripts" / "verify_commit"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr, written.read_text() if written.is_file() else ""


def test_a_commit_of_main_is_accepted(clone: Path) -> None:
    found = git(clone, "rev-parse", "origin/main")
    assert verify(clone, found) == (0, "", f"commit={found}\n")


def test_a_commit_of_another_branch_is_refused(clone: Path) -> None:
    found = git(clone, "rev-parse", "origin/other")
    code, error, outputs = verify(clone, found)
    assert (code, outputs) == (1, "") and "is not on origin/main; merge it first" in error


@pytest.mark.parametrize(
    "given", ["", "main", "HEAD", "--all", "0" * 39, "$(touch x)", "0" * 40 + "\nmodels=x", "A" * 40]
)
def test_anything_but_a_full_hash_is_refused(clone: Path, given: str) -> None:
    code, error, outputs = verify(clone, given)
    assert (code, outputs) == (1, "") and "accepted are the 40 hexadecimal digits" in error and error.count("\n") == 1
