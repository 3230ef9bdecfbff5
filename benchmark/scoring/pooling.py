"""What the mean over atoms hides: dimension and probes of the features at each order of cumulant pooling.

Cumulants of the atoms' features say how they are distributed over a structure; orders above the first tell structures
apart whose means are alike (arXiv:2512.05717). Without intervals: folds are by formula, and where formulas are few one
hard fold moves an R^2, the more so the more columns there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.embedding.features import STRUCTURES_AT_ONCE, blocks
from benchmark.metrics import effective_rank, intrinsic_dimension
from benchmark.metrics.pooling import cumulant_pool
from benchmark.metrics.probes import cpd_many
from benchmark.results.records import PooledLayer
from benchmark.scoring.data import (
    Cache,
    FloatArray,
    IntArray,
    ModelFeatures,
    alive_columns,
    derived_seed,
    digest,
    number,
)
from benchmark.scoring.probes import targets_of
from benchmark.suite import Suite

ORDERS = (1, 2, 3, 4)
MOST_STRUCTURES = 5000
"""The probes of 4 x 864 columns take ten minutes of one core there, and two hours on 50,000 structures."""


def pooled_layers(suite: Suite, cache: Cache, model: ModelFeatures) -> list[PooledLayer]:
    """The layer pooled to cumulants up to each order, on one data set; none for features per structure.

    Of a large data set on a draw of its structures, the same for every model and order.
    """
    data = model.data
    atoms = model.atoms
    if atoms is None:
        return []
    targets = targets_of(suite, data.id)
    labels = np.column_stack([data.label(target) for target in targets])
    seed = derived_seed(suite.seed, "folds", data.id)
    inputs = {"model": model.key, "targets": targets, "labels": digest(labels), "folds": suite.folds, "seed": seed}
    rows = data.drawn(MOST_STRUCTURES, derived_seed(suite.seed, "pooling", data.id))
    pooled = []
    for order in ORDERS:

        def compute(order: int = order) -> dict[str, Any]:
            # to single precision, as models give features: what is below it is rounding, no difference of structures
            matrix = _pooled(atoms, data.offsets, rows, order).astype(np.float32).astype(np.float64)
            matrix = matrix[:, alive_columns(matrix)]
            groups = np.array(data.groups)[rows]
            probes = cpd_many(matrix, data.composition[rows], labels[rows], groups=groups, folds=suite.folds, seed=seed)
            measures = {
                "effective_rank": _or_none(effective_rank, matrix),
                "intrinsic_dimension": _or_none(intrinsic_dimension, matrix),
            }
            measures |= {f"r2_partial_{t}": number(found.r2_partial) for t, found in zip(targets, probes, strict=True)}
            return {"dimension": matrix.shape[1], "measures": measures}

        found = cache("cumulants", {**inputs, "order": order}, compute)
        pooled.append(PooledLayer(dataset=data.id, layer=model.layer, pooling=f"cumulants:{order}", **found))
    return pooled


def _pooled(atoms: NDArray[np.float32], offsets: IntArray, rows: IntArray, order: int) -> FloatArray:
    """`cumulant_pool` of the structures `rows`, some after the other: it takes several copies of their features."""
    parts = []
    for part in blocks(len(rows), STRUCTURES_AT_ONCE):
        ours = [np.arange(offsets[row], offsets[row + 1]) for row in rows[part]]
        ends = np.cumsum([0, *(len(each) for each in ours)])
        parts.append(cumulant_pool(atoms[np.concatenate(ours)], ends, order))
    return np.concatenate(parts)


def _or_none(measure: Any, matrix: FloatArray) -> float | None:
    """None where the features leave a measure undefined (too few distinct rows, constant features)."""
    try:
        return number(measure(matrix))
    except ValueError:
        return None
