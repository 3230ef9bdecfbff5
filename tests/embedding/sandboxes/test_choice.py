"""Which sandbox is taken, what bubblewrap shows and hides, and what is said where there is none."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import benchmark
from benchmark.commands.common import settings_of
from benchmark.datasets.store import Dataset
from benchmark.embedding.environment import Environment
from benchmark.embedding.extraction import EmbeddingSettings, embed
from benchmark.embedding.sandbox import NoSandboxError, Plan, choose_sandbox
from benchmark.embedding.sandbox.backends import Bubblewrap, PlainProcess, find_bubblewrap
from benchmark.embedding.sandbox.plan import python_folders
from benchmark.schema import InvalidFileError
from benchmark.submission import LocalCheckpoint
from tests.embedding.families import write_family
from tests.embedding.sandboxes.bubblewrap import BUBBLEWRAP, needs_bubblewrap


def test_without_any_sandbox_required_refuses_in_one_line_and_auto_takes_a_plain_process(
    programs: Callable[[str, str], Path],
) -> None:
    programs("bwrap", "#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    with pytest.raises(NoSandboxError) as caught:
        choose_sandbox("required")
    assert str(caught.value) == (
        "--sandbox required: no sandbox works here: docker does not answer; podman does not answer; "
        "bubblewrap unknown is older than 0.8"
    )
    assert choose_sandbox("auto").name == "process"
    assert not choose_sandbox("auto").confines


def test_a_sandbox_that_is_there_but_does_not_work_is_not_taken(programs: Callable[[str, str], Path]) -> None:
    answer = '[ "$1" = --version ] && echo bubblewrap 0.9.0 && exit 0'
    programs("bwrap", f"#!/bin/sh\n{answer}\necho 'setting up uid map: no' >&2\nexit 1\n")
    with pytest.raises(NoSandboxError, match=r"bubblewrap 0\.9\.0 fails: setting up uid map: no$"):
        choose_sandbox("required")


def test_an_old_bubblewrap_is_not_taken(programs: Callable[[str, str], Path]) -> None:
    programs("bwrap", "#!/bin/sh\necho bubblewrap 0.6.2\n")
    assert find_bubblewrap() == "bubblewrap 0.6.2 is older than 0.8"


def test_none_takes_a_plain_process_whatever_there_is() -> None:
    assert isinstance(choose_sandbox("none"), PlainProcess)


def test_the_command_line_refuses_or_says_that_there_is_no_sandbox(
    programs: Callable[[str, str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs("bwrap", "#!/bin/sh\nexit 1\n")

    def said(mode: str) -> str:
        settings_of(tmp_path, tmp_path, "cpu", 1, 60.0, None, True, {}, mode)
        return capsys.readouterr().err

    with pytest.raises(SystemExit) as wrong:
        said("maybe")
    assert wrong.value.code == 2
    assert capsys.readouterr().err == "--sandbox: found 'maybe', accepted are auto, required, none\n"
    with pytest.raises(InvalidFileError, match=r"^--sandbox required: no sandbox works here: docker does not answer"):
        said("required")
    line = said("auto")
    assert line.startswith("no sandbox works here, so models run as plain processes with your rights: docker does")
    assert line.count("\n") == 1
    assert said("none") == ""


@needs_bubblewrap
def test_bubblewrap_runs_a_worker_and_the_record_says_so(
    tmp_path: Path,
    dataset: Dataset,
    settings: EmbeddingSettings,
    environment: Environment,
    programs: Callable[[str, str], Path],
) -> None:
    del programs
    confined = dataclasses.replace(settings, sandbox="required")
    sidecar = embed(write_family(tmp_path / "toy"), dataset, confined, environment=environment)
    assert isinstance(BUBBLEWRAP, Bubblewrap)
    assert sidecar.provenance.sandbox == BUBBLEWRAP.name
    assert sidecar.provenance.peak_memory_mb > 10
    free = dataclasses.replace(settings, cache=tmp_path / "other")
    plain = embed(write_family(tmp_path / "toy"), dataset, free, environment=environment)
    assert plain.provenance.sandbox == "process"
    assert plain.arrays_sha256 == sidecar.arrays_sha256


@needs_bubblewrap
def test_bubblewrap_shows_the_plan_and_hides_the_benchmark_and_what_is_hidden(plan: Plan) -> None:
    assert isinstance(BUBBLEWRAP, Bubblewrap)
    package = Path(benchmark.__file__).parent
    vault = plan.folder / "readable" / "vault"
    vault.mkdir(parents=True)
    (vault / "labels").write_text("secret")
    (vault.parent / "weights").write_text("weights")
    script = (
        "import os, pathlib\n"
        f"assert not any(pathlib.Path({str(package)!r}).iterdir())\n"
        f"assert not any(pathlib.Path({str(vault)!r}).iterdir())\n"
        f"assert pathlib.Path({str(vault.parent / 'weights')!r}).read_text() == 'weights'\n"
        "assert os.getuid() == os.getgid() == 65534 and os.getpid() == 2 and os.getppid() == 1\n"
        "import pwd; assert pwd.getpwuid(os.getuid()).pw_name == 'worker'\n"
        "assert sorted(os.environ) == ['HOME', 'LANG', 'PATH', 'PWD', 'TMPDIR', 'USER'], sorted(os.environ)\n"
        "assert os.listdir('/sys/class/net') if os.path.exists('/sys/class/net') else True\n"
        "import socket; assert [name for _, name in socket.if_nameindex()] == ['lo']\n"
    )
    reads = (package.parent, vault.parent)
    asked = dataclasses.replace(
        plan, command=(*plan.command[:-1], script + plan.command[-1]), reads=reads, hidden=(vault,)
    )
    running = BUBBLEWRAP.start(asked)
    printed, _ = running.process.communicate(timeout=60)
    running.stop()
    assert running.process.returncode == 0, printed.decode()
    assert (plan.output / "here").is_file()


LOADING = """
class Loading(Adapter):
    def load(self, checkpoint, options, device):
        self.scale = float((checkpoint / "scale").read_text())
    def embed(self, inputs):
        return Features({"backbone": Layer(np.concatenate([scalars(atoms, self.scale) for atoms in inputs]))})
"""


@needs_bubblewrap
def test_a_checkpoint_that_is_a_folder_of_links_can_be_read(
    tmp_path: Path,
    dataset: Dataset,
    settings: EmbeddingSettings,
    environment: Environment,
    programs: Callable[[str, str], Path],
) -> None:
    del programs
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "0123").write_text("2.0")
    folder = tmp_path / "snapshots" / "main"
    folder.mkdir(parents=True)
    (folder / "scale").symlink_to("../../blobs/0123")
    checkpoint = LocalCheckpoint(kind="local", file="scale", note="Made by a test.")
    entry = write_family(tmp_path / "toy", LOADING, checkpoint=checkpoint)
    confined = dataclasses.replace(settings, sandbox="required", checkpoints={"toy": folder})
    assert embed(entry, dataset, confined, environment=environment).structures == len(dataset.structures())


@needs_bubblewrap
def test_a_systemd_scope_is_asked_for_limits_and_gives_the_worker_no_variables(
    plan: Plan, programs: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = '#!/bin/sh\necho "$@" >> "$0.calls"\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n'
    runner = programs("systemd-run", script)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/secret")
    found = find_bubblewrap()
    assert isinstance(found, Bubblewrap)
    assert found.name.endswith(" in a systemd scope")
    check = "import os; assert not any('DBUS' in open(f'/proc/{n}/environ').read() for n in (1, 2)); "
    running = found.start(dataclasses.replace(plan, command=(*plan.command[:-1], check + plan.command[-1])))
    printed, _ = running.process.communicate(timeout=60)
    running.stop()
    assert running.process.returncode == 0, printed.decode()
    asked = runner.with_name("systemd-run.calls").read_text().splitlines()[-1]
    assert "--scope" in asked
    assert "--property=MemoryMax=2000000000 --property=MemorySwapMax=0 --property=TasksMax=4096" in asked


def test_a_python_in_a_home_does_not_show_the_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python3").symlink_to(sys.executable)
    environment = tmp_path / "environment" / "bin"
    environment.mkdir(parents=True)
    (environment / "python").symlink_to(home / "bin" / "python3")
    folders = python_folders(environment / "python")
    assert home / "bin" in folders and environment.parent in folders
    assert not any(home == folder or home.is_relative_to(folder) for folder in folders)


def test_folders_of_libraries_are_shown_unless_they_hold_the_home(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries, home = tmp_path / "libraries", tmp_path / "people" / "me"
    libraries.mkdir()
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    value = f"{libraries}:{home.parent}:relative:"
    mounts = dataclasses.replace(plan, variables={"LD_LIBRARY_PATH": value}).mounts()
    targets = {mount.target for mount in mounts}
    assert libraries in targets
    assert home.parent not in targets and home not in targets
