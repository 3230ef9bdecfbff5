"""One measured cell: one call at one size, in a fresh process under a time and a memory limit.

A cell is kept as a JSON file under a key of all that it depends on (call, size, options, versions, machine, and for
this project's own code its source), so a second run measures only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import selectors
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CALLS_FILE = Path(__file__).with_name("calls.py")
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Limits:
    """When a cell's process is ended: wall seconds, and bytes of resident memory."""

    seconds: float
    bytes: int


@dataclass
class Measured:
    """What came of a cell. `ended` says why the process was stopped, empty where it finished.

    `seconds` and `values` have an entry an input that was finished; `peak` is the process's largest resident set in
    bytes, libraries and features included.
    """

    call: str
    n: int
    seconds: list[float] = field(default_factory=list)
    values: list[dict[str, float]] = field(default_factory=list)
    peak: int = 0
    ended: str = ""
    date: str = ""

    @property
    def broken(self) -> bool:
        """Whether the call failed for another reason than a limit, of which a second try may know nothing."""
        return bool(self.ended) and not self.ended.startswith("ended")

    @property
    def mean_seconds(self) -> float:
        """Seconds an input. ValueError: none was finished."""
        if not self.seconds:
            raise ValueError(f"{self.call} at n={self.n}: nothing measured ({self.ended})")
        return sum(self.seconds) / len(self.seconds)


def measure(
    python: str, call: str, n: int, inputs: Sequence[Sequence[Path]], options: dict[str, Any], limits: Limits
) -> Measured:
    """Run a call on every input in one fresh process and watch it."""
    request = {"call": call, "inputs": [[str(file) for file in files] for files in inputs], **options}
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    result = Measured(call, n)
    with (
        subprocess.Popen(
            [python, "-P", str(CALLS_FILE), json.dumps(request)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        _watch(process, selector, result, limits)
    return result


def _watch(
    process: subprocess.Popen[bytes], selector: selectors.BaseSelector, result: Measured, limits: Limits
) -> None:
    assert process.stdout is not None and process.stderr is not None
    started = time.monotonic()
    streams = {process.stdout.fileno(): b"", process.stderr.fileno(): b""}
    for descriptor in streams:
        selector.register(descriptor, selectors.EVENT_READ)
    while selector.get_map():
        for key, _ in selector.select(POLL_SECONDS):
            chunk = os.read(key.fd, 65536)
            streams[key.fd] += chunk
            if not chunk:
                selector.unregister(key.fd)
        resident = _resident(process.pid)
        result.peak = max(result.peak, resident)
        if not result.ended and resident > limits.bytes:
            result.ended = f"ended at {resident / 2**30:.1f} GiB"
            process.kill()
        if not result.ended and time.monotonic() - started > limits.seconds:
            result.ended = f"ended after {limits.seconds:.0f} s"
            process.kill()
    process.wait()
    out, error = (streams[stream.fileno()].decode() for stream in (process.stdout, process.stderr))
    for line in out.splitlines():
        if line.startswith('{"seconds"'):
            found = json.loads(line)
            result.seconds.append(found["seconds"])
            result.values.append(found["values"])
            result.peak = max(result.peak, found["peak"])
    if process.returncode and not result.ended:
        lines = error.strip().splitlines()
        result.ended = lines[-1] if lines else f"ended by signal {-process.returncode}"
        if "MemoryError: " in result.ended:
            result.ended = "ended: " + result.ended.split("MemoryError: ", 1)[1].lower()


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Store:
    """Measured cells on disk."""

    folder: Path

    def get(self, key: dict[str, Any]) -> Measured | None:
        """The cell measured under this key, if there is one."""
        path = self._path(key)
        return Measured(**json.loads(path.read_text())["measured"]) if path.exists() else None

    def put(self, key: dict[str, Any], measured: Measured) -> None:
        """Keep a cell."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self._path(key).with_suffix(".partial")
        partial.write_text(json.dumps({"key": key, "measured": asdict(measured)}, indent=1))
        partial.replace(self._path(key))

    def _path(self, key: dict[str, Any]) -> Path:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / f"{key['call']}-n{key['n']}-{digest}.json"


def source_digest(files: Sequence[Path]) -> str:
    """Digest of source files: a cell is measured again when the code that it ran has changed."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
