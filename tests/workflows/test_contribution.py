"""From a pull request to the published results and the site, through the workflows as they stand."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.conftest import commit, needs_bubblewrap
from tests.workflows.hub import TrustingHubServer
from tests.workflows.runner import Machines, git


def pull_request(repository: Path, branch: str, source: str = "stranger/board") -> dict[str, Any]:
    """The event of a pull request of `branch`, with the merge that GitHub makes of it."""
    git(repository, "switch", "-q", "--detach", "main")
    git(repository, "merge", "-q", "--no-ff", branch)
    merged = git(repository, "rev-parse", "HEAD")
    git(repository, "update-ref", "refs/pull/1/merge", merged)
    git(repository, "switch", "-q", "main")
    event = {"pull_request": {"number": "1", "head": {"repo": {"full_name": source}}}}
    return {"event_name": "pull_request", "sha": merged, "event": event}


def results(jobs: dict[str, Any]) -> dict[str, str]:
    return {name: job.result for name, job in jobs.items()}


def printed(jobs: dict[str, Any]) -> str:
    return "\n".join(job.printed for job in jobs.values())


@pytest.mark.slow
@needs_bubblewrap
@pytest.mark.usefixtures("newcomer")
def test_a_new_family_goes_from_a_pull_request_to_the_hub_and_the_site(
    machines: Machines, hub: TrustingHubServer, repository: Path
) -> None:
    # Somebody else's change in between is none of the contributor's.
    (repository / "README.md").write_text("Changed.\n")
    before = commit(repository, "Change something else")
    opened = pull_request(repository, "contribution")
    checked = machines.run("check.yml", opened)
    expected = {"plan": "success", "check": "success", "tests": "skipped", "passed": "skipped"}
    assert results(checked) == expected, printed(checked)
    assert "newcomer: 1 of 1 models passed" in checked["check"].printed
    assert hub.states[1:] == [] and hub.id_tokens == {}

    git(repository, "merge", "-q", "--ff-only", opened["sha"])
    pushed = {"event_name": "push", "sha": opened["sha"], "event": {"before": before}}
    done = machines.run("evaluate.yml", pushed)
    assert set(results(done).values()) == {"success"}, printed(done)
    assert done["plan"].outputs == {"commit": opened["sha"], "models": "newcomer-1"}
    assert "toy@1 newcomer-1: new, ok, audited" in done["score"].summary

    assert len(hub.states) == 2, "one commit"
    rows = list(csv.DictReader(io.StringIO(hub.files["tables/leaderboard.csv"].decode())))
    assert [row["model"] for row in rows] == ["newcomer-1"]
    record = json.loads(hub.files["toy@1/records/newcomer-1.json"])
    assert (record["status"], record["verification"], record["doubts"]) == ("ok", "audited", [])
    assert "newcomer-1.json" in machines.attested
    # The only job that the hub knew is the one behind the environment `publish`.
    assert {claims["environment"] for claims in hub.id_tokens.values()} == {"publish"} and hub.refused == []
    assert machines.deployed is not None
    assert "newcomer-1" in (machines.deployed / "index.html").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("newcomer")
def test_a_stranger_may_not_change_the_harness_along_with_a_family(machines: Machines, repository: Path) -> None:
    git(repository, "switch", "-q", "contribution")
    (repository / "benchmark" / "new.py").write_text("")
    commit(repository, "Change the harness")
    jobs = machines.run("check.yml", pull_request(repository, "contribution"))
    assert results(jobs) == {"plan": "failure", "check": "skipped", "tests": "skipped", "passed": "failure"}
    assert "a submission may touch its own folder only" in jobs["plan"].printed


@pytest.mark.slow
def test_a_commit_that_is_not_on_main_is_not_evaluated(machines: Machines, newcomer: str, repository: Path) -> None:
    dispatched = {"event_name": "workflow_dispatch", "sha": git(repository, "rev-parse", "main"), "event": {}}
    jobs = machines.run("evaluate.yml", dispatched, {"commit": newcomer, "models": "newcomer-1", "suite": ""})
    assert results(jobs)["plan"] == "failure" and set(results(jobs).values()) == {"failure", "skipped"}
    assert f"{newcomer} is not on origin/main; merge it first" in jobs["plan"].printed


@pytest.mark.slow
def test_a_push_that_changes_no_adapter_computes_nothing(machines: Machines, repository: Path) -> None:
    before = git(repository, "rev-parse", "main")
    (repository / "submissions" / "toy" / "README.md").write_text("About.\n")
    after = commit(repository, "Describe a family")
    jobs = machines.run("evaluate.yml", {"event_name": "push", "sha": after, "event": {"before": before}})
    assert jobs["plan"].result == "success" and jobs["plan"].outputs["models"] == ""
    assert {job.result for name, job in jobs.items() if name != "plan"} == {"skipped"}
