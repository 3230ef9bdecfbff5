"""Results folders for tests of publishing: records of toy models with features on disk that they were made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from benchmark.datasets.store import Dataset
from benchmark.embedding.extraction import PRODUCT, features_folder
from benchmark.embedding.features import FeatureSet, LayerArray, Provenance, save_features
from benchmark.files import content_key, write_json, write_text
from benchmark.results.records import Record, Score, write_record
from benchmark.submission import Entry
from benchmark.suite import Suite
from tests.end_to_end.toy_board import SUITE

SANDBOX = "bubblewrap"


def provenance(entry: Entry, **fields: object) -> Provenance:
    """How the features of `entry` were made, as a worker in a sandbox would have it."""
    values = {
        "adapter_tree": entry.family.tree_hash(),
        "checkpoint_sha256": None,
        "environment": "1" * 64,
        "packages": {"numpy": "2.4.6"},
        "python": "3.11.7",
        "device": "cpu",
        "hardware": "a machine",
        "sandbox": SANDBOX,
        "wall_seconds": 1.0,
        "peak_memory_mb": 100.0,
        "code": "latent-matter 0, worker 0",
        **fields,
    }
    return Provenance.model_validate(values)


def write_features(work: Path, entry: Entry, dataset: Dataset, made: Provenance) -> str:
    """A product of random features; returns its key."""
    structures = dataset.structures()
    generator = np.random.default_rng(len(entry.model.id))
    values = generator.normal(size=(int(structures.offsets[-1]), 12)).astype(np.float32)
    key = content_key([entry.model.id, dataset.card.id, made.model_dump()])
    features = FeatureSet(
        entry.model.id, dataset.card.id, {"backbone": LayerArray(values, "atom", None)}, None, structures.offsets, key
    )
    described = {"key": key, "dataset_fingerprint": dataset.card.fingerprint, "provenance": made}
    save_features(features_folder(work, key), PRODUCT, features, described)
    return key


def write_results(
    folder: Path,
    work: Path,
    entries: Mapping[str, Entry],
    datasets: Sequence[Dataset],
    alignments: Mapping[str, float | None],
    **suite: object,
) -> Path:
    """Results of the toy suite in which each model has the given alignment (None: it failed)."""
    settings = Suite.model_validate({**SUITE, **suite})
    root = folder / settings.key
    write_text(root / "suite.yaml", yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
    for dataset in datasets:
        card = yaml.safe_dump(dataset.card.model_dump(mode="json"), sort_keys=False)
        write_text(root / "datasets" / f"{dataset.card.id}.yaml", card)
    for name, value in alignments.items():
        write_record(root / "records" / f"{name}.json", _record(settings, work, entries[name], datasets, value))
    pairs = [
        {"a": a, "b": b, "dataset": datasets[0].card.id, "metric": "cknna", "value": 0.5}
        for a in sorted(alignments)
        for b in sorted(alignments)
        if a < b
    ]
    write_json(root / "pairs.json", {"key": "2" * 64, "values": pairs})
    return folder


def _record(suite: Suite, work: Path, entry: Entry, datasets: Sequence[Dataset], value: float | None) -> Record:
    made = {} if value is None else {dataset.card.id: provenance(entry) for dataset in datasets}
    keys = {
        dataset.card.id: write_features(work, entry, dataset, made[dataset.card.id])
        for dataset in datasets
        if dataset.card.id in made
    }
    first = datasets[0].card.id
    score = Score(id="alignment", dataset=first, versus=suite.reference, value=value, low=value, high=value, n=72, k=5)
    return Record(
        key="3" * 64,
        suite=suite.id,
        suite_version=suite.version,
        model=entry.model.id,
        family=entry.family.submission.family,
        control=entry.model.control,
        status="failed" if value is None else "ok",
        reason="adapter.py: load: no" if value is None else None,
        scores=[] if value is None else [score],
        features=keys,
        provenance=made,
        reproduce=f"latent-matter run --suite {suite.id} --models {entry.model.id}",
    )
