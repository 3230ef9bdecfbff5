"""Seeing from outside what a worker takes, and ending it and everything it started.

Works on Linux through /proc. Elsewhere nothing is seen but the worker itself, and only its time, its files
and its process group are watched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.embedding.sandbox.plan import Limits

MB = 1_000_000
KIB = 1024
END_SECONDS = 20.0
Started = tuple[int, int]  # process id and start time: an id alone may be given to another process


class LimitExceededError(Exception):
    """A worker took more than it may; `check` names of what."""

    def __init__(self, check: str, message: str) -> None:
        self.check = check
        super().__init__(message)


@dataclass
class Watch:
    """Looks at a worker now and then. `folders` are those that it can write to."""

    limits: Limits
    folders: Sequence[Path]
    marker: str | None = None  # part of an environment variable that only this worker's processes have
    started: float = field(default_factory=time.monotonic)
    peak_bytes: int = 0
    seen: set[Started] = field(default_factory=set)

    def look(self, root: int | None) -> None:
        """Raise LimitExceededError when the processes below `root` and their files are over a limit."""
        if time.monotonic() - self.started > self.limits.seconds:
            raise LimitExceededError("time", f"ran longer than {self.limits.seconds:g} s")
        self._look_at_files()
        if root is not None:
            self._look_at_processes(root)

    def _look_at_processes(self, root: int) -> None:
        resident, ids = 0, []
        for process in _tree(root):
            start = _start_time(process)
            if start is not None:
                self.seen.add((process, start))
            ids.append(process)
            now, most = _resident(process)
            resident += now
            self.peak_bytes = max(self.peak_bytes, most)
            if len(ids) > self.limits.processes:
                raise LimitExceededError("processes", f"more than {self.limits.processes} at once")
        if resident > self.limits.memory and sum(map(_private, ids)) > self.limits.memory:
            taken = f"more than {self.limits.memory / MB:.0f} MB in {len(ids)} processes"
            raise LimitExceededError("memory", f"took {taken}")

    def _look_at_files(self) -> None:
        size = 0
        for count, status in enumerate(_files(self.folders), start=1):
            size += status.st_blocks * 512
            if count > self.limits.files:
                raise LimitExceededError("files", f"more than {self.limits.files} were written")
        if size > self.limits.output:
            raise LimitExceededError("files", f"more than {self.limits.output / MB:.0f} MB were written")

    def end(self) -> None:
        """Kill whatever is left of the processes that were seen, and wait until they are gone."""
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline:
            left = {known for known in self.seen if _is_alive(known)}
            if self.marker is not None:
                left |= _marked(self.marker)
            for process, _ in list(left):
                left |= {(child, start) for child in _tree(process) if (start := _start_time(child)) is not None}
                self.seen |= left
            if not left:
                return
            for process, _ in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.02)


def _tree(root: int) -> Iterator[int]:
    """`root` and its living descendants."""
    waiting = [root]
    while waiting:
        process = waiting.pop()
        yield process
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                with contextlib.suppress(OSError):
                    waiting += [int(child) for child in (task / "children").read_text().split()]


def _stat(process: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; [] when there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _start_time(process: int) -> int | None:
    fields = _stat(process)
    return int(fields[19]) if len(fields) > 19 else None


def _is_alive(known: Started) -> bool:
    fields = _stat(known[0])
    return len(fields) > 19 and int(fields[19]) == known[1] and fields[0] not in "ZX"


def _resident(process: int) -> tuple[int, int]:
    """Resident memory now and at most, in bytes."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(errors="replace").splitlines()
    except OSError:
        return 0, 0
    sizes = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    now, most = (int(sizes.get(name, ["0"])[0]) * KIB for name in ("VmRSS", "VmHWM"))
    return now, most


def _private(process: int) -> int:
    """Bytes that this process alone accounts for: what is shared counts once, files of the page cache not at all."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return _resident(process)[0]
    sizes = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    if "Pss_Anon" not in sizes:
        return sizes.get("Pss", 0) * KIB
    return (sizes["Pss_Anon"] + sizes.get("Pss_Shmem", 0)) * KIB


def _marked(marker: str) -> set[Started]:
    """Processes of ours that carry `marker` in their environment: those a worker left behind."""
    found = set()
    wanted = marker.encode()
    for entry in Path("/proc").iterdir() if Path("/proc").is_dir() else []:
        with contextlib.suppress(OSError, ValueError):
            process = int(entry.name)
            if process != os.getpid() and wanted in (entry / "environ").read_bytes():
                start = _start_time(process)
                if start is not None and _is_alive((process, start)):
                    found.add((process, start))
    return found


def _files(folders: Sequence[Path]) -> Iterator[os.stat_result]:
    waiting = [str(folder) for folder in folders]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
