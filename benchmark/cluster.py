"""Runs the tasks of a plan on the workers of a Dask scheduler: one machine or many, by the same plan.

Workers share the work folder with this process, and the products in it are all that tasks hand each other. A task
whose worker is lost runs again on another one; what the lost one left is found or computed again, to the same bits.
Needs `pip install latent-matter[cluster]`.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import platform
import secrets
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from distributed import Client, Future, as_completed
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.scheduler import KilledWorker
from filelock import FileLock, Timeout

import benchmark
from benchmark.datasets.store import DATASETS_VARIABLE, dataset_folders
from benchmark.execution import Outcome, TaskT, ValueT, available_cores
from benchmark.files import content_key, sha256_of_file, write_text
from benchmark.pipeline import Settings
from benchmark.remote import attempt
from benchmark.schema import InvalidFileError

SHARDS_PER_TASK = 16
"""2,048 structures a task: minutes of work, against the seconds that a model takes to start."""
RETRIES = 2
"""How often a task is tried again, perhaps elsewhere, whose machine failed it: a full disk, a file server's error."""
CONNECT_SECONDS = 20.0
WORKER_SECONDS = 120.0
AHEAD = 2
"""Tasks that a worker is given at once: one to run, one to go on with."""
GPU = "GPU"
VARIABLES = "LATENT_MATTER_"
"""Environment variables with this beginning hold for the workers too."""
# Other versions of these could give other bits.
COMPARED = ("numpy", "scipy", "scikit-learn", "torch", "umap-learn")


class ClusterError(InvalidFileError):
    """The cluster cannot run the benchmark; the text is one line that says why."""


class LostWorkersError(RuntimeError):
    """More workers died with a task than the scheduler allows: it takes too much memory, say."""


@dataclass(frozen=True)
class Node:
    """What a worker says of itself."""

    host: str
    cores: int
    threads: int
    code: str
    versions: dict[str, str]
    token: str | None
    locks: bool
    unseen: list[str]


def code_digest() -> str:
    """Digest of all modules of the benchmark."""
    root = Path(benchmark.__file__).parent
    return content_key([(str(path.relative_to(root)), sha256_of_file(path)) for path in sorted(root.rglob("*.py"))])


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in COMPARED}}


def describe_node(probe: Path, threads: int, folders: Sequence[Path]) -> Node:
    """This process, what it sees of the file `probe`, whose lock somebody else holds, and of `folders`."""
    try:
        token = probe.read_text()
    except OSError:
        token = None
    lock = FileLock(probe.with_suffix(".lock"))
    try:
        with lock.acquire(timeout=0):
            locks = False
    except Timeout:
        locks = True
    except OSError:
        locks = False
    unseen = [str(folder) for folder in folders if not folder.exists()]
    return Node(socket.gethostname(), available_cores(), threads, code_digest(), _versions(), token, locks, unseen)


class Preparation(WorkerPlugin):
    """Makes every worker, also one that comes later, see the data sets and weights that the client sees."""

    name = "latent-matter"

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = dict(variables)

    def setup(self, worker: Any) -> None:
        """Called once in every worker."""
        del worker
        os.environ.update(self.variables)


def _describe_worker(probe: Path, folders: Sequence[Path], dask_worker: Any) -> Node:
    return describe_node(probe, dask_worker.state.nthreads, folders)


def on_cluster(
    settings: Settings, scheduler: str, folders: Sequence[Path], say: Callable[[str], None], *, models: bool = True
) -> Settings:
    """`settings` with the workers of `scheduler` as the place where tasks run.

    folders: what workers have to see besides the work folder. models: whether models will be started.
    Raises ClusterError in one line: nobody answers, no worker comes, a worker does not share the work folder, has
    other code or versions, or several threads; no worker has a GPU and `cuda` is asked for.
    """
    client = _connect(scheduler)
    work = settings.work.absolute()
    nodes = _ask(client, work, [folder.absolute() for folder in folders])
    here = Node(socket.gethostname(), available_cores(), 1, code_digest(), _versions(), None, True, [])
    for address, node in nodes.items():
        _check(address, node, here)
    if not all(node.locks for node in nodes.values()):
        say(f"{work}: its file locks do not hold between machines; some products will be computed twice")
    client.register_plugin(Preparation(_variables()))
    gpus = any(info["resources"].get(GPU) for info in client.scheduler_info(n_workers=-1)["workers"].values())
    if settings.accelerator == "cuda" and models and not gpus:
        raise ClusterError(
            f"--accelerator cuda: no worker of {scheduler} has the resource {GPU}; start one with --resources GPU=1"
        )
    accelerator = settings.accelerator if settings.accelerator != "auto" else "cuda" if gpus else "cpu"
    beside = Counter(node.host for node in nodes.values())
    # One number for all, so that what a model computes does not depend on where it does; on a CPU, where it decides the
    # last bits, the one of a local run with as many jobs as cores, however many workers have come by now.
    shared = min(max(1, node.cores // beside[node.host]) for node in nodes.values())
    threads = settings.threads or (1 if accelerator == "cpu" else shared)
    say(f"{scheduler}: {len(nodes)} workers on {len(beside)} machines, {threads} threads a model on {accelerator}")
    executor = DaskExecutor(client, GPU if accelerator == "cuda" else None)
    return dataclasses.replace(settings, work=work, accelerator=accelerator, threads=threads, executor=executor)


def _variables() -> dict[str, str]:
    """This process's variables that workers need; their folders made absolute."""
    found = {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}
    found[DATASETS_VARIABLE] = os.pathsep.join(map(str, dataset_folders()))
    for name in found:
        places = [str(Path(place).absolute()) for place in found[name].split(os.pathsep) if Path(place).exists()]
        found[name] = os.pathsep.join(places) or found[name]
    return found


def _connect(scheduler: str) -> Client:
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(f"--scheduler {scheduler}: no Dask scheduler answers: {_line(error)}") from None
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError:
        raise ClusterError(f"--scheduler {scheduler}: no worker has come after {WORKER_SECONDS:g} s") from None
    return client


def _ask(client: Client, work: Path, folders: Sequence[Path]) -> dict[str, Node]:
    """What each worker says, which is to see a file that was just written into the work folder."""
    probe, token = work / "locks" / f"probe-{secrets.token_hex(8)}", secrets.token_hex(16)
    write_text(probe, token)
    try:
        with FileLock(probe.with_suffix(".lock")):
            answers = client.run(_describe_worker, probe, folders, on_error="return")
    finally:
        probe.unlink()
        probe.with_suffix(".lock").unlink(missing_ok=True)
    for address, node in answers.items():
        if not isinstance(node, Node):
            raise ClusterError(
                f"worker {address}: cannot run the benchmark: {_line(node)}; start workers with the same Python and "
                "the same installation as this command"
            )
        if node.token != token:
            raise ClusterError(
                f"worker {address} on {node.host}: does not see {work}; --work must be a folder that all workers "
                "share under the same path"
            )
        if node.unseen:
            raise ClusterError(
                f"worker {address} on {node.host}: does not see {node.unseen[0]}; workers need the submissions and the "
                "data sets under the same paths"
            )
    return dict(answers)


def _check(address: str, node: Node, here: Node) -> None:
    if node.code != here.code:
        raise ClusterError(f"worker {address} on {node.host}: runs other code of the benchmark than this command")
    for name, version in here.versions.items():
        if node.versions[name] != version:
            raise ClusterError(
                f"worker {address} on {node.host}: has {name} {node.versions[name]}, this command has {version}: "
                "results would depend on where they are computed"
            )
    if node.threads != 1:
        raise ClusterError(
            f"worker {address} on {node.host}: has {node.threads} threads, accepted is one; start more workers with "
            "--nthreads 1"
        )


@dataclass(frozen=True)
class DaskExecutor:
    """The workers of a Dask scheduler. gpu: the resource that tasks take which start models; None: any worker's."""

    client: Client
    gpu: str | None = None
    shards_per_task: int | None = SHARDS_PER_TASK

    def run(
        self, tasks: Sequence[TaskT], function: Callable[[TaskT], ValueT], *, models: bool = False
    ) -> Iterable[Outcome[TaskT, ValueT]]:
        """See `Executor`. A task waits here until a worker is free, so that a stopped worker holds up few."""
        waiting = deque(tasks)
        running: dict[Any, tuple[Future[Any], TaskT]] = {}
        ended = as_completed(loop=self.client.loop)  # type: ignore[no-untyped-call]
        resource = self.gpu if models else None
        run = secrets.token_hex(4)
        slots = _Slots(self.client, resource)

        def start() -> None:
            while waiting and len(running) < slots.count():
                task = waiting.popleft()
                future = self.client.submit(
                    attempt,
                    pickle.dumps((function, task)),
                    key=f"{type(task).__name__}-{run}-{len(tasks) - len(waiting)}",
                    pure=False,
                    retries=RETRIES,
                    resources={resource: 1} if resource else None,
                )
                running[future.key] = (future, task)
                ended.add(future)  # type: ignore[no-untyped-call]

        try:
            start()
            while running:
                future = next(ended)
                _, task = running.pop(future.key)
                outcome = _outcome(future, task)
                start()
                yield outcome
        finally:
            # Ctrl-C or a broken caller: what has not started never starts.
            self.client.cancel([future for future, _ in running.values()])  # type: ignore[no-untyped-call]


class _Slots:
    """How many tasks to have under way; workers come and go, so it is looked up now and then."""

    def __init__(self, client: Client, resource: str | None) -> None:
        self.client, self.resource = client, resource
        self.found, self.looked = 0, float("-inf")

    def count(self) -> int:
        """At least one, for a worker that is to come."""
        if time.monotonic() - self.looked > 5.0:
            workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
            self.found = sum(self.resource is None or bool(info["resources"].get(self.resource)) for info in workers)
            self.looked = time.monotonic()
        return max(1, AHEAD * self.found)


def _outcome(future: Future[Any], task: TaskT) -> Outcome[TaskT, Any]:
    if future.status == "cancelled":
        raise ClusterError(f"{task}: cancelled: the scheduler was lost or somebody cancelled it; run the command again")
    error = future.exception()  # type: ignore[no-untyped-call]
    if error is None:
        value, error = future.result()
        return Outcome(task, value, error)
    if isinstance(error, KilledWorker):
        # Its own text names a worker's address, and reasons are published.
        return Outcome(task, None, LostWorkersError("every worker that was given the task was lost with it"))
    if not isinstance(error, Exception):
        raise error
    return Outcome(task, None, error)


def _line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
