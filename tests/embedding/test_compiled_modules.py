"""What is compiled for environments: once for each content, true to its source, whatever else lies beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.embedding.sandbox import compile_modules
from benchmark.embedding.sandbox.bytecode import compile_below

FAILING = "def fail():\n    raise ValueError('on line two')\n"


def compile_in(folder: Path, work: Path) -> Path:
    to = work / f"compiled-{folder.name}"
    compile_below(Path(sys.executable), to, str(folder), work / "modules", "/tests/")
    return to


def compiled(to: Path) -> dict[str, Path]:
    return {path.name.split(".")[0]: path for path in to.rglob("*.pyc")}


def imported(folder: Path, to: Path, code: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": str(folder), "PYTHONPYCACHEPREFIX": str(to)}
    return subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=120)


@pytest.fixture
def environments(tmp_path: Path) -> tuple[Path, Path]:
    folders = tmp_path / "first", tmp_path / "second"
    for folder in folders:
        folder.mkdir()
        (folder / "common.py").write_text(FAILING)
        (folder / "own.py").write_text(f"name = {folder.name!r}\n")
    return folders


def test_equal_modules_of_two_environments_are_compiled_once(environments: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = (compiled(compile_in(folder, tmp_path)) for folder in environments)
    assert first["common"].samefile(second["common"])
    assert not first["own"].samefile(second["own"])
    assert len(list((tmp_path / "modules").iterdir())) == 3


def test_a_shared_module_names_the_file_of_its_own_environment(environments: tuple[Path, Path], tmp_path: Path) -> None:
    compile_in(environments[0], tmp_path)
    to = compile_in(environments[1], tmp_path)
    said = imported(environments[1], to, "import common; common.fail()").stderr
    assert str(environments[1] / "common.py") in said and "raise ValueError('on line two')" in said
    assert str(environments[0]) not in said


def test_what_was_compiled_is_what_is_imported(environments: tuple[Path, Path], tmp_path: Path) -> None:
    to = compile_in(environments[0], tmp_path)
    said = imported(environments[0], to, "import importlib.util, own; print(own.__cached__)").stdout.strip()
    assert said == str(compiled(to)["own"])
    own = compiled(to)["own"]
    before = own.read_bytes()
    assert imported(environments[0], to, "import own; print(own.name)").stdout.strip() == "first"
    assert own.read_bytes() == before


def test_a_source_that_changed_is_not_run_as_it_was(environments: tuple[Path, Path], tmp_path: Path) -> None:
    folder = environments[0]
    to = compile_in(folder, tmp_path)
    times = (folder / "own.py").stat()
    (folder / "own.py").write_text("name = 'other'\n")  # as long as before, and of the same time
    os.utime(folder / "own.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert imported(folder, to, "import own; print(own.name)").stdout.strip() == "other"


def test_modules_that_cannot_be_compiled_or_are_skipped_stop_no_other(
    environments: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = environments[0]
    (folder / "for_another_python.py").write_text("print 'hello'\n")
    (folder / "nothing.py").write_bytes(b"\0")
    (folder / "deep.py").write_text("x = " + "-" * 100_000 + "1\n")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_own.py").write_text("")
    found = compiled(compile_in(folder, tmp_path))
    assert {"common", "own"} <= set(found) <= {"common", "own", "deep"}
    assert not [path for path in (tmp_path / "modules").iterdir() if path.suffix != ".pyc"]


def test_where_links_are_not_to_be_had_modules_are_copied_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(compile_modules.os, "link", refused)
    kept, target = tmp_path / "kept", tmp_path / "below" / "module.pyc"
    kept.write_bytes(b"whole")
    compile_modules.link(kept, target)
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]
