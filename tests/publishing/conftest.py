from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import _commit_api

from benchmark.datasets.store import Dataset, find_dataset
from benchmark.submission import Entry, load_submissions
from tests.end_to_end.toy_board import toy_model, write_family, write_toy_datasets
from tests.publishing.boards import write_results
from tests.publishing.hub import TOKEN, HubServer, running_hub

MODELS = ("toy-a", "toy-b", "toy-c")


@dataclass(frozen=True)
class Board:
    """Submissions, data sets and a work folder; `results(...)` writes a results folder."""

    root: Path
    entries: dict[str, Entry]
    datasets: list[Dataset]

    @property
    def work(self) -> Path:
        return self.root / "work"

    def results(
        self, name: str = "results", suite: dict[str, object] | None = None, **alignments: float | None
    ) -> Path:
        given = {model.replace("_", "-"): value for model, value in alignments.items()}
        chosen = given or {model: 0.1 * number for number, model in enumerate(MODELS)}
        return write_results(self.root / name, self.work, self.entries, self.datasets, chosen, **(suite or {}))


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    write_family(tmp_path / "submissions", "toy", [toy_model(name, 1 + n) for n, name in enumerate(MODELS)])
    write_toy_datasets(tmp_path / "datasets", structures=8)
    monkeypatch.setenv("LATENT_MATTER_DATASETS", str(tmp_path / "datasets"))
    entries, broken = load_submissions(tmp_path / "submissions")
    assert not broken
    return Board(tmp_path, entries, [find_dataset("toy-crystals"), find_dataset("toy-molecules")])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with running_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        # Large files go by the LFS protocol: the other way needs a storage service that the hub alone runs.
        monkeypatch.setattr(_commit_api, "is_xet_available", lambda: False)
        yield server


Tree = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def tree() -> Tree:
    """What a folder holds, hidden files left out."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }

    return read
