"""What a container engine is asked for.

No engine runs in these tests: a stand-in records how it is called and runs the command in a process namespace, so
that everything but the engine itself is tried.
"""

import dataclasses
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import benchmark
from benchmark.datasets.store import Dataset
from benchmark.embedding.environment import Environment
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.extraction import EmbeddingSettings, embed
from benchmark.embedding.sandbox import Plan, backends
from benchmark.embedding.sandbox.backends import Container, find_container
from benchmark.schema import InvalidFileError
from tests.embedding.families import WELL_BEHAVED, write_family
from tests.embedding.sandboxes.bubblewrap import needs_bubblewrap

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


def _options(words: list[str], name: str) -> list[str]:
    """Values of the option `name`."""
    return [value for word, value in itertools.pairwise(words) if word == name]


def _calls(engine: Path) -> list[list[str]]:
    return [json.loads(line) for line in (engine.parent / "calls").read_text().splitlines()]


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
