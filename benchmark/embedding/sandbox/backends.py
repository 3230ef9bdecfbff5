"""A worker as a plain process, in bubblewrap, or in a container."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.embedding.sandbox.plan import UNPRIVILEGED, Plan
from benchmark.embedding.sandbox.watch import Watch
from benchmark.schema import InvalidFileError

INSIDE_PATH = "/usr/local/bin:/usr/bin:/bin"
GPU_DEVICES = ("nvidia*", "nvidia-caps", "dxg", "kfd", "dri")
ENGINE_SECONDS = 120.0
SYSTEMD_VARIABLES = ("PATH", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
IMAGE = "latent-matter-empty"


@dataclass
class Running:
    """A worker that was started. `process` is what we wait for; `stop` ends it and all that it started."""

    process: subprocess.Popen[bytes]
    watch: Watch

    def root(self) -> int | None:
        """The process below which all others of the worker are; None while it is not known."""
        return self.process.pid

    def stop(self) -> None:
        """Returns when nothing of the worker runs any more, so that its files stand still."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.returncode is None:
            self.process.wait()
        self.watch.end()


class Sandbox(ABC):
    """One way of holding a worker.

    name: for the record. parent: process id of the worker's parent as the worker sees it. confines: the worker
    reaches nothing but its plan; without it only the limits hold.
    """

    name: str
    parent: int
    confines = True

    @abstractmethod
    def command(self, plan: Plan) -> list[str]:
        """The command line that runs the worker of `plan`."""

    def home(self, plan: Plan) -> Path:
        """The worker's home and folder for temporary files."""
        del plan
        return Path("/tmp")

    def variables(self, plan: Plan) -> dict[str, str]:
        """The worker's environment variables."""
        home = str(self.home(plan))
        return {**plan.variables, "PATH": INSIDE_PATH, "HOME": home, "TMPDIR": home, "USER": "worker"}

    def resource_limits(self, plan: Plan) -> dict[str, int]:
        """Names and values for `resource.setrlimit`, which the worker sets before it loads the adapter."""
        cores = os.cpu_count() or 1
        limits = {"FSIZE": plan.limits.output, "CPU": int(plan.limits.seconds * cores) + 1}
        # A GPU's driver reserves far more address space than there is memory.
        return limits if plan.cuda else {**limits, "DATA": plan.limits.memory}

    def start(self, plan: Plan) -> Running:
        """Start the worker of `plan`."""
        return Running(self._open(plan), Watch(plan.limits, [plan.output]))

    def _open(self, plan: Plan) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(plan),
            cwd=plan.scratch,
            env=self._open_variables(plan),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _open_variables(self, plan: Plan) -> dict[str, str]:
        """Variables of the program that we start, which hands them on to the worker."""
        return self.variables(plan)


class PlainProcess(Sandbox):
    """No confinement: the user's own rights, limits, and a watch."""

    name = "process"
    confines = False

    def __init__(self) -> None:
        self.parent = os.getpid()

    def command(self, plan: Plan) -> list[str]:
        """The worker's own command."""
        return list(plan.command)

    def home(self, plan: Plan) -> Path:
        """A folder of this run."""
        return plan.scratch

    def variables(self, plan: Plan) -> dict[str, str]:
        """As everywhere, but with the user's own PATH."""
        path = {"PATH": os.environ["PATH"]} if "PATH" in os.environ else {}
        return {**super().variables(plan), **path}

    def start(self, plan: Plan) -> Running:
        """Start the worker; its processes are known by their home."""
        watch = Watch(plan.limits, [plan.output, plan.scratch], marker=f"HOME={plan.scratch}")
        return Running(self._open(plan), watch)


class Bubblewrap(Sandbox):
    """Namespaces of its own for users, processes, network, mounts, names and messages; no capability."""

    parent = 1  # the init of its process namespace

    def __init__(self, program: str, version: str, scope: tuple[str, ...] = ()) -> None:
        """scope: systemd-run with the options that make a scope, where it works; control groups then hold limits."""
        self.program = program
        self.scope = scope
        self.name = f"bubblewrap {version}" + (" in a systemd scope" if scope else "")

    def command(self, plan: Plan) -> list[str]:
        """systemd-run where it works, bwrap, what it mounts, and the worker's command."""
        return [*self._scope(plan), *self._bubblewrap(plan)]

    def _scope(self, plan: Plan) -> list[str]:
        if not self.scope:
            return []
        most = {"MemoryMax": plan.limits.memory, "MemorySwapMax": 0, "TasksMax": plan.limits.tasks}
        properties = [f"--property={name}={value}" for name, value in most.items()]
        # systemd-run needs variables that the worker must not find, not even in /proc/1/environ.
        variables = [f"{name}={value}" for name, value in self.variables(plan).items()]
        return [*self.scope, *properties, "--", "/usr/bin/env", "-i", *variables]

    def _open_variables(self, plan: Plan) -> dict[str, str]:
        if not self.scope:
            return super()._open_variables(plan)
        return {name: os.environ[name] for name in SYSTEMD_VARIABLES if name in os.environ}

    def _bubblewrap(self, plan: Plan) -> list[str]:
        size = str(plan.limits.temporary)
        user = str(UNPRIVILEGED)
        command = [self.program, "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"]
        command += ["--new-session", "--cap-drop", "ALL", "--uid", user, "--gid", user, "--hostname", "worker"]
        command += ["--proc", "/proc", "--dev", "/dev"]
        command += ["--size", size, "--tmpfs", "/tmp", "--size", size, "--tmpfs", "/dev/shm"]
        mounts = plan.mounts()
        masks = plan.masks(mounts)
        steps = [(mount.target, ["--ro-bind", str(mount.source), str(mount.target)]) for mount in mounts]
        steps += [(mask, ["--tmpfs", str(mask)]) for mask in masks]
        steps += [(plan.output, ["--bind", str(plan.output), str(plan.output)])]
        steps += [(device, ["--dev-bind", str(device), str(device)]) for device in gpu_devices(plan)]
        for _, words in sorted(steps, key=lambda step: len(step[0].parts)):
            command += words
        for folder in (*masks, Path("/dev"), Path("/")):
            command += ["--remount-ro", str(folder)]
        return [*command, "--chdir", "/tmp", "--", *plan.command]

    def resource_limits(self, plan: Plan) -> dict[str, int]:
        """Its user namespace counts its own tasks; for the administrator the kernel never counts."""
        return {**super().resource_limits(plan), "NPROC": plan.limits.tasks}


def gpu_devices(plan: Plan) -> list[Path]:
    """Device files of this machine's accelerators, where the worker is to use them."""
    return sorted({path for name in GPU_DEVICES for path in Path("/dev").glob(name)}) if plan.cuda else []


@dataclass
class RunningContainer(Running):
    """A container: its processes are children of the engine, not of the program that we started.

    reaper: waits for the end of its input, which comes when we close it or die, and removes the container.
    """

    engine: str = ""
    container: str = ""
    reaper: subprocess.Popen[bytes] | None = None
    found: list[int] = field(default_factory=list)

    def root(self) -> int | None:
        """Asked of the engine until it knows."""
        if not self.found:
            told = _ask(self.engine, "inspect", "--format", "{{.State.Pid}}", self.container)
            if told is not None and told.isdigit() and int(told) > 0:
                self.found.append(int(told))
        return self.found[0] if self.found else None

    def stop(self) -> None:
        """Remove the container, then as for any other."""
        if self.reaper is not None and self.reaper.stdin is not None:
            self.reaper.stdin.close()
            self.reaper.wait()
        super().stop()


class Container(Sandbox):
    """docker or podman, with an empty image: all that the worker sees of programs is mounted from this machine.

    Nothing is pulled, and the engine enforces memory and tasks by control groups.
    """

    parent = 0  # the worker is the first process of its namespace

    def __init__(self, engine: str, kind: str, version: str) -> None:
        self.engine = engine
        self.kind = kind
        self.name = f"{kind} {version}"

    def command(self, plan: Plan, container: str = "") -> list[str]:
        """engine run, limits, mounts, variables, image, and the worker's command."""
        limits = plan.limits
        user = f"{os.getuid()}:{os.getgid()}" if os.getuid() else f"{UNPRIVILEGED}:{UNPRIVILEGED}"
        words: list[str] = [self.engine, "run", "--pull", "never", "--network", "none", "--read-only"]
        words += ["--name", container] if container else ["--rm"]
        words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", user, "--hostname", "worker"]
        words += ["--ipc", "private", "--log-driver", "none", "--workdir", "/tmp"]
        words += ["--memory", str(limits.memory), "--memory-swap", str(limits.memory)]
        words += ["--pids-limit", str(limits.tasks), "--shm-size", str(limits.temporary)]
        most = self.resource_limits(plan)
        words += ["--ulimit", "core=0", "--ulimit", f"fsize={most['FSIZE']}", "--ulimit", f"cpu={most['CPU']}"]
        words += ["--tmpfs", f"/tmp:rw,exec,nosuid,nodev,mode=1777,size={limits.temporary}"]
        words += self._of_the_kind(plan)
        mounts = plan.mounts()
        for mount in mounts:
            words += ["--mount", bind(mount.source.resolve(), mount.target, readonly=True)]
        for mask in plan.masks(mounts):
            words += ["--mount", f"type=tmpfs,target={quotable(mask)},tmpfs-size=4096,tmpfs-mode=0555"]
        words += ["--mount", bind(plan.output.resolve(), plan.output, readonly=False)]
        for name, value in sorted(self.variables(plan).items()):
            words += ["--env", f"{name}={value}"]
        return [*words, IMAGE, *plan.command]

    def _of_the_kind(self, plan: Plan) -> list[str]:
        """What the two engines call differently."""
        if self.kind == "docker":
            return ["--gpus", "all"] if plan.cuda else []
        words = ["--read-only-tmpfs=false", "--security-opt", "label=disable"]
        words += ["--userns", "keep-id"] if os.getuid() else []
        return [*words, "--device", "nvidia.com/gpu=all"] if plan.cuda else words

    def start(self, plan: Plan) -> Running:
        """Start the container, and beside it the process that removes it, also when we are killed."""
        container = f"latent-matter-{os.getpid()}-{secrets.token_hex(6)}"
        if not os.getuid():
            os.chown(plan.output, UNPRIVILEGED, UNPRIVILEGED)
        script = 'cat >/dev/null; "$0" rm --force "$1" >/dev/null 2>&1'
        reaper = subprocess.Popen(
            ["sh", "-c", script, self.engine, container],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        process = subprocess.Popen(
            self.command(plan, container),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        watch = Watch(plan.limits, [plan.output])
        return RunningContainer(process, watch, engine=self.engine, container=container, reaper=reaper)


def bind(source: Path, target: Path, readonly: bool) -> str:
    """A bind mount as --mount wants it."""
    suffix = ",readonly" if readonly else ""
    return f"type=bind,source={quotable(source)},target={quotable(target)}{suffix}"


def quotable(path: Path) -> str:
    """`path`, which must not break the comma-separated value that it is put into. Raises InvalidFileError."""
    if any(letter in str(path) for letter in ',"\n'):
        raise InvalidFileError(f"{path}: a container cannot mount a path with a comma, a quote or a line break")
    return str(path)


def _ask(program: str, *arguments: str, content: bytes | None = None) -> str | None:
    """What `program` prints, or None when it fails."""
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if content is None else {"input": content}
    try:
        result = subprocess.run(
            [program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=ENGINE_SECONDS,
            check=False,
            **given,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.decode(errors="replace").strip() if result.returncode == 0 else None


def find_bubblewrap() -> Bubblewrap | str:
    """bubblewrap of this machine, or why there is none."""
    program = shutil.which("bwrap")
    if program is None or sys.platform != "linux":
        return "bubblewrap is not installed"
    version = (_ask(program, "--version") or "unknown").rpartition(" ")[2]
    numbers = [int(part) for part in version.split(".") if part.isdigit()]
    if numbers < [0, 8]:
        return f"bubblewrap {version} is older than 0.8"
    return Bubblewrap(program, version, find_scope())


def find_scope() -> tuple[str, ...]:
    """systemd-run with the options that make a scope of our own, or nothing where it does not work."""
    program = shutil.which("systemd-run")
    if program is None:
        return ()
    whose = ["--user"] if os.getuid() else []
    scope = (program, *whose, "--scope", "--quiet", "--collect")
    return scope if _ask(*scope, "--property=MemoryMax=1G", "--", "/usr/bin/env", "true") is not None else ()


def find_container(kind: str) -> Container | str:
    """The container engine `kind` (docker, podman) with the empty image in place, or why there is none."""
    program = shutil.which(kind)
    if program is None or sys.platform != "linux":
        return f"{kind} is not installed"
    shown = "{{.Server.Version}}" if kind == "docker" else "{{.Client.Version}}"
    version = _ask(program, "version", "--format", shown)
    if not version:
        return f"{kind} does not answer"
    if _ask(program, "image", "inspect", IMAGE) is None:
        # An archive without members: two blocks of zeros.
        imported = _ask(program, "import", "-", IMAGE, content=bytes(1024))
        if imported is None:
            return f"{kind} cannot make an empty image"
    return Container(program, kind, version)
