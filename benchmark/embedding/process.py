"""Starting, watching and ending the worker process of a model.

The worker gets a staged folder with the few modules that it needs, an empty home, a handful of
environment variables and no standard input. What it prints goes into a log of bounded size. It and
everything it started are killed when it stops making progress and when this process is interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import benchmark
from benchmark.embedding.environment import Environment
from benchmark.embedding.errors import EmbeddingError, Progress
from benchmark.files import content_key, sha256_of_file, write_json

SANDBOX = "process"
# The only parts of the benchmark that a model's process can import.
RUNTIME_MODULES = ("__init__.py", "adapter.py", "embedding/__init__.py", "embedding/worker.py")
INHERITED_VARIABLES = ("PATH", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "SYSTEMROOT")
LOG_BYTES = 10_000_000
MESSAGE_BYTES = 100_000
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Usage:
    """What a worker took."""

    wall_seconds: float
    peak_memory_mb: float


def run_worker(
    job: Mapping[str, Any],
    environment: Environment,
    folder: Path,
    *,
    cache: Path,
    threads: int,
    timeout: float,
    progress: Progress | None = None,
) -> Usage:
    """Run `job` (see worker.py) in `folder`; its files appear in `folder`/output.

    timeout: longest time in seconds between two signs of progress: start, loaded, batch after batch.
    Raises EmbeddingError naming the adapter and what happened when the worker does not finish its steps.
    """
    output, scratch = folder / "output", folder / "scratch"
    output.mkdir(parents=True, exist_ok=True)
    for name in ("error.json", "progress.json"):
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    job_path = folder / "job.json"
    write_json(job_path, {**job, "output": str(output), "threads": threads, "parent": os.getpid()})
    command = [str(environment.python), "-s", "-X", "faulthandler", "-m", "benchmark.embedding.worker", str(job_path)]
    variables = _variables(stage_runtime(cache), scratch, threads, _bytecode(cache, environment, job))
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            confine(command, reads=[job_path], writes=[output, scratch]),
            cwd=scratch,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        peak = _watch(process, Path(job["adapter"]), job, folder, timeout, progress)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Usage(round(time.monotonic() - started, 3), round(peak, 1))


def confine(command: list[str], reads: list[Path], writes: list[Path]) -> list[str]:
    """The command line that runs `command` confined; `reads` and `writes` are what it has to reach.

    Today the confinement is a process of its own (SANDBOX says so in every record); a container or
    bubblewrap wraps the command line here.
    """
    del reads, writes
    return command


def stage_runtime(cache: Path) -> Path:
    """A folder whose `benchmark` package holds the worker's modules and nothing else of ours."""
    source = Path(benchmark.__file__).parent
    hashes = {name: sha256_of_file(source / name) for name in RUNTIME_MODULES}
    target = Path(cache).absolute() / "runtime" / content_key(hashes)[:12]
    for name, expected in hashes.items():
        staged = target / "benchmark" / name
        if not staged.is_file() or sha256_of_file(staged) != expected:
            staged.parent.mkdir(parents=True, exist_ok=True)
            temporary = staged.with_name(f".{staged.name}.{os.getpid()}.{threading.get_ident()}.tmp")
            shutil.copyfile(source / name, temporary)
            temporary.replace(staged)
    return target


def _bytecode(cache: Path, environment: Environment, job: Mapping[str, Any]) -> Path:
    """Where the worker keeps compiled modules: one folder an environment and adapter, so that no adapter
    can leave bytecode for another one, and no start but the first has to compile its packages."""
    identity = content_key([environment.key, str(environment.python), sha256_of_file(Path(job["adapter"]))])
    return Path(cache).absolute() / "bytecode" / identity[:12]


def _variables(runtime: Path, scratch: Path, threads: int, bytecode: Path) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {
        **inherited,
        **dict.fromkeys(counts, str(threads)),
        "PYTHONPATH": str(runtime),
        "PYTHONPYCACHEPREFIX": str(bytecode),
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "HF_HUB_OFFLINE": "1",
    }


def _watch(
    process: subprocess.Popen[bytes],
    adapter: Path,
    job: Mapping[str, Any],
    folder: Path,
    timeout: float,
    progress: Progress | None,
) -> float:
    """Wait for the worker. Returns its peak memory in MB; raises EmbeddingError when it failed."""
    assert process.stdout is not None
    log = folder / "worker.log"
    pump = threading.Thread(target=_pump, args=(process.stdout, log), daemon=True)
    pump.start()
    total = sum(len(batch) for step in job["steps"] for batch in step.get("batches", []))
    try:
        peak, code = _wait(process, adapter, folder / "output", total, timeout, progress)
    finally:
        _kill_group(process)
        pump.join(timeout=5)
        with contextlib.suppress(OSError):
            process.stdout.close()
    if code != 0:
        raise _failure(adapter, folder, code)
    if progress is not None:
        progress(1.0)  # the last batch may have ended between two looks
    return peak


def _wait(
    process: subprocess.Popen[bytes],
    adapter: Path,
    output: Path,
    total: int,
    timeout: float,
    progress: Progress | None,
) -> tuple[float, int]:
    seen, since = None, time.monotonic()
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            scale = 1e6 if os.uname().sysname == "Darwin" else 1e3
            return usage.ru_maxrss / scale, process.returncode
        done = _done(output)
        if done != seen:
            seen, since = done, time.monotonic()
            if progress is not None and done is not None and total:
                progress(min(done / total, 1.0))
        if time.monotonic() - since > timeout:
            doing = "load" if seen is None else "embed"
            raise EmbeddingError(adapter, doing, f"timed out after {timeout:g} s without progress")
        time.sleep(POLL_SECONDS)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the worker and whatever it started, and take its exit status so that no zombie stays."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        process.wait()


def _pump(stream: IO[bytes], log: Path) -> None:
    """Copy what the worker prints into the log, up to LOG_BYTES; read on, so that it never blocks."""
    left = LOG_BYTES
    with log.open("wb") as target, contextlib.suppress(OSError, ValueError):
        while chunk := os.read(stream.fileno(), 1 << 16):
            target.write(chunk[:left])
            target.flush()
            left -= min(left, len(chunk))


def read_message(path: Path) -> dict[str, Any]:
    """A small JSON object that the worker may have written; {} when it is missing or anything else."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return {}
        # It may have been exchanged since: neither follow a link nor wait for a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            value = json.loads(stream.read(MESSAGE_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _done(output: Path) -> int | None:
    done = read_message(output / "progress.json").get("done")
    return done if isinstance(done, int) and not isinstance(done, bool) else None


def _failure(adapter: Path, folder: Path, code: int) -> EmbeddingError:
    """What the worker says of its end or, when it could not say anything, how it ended."""
    told = read_message(folder / "output" / "error.json")
    check, message, inputs = told.get("check"), told.get("message"), told.get("inputs")
    if isinstance(check, str) and isinstance(message, str):
        error = EmbeddingError(adapter, printable(check, 100), printable(message, 600))
        error.inputs = [index for index in inputs if type(index) is int] if isinstance(inputs, list) else []
        return error
    ending = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    hint = " (often: out of memory)" if code == -signal.SIGKILL else ""
    said = printable(_last_line(folder / "worker.log"), 200)
    return EmbeddingError(
        adapter, "process", f"the worker ended: {ending}{hint}" + (f"; it last printed: {said}" if said else "")
    )


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 4000))
            lines = stream.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def printable(text: str, limit: int) -> str:
    """`text` on one line without control characters, at most `limit` characters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
