"""What a model's process may reach and how much it may take, whichever sandbox holds it.

Inside there is the system's software, the model's environment, its adapter, its checkpoint and the
structures, all read-only; one output folder; a private /tmp. Homes, data sets, labels, the features of
other models and the benchmark itself do not exist there.
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import benchmark
from benchmark.datasets.store import dataset_folders

# Programs and shared libraries. /nix and /gnu are where some distributions keep all of them.
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
# Packages count the processors there.
HARDWARE = ("/sys/devices/system/cpu", "/sys/devices/system/node")
GPU_HARDWARE = ("/sys",)
PYTHON_PARTS = ("bin", "lib", "lib64", "include")
UNPRIVILEGED = 65534
PASSWD = f"worker:x:{UNPRIVILEGED}:{UNPRIVILEGED}:worker:/tmp:/bin/false\n"
MEMORY_SHARE = 0.8
GIB = 1 << 30


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@dataclass(frozen=True)
class Limits:
    """How much a worker and everything that it starts may take together.

    memory, output, temporary: bytes; temporary holds for /tmp and for shared memory each.
    tasks: threads of all processes, where the sandbox can count them. seconds: of wall time.
    """

    memory: int = field(default_factory=lambda: int(MEMORY_SHARE * _machine_memory()))
    processes: int = 256
    tasks: int = 4096
    output: int = 64 * GIB
    files: int = 10_000
    temporary: int = 2 * GIB
    seconds: float = 24 * 3600.0


@dataclass(frozen=True)
class Mount:
    """`source` of this machine appears as `target` in the sandbox."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """One worker: its command and all that exists for it.

    folder: of this machine, holds what the sandbox itself needs; scratch: the worker's home where /tmp
    cannot be private.
    """

    command: tuple[str, ...]
    python: Path
    reads: tuple[Path, ...]
    output: Path
    scratch: Path
    folder: Path
    variables: Mapping[str, str]
    limits: Limits
    cuda: bool = False
    hidden: tuple[Path, ...] = ()

    def mounts(self) -> list[Mount]:
        """What appears read-only, parents before what lies in them."""
        passwd = self.folder / "passwd"
        if not passwd.is_file():
            passwd.write_text(PASSWD)
        hardware = GPU_HARDWARE if self.cuda else HARDWARE
        paths = [Path(name) for name in (*SYSTEM, *SYSTEM_FILES, *hardware)]
        paths += [*python_folders(self.python), *library_folders(self.variables), *self.reads]
        present = sorted({path for path in paths if path.exists()}, key=lambda path: (len(path.parts), str(path)))
        return [*(Mount(path, path) for path in present), Mount(passwd, Path("/etc/passwd"))]

    def masks(self, mounts: Iterable[Mount]) -> list[Path]:
        """Folders inside `mounts` that must look empty."""
        secret = [Path(benchmark.__file__).parent, *dataset_folders(), *self.hidden]
        found = set()
        for mount in mounts:
            base = mount.source.resolve()
            for path in {folder.resolve() for folder in secret if folder.is_dir()}:
                if path != base and path.is_relative_to(base):
                    found.add(mount.target / path.relative_to(base))
        return sorted(found, key=lambda path: (len(path.parts), str(path)))


def python_folders(python: Path) -> list[Path]:
    """Folders that the interpreter `python` of an environment needs: its own, and those it links to."""
    folders = [python.parent.parent]
    prefixes = [Path(prefix) for prefix in interpreter_facts(python)[1:]]
    link = python
    while link.is_symlink():
        link = link.parent / link.readlink()
        prefixes.append(link.parent.parent)
    # Never a whole prefix: it may be somebody's home.
    folders += [prefix / part for prefix in prefixes for part in PYTHON_PARTS]
    return [Path(os.path.normpath(folder)) for folder in folders]


@functools.cache
def interpreter_facts(python: Path) -> tuple[str, str, str]:
    """Folder of the standard library and the two base prefixes, asked without running any package's code."""
    script = "import os, sys; print(os.path.dirname(os.__file__), sys.base_prefix, sys.base_exec_prefix, sep='\\n')"
    command = [str(python), "-I", "-S", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    library, prefix, exec_prefix = result.stdout.splitlines()
    return library, prefix, exec_prefix


def library_folders(variables: Mapping[str, str]) -> Iterator[Path]:
    """Folders of LD_LIBRARY_PATH, but none that holds the user's home."""
    home = Path.home()
    for name in variables.get("LD_LIBRARY_PATH", "").split(":"):
        folder = Path(name)
        if folder.is_absolute() and not home.is_relative_to(folder):
            yield folder
