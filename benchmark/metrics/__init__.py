"""Metrics: arrays in, numbers out. No files, no models, no data frames; nothing else of this library is imported.

Each metric is one pure function beside one record in `METRICS` that declares what it is: direction, range,
symmetry, invariances, null, source. The property tests and the methods page are made from those records.
"""

from __future__ import annotations

from .all_pairs import compare_all
from .calibration import (
    NullDistribution,
    calibrate,
    calibrate_many,
    half_subsets,
    scaled_k,
    spread_of_whole,
    subsample_values,
    unbiased_null,
)
from .channels import VectorProbe, channel_norms, vector_null, vector_probe
from .composition import (
    CompositionFit,
    IsomerOrder,
    composition_corrected_mae,
    composition_projection,
    composition_share,
    compositional_control,
    isomer_order,
)
from .cross_gram import FeatureSpacePairs, feature_space_pairs
from .dimension import (
    GrideScales,
    IdCorrelation,
    effective_rank,
    gride_scales,
    id_correlation,
    intrinsic_dimension,
)
from .imbalance import information_imbalance
from .learning import LearningCurve, learning_curve, learning_curve_many
from .neighbours import Neighbours, neighbours
from .nonlinear_probes import NonlinearProbe, nonlinear_probe, nonlinear_probe_many
from .pooling import cumulant_pool, mean_pool
from .probes import CpdResult, CpdSubsamples, ShuffledNull, cpd, cpd_many, cpd_subsample, shuffled_null
from .reconstruction import global_reconstruction_error, local_reconstruction_error, local_reconstruction_errors
from .registry import METRICS, MetricRecord
from .representation import Representation
from .similarity import cknna, distance_correlation, linear_cka, mutual_knn
from .streaming import Streamed, StreamedModel, stream

__all__ = [
    "METRICS",
    "CompositionFit",
    "CpdResult",
    "CpdSubsamples",
    "FeatureSpacePairs",
    "GrideScales",
    "IdCorrelation",
    "IsomerOrder",
    "LearningCurve",
    "MetricRecord",
    "Neighbours",
    "NonlinearProbe",
    "NullDistribution",
    "Representation",
    "ShuffledNull",
    "Streamed",
    "StreamedModel",
    "VectorProbe",
    "calibrate",
    "calibrate_many",
    "channel_norms",
    "cknna",
    "compare_all",
    "composition_corrected_mae",
    "composition_projection",
    "composition_share",
    "compositional_control",
    "cpd",
    "cpd_many",
    "cpd_subsample",
    "cumulant_pool",
    "distance_correlation",
    "effective_rank",
    "feature_space_pairs",
    "global_reconstruction_error",
    "gride_scales",
    "half_subsets",
    "id_correlation",
    "information_imbalance",
    "intrinsic_dimension",
    "isomer_order",
    "learning_curve",
    "learning_curve_many",
    "linear_cka",
    "local_reconstruction_error",
    "local_reconstruction_errors",
    "mean_pool",
    "mutual_knn",
    "neighbours",
    "nonlinear_probe",
    "nonlinear_probe_many",
    "scaled_k",
    "shuffled_null",
    "spread_of_whole",
    "stream",
    "subsample_values",
    "unbiased_null",
    "vector_null",
    "vector_probe",
]
