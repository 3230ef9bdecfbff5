"""What a cluster is refused for, told from what its workers say of themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed")

from benchmark.cluster import ClusterError, _ask, _check, describe_node


class Workers:
    """Stands for a Dask client whose two workers are this process; `change` is what the second says otherwise."""

    def __init__(self, **change: Any) -> None:
        self.change = change

    def run(self, function: Any, probe: Path, folders: Any, on_error: str) -> dict[str, Any]:
        del function, on_error
        node = describe_node(probe, 1, folders)
        answer = self.change.get("answer")
        return {"tcp://a:1": node, "tcp://b:2": answer or replace(node, **self.change)}


def test_workers_that_share_the_folder_are_taken(tmp_path: Path) -> None:
    nodes = _ask(Workers(), tmp_path, [tmp_path])  # type: ignore[arg-type]
    assert list(nodes) == ["tcp://a:1", "tcp://b:2"]
    for address, node in nodes.items():
        assert node.locks
        _check(address, node, describe_node(tmp_path / "none", 1, []))
    assert list((tmp_path / "locks").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token": None}, "does not see .*; --work must be a folder that all workers share under the same path"),
        ({"token": "another"}, "--work must be a folder that all workers share"),
        ({"unseen": ["/submissions"]}, "does not see /submissions"),
        ({"code": "0" * 64}, "runs other code of the benchmark"),
        ({"threads": 4}, "has 4 threads, accepted is one; start more workers with --nthreads 1"),
        ({"answer": ModuleNotFoundError("No module named 'benchmark'")}, "cannot run the benchmark: No module named"),
    ],
)
def test_a_worker_that_cannot_take_part_is_named_in_one_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClusterError, match=message) as found:
        for address, node in _ask(Workers(**change), tmp_path, []).items():  # type: ignore[arg-type]
            _check(address, node, describe_node(tmp_path / "none", 1, []))
    assert "tcp://b:2" in str(found.value) and "\n" not in str(found.value)


def test_a_worker_with_another_torch_is_refused(tmp_path: Path) -> None:
    node = describe_node(tmp_path / "none", 1, [])
    other = replace(node, versions={**node.versions, "torch": "1.0"})
    with pytest.raises(ClusterError, match=r"has torch 1\.0, this command has"):
        _check("tcp://b:2", other, node)


def test_folders_without_locks_are_noticed(tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    probe.write_text("x")
    assert not describe_node(probe, 1, []).locks  # nobody holds it, so a lock that holds would have been refused
