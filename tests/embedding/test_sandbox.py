"""Which sandbox is taken, what its command line says, and what a plain process is still kept from.

No container engine runs in these tests: a stand-in records how it is called and runs the command in a process
namespace, so that everything but the engine itself is tried.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import benchmark
from benchmark.commands.common import settings_of
from benchmark.datasets.store import Dataset
from benchmark.embedding import process, sandbox
from benchmark.embedding.environment import Environment
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.extraction import EmbeddingSettings, embed
from benchmark.embedding.sandbox import Limits, NoSandboxError, Plan, backends, choose_sandbox
from benchmark.embedding.sandbox.backends import Bubblewrap, Container, PlainProcess, find_bubblewrap, find_container
from benchmark.embedding.sandbox.plan import python_folders
from benchmark.schema import InvalidFileError
from benchmark.submission import LocalCheckpoint
from tests.embedding.families import WELL_BEHAVED, write_family

BUBBLEWRAP = find_bubblewrap()
needs_bubblewrap = pytest.mark.skipif(not isinstance(BUBBLEWRAP, Bubblewrap), reason=str(BUBBLEWRAP))

# Runs the command as the first process of a namespace of its own, as an engine does.
ENGINE = """#!{python}
import json, os, signal, subprocess, sys
from pathlib import Path
here = Path(__file__).parent
arguments = sys.argv[1:]
with (here / "calls").open("a") as stream:
    stream.write(json.dumps(arguments) + "\\n")
if arguments[0] == "version":
    print("27.3.1")
elif arguments[:2] == ["image", "inspect"]:
    sys.exit(0 if (here / "image").exists() else 1)
elif arguments[0] == "import":
    (here / "image").write_bytes(sys.stdin.buffer.read())
elif arguments[0] == "inspect":
    started = here / ("pid-" + arguments[-1])
    print(started.read_text() if started.exists() else "0")
elif arguments[0] == "rm":
    os.kill(int((here / ("pid-" + arguments[-1])).read_text()), signal.SIGKILL)
elif arguments[0] == "run":
    at = arguments.index("latent-matter-empty")
    pairs = zip(arguments, arguments[1:])
    variables = dict(value.split("=", 1) for word, value in pairs if word == "--env")
    command = ["bwrap", "--dev-bind", "/", "/", "--unshare-pid", "--as-pid-1", "--proc", "/proc", "--die-with-parent"]
    command += ["--chdir", "/tmp", "--", *arguments[at + 1 :]]
    child = subprocess.Popen(command, env={{**variables, "PATH": os.environ["PATH"]}})
    name = arguments[arguments.index("--name") + 1] if "--name" in arguments else ""
    (here / ("pid-" + name)).write_text(str(child.pid))
    sys.exit(child.wait())
"""


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
        _write_program(folder / name, "#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def add(name: str, script: str) -> Path:
        return _write_program(folder / name, script)

    return add


def _write_program(path: Path, script: str) -> Path:
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


def _options(words: list[str], name: str) -> list[str]:
    """Values of the option `name`."""
    return [value for word, value in itertools.pairwise(words) if word == name]


def _calls(engine: Path) -> list[list[str]]:
    return [json.loads(line) for line in (engine.parent / "calls").read_text().splitlines()]


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


@needs_bubblewrap
def test_a_container_engine_runs_a_worker_from_an_empty_image(
    tmp_path: Path,
    dataset: Dataset,
    settings: EmbeddingSettings,
    environment: Environment,
    programs: Callable[[str, str], Path],
) -> None:
    engine = programs("docker", ENGINE.format(python=sys.executable))
    confined = dataclasses.replace(settings, sandbox="required")
    # Slow to load, so that the engine can be asked for the worker's process while it lives.
    slow = WELL_BEHAVED.replace("self.scale = 1.0", "self.scale = 1.0; time.sleep(2)")
    entry = write_family(tmp_path / "toy", slow)
    sidecar = embed(entry, dataset, confined, environment=environment)
    assert sidecar.provenance.sandbox == "docker 27.3.1"
    assert sidecar.provenance.peak_memory_mb > 10
    assert (engine.parent / "image").read_bytes() == bytes(1024)
    runs = [call for call in _calls(engine) if call[0] == "run"]
    assert len(runs) == 3  # a trial, the features, the audit
    words = runs[1]
    for pair in (
        ["--network", "none"],
        ["--pull", "never"],
        ["--cap-drop", "ALL"],
        ["--security-opt", "no-new-privileges"],
        ["--log-driver", "none"],
        ["--pids-limit", "4096"],
    ):
        assert _options(words, pair[0]) == [pair[1]]
    assert "--read-only" in words and "--privileged" not in words
    assert [limit.partition("=")[0] for limit in _options(words, "--ulimit")] == ["core", "fsize", "cpu"]
    assert not _options(words, "--user")[0].startswith("0:")
    assert _options(words, "--memory") == _options(words, "--memory-swap") == [str(settings.limits.memory)]
    mounts = _options(words, "--mount")
    writable = [mount for mount in mounts if mount.startswith("type=bind") and not mount.endswith(",readonly")]
    assert len(writable) == 1
    assert writable[0].endswith("/output")
    targets = [mount.partition("target=")[2].partition(",")[0] for mount in mounts]
    assert str(entry.family.folder) in targets and "/usr" in targets
    assert not any(str(dataset.folder).startswith(target) for target in targets)
    assert {name.partition("=")[0] for name in _options(words, "--env")} <= {
        *("CUBLAS_WORKSPACE_CONFIG", "HF_HUB_OFFLINE", "HOME", "LANG", "LD_LIBRARY_PATH", "MKL_NUM_THREADS"),
        *("CUDA_VISIBLE_DEVICES", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PATH"),
        *("PYTHONHASHSEED", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED", "TMPDIR", "USER"),
    }
    names = [_options(call, "--name")[0] for call in runs]
    assert [call[1:] for call in _calls(engine) if call[0] == "rm"] == [["--force", name] for name in names]


@needs_bubblewrap
def test_a_container_that_hangs_is_removed(
    tmp_path: Path,
    dataset: Dataset,
    settings: EmbeddingSettings,
    environment: Environment,
    programs: Callable[[str, str], Path],
) -> None:
    engine = programs("docker", ENGINE.format(python=sys.executable))
    confined = dataclasses.replace(settings, sandbox="required", timeout=3)
    hanging = "class Hanging(Adapter):\n    def load(self, *_): time.sleep(1000)\n    def embed(self, inputs): pass\n"
    with pytest.raises(EmbeddingError, match="load: timed out after 3 s without progress"):
        embed(write_family(tmp_path / "toy", hanging), dataset, confined, environment=environment)
    ran = [int(noted.read_text()) for noted in engine.parent.glob("pid-*")]
    assert len(ran) == 2  # the trial and the worker
    assert not any(Path(f"/proc/{process}").exists() for process in ran)


KILLED = """
import sys, time
from pathlib import Path
from benchmark.embedding.sandbox import Limits, Plan
from benchmark.embedding.sandbox.backends import Container
folder, python = Path(sys.argv[1]), Path(sys.executable)
command = (str(python), "-I", "-S", "-c", "import time; time.sleep(1000)")
limits = Limits(memory=10**9)
plan = Plan(command, python, (), folder / "output", folder / "scratch", folder, {}, limits)
running = Container(sys.argv[2], "docker", "27").start(plan)
while running.root() is None: time.sleep(0.05)
print("started", flush=True)
time.sleep(1000)
"""


@needs_bubblewrap
def test_a_container_is_removed_when_we_are_killed(plan: Plan, programs: Callable[[str, str], Path]) -> None:
    engine = programs("docker", ENGINE.format(python=sys.executable))
    ours = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(plan.folder), str(engine)],
        cwd=Path(benchmark.__file__).parents[1],
        stdout=subprocess.PIPE,
    )
    assert ours.stdout is not None
    assert ours.stdout.readline() == b"started\n"
    (noted,) = engine.parent.glob("pid-*")
    inside = int(noted.read_text())
    ours.send_signal(signal.SIGKILL)
    ours.wait()
    for _ in range(200):
        if not Path(f"/proc/{inside}").exists() and any(call[0] == "rm" for call in _calls(engine)):
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{inside}").exists()
    assert [call[0] for call in _calls(engine)][-1] == "rm"
    ours.stdout.close()


def test_engines_get_a_gpu_only_when_it_is_asked_for(plan: Plan) -> None:
    asked = dataclasses.replace(plan, cuda=True)
    docker, podman = Container("docker", "docker", "27"), Container("podman", "podman", "5")
    assert "--gpus" not in docker.command(plan) and "--device" not in podman.command(plan)
    assert _options(docker.command(asked), "--gpus") == ["all"]
    assert _options(podman.command(asked), "--device") == ["nvidia.com/gpu=all"]


def test_podman_mounts_no_writable_folders_of_its_own_and_keeps_the_user(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends.os, "getuid", lambda: 1234)
    monkeypatch.setattr(backends.os, "getgid", lambda: 1235)
    words = Container("podman", "podman", "5").command(plan)
    assert "--read-only-tmpfs=false" in words
    assert _options(words, "--userns") == ["keep-id"]
    assert _options(words, "--user") == ["1234:1235"]


def test_a_path_that_would_add_an_option_to_a_mount_is_refused(plan: Plan) -> None:
    folder = plan.folder / "a,readonly=false"
    folder.mkdir()
    with pytest.raises(InvalidFileError, match="cannot mount a path with a comma"):
        Container("docker", "docker", "27").command(dataclasses.replace(plan, reads=(folder,)))


def test_an_engine_that_cannot_make_the_image_is_not_taken(programs: Callable[[str, str], Path]) -> None:
    programs("docker", '#!/bin/sh\n[ "$1" = version ] && echo 27.3.1 && exit 0\nexit 1\n')
    assert find_container("docker") == "docker cannot make an empty image"


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


FREE = """
class Free(Adapter):
    def load(self, checkpoint, options, device): pass
    def embed(self, inputs):
        output = Path(sys.argv[1]).parent / "output"
        values = np.concatenate([scalars(atoms) for atoms in inputs])
        BODY
        return Features({"backbone": Layer(values)})
"""


@pytest.mark.parametrize(
    ("body", "limits", "expected"),
    [
        ("[os.fork() for _ in range(6)]; time.sleep(100)", {"processes": 20}, "processes: more than 20 at once"),
        (
            "os.fork(); kept = np.ones(50_000_000); time.sleep(100)",
            {"memory": 600_000_000},
            "memory: took more than 600 MB in 2 processes",
        ),
        ("kept = np.ones(500_000_000)", {"memory": 1_000_000_000}, "memory: one structure alone does not fit"),
        (
            "[(output / str(n)).write_bytes(bytes(10**6)) for n in range(10**9)]",
            {"output": 10_000_000},
            "files: more than 10 MB were written",
        ),
        (
            "[Path(os.environ['HOME'], str(n)).write_bytes(bytes(10**6)) for n in range(10**9)]",
            {"output": 10_000_000},
            "files: more than 10 MB were written",
        ),
        ("time.sleep(100)", {"seconds": 3.0}, "time: ran longer than 3 s"),
    ],
)
def test_limits_hold_for_a_plain_process_too(
    body: str,
    limits: dict[str, float],
    expected: str,
    tmp_path: Path,
    dataset: Dataset,
    settings: EmbeddingSettings,
    environment: Environment,
) -> None:
    entry = write_family(tmp_path / "toy", FREE.replace("BODY", body))
    limited = dataclasses.replace(settings, limits=dataclasses.replace(Limits(), **limits))
    with pytest.raises(EmbeddingError) as caught:
        embed(entry, dataset, limited, environment=environment)
    assert str(caught.value).startswith(f"{entry.family.adapter}: {expected}")


def test_a_daemon_of_a_plain_process_is_ended(
    tmp_path: Path, dataset: Dataset, settings: EmbeddingSettings, environment: Environment
) -> None:
    note = tmp_path / "note"
    body = f"""
        if os.fork() == 0:
            os.setsid()
            if os.fork(): os._exit(0)
            Path({str(note)!r}).write_text(str(os.getpid()))
            time.sleep(1000)
        while not Path({str(note)!r}).exists(): time.sleep(0.01)"""
    embed(write_family(tmp_path / "toy", FREE.replace("BODY", body)), dataset, settings, environment=environment)
    try:
        state = Path(f"/proc/{int(note.read_text())}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return
    assert state in "ZX"  # nobody has asked for its end yet
