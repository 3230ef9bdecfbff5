"""The result of scoring one model in one suite, as it is kept on disk.

One JSON file a (suite@version, model). Tables are derived from these records and never edited.
Reading this module is reading the documentation of the JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError, model_validator

from benchmark.embedding.features import Provenance
from benchmark.files import write_text
from benchmark.schema import InvalidFileError, Sha256, Strict, describe_validation_error

PROTOCOL_VERSION = 1
Status = Literal["ok", "partial", "failed"]


class Null(Strict):
    """What the score would be without any relation: a permutation (or shuffled-target) null."""

    mean: float
    quantile95: float
    p_value: float
    permutations: int  # 0 where the null is known without any: cka and dcor of more than 5,000 structures


class Score(Strict):
    """One number with everything that is needed to distrust it.

    `value` is None exactly when `reason` says why there is none.
    """

    id: str  # e.g. "alignment", "cpd", "collapse_information", "collapse_convergence", "fine_tuning_bias"
    dataset: str | None = None  # where it was measured, if on one data set
    target: str | None = None  # label, for probes
    versus: str | None = None  # the other model, for pairwise scores
    layer: str = "backbone"
    value: float | None
    low: float | None = None  # value - 1.96 standard errors
    high: float | None = None
    standard_error: float | None = None  # spread over the suite's subsamples
    null: Null | None = None
    n: int | None = None  # structures (or atoms, for reconstruction errors)
    d: int | None = None  # feature columns after dead ones were dropped
    k: int | None = None
    reason: str | None = None
    beaten_by: list[str] = []  # controls whose value is better
    subsamples: list[float | None] = []  # the score on each of the suite's subsamples, for paired differences


class PairValue(Strict):
    """One metric of one pair of models on one data set; directed metrics go a -> b."""

    a: str
    b: str
    dataset: str
    metric: str
    value: float | None
    null_mean: float | None = None
    null_quantile95: float | None = None
    p_value: float | None = None
    calibrated: float | None = None
    standard_error: float | None = None
    k: int | None = None
    n: int | None = None
    reason: str | None = None


class ConformanceCheck(Strict):
    """Outcome of one conformance check: what was measured against which tolerance."""

    id: str
    status: Literal["passed", "failed", "reported", "skipped"]
    measured: float | None = None
    tolerance: float | None = None
    detail: str


class LayerValue(Strict):
    """One stored layer of a model on one data set and what was measured on it."""

    dataset: str
    layer: str
    level: Literal["atom", "structure"]
    dimension: int
    irreps: str | None
    measures: dict[str, float | None] = {}


class PooledLayer(Strict):
    """One layer of a model on one data set, its atoms pooled another way than to their mean."""

    dataset: str
    layer: str
    pooling: str  # "cumulants:n": the first n cumulants over the atoms
    dimension: int  # columns that vary
    measures: dict[str, float | None] = {}


class LearningPoint(Strict):
    """One point of the learning curve of one probed target: a mean over draws of training and test structures."""

    dataset: str
    layer: str
    target: str
    measure: Literal["r2_geometry", "r2_partial"]
    n_train: int
    mean: float | None
    standard_error: float | None  # of the mean over the draws
    draws: int


class Coordinates(Strict):
    """Structures of one data set on a map of a model's features; all lists are parallel.

    Positions have no unit, and those of one model's data sets are on one map. `error`: absolute, in eV/atom, of the
    model's energies without what is linear in composition; null where it gives none.
    """

    dataset: str
    layer: str
    structures: list[str]
    x: list[float]
    y: list[float]
    error: list[float | None]

    @model_validator(mode="after")
    def _parallel(self) -> Coordinates:
        lengths = {name: len(getattr(self, name)) for name in ("structures", "x", "y", "error")}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"structures, x, y and error must be equally long, found {lengths}")
        return self


class Record(Strict):
    """results/<suite>@<version>/records/<model>.json."""

    format: Literal[1] = 1
    protocol: int = PROTOCOL_VERSION
    key: Sha256  # of everything the scores depend on
    suite: str
    suite_version: int
    model: str
    family: str
    control: str | None
    status: Status
    reason: str | None = None  # why not ok
    scores: list[Score] = []
    layers: list[LayerValue] = []
    pooling: list[PooledLayer] = []
    learning_curves: list[LearningPoint] = []
    coordinates: list[Coordinates] = []
    conformance: list[ConformanceCheck] = []
    left_out: dict[str, dict[str, str]] = {}  # data set -> structure -> why the model cannot embed it
    features: dict[str, str] = {}  # data set -> key of the features that were scored
    provenance: dict[str, Provenance] = {}  # data set -> how its features were made
    quality: list[str] = []  # dead columns, ties, models at the null ...: worth a reader's eye
    # Set when published: whether the features were at hand and made in a sandbox, and what speaks against it.
    verification: Literal["audited", "self-reported"] | None = None
    doubts: list[str] = []
    reproduce: str  # the command that makes this record again

    def score(self, id: str, dataset: str | None = None, target: str | None = None) -> Score | None:
        """The first score with this id (and data set and target, where given)."""
        for score in self.scores:
            if score.id == id and dataset in (None, score.dataset) and target in (None, score.target):
                return score
        return None


def write_record(path: Path, record: Record) -> None:
    """Write a record atomically."""
    write_text(path, record.model_dump_json(indent=1) + "\n")


def read_record(path: Path) -> Record:
    """Read a record. Raises InvalidFileError naming file and field."""
    try:
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidFileError(f"{path}: no such file") from None
    except ValidationError as error:
        raise InvalidFileError(f"{path}: {describe_validation_error(error)}") from error
    except UnicodeDecodeError as error:
        raise InvalidFileError(f"{path}: not UTF-8: {error}") from error
