"""`latent-matter compare`: every similarity of two models, or of two arrays of one's own."""

from __future__ import annotations

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
from benchmark.metrics.calibration import Similarity
from benchmark.pipeline import Settings, embed_models
from benchmark.schema import InvalidFileError
from benchmark.submission import Entry
from benchmark.suite import Suite

ACCEPTED = ".npy, .npz, .safetensors, .csv"
PERMUTATIONS = 200
CALIBRATED: tuple[Similarity, ...] = ("cknna", "mutual_knn", "cka", "dcor")


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


def compare_files(first: Path, second: Path, k: int) -> pd.DataFrame:
    """Every similarity of two feature files whose rows are the same structures in the same order."""
    a, b = read_features(first), read_features(second)
    if len(a) != len(b):
        raise InvalidFileError(f"{second}: has {len(b)} rows, {first} has {len(a)}; rows must be the same structures")
    try:
        return compare_arrays(a, b, k=k)
    except ValueError as error:
        raise InvalidFileError(f"{first} and {second}: {error}") from error


def compare_arrays(a: NDArray[np.float64], b: NDArray[np.float64], *, k: int = 25) -> pd.DataFrame:
    """A row a metric: value, null mean, 95 % quantile of the null, p-value. ValueError for arrays no metric accepts."""
    first, second = metrics.Representation(a, name="the first file"), metrics.Representation(b, name="the second file")
    rows: list[dict[str, Any]] = []
    for metric in CALIBRATED:
        options = {"k": k} if metric in ("cknna", "mutual_knn") else {}
        null = metrics.calibrate(metric, first, second, permutations=PERMUTATIONS, seed=0, **options)
        rows.append(
            {
                "metric": metric,
                "value": null.value,
                "null_mean": null.mean,
                "null_quantile95": null.quantile95,
                "p_value": null.p_value,
            }
        )
    rows.append({"metric": "information_imbalance first to second", "value": metrics.information_imbalance(a, b)})
    rows.append({"metric": "information_imbalance second to first", "value": metrics.information_imbalance(b, a)})
    rows.append({"metric": "gfre first to second", "value": metrics.global_reconstruction_error(a, b)})
    rows.append({"metric": "gfre second to first", "value": metrics.global_reconstruction_error(b, a)})
    rows.append({"metric": "intrinsic_dimension first", "value": metrics.intrinsic_dimension(a)})
    rows.append({"metric": "intrinsic_dimension second", "value": metrics.intrinsic_dimension(b)})
    return pd.DataFrame(rows)


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
    values = [value for name in suite.datasets() for value in PairTask(evaluation, first, (second,), name)()]
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
