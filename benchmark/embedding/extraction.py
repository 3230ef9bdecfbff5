"""Structures in, features out: one model on one data set, in the model's own environment.

A product is named by the content key of everything it depends on. It is computed once; interrupted
work resumes at the next shard and gives the same bits as an undisturbed run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from benchmark import __version__
from benchmark.datasets.store import Dataset, Structures
from benchmark.embedding.audit import audit
from benchmark.embedding.batching import pack, shards
from benchmark.embedding.environment import Environment, ensure_environment
from benchmark.embedding.errors import EmbeddingError, Progress, with_ids
from benchmark.embedding.features import (
    FeatureSet,
    LayerArray,
    Provenance,
    Sidecar,
    load_features,
    read_sidecar,
    save_features,
)
from benchmark.embedding.machine import Accelerator, available_cores, code_commit, hardware
from benchmark.embedding.output import Part, read_part, refuse_strangers, sweep
from benchmark.embedding.prepared import PreparedModel, input_strings, write_inputs
from benchmark.embedding.process import RunSettings, Usage, run_worker, stage_runtime
from benchmark.embedding.sandbox import Limits, SandboxMode, choose_sandbox
from benchmark.embedding.weights import resolve_weights
from benchmark.files import content_key, remove_tree
from benchmark.submission import Entry

SHARD_STRUCTURES = 128
ATOMS_PER_BATCH = {"cpu": 256, "cuda": 2048}
PRODUCT = "features"

__all__ = ["EmbeddingError", "EmbeddingSettings", "embed", "feature_key", "find_features", "load_embedded", "prepare"]


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
    lock = settings.cache / "locks" / f"{key}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        found = find_features(settings.cache, key)
        return found if found is not None else _compute(prepared, dataset, key, settings, progress)


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


def _compute(
    prepared: PreparedModel, dataset: Dataset, key: str, settings: EmbeddingSettings, progress: Progress | None
) -> Sidecar:
    structures = dataset.structures()
    place = prepared.entry.family.adapter
    work = Path(settings.cache).absolute() / "work" / key
    work.mkdir(parents=True, exist_ok=True)
    inputs = write_inputs(work, prepared.entry, structures)
    lengths = np.diff(structures.offsets)
    steps = _steps(lengths, ATOMS_PER_BATCH[prepared.environment.device])
    names = [f"{step['name']}.safetensors" for step in steps]
    output = work / "output"

    def read(step: Mapping[str, Any]) -> Part:
        order = [index for batch in step["batches"] for index in batch]
        declared = prepared.entry.model.layers
        return read_part(place, output / f"{step['name']}.safetensors", order, lengths[order], declared)

    finished = [step for step in steps if _is_whole(read, step)]
    sweep(output, [f"{step['name']}.safetensors" for step in finished])
    missing = [step for step in steps if step not in finished]
    try:
        usage = Usage(0.0, 0.0)
        if missing:
            usage = run_worker(
                prepared.job(inputs, missing),
                prepared.environment,
                work,
                **settings.running,
                progress=_after(len(finished) / len(steps), progress),
            )
        refuse_strangers(place, output, names)
        parts = [read(step) for step in steps]
        features = _assemble(prepared, dataset, structures, parts, key)
        audit(prepared, structures, features, settings.running)
    except EmbeddingError as error:
        raise with_ids(error, structures.ids) from error
    described = {
        "key": key,
        "dataset_fingerprint": dataset.card.fingerprint,
        "left_out": {structures.ids[index]: why for part in parts for index, why in part.left_out.items()},
        "provenance": _provenance(prepared, settings, usage),
    }
    sidecar = save_features(features_folder(settings.cache, key), PRODUCT, features, described)
    remove_tree(work)
    return sidecar


def _steps(lengths: NDArray[np.int64], limit: int) -> list[dict[str, Any]]:
    return [
        {"do": "embed", "name": f"shard-{number:05d}", "batches": pack(shard, lengths, limit)}
        for number, shard in enumerate(shards(len(lengths), SHARD_STRUCTURES))
    ]


def _is_whole(read: Any, step: Mapping[str, Any]) -> bool:
    try:
        read(step)
    except EmbeddingError:
        return False
    return True


def _after(share: float, progress: Progress | None) -> Progress | None:
    """Progress of what remains, when `share` was done before."""
    return None if progress is None else lambda part: progress(share + (1 - share) * part)


def _assemble(
    prepared: PreparedModel, dataset: Dataset, structures: Structures, parts: Sequence[Part], key: str
) -> FeatureSet:
    """Put the rows back into the order of the data set."""
    layers = {}
    for name, declaration in prepared.entry.model.layers.items():
        rows: dict[int, NDArray[np.float32]] = {}
        for part in parts:
            rows.update(part.rows(name))
        empty = np.empty((0, declaration.dimension), dtype=np.float32)
        values = np.concatenate([empty, *(rows[index] for index in sorted(rows))])
        layers[name] = LayerArray(values, declaration.level, declaration.irreps)
    positions = np.array(sorted(index for part in parts for index in part.inputs), dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(np.diff(structures.offsets)[positions])])
    given = [part.energies is not None for part in parts if part.inputs]
    if any(given) and not all(given):
        raise EmbeddingError(prepared.entry.family.adapter, "energies", "given for some batches and not for others")
    energies = None
    if given and all(given):
        energies = np.empty(len(structures))
        for part in parts:
            energies[list(part.inputs)] = part.energies if part.inputs else []
        energies = energies[positions]
    return FeatureSet(prepared.entry.model.id, dataset.card.id, layers, energies, offsets, key, positions)


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
