"""Where the structures of the suite's two energy data sets lie in a model's feature space, on one map in the plane.

One UMAP (McInnes et al., arXiv:1802.03426) of both data sets, so that a reader sees whether they overlap. For looking
at: nothing is ranked by it, and distances between far clusters mean nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from benchmark.metrics.composition import composition_corrected_errors
from benchmark.results.records import Coordinates
from benchmark.scoring.data import (
    Cache,
    FloatArray,
    IntArray,
    ModelFeatures,
    alive_columns,
    derived_seed,
    numbers,
)
from benchmark.suite import Suite
from benchmark.threads import one_thread

MOST_STRUCTURES = 500
"""Of each data set; those of a larger one are drawn, the same for all models."""
NEIGHBOURS = 15
EPOCHS = 200
FEWEST_STRUCTURES = 4
DECIMALS = 4
"""Of positions, which are some tens wide, and of errors in eV/atom."""


def coordinates(suite: Suite, cache: Cache, models: Mapping[str, ModelFeatures]) -> list[Coordinates]:
    """The map of one model's structures, a part for each data set in `models`; none where its features do not vary.

    models: the model's features by data set, the layers of equal width.
    """
    drawn = {
        name: model.data.drawn(MOST_STRUCTURES, derived_seed(suite.seed, "coordinates", name))
        for name, model in models.items()
    }
    inputs = {"models": {name: model.key for name, model in models.items()}, "seed": suite.seed}

    def compute() -> list[list[list[float | None]]]:
        points = standardised([models[name].whole[rows] for name, rows in drawn.items()])
        if points is None:
            return []
        plane = layout(points, derived_seed(suite.seed, "layout"))
        parts = np.split(plane, np.cumsum([len(rows) for rows in drawn.values()])[:-1])
        return [[numbers(axis) for axis in part.T] for part in parts]

    found = cache("layout", inputs, compute)
    return [
        Coordinates(
            dataset=name,
            layer=models[name].layer,
            structures=[models[name].data.ids[row] for row in drawn[name]],
            x=x,
            y=y,
            error=_errors(models[name], suite.energy_targets[name], drawn[name]),
        )
        for name, (x, y) in zip(drawn, found or (), strict=bool(found))
    ]


def standardised(parts: list[FloatArray]) -> FloatArray | None:
    """Features (n, d) of all `parts`, their live columns with mean 0 and variance 1; None where there is no map.

    A map needs 4 structures and 2 columns that vary.
    """
    matrix = np.concatenate(parts)
    alive = alive_columns(matrix)
    if len(matrix) < FEWEST_STRUCTURES or alive.sum() < 2:
        return None
    centred = matrix[:, alive] - matrix[:, alive].mean(axis=0)
    scaled: FloatArray = centred / centred.std(axis=0)
    return scaled


def layout(points: FloatArray, seed: int) -> FloatArray:
    """UMAP of points (n, d), d > 1: positions (n, 2), the same for the same seed on the same machine.

    Starts from principal components: a spectral start has no solution where the graph falls into many pieces, as it
    does for repeated points.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Tt]ensorflow.*")
        # here, because it takes seconds, and only scoring needs it
        from umap import UMAP

    reducer = UMAP(
        n_components=2,
        n_neighbors=min(NEIGHBOURS, len(points) - 1),
        n_epochs=EPOCHS,
        init="pca",
        random_state=seed,
        n_jobs=1,  # several draw in an order of their own each time
    )
    with one_thread():
        embedding = reducer.fit_transform(points.astype(np.float32))
    positions: FloatArray = np.round(embedding.astype(np.float64), DECIMALS)
    return positions


def _errors(model: ModelFeatures, target: str, rows: IntArray) -> list[float | None]:
    """Absolute errors of the model's energies of the structures at `rows`, composition taken out, in eV/atom."""
    if model.energies is None or not np.isfinite(model.energies).all():
        return [None] * len(rows)
    data = model.data
    per_atom = model.energies / np.diff(data.offsets)
    errors = composition_corrected_errors(data.label(target), per_atom, data.fractions)
    return numbers(np.round(errors[rows], DECIMALS))
