"""A suite: which data sets play which role, with which reference, panel, controls, k and seeds.

A suite is versioned. Whatever could move a published score (panel, controls, sizes, seeds) is
frozen in its file, so that a new submission never changes another model's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, model_validator

from benchmark.schema import Identifier, InvalidFileError, Sentence, Strict, read_yaml

SUITES = Path(__file__).parent / "suites"


class Controls(Strict):
    """Control models, frozen for the suite's version."""

    composition: Identifier
    noise: Identifier
    descriptor: Identifier
    random: list[Identifier] = Field(min_length=1)

    def ids(self) -> list[str]:
        return [self.composition, self.noise, self.descriptor, *self.random]


class Probe(Strict):
    """Composition Projection Decomposition: the data set and the targets whose mean r2_partial is ranked."""

    dataset: Identifier
    targets: list[str] = Field(min_length=1)
    vector_targets: dict[Identifier, list[str]] = Field(
        default_factory=dict, description="vector -> its labels along x, y and z, for the probe of L=1 channels"
    )

    @model_validator(mode="after")
    def _vectors_have_three_components(self) -> Probe:
        for name, labels in self.vector_targets.items():
            if len(labels) != 3:
                raise ValueError(f"vector_targets.{name}: expected three labels, for x, y and z, found {labels}")
        return self


class Suite(Strict):
    """suites/<id>.yaml."""

    id: Identifier
    version: int = Field(ge=1)
    title: Sentence
    description: Sentence
    in_distribution: Identifier
    out_of_distribution: Identifier
    further_datasets: list[Identifier] = Field(
        default_factory=list, description="compared and probed too, without part in any ranked score"
    )
    reference: Identifier
    panel: list[Identifier] = Field(min_length=2)
    controls: Controls
    energy_targets: dict[Identifier, str] = Field(description="data set -> energy-like label per atom")
    probe: Probe
    models: list[Identifier] | None = Field(
        default=None, description="what a run takes where it names no models; all that read structures by default"
    )
    layer: Identifier = "backbone"
    maps: bool = Field(default=True, description="whether to lay out each model's structures on a map to look at")
    k: int = Field(default=25, ge=1, description="neighbours of cknna and mutual_knn")
    k_sweep: list[int] = Field(default_factory=list)
    permutations: int = Field(default=200, ge=20)
    subsamples: int = Field(default=50, ge=10)
    # Left out of dumps where there is none: what a suite's results are keyed by stays what it was.
    largest_subsample: int | None = Field(
        default=None,
        ge=100,
        exclude_if=lambda size: size is None,
        description="structures of a subsample at most, where half of a data set is too many to compare 50 times",
    )
    folds: int = Field(default=5, ge=2)
    seed: int = 0
    changelog: list[Sentence] = Field(default_factory=list)
    limit: int | None = Field(
        default=None, ge=1, exclude_if=lambda limit: limit is None, description="of a trial run: structures a data set"
    )

    @model_validator(mode="after")
    def _roles_fit_together(self) -> Suite:
        if self.in_distribution == self.out_of_distribution:
            raise ValueError("in_distribution and out_of_distribution must differ")
        missing = [name for name in self.datasets() if name not in self.energy_targets]
        if missing:
            raise ValueError(f"energy_targets lack {missing}")
        return self

    @property
    def key(self) -> str:
        """`id@version`, the name under which results are published."""
        return f"{self.id}@{self.version}"

    @property
    def subsample_limit(self) -> dict[str, int]:
        """What keys of resampled values hold of `largest_subsample`: nothing where there is none."""
        return {} if self.largest_subsample is None else {"largest_subsample": self.largest_subsample}

    def datasets(self) -> list[str]:
        """Data sets of the suite, each once, in-distribution first."""
        roles = [self.in_distribution, self.out_of_distribution, self.probe.dataset]
        return list(dict.fromkeys([*roles, *self.further_datasets]))

    @property
    def origin(self) -> str:
        """Id of the suite that this is a trial run of; its own where it is none."""
        return self.id.removesuffix(f"-limit-{self.limit}")

    def limited_to(self, limit: int, names: Mapping[str, str]) -> Suite:
        """The suite of a trial run: on at most `limit` structures of each data set, which `names` gives new ids."""
        values = self.model_dump() | {
            "id": f"{self.id}-limit-{limit}",
            "title": f"{self.title}: trial run on at most {limit} structures a data set, without ranks",
            "description": (
                f"Made with --limit {limit}: at most so many structures of each data set, drawn with the suite's seed. "
                f"Its values are not those of {self.key}, and nothing in it is ranked. {self.description}"
            ),
            "in_distribution": names[self.in_distribution],
            "out_of_distribution": names[self.out_of_distribution],
            "further_datasets": [names[name] for name in self.further_datasets],
            "energy_targets": {names[name]: target for name, target in self.energy_targets.items() if name in names},
            "probe": self.probe.model_dump() | {"dataset": names[self.probe.dataset]},
            "limit": limit,
        }
        return Suite.model_validate(values)

    def frozen_models(self) -> list[str]:
        """Models that other models' scores depend on: reference, panel, controls."""
        return list(dict.fromkeys([self.reference, *self.panel, *self.controls.ids()]))


def load_suite(path: Path) -> Suite:
    """Read a suite file. Raises InvalidFileError naming file and field."""
    suite = read_yaml(path, Suite)
    if suite.id != path.stem:
        raise InvalidFileError(f"{path}: field id: is {suite.id!r}, the file is {path.name!r}")
    return suite


def suites() -> dict[str, Suite]:
    """The suites shipped with the package, by id."""
    found = [load_suite(path) for path in sorted(SUITES.glob("*.yaml"))]
    return {suite.id: suite for suite in found}


def find_suite(name: str) -> Suite:
    """The suite called `name` (an id, or a path to a file). Raises InvalidFileError listing what there is."""
    if name.endswith((".yaml", ".yml")):
        return load_suite(Path(name))
    known = suites()
    if name not in known:
        raise InvalidFileError(f"suite {name!r} is unknown; known: {', '.join(sorted(known))}")
    return known[name]
