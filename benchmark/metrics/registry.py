"""What each metric is, declared once: the tests, the tables and the methods page are made from these records.

A record declares only what holds exactly (to rounding); every invariance that is not declared has a counterexample
in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from .composition import composition_share
from .dimension import effective_rank, id_correlation, intrinsic_dimension
from .imbalance import information_imbalance
from .nonlinear_probes import nonlinear_probe
from .probes import cpd
from .reconstruction import global_reconstruction_error, local_reconstruction_error
from .similarity import cknna, distance_correlation, linear_cka, mutual_knn

Invariance = Literal["orthogonal", "translation", "scale", "permutation"]
INVARIANCES: tuple[Invariance, ...] = ("orthogonal", "translation", "scale", "permutation")
"""Rotations and reflections of feature space; a common shift; a common factor; a reordering of the structures.

Each is applied to one side of a pair alone, the reordering to both sides (and to composition, target and groups).
"""
Direction = Literal["higher", "lower", "neither"]
Inputs = Literal["pair", "single", "probe", "composition"]
ALL: frozenset[Invariance] = frozenset(INVARIANCES)


@dataclass(frozen=True)
class MetricRecord:
    """One metric. `compute` takes what `inputs` says and returns a float.

    `inputs`: `"pair"` (A, B), `"single"` (A), `"probe"` (H, C, y, *, groups), `"composition"` (H, C, *, groups).
    `directed`: A -> B and B -> A are different questions. `symmetric`: they have the same value to rounding.
    `range`: None is unbounded. `better`: which way is better where the metric is ranked, or a larger value says more.
    """

    id: str
    title: str
    inputs: Inputs
    compute: Callable[..., float]
    better: Direction
    range: tuple[float | None, float | None]
    invariances: frozenset[Invariance]
    null: str
    source: str
    reading: str
    symmetric: bool = False
    directed: bool = False


def _id_correlation(A: Any, B: Any) -> float:
    return id_correlation(A, B, permutations=1).value


def _biased(A: Any, B: Any) -> float:
    return distance_correlation(A, B, biased=True)


def _levina_bickel(A: Any) -> float:
    return intrinsic_dimension(A, method="mle")


def _gride(A: Any) -> float:
    return intrinsic_dimension(A, method="gride")


def _composition(H: Any, C: Any, y: Any, *, groups: Any) -> float:
    return cpd(H, C, y, groups=groups).r2_composition


def _geometry(H: Any, C: Any, y: Any, *, groups: Any) -> float:
    return cpd(H, C, y, groups=groups).r2_geometry


def _partial(H: Any, C: Any, y: Any, *, groups: Any) -> float:
    return cpd(H, C, y, groups=groups).r2_partial


def _mlp(H: Any, C: Any, y: Any, *, groups: Any) -> float:
    return nonlinear_probe(H, C, y, groups=groups, model="mlp").r2_geometry


def _trees(H: Any, C: Any, y: Any, *, groups: Any) -> float:
    return nonlinear_probe(H, C, y, groups=groups, model="trees").r2_geometry


_PERMUTED = "permutations of the rows of B"
_SHUFFLED = "the same probe on shuffled targets"
_PROBE: frozenset[Invariance] = frozenset(("translation", "scale", "permutation"))

_RECORDS = (
    MetricRecord(
        id="cknna",
        title="Centred kernel nearest-neighbour alignment",
        inputs="pair",
        compute=cknna,
        better="higher",
        range=(-1.0, 1.0),
        invariances=ALL,
        null=f"about k / n; {_PERMUTED}",
        source="arXiv:2405.07987",
        reading="Do two models agree on who is near whom, and how near? 1 is full agreement, about k / n is chance.",
    ),
    MetricRecord(
        id="mutual_knn",
        title="Mutual nearest neighbours",
        inputs="pair",
        compute=mutual_knn,
        better="higher",
        range=(0.0, 1.0),
        invariances=ALL,
        null=f"about k / n; {_PERMUTED}",
        source="arXiv:2405.07987",
        reading="The share of a structure's nearest neighbours that two models have in common.",
        symmetric=True,
    ),
    MetricRecord(
        id="cka",
        title="Linear centred kernel alignment, unbiased",
        inputs="pair",
        compute=linear_cka,
        better="higher",
        range=(-1.0, 1.0),
        invariances=ALL,
        null=f"0 in the mean; {_PERMUTED}",
        source="arXiv:1905.00414",
        reading="Do two models lay out the whole data set alike, up to rotation? Large-scale structure dominates.",
        symmetric=True,
    ),
    MetricRecord(
        id="dcor",
        title="Distance correlation, squared, bias-corrected",
        inputs="pair",
        compute=distance_correlation,
        better="higher",
        range=(-1.0, 1.0),
        invariances=ALL,
        null=f"0 in the mean; {_PERMUTED}",
        source="doi:10.1016/j.jmva.2013.02.012",
        reading="Do distances in one model follow distances in the other? 0 is independence of any kind.",
        symmetric=True,
    ),
    MetricRecord(
        id="dcor_biased",
        title="Distance correlation, squared, V-statistic",
        inputs="pair",
        compute=_biased,
        better="neither",
        range=(0.0, 1.0),
        invariances=ALL,
        null="grows with the width of the features: 0.67 for independent 512-wide noise at n = 1000",
        source="arXiv:2512.03750",
        reading="Only for comparison with literature: it ranks models by their width.",
        symmetric=True,
    ),
    MetricRecord(
        id="information_imbalance",
        title="Information imbalance A to B",
        inputs="pair",
        compute=information_imbalance,
        better="lower",
        range=(0.0, 2.0),
        invariances=ALL,
        null="about 1",
        source="arXiv:2104.15079",
        reading="Can A stand in for B? 0: A's nearest neighbour is also B's; 1: A says nothing about B.",
        directed=True,
    ),
    MetricRecord(
        id="id_cor",
        title="Intrinsic-dimension correlation",
        inputs="pair",
        compute=_id_correlation,
        better="higher",
        range=(None, None),
        invariances=frozenset(("translation", "scale", "permutation")),
        null=f"about 0; {_PERMUTED}",
        source="arXiv:2406.15812",
        reading="How many of the coordinates that two models use are the same ones? 1: one determines the other.",
        symmetric=True,
    ),
    MetricRecord(
        id="gfre",
        title="Global feature reconstruction error A to B",
        inputs="pair",
        compute=global_reconstruction_error,
        better="lower",
        range=(0.0, None),
        invariances=frozenset(("translation", "scale")),
        null="about 1",
        source="arXiv:2009.02741",
        reading="Is B a linear image of A? 0: yes; 1: A says nothing about B. R^2 is 1 - GFRE^2.",
        directed=True,
    ),
    MetricRecord(
        id="lfre",
        title="Local feature reconstruction error A to B",
        inputs="pair",
        compute=local_reconstruction_error,
        better="lower",
        range=(0.0, None),
        invariances=frozenset(("translation", "scale")),
        null="about 1",
        source="arXiv:2009.02741",
        reading="Is B a smooth image of A, linear in each neighbourhood? 0: yes; 1: A says nothing about B.",
        directed=True,
    ),
    MetricRecord(
        id="twonn",
        title="Intrinsic dimension, TwoNN",
        inputs="single",
        compute=intrinsic_dimension,
        better="neither",
        range=(0.0, None),
        invariances=ALL,
        null="none",
        source="doi:10.1038/s41598-017-11873-y",
        reading="How many coordinates it takes to tell near structures apart.",
    ),
    MetricRecord(
        id="mle",
        title="Intrinsic dimension, Levina-Bickel, k = 50",
        inputs="single",
        compute=_levina_bickel,
        better="neither",
        range=(0.0, None),
        invariances=ALL,
        null="none",
        source="arXiv:2512.03750",
        reading="How many coordinates a neighbourhood of 50 structures spans.",
    ),
    MetricRecord(
        id="gride",
        title="Intrinsic dimension, GRIDE",
        inputs="single",
        compute=_gride,
        better="neither",
        range=(0.0, None),
        invariances=ALL,
        null="none",
        source="arXiv:2104.13832",
        reading="The intrinsic dimension at a chosen scale; over scales it tells noise from structure.",
    ),
    MetricRecord(
        id="effective_rank",
        title="Effective rank (participation ratio)",
        inputs="single",
        compute=effective_rank,
        better="neither",
        range=(0.0, None),
        invariances=ALL,
        null="none",
        source="doi:10.1016/j.conb.2017.01.009",
        reading="How many directions of feature space share the variance.",
    ),
    MetricRecord(
        id="composition_share",
        title="Feature variance that composition explains",
        inputs="composition",
        compute=composition_share,
        better="neither",
        range=(None, 1.0),
        invariances=frozenset(("translation", "scale", "permutation")),
        null="about 0 for features that do not know the composition",
        source="arXiv:2603.03155",
        reading="How much of the representation is only a list of elements.",
    ),
    MetricRecord(
        id="r2_composition",
        title="Composition alone",
        inputs="probe",
        compute=_composition,
        better="neither",
        range=(None, 1.0),
        invariances=ALL,
        null=_SHUFFLED,
        source="arXiv:2603.03155",
        reading="What a list of elements already says about the target.",
    ),
    MetricRecord(
        id="r2_geometry",
        title="Linear probe, composition projected out of the features",
        inputs="probe",
        compute=_geometry,
        better="higher",
        range=(None, 1.0),
        invariances=_PROBE,
        null=_SHUFFLED,
        source="arXiv:2603.03155",
        reading="Variance of the target that can be read beyond composition; at most 1 - composition's share.",
    ),
    MetricRecord(
        id="r2_partial",
        title="Linear probe of what composition leaves open",
        inputs="probe",
        compute=_partial,
        better="higher",
        range=(None, 1.0),
        invariances=_PROBE,
        null=_SHUFFLED,
        source="arXiv:2603.03155",
        reading="Of what composition does not explain, the share that can be read linearly from the features.",
    ),
    MetricRecord(
        id="r2_mlp",
        title="Neural-network probe, composition projected out of the features",
        inputs="probe",
        compute=_mlp,
        better="neither",
        range=(None, 1.0),
        invariances=_PROBE,
        null="the same probe on a purely compositional target, which it partly re-learns",
        source="arXiv:2603.03155",
        reading="What can be read beyond composition, not only linearly. Never ranked.",
    ),
    MetricRecord(
        id="r2_trees",
        title="Boosted-tree probe, composition projected out of the features",
        inputs="probe",
        compute=_trees,
        better="neither",
        range=(None, 1.0),
        invariances=frozenset(("translation", "scale")),
        null="the same probe on a purely compositional target, which it partly re-learns",
        source="arXiv:2603.03155",
        reading="As the network probe, by gradient-boosted trees. Never ranked.",
    ),
)

METRICS: dict[str, MetricRecord] = {record.id: record for record in _RECORDS}
"""Every metric by its id."""
