"""Runs the project's workflows here: a fresh clone for each job, its shell steps as they stand, artifacts as folders.

Only the step that installs the project is replaced, by a link to the environment that runs the tests. A job gets what
its permissions give and no more: an identity for the hub and for Pages with `id-token: write` only.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.workflows.expressions import evaluate, insert, text

SETUP = "./scripts/setup"
STATUS_FUNCTIONS = ("success()", "failure()", "cancelled()", "always()")
WITHHELD = ("HF_", "HUGGING_FACE", "GITHUB_", "ACTIONS_", "PYTEST_")


@dataclass
class Job:
    """What became of a job: `success`, `failure` or `skipped`; what its steps printed; its outputs."""

    result: str
    outputs: dict[str, str] = field(default_factory=dict)
    printed: str = ""
    summary: str = ""


@dataclass
class Machines:
    """The project's side of GitHub: its repository, its variables, and what all machines have in common.

    identities: request token -> claims; whoever shows the token is that job.
    """

    repository: Path
    folder: Path
    variables: dict[str, str]
    environment: dict[str, str]
    identity_address: str = ""
    identities: dict[str, dict[str, str]] = field(default_factory=dict)
    deployed: Path | None = None
    attested: dict[str, str] = field(default_factory=dict)

    def run(self, workflow: str, github: dict[str, Any], inputs: Mapping[str, str] | None = None) -> dict[str, Job]:
        """Run a workflow of the commit github["sha"]; the jobs of a workflow that it calls are CALLER/JOB."""
        run = _Run(self, {"repository": "project/board", "run_id": "1", **github})
        return run.workflow(workflow, dict(inputs or {}), None)


@dataclass
class _Run:
    machines: Machines
    github: dict[str, Any]

    def __post_init__(self) -> None:
        self.artifacts = self.machines.folder / f"artifacts-{secrets.token_hex(4)}"

    def workflow(self, name: str, inputs: dict[str, str], granted: dict[str, str] | None) -> dict[str, Job]:
        path = f".github/workflows/{name}"
        described = yaml.safe_load(git(self.machines.repository, "show", f"{self.github['sha']}:{path}"))
        contexts = {"github": self.github, "inputs": inputs, "vars": self.machines.variables}
        insert([described.get("concurrency"), described.get("run-name")], contexts)  # must be readable too
        environment = insert(described.get("env", {}), contexts)
        jobs: dict[str, Job] = {}
        for key, job in described["jobs"].items():
            needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
            around = {**contexts, "needs": {each: vars(jobs[each]) for each in needs}}
            if not _wanted(job.get("if", ""), around, [jobs[each].result for each in needs]):
                jobs[key] = Job("skipped")
                continue
            permissions = job.get("permissions", described["permissions"])
            assert granted is None or permissions.items() <= granted.items(), f"{name}: {key} asks for more than it has"
            if "uses" in job:
                called = self.workflow(job["uses"].split("/")[-1], insert(job.get("with", {}), around), permissions)
                jobs |= {f"{key}/{inner}": each for inner, each in called.items()}
                failed = any(each.result == "failure" for each in called.values())
                jobs[key] = Job("failure" if failed else "success")
            else:
                jobs[key] = self._all_of(key, job, permissions, environment, around)
        return jobs

    def _all_of(
        self, key: str, job: dict[str, Any], permissions: dict[str, str], environment: dict[str, str], around: Any
    ) -> Job:
        """A job, once for each value of its matrix."""
        matrix = insert(job.get("strategy", {}).get("matrix", {}), around)
        assert len(matrix) <= 1, "a matrix of several dimensions is not known"
        combinations = [{name: value} for name, values in matrix.items() for value in values] or [{}]
        done = [
            _Machine(self, key, job, permissions, environment, {**around, "matrix": values}).run()
            for values in combinations
        ]
        failed = [each for each in done if each.result == "failure"]
        return Job(
            (failed or done)[0].result, done[-1].outputs, "".join(each.printed for each in done), done[-1].summary
        )


def _wanted(condition: str, contexts: Mapping[str, Any], needs: list[str]) -> bool:
    functions = {
        "success": lambda: all(result == "success" for result in needs),
        "failure": lambda: "failure" in needs,
        "cancelled": lambda: False,
        "always": lambda: True,
    }
    inner = condition.strip().removeprefix("${{").removesuffix("}}")
    if not any(name in inner for name in STATUS_FUNCTIONS) and not functions["success"]():
        return False
    return bool(evaluate(inner, contexts, functions)) if inner else True


class _Machine:
    """A fresh machine for one job."""

    def __init__(
        self, run: _Run, key: str, job: dict[str, Any], permissions: dict[str, str], env: dict[str, str], contexts: Any
    ) -> None:
        self.run_of, self.job, self.permissions = run, job, permissions
        self.machines = run.machines
        insert(job["runs-on"], contexts)  # must be readable too
        self.folder = self.machines.folder / f"{key}-{secrets.token_hex(4)}"
        self.workspace = self.folder / "workspace"
        self.workspace.mkdir(parents=True)
        self.outputs: dict[str, dict[str, str]] = {}
        self.contexts = {**contexts, "steps": {}, "env": env}
        self.printed = ""
        self.environment = {**self._own_environment(key), **env}

    def run(self) -> Job:
        result = "success"
        for number, step in enumerate(self.job["steps"]):
            if not _wanted(step.get("if", ""), self.contexts, []):
                continue
            ok = self._action(step) if "uses" in step else self._shell(step, number)
            if not ok:
                result = "failure"
                break
        outputs = insert(self.job.get("outputs", {}), self.contexts) if result == "success" else {}
        summary = self.folder / "summary"
        written = summary.read_text() if summary.is_file() else ""
        return Job(result, {name: text(value) for name, value in outputs.items()}, self.printed, written)

    def _own_environment(self, key: str) -> dict[str, str]:
        given = {name: value for name, value in os.environ.items() if not name.startswith(WITHHELD)}
        given |= self.machines.environment
        given |= {
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            "HF_HOME": str(self.folder / "huggingface"),
            # The editable installation names the repository of the tests; the clone's own code is what is tried here.
            "PYTHONPATH": str(self.workspace),
        }
        if self.permissions.get("id-token") == "write":
            token = secrets.token_hex(8)
            self.machines.identities[token] = {"job": key, "environment": text(self._protected_by())}
            given["ACTIONS_ID_TOKEN_REQUEST_URL"] = self.machines.identity_address
            given["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = token
        return given

    def _protected_by(self) -> str | None:
        given = self.job.get("environment")
        return given["name"] if isinstance(given, dict) else given

    def _shell(self, step: dict[str, Any], number: int) -> bool:
        assert "${{" not in step["run"], f"{step['name']}: an expression inside a script"
        if step["run"] == SETUP:
            (self.workspace / ".venv").symlink_to(sys.prefix)
            return True
        script, written = self.folder / f"step-{number}.sh", self.folder / f"outputs-{number}"
        script.write_text(step["run"])
        given = {name: text(insert(value, self.contexts)) for name, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.workspace,
            env={**self.environment, **given, "GITHUB_OUTPUT": str(written)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1100,
            check=False,
        )
        self.printed += f"--- {step['name']}\n{done.stdout}"
        lines = written.read_text().splitlines() if written.is_file() else []
        if "id" in step:
            self.contexts["steps"][step["id"]] = {"outputs": dict(line.split("=", 1) for line in lines)}
        return done.returncode == 0

    def _action(self, step: dict[str, Any]) -> bool:
        name = step["uses"].split("@")[0]
        given = insert(step.get("with", {}), self.contexts)
        actions = {
            "actions/checkout": self._check_out,
            "actions/upload-artifact": self._upload,
            "actions/download-artifact": self._download,
            "actions/attest-build-provenance": self._attest,
            "actions/upload-pages-artifact": lambda given: self._upload({**given, "name": "github-pages"}),
            "actions/deploy-pages": self._deploy,
        }
        assert name in actions, f"{name}: no stand-in for this action"
        actions[name](given)
        return True

    def _check_out(self, given: dict[str, Any]) -> None:
        assert given["persist-credentials"] is False
        assert self.permissions.get("contents") == "read"
        wanted = given.get("ref") or self.run_of.github["sha"]
        git(self.workspace, "init", "-q")
        git(self.workspace, "remote", "add", "origin", f"file://{self.machines.repository}")
        depth = given.get("fetch-depth", 1)
        if depth == 0:
            git(self.workspace, "fetch", "-q", "origin", "+refs/heads/*:refs/remotes/origin/*", wanted)
        else:
            git(self.workspace, "fetch", "-q", f"--depth={depth}", "origin", wanted)
        git(self.workspace, "checkout", "-q", "--detach", wanted)

    def _upload(self, given: dict[str, Any]) -> None:
        source, target = self.workspace / given["path"], self.run_of.artifacts / given["name"]
        assert not target.exists(), f"artifact {given['name']} is there already"
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*"))
        assert any(path.is_file() for path in target.rglob("*")), f"nothing to upload in {given['path']}"

    def _download(self, given: dict[str, Any]) -> None:
        shutil.copytree(self.run_of.artifacts / given["name"], self.workspace / given["path"])

    def _attest(self, given: dict[str, Any]) -> None:
        assert {"id-token": "write", "attestations": "write"}.items() <= self.permissions.items()
        found = [path for pattern in given["subject-path"].split() for path in self.workspace.glob(pattern)]
        assert found, "nothing to attest"
        for path in found:
            self.machines.attested[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()

    def _deploy(self, given: dict[str, Any]) -> None:
        assert not given
        assert {"id-token": "write", "pages": "write"}.items() <= self.permissions.items()
        assert self._protected_by() == "github-pages"
        self.contexts["steps"]["deploy"] = {"outputs": {"page_url": "https://example.org"}}
        self.machines.deployed = self.run_of.artifacts / "github-pages"


def git(folder: Path, *arguments: str) -> str:
    """Run git with an identity of its own and none of the user's settings; return what it prints."""
    identity = {
        f"GIT_{role}_{what}": "someone@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env={**os.environ, **identity, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()
