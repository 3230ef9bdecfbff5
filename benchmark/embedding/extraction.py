"""Structures in, features out: one model on one data set, in the model's own environment.

A product is named by the content key of everything it depends on. It is computed once; interrupted
work resumes at the next shard and gives the same bits as an undisturbed run. Shards of a large data set can be
computed by several processes or machines beforehand (`embed_shards`); `embed` takes what it finds of them.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark import __version__
from benchmark.datasets.store import Dataset, Structures
from benchmark.embedding.arrays import ArrayWriter, map_arrays
from benchmark.embedding.audit import audit
from benchmark.embedding.batching import pack, shards
from benchmark.embedding.environment import Environment, ensure_environment
from benchmark.embedding.errors import EmbeddingError, Progress, with_ids
from benchmark.embedding.features import (
    ENERGIES,
    LAYER_PREFIX,
    FeatureSet,
    LayerArray,
    Provenance,
    Sidecar,
    feature_writer,
    load_features,
    product_paths,
    read_sidecar,
    save_sidecar,
)
from benchmark.embedding.machine import Accelerator, available_cores, code_commit, hardware
from benchmark.embedding.output import Part, read_part, refuse_strangers, sweep
from benchmark.embedding.prepared import PreparedModel, input_strings, write_inputs
from benchmark.embedding.process import RunSettings, Usage, run_worker, stage_runtime
from benchmark.embedding.sandbox import Limits, SandboxMode, choose_sandbox
from benchmark.embedding.throughput import note_throughput
from benchmark.embedding.weights import resolve_weights
from benchmark.files import atomic_path, content_key, remove_tree, write_json
from benchmark.locks import computing_alone
from benchmark.submission import Entry

SHARD_STRUCTURES = 128
ATOMS_PER_BATCH = {"cpu": 256, "cuda": 2048}
PRODUCT = "features"
ARRAYS = "features.safetensors"  # of a product in the making, in its work folder
USAGES = "usages"

__all__ = [
    "EmbeddingError",
    "EmbeddingSettings",
    "embed",
    "embed_shards",
    "feature_key",
    "find_features",
    "load_embedded",
    "prepare",
]


@dataclass(frozen=True)
class EmbeddingSettings:
    """Where and how models are run.

    timeout: longest time in seconds that a worker may go without progress (start, load, batch after batch).
    checkpoints: model id -> local file to use in place of the declared one.
    sandbox: what holds the models (see sandbox/); limits: how much a worker may take.
    """

    cache: Path
    accelerator: Accelerator = "auto"
    threads: int = field(default_factory=available_cores)
    timeout: float = 900.0
    offline: bool = False
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    sandbox: SandboxMode = "auto"
    limits: Limits = field(default_factory=Limits)

    @property
    def running(self) -> RunSettings:
        """Those of the settings that `run_worker` takes."""
        return {
            "cache": self.cache,
            "threads": self.threads,
            "timeout": self.timeout,
            "sandbox": self.sandbox,
            "limits": self.limits,
        }


def prepare(
    entry: Entry, settings: EmbeddingSettings, environment: Environment | None = None, progress: Progress | None = None
) -> PreparedModel:
    """Build the environment (unless one is given) and fetch the weights of `entry`. Raises EmbeddingError."""
    environment = environment or ensure_environment(entry.family.adapter, settings.cache, settings.accelerator)
    weights = resolve_weights(
        entry,
        environment,
        settings.cache,
        override=settings.checkpoints.get(entry.model.id),
        offline=settings.offline,
        progress=progress,
    )
    return PreparedModel(entry, environment, weights)


def embed(
    entry: Entry,
    dataset: Dataset,
    settings: EmbeddingSettings,
    *,
    environment: Environment | None = None,
    progress: Progress | None = None,
) -> Sidecar:
    """Embed every structure of `dataset` with `entry`; a product that exists is only looked up.

    environment: run in this environment rather than in the one of the adapter's header.
    Raises EmbeddingError with one line naming the file and the check that failed.
    """
    prepared = prepare(entry, settings, environment)
    key = feature_key(prepared, dataset)
    found = find_features(settings.cache, key)
    if found is not None:
        return found
    with computing_alone(settings.cache / "locks" / f"{key}.lock") as alone:
        found = find_features(settings.cache, key)
        if found is not None:
            return found
        run = _Extraction.of(prepared, dataset, key, settings)
        # Whoever was lost with the lock may come back, to a folder of its own.
        return run.finish(run.folder if alone else run.aside(key), progress)


def embed_shards(
    entry: Entry,
    dataset: Dataset,
    settings: EmbeddingSettings,
    span: range,
    *,
    environment: Environment | None = None,
    progress: Progress | None = None,
) -> None:
    """Compute the shards of `span` that are missing and leave them where `embed` finds them.

    Raises EmbeddingError as `embed` does.
    """
    prepared = prepare(entry, settings, environment)
    key = feature_key(prepared, dataset)
    with computing_alone(settings.cache / "locks" / f"{key}-{span.start}.lock") as alone:
        if find_features(settings.cache, key) is None:
            run = _Extraction.of(prepared, dataset, key, settings)
            name = f"{key}-{span.start:05d}"
            run.share(run.folder.with_name(name) if alone else run.aside(name), span, progress)


def shard_count(structures: int) -> int:
    """Shards of a data set of so many structures."""
    return len(shards(structures, SHARD_STRUCTURES))


def feature_key(prepared: PreparedModel, dataset: Dataset) -> str:
    """Content key of the features: data fingerprint, adapter, options, weights, environment, packages."""
    identity = {**prepared.identity(), "data": dataset.card.fingerprint}
    if prepared.entry.family.submission.modality != "atoms":
        identity["strings"] = content_key(list(input_strings(prepared.entry, dataset.structures())))
    return content_key(identity)


def features_folder(cache: Path, key: str) -> Path:
    """Where the product `key` lies."""
    return Path(cache) / "features" / key


def find_features(cache: Path, key: str) -> Sidecar | None:
    """The sidecar of the product `key`, or None while it does not exist."""
    return read_sidecar(features_folder(cache, key), PRODUCT)


def load_embedded(cache: Path, key: str, structures: Structures) -> FeatureSet:
    """The features of the product `key`, verified. Raises InvalidFileError when they are damaged."""
    return load_features(features_folder(cache, key), PRODUCT, structures)


@dataclass(frozen=True)
class _Extraction:
    """One model on one data set, shard by shard. Whole shards lie in `folder`/output."""

    prepared: PreparedModel
    dataset: Dataset
    structures: Structures
    lengths: NDArray[np.int64]
    steps: list[dict[str, Any]]
    key: str
    settings: EmbeddingSettings

    @classmethod
    def of(cls, prepared: PreparedModel, dataset: Dataset, key: str, settings: EmbeddingSettings) -> _Extraction:
        structures = dataset.structures()
        lengths = np.diff(structures.offsets)
        steps = _steps(lengths, ATOMS_PER_BATCH[prepared.environment.device])
        return cls(prepared, dataset, structures, lengths, steps, key, settings)

    @property
    def folder(self) -> Path:
        return Path(self.settings.cache).absolute() / "work" / self.key

    def aside(self, name: str) -> Path:
        """A folder that nobody else has."""
        return self.folder.with_name(f"{name}-{secrets.token_hex(4)}")

    def read(self, folder: Path, step: Mapping[str, Any]) -> Part:
        """A shard in `folder`/output, checked."""
        order = [index for batch in step["batches"] for index in batch]
        path = folder / "output" / _file(step)
        declared = self.prepared.entry.model.layers
        return read_part(self.prepared.entry.family.adapter, path, order, self.lengths[order], declared)

    def whole(self, folder: Path, steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of `steps` that are done in `folder`."""
        found = []
        for step in steps:
            with contextlib.suppress(EmbeddingError):
                self.read(folder, step)
                found.append(step)
        return found

    def compute(self, folder: Path, into: Path, steps: Sequence[dict[str, Any]], progress: Progress | None) -> None:
        """Carry out `steps` in `folder`, and note below `into` what it took."""
        inputs = write_inputs(folder, self.prepared.entry, self.structures)
        job = self.prepared.job(inputs, steps)
        usage = run_worker(job, self.prepared.environment, folder, **self.settings.running, progress=progress)
        done = [index for step in steps for batch in step["batches"] for index in batch]
        spent = {"structures": len(done), "atoms": int(self.lengths[done].sum()), **vars(usage)}
        write_json(into / USAGES / f"{secrets.token_hex(8)}.json", spent)

    def share(self, folder: Path, span: range, progress: Progress | None) -> None:
        """Compute the missing shards of `span` in `folder`, and put them to the others when they are whole."""
        mine = [self.steps[number] for number in span]
        missing = [step for step in mine if step not in self.whole(self.folder, mine)]
        self._hand_over(folder, self.whole(folder, missing))  # of an attempt whose process was lost
        sweep(folder / "output", [])
        left = [step for step in missing if step not in self.whole(self.folder, missing)]
        if left:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self.compute(folder, self.folder, left, _after(1.0 - len(left) / len(mine), progress))
                refuse_strangers(self.prepared.entry.family.adapter, folder / "output", [_file(step) for step in left])
                for step in left:
                    self.read(folder, step)
            except EmbeddingError as error:
                raise with_ids(error, self.structures.ids) from error
            self._hand_over(folder, left)
        remove_tree(folder)

    def _hand_over(self, folder: Path, steps: Sequence[Mapping[str, Any]]) -> None:
        (self.folder / "output").mkdir(parents=True, exist_ok=True)
        for step in steps:
            (folder / "output" / _file(step)).replace(self.folder / "output" / _file(step))

    def finish(self, folder: Path, progress: Progress | None) -> Sidecar:
        """Compute what is missing, audit the whole and keep it."""
        folder.mkdir(parents=True, exist_ok=True)
        place = self.prepared.entry.family.adapter
        finished = self.whole(folder, self.steps)
        sweep(folder / "output", [_file(step) for step in finished])
        missing = [step for step in self.steps if step not in finished]
        try:
            if missing:
                self.compute(folder, folder, missing, _after(len(finished) / len(self.steps), progress))
            refuse_strangers(place, folder / "output", [_file(step) for step in self.steps])
            features, left_out = self.gather(folder)
            audit(self.prepared, self.structures, features, self.settings.running)
        except EmbeddingError as error:
            raise with_ids(error, self.structures.ids) from error
        found = find_features(self.settings.cache, self.key)
        if found is None:  # and nobody else was quicker meanwhile
            ids = self.structures.ids
            spent = [json.loads(path.read_text()) for path in sorted((folder / USAGES).glob("*.json"))]
            described = {
                "key": self.key,
                "dataset_fingerprint": self.dataset.card.fingerprint,
                "left_out": {ids[index]: why for index, why in left_out.items()},
                "provenance": _provenance(self.prepared, self.settings, _usage(spent, len(self.lengths))),
            }
            product = features_folder(self.settings.cache, self.key)
            with atomic_path(product_paths(product, PRODUCT)[0]) as temporary:
                shutil.move(folder / ARRAYS, temporary)  # features may be kept on another file system
            found = save_sidecar(product, PRODUCT, features, described)
            note_throughput(self.settings.cache, found, spent)
        remove_tree(folder)
        return found

    def gather(self, folder: Path) -> tuple[FeatureSet, dict[int, str]]:
        """All shards in the order of the data set, in a file of `folder`; and what was left out, and why.

        One shard is in memory at a time: per-atom features of 50,000 molecules can be larger than the memory.
        """
        place = self.prepared.entry.family.adapter
        inputs: list[tuple[int, ...]] = []
        left_out: dict[int, str] = {}
        given = set()
        for step in self.steps:
            part = self.read(folder, step)
            inputs.append(part.inputs)
            left_out |= part.left_out
            given |= {part.energies is not None} if part.inputs else set()
        if len(given) > 1:
            raise EmbeddingError(place, "energies", "given for some batches and not for others")
        positions = np.array(sorted(index for part in inputs for index in part), dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(np.diff(self.structures.offsets)[positions])])
        declared = self.prepared.entry.model.layers
        layers = {name: (layer.level, layer.dimension) for name, layer in declared.items()}
        with feature_writer(folder / ARRAYS, layers, offsets, True in given) as writer:
            for step, before in zip(self.steps, inputs, strict=True):
                part = self.read(folder, step)
                if part.inputs != before:
                    raise EmbeddingError(place, "output", f"{_file(step)} changed after the worker had ended")
                _write_part(writer, part, layers, positions, offsets)
        arrays = map_arrays(folder / ARRAYS)
        found = {
            name: LayerArray(arrays[LAYER_PREFIX + name], layer.level, layer.irreps) for name, layer in declared.items()
        }
        model, dataset = self.prepared.entry.model.id, self.dataset.card.id
        return FeatureSet(model, dataset, found, arrays.get(ENERGIES), offsets, self.key, positions), left_out


def _file(step: Mapping[str, Any]) -> str:
    return f"{step['name']}.safetensors"


def _usage(spent: Sequence[Mapping[str, Any]], structures: int) -> Usage:
    """What all processes took that computed shards: seconds one after another, and the largest memory.

    What a process took that was killed is not known: its shards are counted as if they had come as quickly as others.
    """
    seconds = sum(each["wall_seconds"] for each in spent)
    covered = sum(each["structures"] for each in spent)
    if 0 < covered < structures:
        seconds *= structures / covered
    memory = max((each["peak_memory_mb"] for each in spent), default=0.0)
    return Usage(round(seconds, 3), memory, next((each["sandbox"] for each in spent), ""))


def _steps(lengths: NDArray[np.int64], limit: int) -> list[dict[str, Any]]:
    return [
        {"do": "embed", "name": f"shard-{number:05d}", "batches": pack(shard, lengths, limit)}
        for number, shard in enumerate(shards(len(lengths), SHARD_STRUCTURES))
    ]


def _after(share: float, progress: Progress | None) -> Progress | None:
    """Progress of what remains, when `share` was done before."""
    return None if progress is None else lambda part: progress(share + (1 - share) * part)


def _write_part(
    writer: ArrayWriter, part: Part, layers: Collection[str], positions: NDArray[np.int64], offsets: NDArray[np.int64]
) -> None:
    """Put a shard, whose structures follow each other in the data set, where its rows belong."""
    if not part.inputs:
        return
    order = np.argsort(part.inputs)
    place = int(np.searchsorted(positions, part.inputs[order[0]]))
    for name in layers:
        rows = part.rows(name)
        first = int(offsets[place]) if part.layers[name].level == "atom" else place
        writer.write(LAYER_PREFIX + name, first, np.concatenate([rows[part.inputs[index]] for index in order]))
    if part.energies is not None:
        writer.write(ENERGIES, place, part.energies[order])


def _provenance(prepared: PreparedModel, settings: EmbeddingSettings, usage: Usage) -> Provenance:
    return Provenance(
        adapter_tree=prepared.entry.family.tree_hash(),
        checkpoint_sha256=prepared.weights.sha256,
        environment=prepared.environment.key,
        packages=prepared.environment.packages,
        python=prepared.environment.python_version,
        device=prepared.environment.device,
        hardware=hardware(prepared.environment.device),
        sandbox=usage.sandbox or choose_sandbox(settings.sandbox, prepared.environment.device == "cuda").name,
        wall_seconds=usage.wall_seconds,
        peak_memory_mb=usage.peak_memory_mb,
        code=f"latent-matter {__version__}, {code_commit()}, worker {stage_runtime(settings.cache).name}",
    )
