"""Runs the tasks of a plan on this machine: several at once, one failure at a time.

Embedding tasks wait for worker processes and run in threads; scoring tasks compute and run in
processes. A task that raises never takes another one down: its exception is its outcome.
`cluster.py` runs the same tasks on many machines.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from benchmark.threads import one_thread

# A killed process breaks its whole pool; what it left is tried again in a fresh one, this often in all.
POOLS = 3

TaskT = TypeVar("TaskT")
ValueT = TypeVar("ValueT")


class Progress(Protocol):
    """Where a run says how far it is."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of `total` tasks starts."""

    def update(self, task: str, fraction: float) -> None:
        """A running task is `fraction` done."""

    def finish(self, task: str, outcome: str) -> None:
        """A task ended; `outcome` is one line."""

    def say(self, line: str) -> None:
        """One line for the reader."""


class Silent:
    """A Progress that shows nothing."""

    def begin(self, stage: str, total: int) -> None: ...

    def update(self, task: str, fraction: float) -> None: ...

    def finish(self, task: str, outcome: str) -> None: ...

    def say(self, line: str) -> None: ...


@dataclass(frozen=True)
class Outcome(Generic[TaskT, ValueT]):
    """What became of a task: a value, or the exception that it raised."""

    task: TaskT
    value: ValueT | None
    error: Exception | None


class Executor(Protocol):
    """Where tasks run."""

    @property
    def shards_per_task(self) -> int | None:
        """Embeddings of more shards than this are split into tasks of so many; None: never."""

    def run(
        self, tasks: Sequence[TaskT], function: Callable[[TaskT], ValueT], *, models: bool = False
    ) -> Iterable[Outcome[TaskT, ValueT]]:
        """Outcomes of `function` on each task, in the order in which they end; the first tasks start first.

        models: the tasks start models in processes of their own, and wait for them.
        """


class LocalExecutor:
    """This machine, `jobs` tasks at once. Processes live on from stage to stage, with what they have read."""

    shards_per_task = None

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._processes: ProcessPoolExecutor | None = None

    def run(
        self, tasks: Sequence[TaskT], function: Callable[[TaskT], ValueT], *, models: bool = False
    ) -> Iterable[Outcome[TaskT, ValueT]]:
        """See `Executor`: threads for tasks that wait for models, processes for those that compute.

        One linear-algebra thread a process, also where there is one job: the number of threads decides the last bits
        of a matrix product, and results must not depend on the number of jobs.
        """
        if models:
            yield from in_threads(tasks, function, self.jobs)
        elif self.jobs <= 1:
            for task in tasks:
                yield _attempt(task, functools.partial(_in_one_thread, function))
        else:
            yield from self._in_processes(tasks, function)

    def _in_processes(
        self, tasks: Sequence[TaskT], function: Callable[[TaskT], ValueT]
    ) -> Iterable[Outcome[TaskT, ValueT]]:
        waiting, broken = list(tasks), list[Outcome[TaskT, ValueT]]()
        for _ in range(POOLS):
            broken = []
            if self._processes is None and waiting:
                context = multiprocessing.get_context("spawn")
                self._processes = ProcessPoolExecutor(self.jobs, mp_context=context, initializer=_end_with_parent)
            single = functools.partial(_in_one_thread, function)
            try:
                for outcome in _collect(self._processes, waiting, single) if self._processes is not None else ():
                    if isinstance(outcome.error, BrokenProcessPool):
                        broken.append(outcome)
                    else:
                        yield outcome
            except KeyboardInterrupt:
                # Sent to this process alone, the others know nothing of it, and a task may take an hour.
                for process in multiprocessing.active_children():
                    process.kill()
                raise
            if not broken:
                return
            self.close()
            waiting = [outcome.task for outcome in broken]
        yield from broken

    def close(self) -> None:
        """End the processes."""
        if self._processes is not None:
            self._processes.shutdown(cancel_futures=True)
            self._processes = None


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def in_threads(
    tasks: Iterable[TaskT], function: Callable[[TaskT], ValueT], jobs: int
) -> Iterable[Outcome[TaskT, ValueT]]:
    """Outcomes of `function` on each task, `jobs` at once, in the order in which they end."""
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        yield from _collect(pool, tasks, function)


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: killed, it cannot say so, and we would wait for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _in_one_thread(function: Callable[[TaskT], ValueT], task: TaskT) -> ValueT:
    with one_thread():
        return function(task)


def _attempt(task: TaskT, function: Callable[[TaskT], ValueT]) -> Outcome[TaskT, ValueT]:
    try:
        return Outcome(task, function(task), None)
    except Exception as error:
        return Outcome(task, None, error)


def _collect(
    pool: futures.Executor, tasks: Iterable[TaskT], function: Callable[[TaskT], ValueT]
) -> Iterable[Outcome[TaskT, ValueT]]:
    started: dict[Future[ValueT], TaskT] = {pool.submit(function, task): task for task in tasks}
    try:
        for future in as_completed(started):
            error = future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            yield Outcome(started[future], None if error else future.result(), error)
    finally:
        # Ctrl-C or a broken caller: what has not started never starts.
        for future in started:
            future.cancel()
