"""Trial runs: a suite on a few structures of each of its data sets, visibly not the suite itself.

The draw of N structures is a data set like any other, so that all that follows knows nothing of it: it has an id of its
own (`qm9-limit-500`), a card, a fingerprint and features under their own keys. The suite of such data sets has an id of
its own too, no ranks, and cannot be published.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
from filelock import FileLock

from benchmark.datasets.prepare import made_from, replace_folder
from benchmark.datasets.store import Dataset, dataset_folders, find_datasets, load_dataset, write_dataset
from benchmark.files import content_key, sha256_of_file, write_json
from benchmark.suite import Suite

LIMITING_VERSION = 1  # raised when the draw changes


def limited_suite(suite: Suite, limit: int) -> Suite:
    """`suite` on at most `limit` structures of each data set, which are drawn and kept beside the prepared ones.

    Raises DatasetError when a data set of the suite is not prepared.
    """
    datasets = find_datasets(suite.datasets())
    names = {name: draw_limited(dataset, limit, suite.seed).card.id for name, dataset in datasets.items()}
    return suite.limited_to(limit, names)


def draw_limited(dataset: Dataset, limit: int, seed: int, folder: Path | None = None) -> Dataset:
    """A draw of `limit` structures of `dataset` (all, where it has no more), made once for data set, limit and seed.

    folder: where it is kept; the first of `dataset_folders()` by default. A larger draw holds the smaller one.
    """
    card = dataset.card
    folder = Path(folder) if folder is not None else dataset_folders()[0]
    name = f"{card.id}-limit-{limit}"
    labels = sha256_of_file(dataset.folder / "labels.parquet")
    key = content_key([LIMITING_VERSION, card.fingerprint, labels, card.model_dump(mode="json"), limit, seed])
    target, partial = folder / name, folder / ".partial" / name
    partial.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{partial}.lock"):
        if made_from(target) == key:
            return load_dataset(target)
        work = Path(tempfile.mkdtemp(dir=partial))
        try:
            _write(dataset, name, limit, seed, work)
            write_json(work / "prepared.json", {"spec": key})
            work.chmod(0o755)
            replace_folder(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return load_dataset(target)


def _write(dataset: Dataset, name: str, limit: int, seed: int, work: Path) -> None:
    structures, labels = dataset.structures(), dataset.labels()
    ranks = [hashlib.sha256(f"{seed}:{each}".encode()).digest() for each in structures.ids]
    smallest = sorted(range(len(ranks)), key=ranks.__getitem__)[:limit]
    positions = np.array(sorted(smallest), dtype=np.int64)
    card = dataset.card.model_dump() | {
        "id": name,
        "title": f"{dataset.card.title}: {len(positions)} structures",
        "description": f"A draw of {len(positions)} of {len(structures)} structures. {dataset.card.description}",
    }
    write_dataset(work, card, structures.take(positions), labels.iloc[positions])
