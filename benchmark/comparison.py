"""`latent-matter compare`: every similarity of two models, or of two arrays of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from benchmark import metrics
from benchmark.evaluation import Evaluation, PairTask
from benchmark.execution import Progress
from benchmark.files import atomic_path
from benchmark.pipeline import Settings, embed_models
from benchmark.schema import InvalidFileError
from benchmark.submission import Entry
from benchmark.suite import Suite

ACCEPTED = ".npy, .npz, .safetensors, .csv"
PERMUTATIONS = 200


def read_features(path: Path) -> NDArray[np.float64]:
    """An (n, d) array from a file. Archives must hold one array, or one called `features`.

    Raises InvalidFileError naming the file, what was found and what is accepted.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            found: dict[str, Any] = {"features": np.load(path, allow_pickle=False)}
        elif suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                found = dict(archive)
        elif suffix == ".safetensors":
            found = load_file(str(path))
        elif suffix == ".csv":
            found = {"features": pd.read_csv(path, header=None, comment="#").to_numpy()}
        else:
            raise InvalidFileError(f"{path}: found a {suffix or 'suffixless'} file, accepted are {ACCEPTED}")
    except (OSError, ValueError, SafetensorError) as error:
        if isinstance(error, InvalidFileError):
            raise
        raise InvalidFileError(f"{path}: not readable as {suffix}: {' '.join(str(error).split())}") from error
    name = "features" if "features" in found else next(iter(found), "")
    if len(found) > 1 and "features" not in found:
        raise InvalidFileError(f"{path}: holds arrays {sorted(found)}; accepted is one array, or one called 'features'")
    array = np.asarray(found.get(name))
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InvalidFileError(
            f"{path}: {name or 'array'} has shape {array.shape} and type {array.dtype}, "
            "accepted are numbers of shape (n, d)"
        )
    return array.astype(np.float64)


def compare_files(paths: Sequence[Path], k: int, permutations: int = PERMUTATIONS) -> pd.DataFrame:
    """Every metric of feature files whose rows are the same structures in the same order; see `compare_all`.

    Files are called by their names, or by their paths where names repeat. Raises InvalidFileError naming the file.
    """
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    arrays = {name: read_features(path) for name, path in zip(names, paths, strict=True)}
    if len(arrays) < len(paths):
        raise InvalidFileError(f"{', '.join(names)}: a file is named twice")
    (first, known), *others = arrays.items()
    for name, array in others:
        if len(array) != len(known):
            raise InvalidFileError(
                f"{name}: has {len(array)} rows, {first} has {len(known)}; rows must be the same structures"
            )
    try:
        return metrics.compare_all(arrays, k=k, permutations=permutations)
    except ValueError as error:
        raise InvalidFileError(f"{', '.join(names)}: {error}") from error


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as CSV or Parquet, by the name's ending; never half of one. Raises InvalidFileError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            if path.suffix == ".parquet":
                frame.to_parquet(temporary, index=False)
            else:
                frame.to_csv(temporary, index=False)
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot be written: {error}") from error


def compare_models(
    suite: Suite, entries: dict[str, Entry], first: str, second: str, settings: Settings, progress: Progress
) -> pd.DataFrame:
    """Every pairwise metric of two models on each data set of the suite; embeds what is not embedded yet.

    Raises InvalidFileError when a model fails, with its reason.
    """
    names = list(dict.fromkeys([first, second]))
    embedded = embed_models(suite, entries, names, settings, progress)
    for model, reason in [*embedded.failures.items(), *((m, why) for (m, _), why in embedded.missing.items())]:
        raise InvalidFileError(f"{model}: {reason}")
    evaluation = Evaluation(suite, entries, embedded.sidecars, settings.work)
    tasks = [PairTask(evaluation, first, (second,), name) for name in suite.datasets()]
    values = [value for task in tasks for value in task(lambda _: None)]
    columns = [
        "dataset",
        "metric",
        "a",
        "b",
        "value",
        "null_mean",
        "null_quantile95",
        "p_value",
        "calibrated",
        "n",
        "k",
    ]
    return pd.DataFrame([value.model_dump() for value in values], columns=columns)
