"""The canonical store of a data set: structures and labels in two Parquet files, described by a card.

A data set is a folder with

- `dataset.yaml`: the card (`DatasetCard`): identity, source, licence, labels with units, fingerprint;
- `structures.parquet`: what a model may see, one row a structure (columns in columns.py);
- `labels.parquet`: what a model never sees. `id` and one float64 column a label.

Labels never enter a model's process: `Dataset.structures` does not open the labels file.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import Field

from benchmark.datasets.columns import (
    READ_ERRORS,
    ROW_GROUP,
    DatasetError,
    read_structures,
    structures_table,
    write_tables,
)
from benchmark.datasets.structures import Structures, feed_list, structures_from_atoms
from benchmark.files import atomic_path, write_text
from benchmark.schema import Identifier, InvalidFileError, Sha256, Strict, read_yaml

__all__ = [
    "DATASETS_VARIABLE",
    "EMBEDDED",
    "SPECS",
    "Dataset",
    "DatasetCard",
    "DatasetError",
    "Label",
    "Source",
    "Structures",
    "dataset_folders",
    "find_dataset",
    "find_datasets",
    "known_datasets",
    "load_dataset",
    "structures_from_atoms",
    "write_card",
    "write_dataset",
]

EMBEDDED = Path(__file__).parent / "embedded"
SPECS = Path(__file__).parent / "specs"
DATASETS_VARIABLE = "LATENT_MATTER_DATASETS"


class Label(Strict):
    """One label column: its unit and what it is."""

    unit: str
    description: str


class Source(Strict):
    """Where the structures and labels come from; `revision` and `sha256` pin a download."""

    description: str
    url: str | None = None
    revision: str | None = None
    sha256: str | None = None
    files: dict[str, Sha256] = Field(default_factory=dict, description="file that was read -> its SHA-256")


class DatasetCard(Strict):
    """What a data set says of itself (dataset.yaml)."""

    id: Identifier
    version: int = Field(ge=1)
    title: str
    description: str
    source: Source
    licence: str
    structures: int = Field(ge=1, description="number of structures")
    periodic: bool
    labels: dict[str, Label]
    composition_basis: Literal["counts", "fractions"]
    overlaps: dict[str, str] = Field(
        default_factory=dict, description="training set -> how this data set overlaps it, in one sentence"
    )
    left_out: dict[str, int] = Field(default_factory=dict, description="reason -> entries left out")
    damaged: dict[str, str] = Field(default_factory=dict, description="part of the source -> what was not readable")
    fingerprint: Sha256


@dataclass(frozen=True)
class Dataset:
    """A data set's folder and its card."""

    folder: Path
    card: DatasetCard

    def structures(self) -> Structures:
        """What a model may see. Raises DatasetError when file and card disagree."""
        structures = read_structures(self.folder / "structures.parquet")
        if structures.fingerprint() != self.card.fingerprint:
            raise DatasetError(
                f"{self.folder / 'structures.parquet'}: fingerprint is {structures.fingerprint()}, "
                f"dataset.yaml says {self.card.fingerprint}"
            )
        return structures

    def labels(self) -> pd.DataFrame:
        """Labels indexed by id, in the order of the structures. Raises DatasetError when a label is missing."""
        path = self.folder / "labels.parquet"
        labels = _read_parquet(path)
        missing = {"id", *self.card.labels} - set(labels.columns)
        if missing:
            raise DatasetError(f"{path}: columns {sorted(missing)} are missing; found {sorted(labels.columns)}")
        ids = list(self.structures().ids)
        indexed = labels.set_index("id")
        absent = [name for name in ids if name not in indexed.index]
        if absent:
            raise DatasetError(f"{path}: {len(absent)} structures have no labels, first {absent[0]!r}")
        try:
            return indexed.loc[ids, list(self.card.labels)].astype(np.float64)
        except (ValueError, TypeError) as error:
            raise DatasetError(f"{path}: labels are not numbers: {error}") from error

    def labels_fingerprint(self) -> str:
        """SHA-256 over the label values, so that a changed label recomputes the scores that use it."""
        states = [(self.folder / name).stat() for name in ("structures.parquet", "labels.parquet")]
        return _labels_fingerprint(self.folder, str(self.card), *[(each.st_mtime_ns, each.st_size) for each in states])


@functools.lru_cache(maxsize=64)
def _labels_fingerprint(folder: Path, card: str, *state: Any) -> str:
    """`card` and the `state` of the files tell one set from another: every record of a suite asks for this."""
    del card, state
    labels = load_dataset(folder).labels()
    digest = hashlib.sha256(b"{")
    for number, name in enumerate(sorted(labels.columns)):
        digest.update(f"{',' if number else ''}{json.dumps(name)}:".encode())
        feed_list(digest, labels[name].to_numpy(), lambda part: [repr(value) for value in part.tolist()])
    digest.update(b"}")
    return digest.hexdigest()


def load_dataset(folder: Path) -> Dataset:
    """Read and validate `folder`/dataset.yaml. Raises DatasetError naming file and field."""
    try:
        card = read_yaml(Path(folder) / "dataset.yaml", DatasetCard)
    except InvalidFileError as error:
        raise DatasetError(str(error)) from error
    return Dataset(Path(folder), card)


def dataset_folders() -> list[Path]:
    """Where prepared data sets lie: $LATENT_MATTER_DATASETS (folders separated as in PATH), else the user's cache."""
    given = [Path(root) for root in os.environ.get(DATASETS_VARIABLE, "").split(os.pathsep) if root]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return given or [caches / "latent-matter" / "datasets"]


def known_datasets() -> dict[str, Dataset]:
    """Data sets by id: those shipped inside the package, and those prepared in `dataset_folders()`."""
    roots = [EMBEDDED, *dataset_folders()]
    found = [load_dataset(card.parent) for root in roots for card in sorted(root.glob("*/dataset.yaml"))]
    return {dataset.card.id: dataset for dataset in found}


def find_dataset(name: str) -> Dataset:
    """The data set called `name`. Raises DatasetError listing what there is."""
    return find_datasets([name])[name]


def find_datasets(names: Iterable[str]) -> dict[str, Dataset]:
    """The data sets called `names`. Raises one DatasetError that says how to get all those that are missing."""
    wanted, known = list(names), known_datasets()
    missing = [name for name in wanted if name not in known]
    unknown = [name for name in missing if not (SPECS / f"{name}.yaml").is_file()]
    if unknown:
        raise DatasetError(f"data set {unknown[0]!r} is unknown; known: {', '.join(sorted(known)) or 'none'}")
    if missing:
        which = f"data set {missing[0]!r} is" if len(missing) == 1 else f"data sets {', '.join(missing)} are"
        raise DatasetError(f"{which} not prepared; run `latent-matter data prepare {' '.join(missing)}`")
    return {name: known[name] for name in wanted}


def write_dataset(folder: Path, card: dict[str, object], structures: Structures, labels: pd.DataFrame) -> Dataset:
    """Write structures, labels and card (whose count and fingerprint are filled in here), each atomically.

    `labels` is indexed by id, one float column a label. The card is written last, so that a
    reader never finds a card without its files.
    """
    folder = Path(folder)
    starts = range(0, len(structures), ROW_GROUP)
    parts = (np.arange(start, min(start + ROW_GROUP, len(structures))) for start in starts)
    write_tables(folder / "structures.parquet", (structures_table(structures.take(part)) for part in parts))
    ordered = labels.loc[list(structures.ids)].astype(np.float64)
    with atomic_path(folder / "labels.parquet") as temporary:
        ordered.rename_axis("id").reset_index().to_parquet(temporary, index=False, compression="zstd")
    return write_card(folder, card, len(structures), structures.fingerprint())


def write_card(folder: Path, card: dict[str, object], count: int, fingerprint: str) -> Dataset:
    """Write the card of a data set whose files are in `folder` already, with its count and fingerprint."""
    filled = DatasetCard.model_validate({**card, "structures": count, "fingerprint": fingerprint})
    write_text(folder / "dataset.yaml", yaml.safe_dump(filled.model_dump(), sort_keys=False, allow_unicode=True))
    return load_dataset(folder)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except READ_ERRORS as error:
        raise DatasetError(f"{path}: not a readable Parquet file: {error}") from error
