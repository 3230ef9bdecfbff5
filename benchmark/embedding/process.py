"""Starting, watching and ending the worker process of a model.

The worker gets a staged folder with the few modules that it needs, an empty home, a handful of
environment variables and no standard input, in the strongest sandbox that there is (sandbox/). What it
prints goes into a log of bounded size. It and everything it started are killed when it stops making
progress, takes more than it may, and when this process is interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import stat
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypedDict

import benchmark
from benchmark.embedding.environment import Environment
from benchmark.embedding.errors import EmbeddingError, Progress
from benchmark.embedding.sandbox import LimitExceededError, Limits, Plan, Running, SandboxMode, choose_sandbox
from benchmark.embedding.sandbox.bytecode import compiled_modules
from benchmark.files import content_key, remove_tree, sha256_of_file, write_json
from benchmark.schema import printable

# The only parts of the benchmark that a model's process can import.
RUNTIME_MODULES = ("__init__.py", "adapter.py", "embedding/__init__.py", "embedding/worker.py")
INHERITED_VARIABLES = ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "SYSTEMROOT")
INTERPRETER_OPTIONS = ("-s", "-X", "faulthandler")
LOG_BYTES = 10_000_000
MESSAGE_BYTES = 100_000
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Usage:
    """What a worker took."""

    wall_seconds: float
    peak_memory_mb: float
    sandbox: str = ""


def _with_link_targets(checkpoint: Path) -> list[Path]:
    """`checkpoint` and, where it is a folder, the files that links in it stand for, as in a Hugging Face cache."""
    links = [path for path in checkpoint.rglob("*") if path.is_symlink()] if checkpoint.is_dir() else []
    return [checkpoint, *(Path(os.path.normpath(link.parent / link.readlink())) for link in links)]


class RunSettings(TypedDict):
    """How workers are run, whatever their job."""

    cache: Path
    threads: int
    timeout: float
    sandbox: SandboxMode
    limits: Limits


def run_worker(
    job: Mapping[str, Any],
    environment: Environment,
    folder: Path,
    *,
    cache: Path,
    threads: int,
    timeout: float,
    sandbox: SandboxMode,
    limits: Limits,
    progress: Progress | None = None,
) -> Usage:
    """Run `job` (see worker.py) in `folder`; its files appear in `folder`/output.

    timeout: longest time in seconds between two signs of progress: start, loaded, batch after batch.
    Raises EmbeddingError naming the adapter and what happened when the worker does not finish its steps
    or takes more than `limits`; NoSandboxError where `sandbox` is required and none works. When it returns
    or raises, nothing that the worker started runs any more.
    """
    # One path, however the cache is reached: compiled modules lie under the paths of their sources.
    python = environment.python.parent.resolve() / environment.python.name
    environment = dataclasses.replace(environment, python=python, site_packages=environment.site_packages.resolve())
    cuda = job["device"] == "cuda"
    chosen = choose_sandbox(sandbox, cuda)
    output, scratch = folder.absolute() / "output", folder.absolute() / "scratch"
    output.mkdir(parents=True, exist_ok=True)
    for name in ("error.json", "progress.json"):
        remove_tree(output / name)
    remove_tree(scratch)
    scratch.mkdir()
    job_path = folder.absolute() / "job.json"
    runtime = stage_runtime(cache)
    bytecode = compiled_modules(cache, environment) if chosen.confines else _bytecode(cache, environment, job)
    plan = Plan(
        command=(str(environment.python), *INTERPRETER_OPTIONS, "-m", "benchmark.embedding.worker", str(job_path)),
        python=environment.python,
        reads=tuple(_reads(job, job_path, runtime, bytecode, environment)),
        output=output,
        scratch=scratch,
        folder=folder.absolute(),
        variables=_variables(runtime, threads, bytecode),
        limits=limits,
        cuda=cuda,
        hidden=(Path(cache).absolute(),),
    )
    inside = {"output": str(output), "threads": threads, "parent": chosen.parent}
    write_json(job_path, {**job, **inside, "limits": chosen.resource_limits(plan)})
    started = time.monotonic()
    try:
        running = chosen.start(plan)
        _watch(running, Path(job["adapter"]), job, folder, timeout, progress)
    finally:
        remove_tree(scratch)
    return Usage(round(time.monotonic() - started, 3), round(running.watch.peak_bytes / 1e6, 1), chosen.name)


def _reads(
    job: Mapping[str, Any], job_path: Path, runtime: Path, bytecode: Path, environment: Environment
) -> list[Path]:
    """What a worker has to read, apart from the system and its Python."""
    paths = [job_path, Path(job["inputs"]), Path(job["adapter"]).parent, runtime, bytecode, environment.site_packages]
    if job["checkpoint"] is not None:
        paths += _with_link_targets(Path(job["checkpoint"]))
    return [path.absolute() for path in paths]


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
    # A model that ran here without a sandbox could have left modules that shadow those of every other.
    known = {target / "benchmark" / name for name in hashes}
    for path in list(target.rglob("*")):
        if path not in known and not path.name.endswith(".tmp") and (path.is_symlink() or not path.is_dir()):
            path.unlink(missing_ok=True)
    return target


def _bytecode(cache: Path, environment: Environment, job: Mapping[str, Any]) -> Path:
    """Where the worker keeps compiled modules: one folder an environment and adapter, so that no adapter
    can leave bytecode for another one, and no start but the first has to compile its packages."""
    identity = content_key([environment.key, str(environment.python), sha256_of_file(Path(job["adapter"]))])
    return Path(cache).absolute() / "bytecode" / identity[:12]


def _variables(runtime: Path, threads: int, bytecode: Path) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {
        **inherited,
        **dict.fromkeys(counts, str(threads)),
        "PYTHONPATH": str(runtime),
        "PYTHONPYCACHEPREFIX": str(bytecode),
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "HF_HUB_OFFLINE": "1",
    }


def _watch(
    running: Running,
    adapter: Path,
    job: Mapping[str, Any],
    folder: Path,
    timeout: float,
    progress: Progress | None,
) -> None:
    """Wait for the worker. Raises EmbeddingError when it failed, did not come on or took too much."""
    stream = running.process.stdout
    assert stream is not None
    pump = threading.Thread(target=_pump, args=(stream, folder / "worker.log"), daemon=True)
    pump.start()
    total = sum(len(batch) for step in job["steps"] for batch in step.get("batches", []))
    try:
        code = _wait(running, adapter, folder / "output", total, timeout, progress)
        running.stop()
        running.watch.look(None)  # what it wrote just before its end
    except LimitExceededError as error:
        raise EmbeddingError(adapter, error.check, str(error)) from None
    finally:
        running.stop()
        pump.join(timeout=5)
        with contextlib.suppress(OSError):
            stream.close()
    if code != 0:
        raise _failure(adapter, folder, code)
    if progress is not None:
        progress(1.0)  # the last batch may have ended between two looks


def _wait(
    running: Running,
    adapter: Path,
    output: Path,
    total: int,
    timeout: float,
    progress: Progress | None,
) -> int:
    """The worker's exit code. Only a number of inputs that grows, up to `total`, is progress: it could lie."""
    seen, since = -1, time.monotonic()
    while True:
        running.watch.look(running.root())
        code = running.process.poll()
        if code is not None:
            return code
        done = min(_done(output), total)
        if done > seen:
            seen, since = done, time.monotonic()
            if progress is not None and total:
                progress(done / total)
        if time.monotonic() - since > timeout:
            doing = "load" if seen < 0 else "embed"
            raise EmbeddingError(adapter, doing, f"timed out after {timeout:g} s without progress")
        time.sleep(POLL_SECONDS)


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


def _done(output: Path) -> int:
    """How many inputs the worker says are done; -1 before it says anything."""
    done = read_message(output / "progress.json").get("done")
    return done if isinstance(done, int) and not isinstance(done, bool) else -1


def _failure(adapter: Path, folder: Path, code: int) -> EmbeddingError:
    """What the worker says of its end or, when it could not say anything, how it ended."""
    told = read_message(folder / "output" / "error.json")
    check, message, inputs = told.get("check"), told.get("message"), told.get("inputs")
    if isinstance(check, str) and isinstance(message, str):
        error = EmbeddingError(adapter, printable(check, 100), printable(message, 600))
        error.inputs = [index for index in inputs if type(index) is int] if isinstance(inputs, list) else []
        return error
    # A sandbox ends with 128 and the number of the signal that ended its worker.
    ended_by = -code if code < 0 else code - 128
    signals = {each.value: each.name for each in signal.Signals}
    ending = f"killed by {signals[ended_by]}" if ended_by in signals else f"exit code {code}"
    hint = " (often: out of memory)" if ended_by == signal.SIGKILL else ""
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
