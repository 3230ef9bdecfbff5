"""Publishing with the real client to a hub on localhost, with faults. The hub ends in the old state or in the new."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmark.publishing.destinations import destination
from benchmark.publishing.publish import Published, publish, pull
from benchmark.schema import InvalidFileError
from tests.publishing.conftest import Board, Tree
from tests.publishing.hub import NAME, Fault, HubServer, State

TARGET = f"hf://datasets/{NAME}"


def send(board: Board, results: Path) -> Published:
    return publish(results, destination(TARGET), board.entries, work=board.work, pause=0.01)


def new_states(hub: HubServer) -> list[State]:
    return hub.states[1:]


def test_one_commit_holds_everything_and_the_next_holds_nothing(board: Board, hub: HubServer) -> None:
    results = board.results()
    done = send(board, results)
    assert len(new_states(hub)) == 1
    assert set(done.changed) == set(hub.files)
    assert hub.files["README.md"].startswith(b"---\nlicense:")
    assert send(board, results).changed == []
    assert len(new_states(hub)) == 1


def test_a_second_model_sends_only_what_changed(board: Board, hub: HubServer) -> None:
    send(board, board.results("first", toy_a=0.1, toy_b=0.2))
    hub.log.clear()
    done = send(board, board.results("second", toy_c=0.3))
    assert len(new_states(hub)) == 2
    assert "toy@1/records/toy-c.json" in done.changed
    assert not {"toy@1/records/toy-a.json", "toy@1/suite.yaml", "tables/metrics.parquet"} & set(done.changed)
    assert b"toy-a" in hub.files["tables/leaderboard.csv"] and b"toy-c" in hub.files["tables/leaderboard.csv"]


def test_what_is_on_the_hub_comes_back(board: Board, hub: HubServer, tmp_path: Path, tree: Tree) -> None:
    send(board, board.results())
    pull(destination(TARGET), tmp_path / "mine", records=True)
    assert tree(tmp_path / "mine") == hub.files
    assert len(pd.read_parquet(tmp_path / "mine" / "tables" / "leaderboard.parquet")) == 3


@pytest.mark.usefixtures("hub")
def test_the_published_tables_load_as_a_data_set_from_the_hub(board: Board, tmp_path: Path) -> None:
    send(board, board.results())
    code = f"""
from datasets import load_dataset

print(sorted(load_dataset("{NAME}", "leaderboard", split="train")["model"]))
"""
    # In a process of its own: the library reads the hub's address when it is imported.
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['toy-a', 'toy-b', 'toy-c']"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST /api/datasets/group/board/commit", cut=True),
        Fault("POST /api/datasets/group/board/commit", status=429),
        Fault("POST /api/datasets/group/board/commit", status=503),
        Fault("PUT /lfs/", cut=True),
        Fault("PUT /lfs/", status=500),
        Fault("POST /datasets/group/board.git/info/lfs", status=429),
        Fault("GET /api/datasets/group/board/revision", status=502),
        Fault("GET /api/datasets/group/board/revision", cut=True),
    ],
    ids=lambda fault: f"{fault.request.split('/')[-1] or 'lfs'} {fault.status or 'cut'}",
)
def test_a_fault_on_the_way_is_overcome_in_one_commit(board: Board, hub: HubServer, fault: Fault) -> None:
    hub.faults.append(fault)
    done = send(board, board.results())
    assert hub.faults == []
    assert len(new_states(hub)) == 1
    assert set(hub.files) == set(done.changed)


def test_a_commit_that_happened_though_the_hub_said_no_is_not_made_twice(board: Board, hub: HubServer) -> None:
    hub.faults.append(Fault("POST /api/datasets/group/board/commit", status=500, late=True))
    done = send(board, board.results())
    assert len(new_states(hub)) == 1
    assert len(done.notes) == 3


def test_a_commit_in_between_loses_nothing_of_either(board: Board, hub: HubServer) -> None:
    other = board.results("other", toy_b=0.2)
    fault = Fault("POST /api/datasets/group/board/commit", before=lambda: None)
    raced: list[Published] = []
    fault.before = lambda: raced.append(send(board, other))
    hub.faults.append(fault)
    done = send(board, board.results("mine", toy_a=0.1))
    assert len(raced) == 1 and len(done.notes) == 1
    assert len(new_states(hub)) == 2
    assert {"toy@1/records/toy-a.json", "toy@1/records/toy-b.json"} <= set(hub.files)
    board_table = hub.files["tables/leaderboard.csv"]
    assert b"toy-a" in board_table and b"toy-b" in board_table


def test_a_token_without_rights_writes_nothing_and_says_what_is_needed(
    board: Board, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    with pytest.raises(InvalidFileError, match=r"access denied \(HTTP 403\); publishing needs a token"):
        send(board, board.results())
    assert new_states(hub) == []


def test_a_hub_that_stays_down_leaves_the_old_state(board: Board, hub: HubServer) -> None:
    send(board, board.results("first", toy_a=0.1))
    hub.faults += [Fault("POST /api/datasets/group/board/commit", status=503) for _ in range(20)]
    with pytest.raises(InvalidFileError, match="gave up after 6 attempts"):
        send(board, board.results("second", toy_b=0.1))
    assert len(new_states(hub)) == 1


def test_a_repository_that_does_not_exist_is_not_made_by_accident(board: Board, hub: HubServer) -> None:
    with pytest.raises(InvalidFileError, match="no such data set, or no right to read it; create it once"):
        publish(board.results(), destination("hf://datasets/group/other"), board.entries, pause=0.01)
    assert new_states(hub) == []


def test_what_may_not_be_published_never_reaches_the_hub(board: Board, hub: HubServer) -> None:
    send(board, board.results("first", toy_a=0.1))
    with pytest.raises(InvalidFileError, match="published scores would change"):
        send(board, board.results("second", toy_a=0.9))
    assert len(new_states(hub)) == 1
