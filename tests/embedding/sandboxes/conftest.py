"""What the tests of sandboxes share."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmark.embedding import process, sandbox
from benchmark.embedding.sandbox import Limits, Plan


@pytest.fixture(autouse=True)
def forget_the_choice() -> Iterator[None]:
    sandbox._strongest.cache_clear()
    yield
    sandbox._strongest.cache_clear()


@pytest.fixture(autouse=True)
def share_all_compiled_modules(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "compiled_modules", lambda *_: compiled)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a program before all others in PATH. Real container engines are out of sight."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("docker", "podman"):
        write_program(folder / name, "#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def add(name: str, script: str) -> Path:
        return write_program(folder / name, script)

    return add


def write_program(path: Path, script: str) -> Path:
    path.write_text(script)
    path.chmod(0o755)
    return path


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A plan whose command creates the file `here` in its output folder."""
    for name in ("output", "scratch"):
        (tmp_path / name).mkdir()
    script = f"open({str(tmp_path / 'output' / 'here')!r}, 'w').close()"
    python = Path(sys.executable)
    return Plan(
        command=(str(python), "-I", "-S", "-c", script),
        python=python,
        reads=(),
        output=tmp_path / "output",
        scratch=tmp_path / "scratch",
        folder=tmp_path,
        variables={"LANG": "C.UTF-8"},
        limits=Limits(memory=2_000_000_000, temporary=50_000_000, output=40_000_000),
    )
