from pathlib import Path

import pytest

from benchmark.datasets.store import Dataset
from benchmark.embedding import process
from benchmark.embedding.environment import Environment
from benchmark.embedding.extraction import EmbeddingSettings
from tests.embedding.families import this_environment, write_small_dataset


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture(autouse=True)
def share_compiled_modules(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each adapter keeps its own bytecode; here that would compile numpy and ase once a test."""
    monkeypatch.setattr(process, "_bytecode", lambda *_: compiled)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_small_dataset(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="session")
def environment() -> Environment:
    return this_environment()


@pytest.fixture
def settings(tmp_path: Path) -> EmbeddingSettings:
    """Without a sandbox: most adapters of these tests tell of themselves through files outside of it."""
    return EmbeddingSettings(tmp_path / "cache", accelerator="cpu", threads=1, timeout=120.0, sandbox="none")
