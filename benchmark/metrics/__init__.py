"""Metrics: arrays in, numbers out. No files, no models, no data frames; nothing else of this library is imported.

Each metric is one pure function beside one record in `METRICS` that declares what it is: direction, range,
symmetry, invariances, null, source. The property tests and the methods page are made from those records.
"""

from __future__ import annotations

from .calibration import NullDistribution, calibrate, calibrate_many, half_subsets, scaled_k, subsample_values
from .dimension import (
    GrideScales,
    IdCorrelation,
    effective_rank,
    gride_scales,
    id_correlation,
    intrinsic_dimension,
)
from .imbalance import information_imbalance
from .neighbours import Neighbours, neighbours
from .pooling import cumulant_pool, mean_pool
from .reconstruction import global_reconstruction_error, local_reconstruction_error
from .representation import Representation
from .similarity import cknna, distance_correlation, linear_cka, mutual_knn

__all__ = [
    "GrideScales",
    "IdCorrelation",
    "Neighbours",
    "NullDistribution",
    "Representation",
    "calibrate",
    "calibrate_many",
    "cknna",
    "cumulant_pool",
    "distance_correlation",
    "effective_rank",
    "global_reconstruction_error",
    "gride_scales",
    "half_subsets",
    "id_correlation",
    "information_imbalance",
    "intrinsic_dimension",
    "linear_cka",
    "local_reconstruction_error",
    "mean_pool",
    "mutual_knn",
    "neighbours",
    "scaled_k",
    "subsample_values",
]
