"""What a change touches, told from a scratch repository."""

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.planning import plan_change
from benchmark.schema import InvalidFileError
from tests.end_to_end.toy_board import toy_model, write_family


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-m", "A change")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    write_family(root / "submissions", "first", [toy_model("first-a", 1), toy_model("first-b", 2)])
    write_family(root / "submissions", "second", [toy_model("second-a", 3)])
    (root / "code.py").write_text("x = 1\n")
    git(tmp_path, "init", "-q", "-b", "main", str(root))
    commit(root)
    git(root, "switch", "-q", "-c", "branch")
    return root


def test_a_new_family_is_planned_with_all_its_models(repository: Path) -> None:
    write_family(repository / "submissions", "third", [toy_model("third-a", 4), toy_model("third-b", 5)])
    commit(repository)
    plan = plan_change(repository, "main")
    assert (plan.families, plan.models, plan.problems) == (["third"], ["third-a", "third-b"], [])


def test_what_happened_on_the_other_branch_is_not_this_change(repository: Path) -> None:
    git(repository, "switch", "-q", "main")
    (repository / "code.py").write_text("x = 2\n")
    commit(repository)
    git(repository, "switch", "-q", "branch")
    (repository / "submissions" / "first" / "adapter.py").write_text("# other\n")
    commit(repository)
    plan = plan_change(repository, "main")
    assert (plan.families, plan.outside) == (["first"], [])


def test_a_readme_needs_no_features(repository: Path) -> None:
    (repository / "submissions" / "first" / "README.md").write_text("About.")
    commit(repository)
    assert plan_change(repository, "main").models == []


def test_a_contribution_may_touch_one_family_only(repository: Path) -> None:
    (repository / "submissions" / "first" / "adapter.py").write_text("# other\n")
    (repository / "code.py").write_text("x = 3\n")
    commit(repository)
    assert plan_change(repository, "main").problems == [
        "touches submissions/first and also code.py: a submission may touch its own folder only"
    ]
    (repository / "submissions" / "second" / "adapter.py").write_text("# other\n")
    commit(repository)
    assert "touches several families: first, second; one pull request each" in plan_change(repository, "main").problems


def test_moving_a_family_counts_as_removing_it(repository: Path) -> None:
    git(repository, "mv", "submissions/second", "submissions/renamed")
    commit(repository)
    plan = plan_change(repository, "main")
    assert plan.removed == ["second"]
    assert any("field family: is 'second', the folder is 'renamed'" in line for line in plan.broken)


@pytest.mark.parametrize("name", ["a b", "a\nmodels=evil", "Upper", "$(touch x)", "-rf"])
def test_a_folder_with_an_odd_name_never_becomes_an_output(
    repository: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_family(repository / "submissions", name, [toy_model("x", 4)])
    commit(repository)
    outputs = tmp_path / "outputs"
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    result = CliRunner().invoke(app, ["plan", "--changed-since", "main", "--root", str(repository)])
    assert result.exit_code == 1
    assert outputs.read_text() == "families=\nmodels=\nmatrix=[]\n"
    assert "accepted are lower-case letters" in result.stderr


def test_a_workflow_gets_the_models_as_outputs(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_family(repository / "submissions", "third", [toy_model("third-a", 4)])
    commit(repository)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    arguments = ["plan", "--changed-since", "main", "--root", str(repository), "--contribution", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["models"] == ["third-a"]
    assert (tmp_path / "outputs").read_text() == 'families=third\nmodels=third-a\nmatrix=["third"]\n'


@pytest.mark.parametrize("revision", ["nowhere", "--output=/tmp/x", ""])
def test_an_unknown_revision_is_refused_in_one_line(repository: Path, revision: str) -> None:
    with pytest.raises(InvalidFileError, match="revision"):
        plan_change(repository, revision)
