"""What has been seen of the models: which ran, with which weights, where, when, and what their checks said.

The file is written by `latent-matter check FAMILY --save FILE` and by nothing else. docs/models.md is
rendered from it and from the submissions.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from benchmark.embedding.environment import Environment
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.extraction import EmbeddingSettings, prepare
from benchmark.embedding.machine import hardware
from benchmark.embedding.weights import Weights
from benchmark.files import write_json
from benchmark.results.records import ConformanceCheck
from benchmark.schema import InvalidFileError, Sha256, Strict, describe_validation_error
from benchmark.submission import Entry


class Observation(Strict):
    """The conformance checks of one model on a network that ran. `date` is the day on which this was first seen."""

    date: datetime.date
    outcome: Literal["passed", "failed"]
    reason: str | None  # of a failure
    passed: list[str]  # checks
    energy_deviation: float | None  # eV/atom, largest difference from the package's own calculator
    weights_sha256: Sha256 | None  # None: nothing was loaded
    adapter: Sha256  # the submission's files other than submission.yaml
    environment: Sha256
    python: str
    hardware: str

    def same_as(self, other: Observation) -> bool:
        """Whether both saw the same, on whatever day and machine."""
        changing = {"date", "hardware", "energy_deviation"}
        return self.model_dump(exclude=changing) == other.model_dump(exclude=changing)


_FILE = TypeAdapter(dict[str, Observation])


def read_observations(path: Path) -> dict[str, Observation]:
    """Observations by model; none while the file does not exist. Raises InvalidFileError naming file and field."""
    try:
        return _FILE.validate_json(path.read_text())
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise InvalidFileError(f"{path}: {describe_validation_error(error)}") from error


def save_observations(
    path: Path,
    entries: Mapping[str, Entry],
    checks: Mapping[str, Sequence[ConformanceCheck]],
    settings: EmbeddingSettings,
) -> list[str]:
    """Add what `checks` (by model) found to the file and return the models that were added or seen again.

    A model whose environment or weights cannot be had did not run: what was seen of it before stays. What is
    seen again as it was keeps its date.
    """
    found = {}
    for name, outcomes in checks.items():
        try:
            prepared = prepare(entries[name], settings)
        except EmbeddingError:
            continue
        found[name] = observe(entries[name], prepared.environment, prepared.weights, outcomes)
    lock = settings.cache / "locks" / "observations.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        known = read_observations(path)
        repeated = {name: known[name] for name, each in found.items() if name in known and each.same_as(known[name])}
        merged = {**known, **found, **repeated}
        write_json(path, {name: json.loads(each.model_dump_json()) for name, each in merged.items()})
    return sorted(found)


def observe(
    entry: Entry, environment: Environment, weights: Weights, checks: Sequence[ConformanceCheck]
) -> Observation:
    """What `checks` say of a model that ran."""
    failed = [f"{check.id}: {check.detail}" for check in checks if check.status == "failed"]
    energies = [check.measured for check in checks if check.id == "energies"]
    return Observation(
        date=datetime.date.today(),
        outcome="failed" if failed else "passed",
        reason="; ".join(failed) or None,
        passed=[check.id for check in checks if check.status == "passed"],
        energy_deviation=energies[0] if energies else None,
        weights_sha256=weights.sha256,
        adapter=entry.family.tree_hash(),
        environment=environment.key,
        python=environment.python_version,
        hardware=hardware(environment.device),
    )
