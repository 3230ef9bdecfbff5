"""What runs inside a model's environment: times the worker's own embedding and a loop over single structures.

Started as `python measure.py job.json`, with nothing of this project but the worker's modules in reach. Writes
`result.json` into the job's output folder: for each set of structures the seconds of every pass.
"""

from __future__ import annotations

import contextlib
import cProfile
import io
import json
import pstats
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.embedding import worker

LOOP_SAMPLE = 16  # structures of the trial that says how long the whole loop would take
PROFILE_LINES = 30


class Forward:
    """Adds up the time inside the network: outermost calls only, waiting for a GPU at both ends.

    For torch the network is every nn.Module, whoever calls it, and every method of the modules that the adapter
    holds; for JAX every function compiled with jax.jit. What of these the adapter uses is in `kinds`.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.kinds: set[str] = set()
        self.active = False
        self._depth = 0
        self._since = 0.0

    def enter(self, kind: str) -> None:
        if self.active and self._depth == 0:
            self.kinds.add(kind)
            _wait_for_gpu()
            self._since = time.perf_counter()
        self._depth += 1

    def leave(self) -> None:
        self._depth -= 1
        if self.active and self._depth == 0:
            _wait_for_gpu()
            self.seconds += time.perf_counter() - self._since

    def wrapped(self, call: Callable[..., Any], kind: str) -> Callable[..., Any]:
        """`call`, timed."""

        def timed(*arguments: Any, **named: Any) -> Any:
            self.enter(kind)
            try:
                result = call(*arguments, **named)
                if kind == "jax" and self._depth == 1:
                    sys.modules["jax"].block_until_ready(result)
                return result
            finally:
                self.leave()

        return timed

    def watch_jax(self) -> None:
        """Time what is compiled from now on; to be called before the adapter is imported, and nothing without JAX."""
        try:
            import jax
        except ImportError:
            return
        compile_, forward = jax.jit, self

        class Compiled:
            """A compiled function that is timed; everything else of it is the function's own."""

            def __init__(self, function: Any) -> None:
                self.__wrapped__ = function
                self._timed = forward.wrapped(function, "jax")

            def __call__(self, *arguments: Any, **named: Any) -> Any:
                return self._timed(*arguments, **named)

            def __get__(self, instance: Any, owner: Any = None) -> Any:
                return self if instance is None else forward.wrapped(self.__wrapped__.__get__(instance, owner), "jax")

            def __getattr__(self, name: str) -> Any:
                return getattr(self.__wrapped__, name)

        def jit(function: Any = None, **options: Any) -> Any:
            if function is None:
                return lambda given: jit(given, **options)
            return Compiled(compile_(function, **options))

        jax.jit = jit

    def watch_torch(self, adapter: Any) -> list[Any]:
        """Time every module call and the methods of the adapter's modules; nothing without torch. Returns the hooks."""
        torch = sys.modules.get("torch")
        if torch is None:
            return []
        module_calls = torch.nn.modules.module
        hooks = [
            module_calls.register_module_forward_pre_hook(lambda *_: self.enter("torch")),
            module_calls.register_module_forward_hook(lambda *_: self.leave(), always_call=True),
        ]
        for module in _held_modules(adapter, torch):
            for name in _own_methods(module, torch):
                with contextlib.suppress(AttributeError, RuntimeError, TypeError):
                    setattr(module, name, self.wrapped(getattr(module, name), "torch"))
        return hooks


def _held_modules(adapter: Any, torch: Any) -> Iterator[Any]:
    for value in vars(adapter).values():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, torch.nn.Module):
                yield item


def _own_methods(module: Any, torch: Any) -> list[str]:
    """Methods that the module's class adds to nn.Module; `forward` is timed by the hooks."""
    classes = [each for each in type(module).__mro__ if not issubclass(torch.nn.Module, each)]
    names = {name for each in classes for name, item in vars(each).items() if callable(item)}
    return sorted(name for name in names if not name.startswith("__") and name != "forward" and "hook" not in name)


def _wait_for_gpu() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def main(job_path: Path) -> None:
    """Measure every set of the job."""
    job = json.loads(job_path.read_text())
    output = Path(job["output"])
    output.mkdir(parents=True, exist_ok=True)
    worker._end_with_parent(job["parent"])
    np.random.seed(0)  # noqa: NPY002 - packages still draw from the global generator
    forward = Forward()
    forward.watch_jax()
    started = time.perf_counter()
    adapter = worker._load_adapter(job)
    result: dict[str, Any] = {"load_seconds": time.perf_counter() - started, "sets": {}}
    sets = {}
    for name, given in job["sets"].items():
        inputs = worker.Inputs(Path(given["inputs"]), "atoms")
        batches = _supported(adapter, inputs, given["batches"])
        sets[name] = (inputs, batches)
        result["sets"][name] = _embed_times(worker.Worker(adapter, inputs, output), batches, job["repeats"])
    for name, (inputs, batches) in sets.items():
        indices = sorted(index for batch in batches for index in batch)
        embedder = worker.Worker(adapter, inputs, output)
        result["sets"][name]["loop"] = _loop_times(embedder, indices, job["loop_limit"])
    forward.watch_torch(adapter)
    for name, (inputs, batches) in sets.items():
        if batches:
            result["sets"][name] |= _share(worker.Worker(adapter, inputs, output), batches, forward)
    if job["profile"]:
        for name, (inputs, batches) in sets.items():
            text = _profiled(worker.Worker(adapter, inputs, output), batches)
            (output / f"profile-{name}.txt").write_text(text)
    (output / "result.json").write_text(json.dumps(result))


def _supported(adapter: Any, inputs: Any, batches: Sequence[Sequence[int]]) -> list[list[int]]:
    kept = [[index for index in batch if adapter.unsupported(inputs[index]) is None] for batch in batches]
    return [batch for batch in kept if batch]


def _embed(embedder: Any, batches: Sequence[Sequence[int]]) -> float:
    """Seconds of one embed step of the worker: structures made, features checked, joined and written."""
    started = time.perf_counter()
    embedder.run({"do": "embed", "name": "timed", "batches": batches})
    return time.perf_counter() - started


def _embed_times(embedder: Any, batches: Sequence[Sequence[int]], repeats: int) -> dict[str, Any]:
    """The first pass compiles and warms up; it is told apart from the others."""
    count = sum(len(batch) for batch in batches)
    if not count:
        return {"structures": 0, "first_seconds": None, "seconds": []}
    first = _embed(embedder, batches)
    return {"structures": count, "first_seconds": first, "seconds": [_embed(embedder, batches) for _ in range(repeats)]}


def _share(embedder: Any, batches: Sequence[Sequence[int]], forward: Forward) -> dict[str, Any]:
    forward.seconds, forward.active = 0.0, True
    total = _embed(embedder, batches)
    forward.active = False
    return {"forward_seconds": forward.seconds, "watched_seconds": total, "network": sorted(forward.kinds)}


def _loop_times(embedder: Any, indices: Sequence[int], limit: float) -> dict[str, Any]:
    """Seconds of the package's own calculator on one structure after the other, or of the worker where it has none.

    As many structures, evenly spread over the set, as fit into `limit` seconds. A second pass is taken where
    the first was quick, so that what compiles once is not held against the loop.
    """
    if not indices:
        return {"what": None, "structures": 0, "seconds": None}
    chosen = _spread(indices, LOOP_SAMPLE)
    adapter, inputs = embedder.adapter, embedder.inputs
    by_calculator = adapter.reference_energies([inputs[index] for index in chosen[:2]]) is not None

    def call(these: Sequence[int]) -> float:
        if not by_calculator:
            return _embed(embedder, [[index] for index in these])
        structures = [inputs[index] for index in these]
        started = time.perf_counter()
        adapter.reference_energies(structures)
        return time.perf_counter() - started

    call(chosen[:2])
    trial = call(chosen)
    fitting = max(len(chosen), int(limit * len(chosen) / trial))
    chosen = _spread(indices, fitting)
    seconds = call(chosen)
    if 2 * seconds < limit:
        seconds = min(seconds, call(chosen))
    what = "calculator" if by_calculator else "worker"
    return {"what": what, "structures": len(chosen), "seconds": seconds}


def _spread(indices: Sequence[int], count: int) -> list[int]:
    """`count` of `indices` at equal distances."""
    if count >= len(indices):
        return list(indices)
    return [indices[position * len(indices) // count] for position in range(count)]


def _profiled(embedder: Any, batches: Sequence[Sequence[int]]) -> str:
    profile = cProfile.Profile()
    profile.runcall(_embed, embedder, batches)
    text = io.StringIO()
    pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(PROFILE_LINES)
    pstats.Stats(profile, stream=text).sort_stats("cumulative").print_stats(PROFILE_LINES)
    return text.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
