"""What runs inside a model's environment: loads the adapter, carries out a job's steps, writes arrays.

Started as `python -m benchmark.embedding.worker job.json`. This module, `benchmark.adapter` and the
two package markers are all of the benchmark that exists for the adapter. It speaks through files in
the job's output folder, each renamed into place when whole, so that nothing an adapter prints can
disturb it. The trusted side believes none of these files: see output.py.

A job: adapter, checkpoint, options, device, modality, inputs, output, threads, parent, steps. Steps, in order:

- {"do": "embed", "name": ..., "batches": [[input, ...], ...]} writes `<name>.safetensors`: `layer.<name>`
  and `energies` with the batches' rows one after the other, levels and irreps in the metadata, and the
  inputs that the adapter cannot embed, with its reasons;
- {"do": "survey", "name": ..., "inputs": [...]} writes metadata: the inputs that the adapter cannot embed;
- {"do": "reference_energies", "name": ..., "batches": ...} writes `energies`, or nothing but metadata;
- {"do": "perturb", "name": ..., "scale": ..., "seed": ...} writes metadata: whether there were weights.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import inspect
import json
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from safetensors.numpy import load_file, save_file

from benchmark.adapter import Adapter, Features, Layer


class ContractError(Exception):
    """The adapter broke the contract; `check` names the part of it."""

    def __init__(self, check: str, message: str, inputs: Sequence[int] = ()) -> None:
        self.check = check
        self.inputs = list(inputs)
        super().__init__(message)


class Inputs:
    """Structures or strings by index. Each call gives fresh objects, for adapters that change what they get."""

    def __init__(self, path: Path, modality: str) -> None:
        self.modality = modality
        if modality == "atoms":
            self.arrays = load_file(str(path))
            self.lengths = np.diff(self.arrays["offsets"])
        else:
            self.strings: list[str] = json.loads(path.read_text())
            self.lengths = np.array([len(text) for text in self.strings])

    def __getitem__(self, index: int) -> Atoms | str:
        if self.modality != "atoms":
            return self.strings[index]
        offsets = self.arrays["offsets"]
        span = slice(int(offsets[index]), int(offsets[index + 1]))
        atoms = Atoms(
            numbers=self.arrays["numbers"][span].copy(),
            positions=self.arrays["positions"][span].copy(),
            cell=self.arrays["cells"][index].copy(),
            pbc=self.arrays["pbc"][index].copy(),
        )
        atoms.info.update({name: int(self.arrays[name][index]) for name in ("charge", "spin") if name in self.arrays})
        return atoms

    def rows(self, batch: Sequence[int], level: str) -> int:
        """Rows that a layer of `level` must have for `batch`."""
        return len(batch) if level == "structure" else int(self.lengths[list(batch)].sum())


def main(job_path: Path) -> int:
    """Carry out a job. Returns the exit code; on failure `error.json` says why."""
    job = json.loads(job_path.read_text())
    output = Path(job["output"])
    _limit_resources(job["limits"])
    _end_with_parent(job["parent"])
    phase = "load"
    try:
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002 - packages still draw from the global generator
        inputs = Inputs(Path(job["inputs"]), job["modality"])
        adapter = _load_adapter(job)
        worker = Worker(adapter, inputs, output)
        for step in job["steps"]:
            phase = step["do"]
            worker.run(step)
    except BaseException as error:
        # SystemExit too: an adapter that calls sys.exit() has not finished its work.
        _write_json(output / "error.json", _describe(error, phase))
        return 1
    return 0


def _load_adapter(job: dict[str, Any]) -> Adapter:
    path = Path(job["adapter"])
    spec = importlib.util.spec_from_file_location("adapter", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["adapter"] = module
    spec.loader.exec_module(module)
    _make_torch_deterministic(job["threads"])
    found = [
        item
        for item in vars(module).values()
        if inspect.isclass(item) and issubclass(item, Adapter) and item.__module__ == "adapter"
    ]
    found = [item for item in found if not inspect.isabstract(item)]
    if len(found) != 1:
        names = ", ".join(item.__name__ for item in found) or "none"
        raise ContractError("adapter class", f"exactly one concrete subclass of Adapter is needed, found: {names}")
    adapter = found[0]()
    checkpoint = Path(job["checkpoint"]) if job["checkpoint"] else None
    adapter.load(checkpoint, job["options"], job["device"])
    _make_torch_deterministic(job["threads"])  # again: loading may import torch, or set it otherwise
    return adapter


class Worker:
    """Carries out steps with one loaded adapter."""

    def __init__(self, adapter: Adapter, inputs: Inputs, output: Path) -> None:
        self.adapter = adapter
        self.inputs = inputs
        self.output = output
        self.done = 0
        self._report()

    def run(self, step: dict[str, Any]) -> None:
        """Carry out one step and write its file."""
        arrays: dict[str, np.ndarray] = {}
        metadata = {"step": step["name"]}  # never empty: safetensors writes a broken header for {}
        if step["do"] == "embed":
            left_out = self._left_out([index for batch in step["batches"] for index in batch])
            kept = [[index for index in batch if index not in left_out] for batch in step["batches"]]
            arrays, described = self._embed([batch for batch in kept if batch])
            metadata["layers"] = json.dumps(described)
            metadata["left_out"] = json.dumps(left_out)
        elif step["do"] == "survey":
            metadata["left_out"] = json.dumps(self._left_out(step["inputs"]))
        elif step["do"] == "reference_energies":
            left_out = self._left_out([index for batch in step["batches"] for index in batch])
            arrays = {} if left_out else self._reference_energies(step["batches"])
        elif step["do"] == "perturb":
            changed = self.adapter.perturb_weights(float(step["scale"]), int(step["seed"]))
            metadata["perturbed"] = json.dumps(bool(changed))
        else:
            raise ContractError("job", f"unknown step {step['do']!r}")
        _write_arrays(self.output / f"{step['name']}.safetensors", arrays, metadata)

    def _left_out(self, inputs: Sequence[int]) -> dict[int, str]:
        """Inputs that the adapter cannot embed and why, in one line."""
        reasons = {index: self.adapter.unsupported(self.inputs[index]) for index in inputs}
        return {index: " ".join(str(why).split())[:200] for index, why in reasons.items() if why is not None}

    def _embed(self, batches: list[list[int]]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        if not batches:
            return {}, {}
        parts: list[Features] = []
        for batch in batches:
            parts.extend(self._within_memory(batch, lambda some: self._checked(some, self._call(some))))
            self.done += len(batch)
            self._report()
        described = [_describe_layers(part) for part in parts]
        if any(item != described[0] for item in described):
            raise ContractError("layers", f"batches differ: {described[0]} and {_first_other(described)}")
        arrays = {
            f"layer.{name}": np.concatenate([part.layers[name].values for part in parts]) for name in described[0]
        }
        energies = [part.energies for part in parts if part.energies is not None]
        if energies:
            if len(energies) != len(parts):
                raise ContractError("energies", "given for some batches and not for others")
            arrays["energies"] = np.concatenate(energies)
        return arrays, described[0]

    def _call(self, batch: list[int]) -> Features:
        return self.adapter.embed([self.inputs[index] for index in batch])  # type: ignore[arg-type]

    def _checked(self, batch: list[int], features: Any) -> Features:
        """Refuse what cannot be cut into structures again; the trusted side judges the values."""
        if not isinstance(features, Features):
            raise ContractError("embed", f"returned {type(features).__name__}, not Features")
        layers = {}
        for name, layer in features.layers.items():
            values = np.asarray(layer.values)
            if layer.level not in ("atom", "structure"):
                raise ContractError(f"layer {name}", f"level is {layer.level!r}; accepted: 'atom', 'structure'")
            rows = self.inputs.rows(batch, layer.level)
            if values.ndim != 2 or len(values) != rows:
                raise ContractError(
                    f"layer {name}",
                    f"has shape {values.shape} for {rows} {layer.level}s; ({rows}, d) is needed",
                    batch,
                )
            layers[name] = Layer(values.astype(np.float32), layer.level, layer.irreps)
        energies = features.energies
        if energies is not None:
            energies = np.asarray(energies, dtype=np.float64)
            if energies.shape != (len(batch),):
                raise ContractError("energies", f"have shape {energies.shape}, ({len(batch)},) is needed", batch)
        return Features(layers, energies)

    def _reference_energies(self, batches: list[list[int]]) -> dict[str, np.ndarray]:
        parts = []
        for batch in batches:
            energies = self.adapter.reference_energies([self.inputs[index] for index in batch])  # type: ignore[misc]
            if energies is None:
                return {}
            parts.append(np.asarray(energies, dtype=np.float64).reshape(len(batch)))
        return {"energies": np.concatenate(parts)}

    def _within_memory(self, batch: list[int], call: Callable[[list[int]], Features]) -> list[Features]:
        """`call` on the whole batch or, where memory does not suffice, on halves of it."""
        try:
            return [call(batch)]
        except Exception as error:
            if not _is_out_of_memory(error):
                _remember_inputs(error, batch)
                raise
        # Outside the except block: the traceback would keep the failed attempt's arrays alive.
        _free_memory()
        if len(batch) == 1:
            raise ContractError("memory", "one structure alone does not fit into memory", batch)
        middle = len(batch) // 2
        return self._within_memory(batch[:middle], call) + self._within_memory(batch[middle:], call)

    def _report(self) -> None:
        _write_json(self.output / "progress.json", {"done": self.done})


def _describe_layers(features: Features) -> dict[str, dict[str, str | None]]:
    return {name: {"level": layer.level, "irreps": layer.irreps} for name, layer in sorted(features.layers.items())}


def _first_other(items: list[Any]) -> Any:
    return next(item for item in items if item != items[0])


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "out of memory" in str(error).lower()


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _remember_inputs(error: BaseException, batch: list[int]) -> None:
    with contextlib.suppress(AttributeError):
        error.inputs = batch  # type: ignore[attr-defined]


def _describe(error: BaseException, phase: str) -> dict[str, Any]:
    own = isinstance(error, ContractError)
    text = str(error) if own else f"raised {type(error).__name__}: {error}"
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return {
        "check": error.check if isinstance(error, ContractError) else phase,
        "message": text[:2000],
        "inputs": [int(index) for index in getattr(error, "inputs", [])][:1000],
        "traceback": "".join(lines)[-8000:],
    }


def _make_torch_deterministic(threads: int) -> None:
    """Seed, full-precision products, a fixed number of threads, where the adapter uses torch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)


def _limit_resources(limits: dict[str, int]) -> None:
    """Set `limits` (names of resource.RLIMIT_...) for good. A crash must leave no memory image behind."""
    if os.name == "posix":
        import resource

        for name, value in {**limits, "CORE": 0}.items():
            kind = getattr(resource, f"RLIMIT_{name}", None)
            if kind is not None:
                hard = resource.getrlimit(kind)[1]
                value = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.setrlimit(kind, (value, value))


def _end_with_parent(parent: int) -> None:
    """Die when the trusted side dies, also by SIGKILL: nobody would ever stop this process otherwise."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_arrays(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, str(temporary), metadata)
    _rename(temporary, path, durable=True)


def _write_json(path: Path, value: Any) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value))
    _rename(temporary, path, durable=False)


def _rename(temporary: Path, path: Path, durable: bool) -> None:
    if durable:
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
