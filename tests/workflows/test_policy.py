"""What keeps a stranger's code from having rights, told from the files themselves."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflows.conftest import REPOSITORY

GITHUB = REPOSITORY / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
SUMMARY = ' | tee -a "$GITHUB_STEP_SUMMARY"'


def program(name: str) -> str:
    """A program of the environment that runs the tests."""
    path = Path(sys.executable).with_name(name)
    assert path.is_file(), f"{name} is missing; ./scripts/setup dev installs it"
    return str(path)


def is_one_command(script: str) -> bool:
    """Whether a step calls a command or a script of ours, once, and does nothing else."""
    ours = script.startswith((".venv/bin/latent-matter ", "./scripts/")) or script in ("./.ci/run", "exit 1")
    return ours and not re.search(r"[;&|<>`\n]|\$\(", script)


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            yield f"{path.stem}/{name}", job


def test_zizmor_finds_nothing_that_is_not_explained_beside_it() -> None:
    command = [program("zizmor"), "--offline", "--persona", "auditor", "--format", "plain", str(GITHUB)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in WORKFLOWS:
        for line in path.read_text().splitlines():
            if "zizmor: ignore" in line:
                assert re.search(r"zizmor: ignore\[[a-z-]+\] \w.{10,}", line), f"{path.name}: no reason: {line}"


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.dependabot", [GITHUB / "dependabot.yml"]),
        (
            "vendor.github-issue-forms",
            sorted(set((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) - {GITHUB / "ISSUE_TEMPLATE/config.yml"}),
        ),
        ("vendor.github-issue-config", [GITHUB / "ISSUE_TEMPLATE" / "config.yml"]),
    ],
)
def test_files_follow_the_schemas_of_their_readers(schema: str, files: list[Path]) -> None:
    assert files
    command = [program("check-jsonschema"), "--builtin-schema", schema, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_action_is_pinned_by_one_commit_whose_version_is_said() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for line in path.read_text().splitlines():
            if "uses:" in line and "$/" not in line:
                found = re.fullmatch(r"\s+(?:- )?uses: ([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line)
                assert found, f"{path.name}: {line}"
                pins.setdefault(found[1], set()).add(f"{found[2]} {found[3]}")
    assert pins and all(len(versions) == 1 for versions in pins.values()), pins


def test_every_step_is_a_command_that_a_laptop_can_run() -> None:
    for name, job in jobs():
        for step in job.get("steps", []):
            if "run" in step:
                assert is_one_command(step["run"].strip().removesuffix(SUMMARY)), f"{name}: {step['run']}"
                assert "${{" not in step["run"], f"{name}: an expression becomes part of a script"


def test_every_job_ends() -> None:
    assert [name for name, job in jobs() if "uses" not in job and "timeout-minutes" not in job] == []


def test_nobody_starts_a_workflow_with_rights_from_a_fork() -> None:
    for path in WORKFLOWS:
        content = path.read_text()
        # YAML reads the key `on` as true.
        events = set(yaml.safe_load(content)[True])
        assert events <= {"pull_request", "push", "workflow_dispatch", "workflow_call"}, path.name
        assert "secrets" not in re.sub(r"#.*", "", content), f"{path.name}: there are no secrets to use"


def test_who_runs_or_reads_what_strangers_made_can_only_read() -> None:
    rights = {name: job["permissions"] for name, job in jobs()}
    for name in ("check/plan", "check/check", "check/tests", "evaluate/plan", "evaluate/embed", "evaluate/score"):
        assert rights[name] == {"contents": "read"}, name
    may_write = {name for name, given in rights.items() if "write" in given.values()}
    assert may_write == {"evaluate/attest", "evaluate/publish", "evaluate/site", "publish/publish", "site/deploy"}
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {}, path.name


def test_models_run_in_a_sandbox_and_behind_reviewers() -> None:
    every = dict(jobs())
    starting = [
        (name, step["run"])
        for name, job in every.items()
        for step in job.get("steps", [])
        if re.search(r"latent-matter (check|embed|run|compare)\b", step.get("run", ""))
    ]
    assert {name for name, _ in starting} == {"check/check", "evaluate/embed"}
    assert all("--sandbox required" in command for _, command in starting)
    assert every["evaluate/embed"]["environment"] == "gpu"
    assert every["publish/publish"]["environment"] == "publish"


def test_an_owner_is_named_for_all_that_holds_strangers_code() -> None:
    lines = [line.split() for line in (GITHUB / "CODEOWNERS").read_text().splitlines() if line and line[0] != "#"]
    for pattern, *owners in lines:
        assert owners and all(owner.startswith("@") for owner in owners)
        if pattern != "*":
            assert (REPOSITORY / pattern.strip("/")).exists(), f"{pattern}: no such path"
