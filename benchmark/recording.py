"""What embedding left behind, and the records that are made of it and of the scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.features import Sidecar
from benchmark.evaluation import Evaluation, Scored
from benchmark.files import content_key
from benchmark.results.records import ConformanceCheck, Record, Status
from benchmark.schema import InvalidFileError
from benchmark.submission import Entry
from benchmark.suite import Suite

# Scores use the structures that all models can embed: one that leaves out more is not scored on the data set,
# rather than taking the structures from all others.
LEFT_OUT_LIMIT = 0.1


@dataclass
class Embedded:
    """What embedding left behind: sidecars and checks of what worked, one reason for what did not."""

    sidecars: dict[tuple[str, str], Sidecar] = field(default_factory=dict)
    checks: dict[str, list[ConformanceCheck]] = field(default_factory=dict)
    missing: dict[tuple[str, str], str] = field(default_factory=dict)  # (model, data set) -> why it has no features
    failures: dict[str, str] = field(default_factory=dict)  # model without any features -> why
    not_at_hand: dict[str, str] = field(default_factory=dict)  # those of them whose weights nobody could fetch here

    def add(self, place: tuple[str, str], sidecar: Sidecar) -> None:
        """Take the features of a model on a data set, unless they are of too few of its structures."""
        left_out = len(sidecar.left_out)
        if left_out <= LEFT_OUT_LIMIT * (left_out + sidecar.structures):
            self.sidecars[place] = sidecar
            return
        accepted = f"at most {LEFT_OUT_LIMIT:.0%} may be"
        self.missing[place] = f"{describe_left_out(sidecar.left_out, sidecar.structures)}, {accepted}"


def describe_failure(error: Exception | None) -> str:
    """One line for a record's reason."""
    text = " ".join(str(error).split())
    if isinstance(error, EmbeddingError):
        # Records are published: the file is named from submissions/ on, wherever this machine keeps it.
        place = "/".join(Path(error.place).parts[-3:])
        return f"{place}: {error.check}: {' '.join(error.message.split())}"
    if isinstance(error, InvalidFileError):
        return text
    if isinstance(error, OSError) and error.strerror:
        # Its text names this machine's folders.
        name = f": {Path(str(error.filename)).name}" if error.filename else ""
        return f"{type(error).__name__}: {error.strerror}{name}"
    return f"{type(error).__name__}: {text}"


def describe_left_out(left_out: Mapping[str, str], kept: int) -> str:
    """One line: how many structures a model cannot embed, the commonest reason, the first of them."""
    reason, count = Counter(left_out.values()).most_common(1)[0]
    share = "" if count == len(left_out) else f" for {count} of them"
    names = sorted(left_out)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} of {len(names) + kept} structures left out, {reason}{share} ({', '.join(names[:3])}{more})"


def scored_record(evaluation: Evaluation, entry: Entry, embedded: Embedded, scored: Scored) -> Record:
    """The record of a model that was scored; partial where it has no features of a data set or of some structures."""
    model, suite = entry.model, evaluation.suite
    sidecars = {
        name: embedded.sidecars[model.id, name] for name in suite.datasets() if (model.id, name) in embedded.sidecars
    }
    absent = [name for name in suite.datasets() if name not in sidecars]
    left_out = {name: sidecar.left_out for name, sidecar in sidecars.items() if sidecar.left_out}
    reasons = [f"{name}: {embedded.missing.get((model.id, name), 'no features')}" for name in absent]
    reasons += [f"{name}: {describe_left_out(which, sidecars[name].structures)}" for name, which in left_out.items()]
    unshared = {name: len(evaluation.left_out(name)) for name in sidecars}
    quality = [
        f"{name}: scored without {count} structures that not every model can embed"
        for name, count in unshared.items()
        if count
    ]
    if suite.limit is not None:
        quality.append(f"trial run on at most {suite.limit} structures a data set (--limit): not for ranks")
    status: Status = "partial" if reasons else "ok"
    return Record(
        key=evaluation.record_key(model.id),
        suite=suite.id,
        suite_version=suite.version,
        model=model.id,
        family=entry.family.submission.family,
        control=model.control,
        status=status,
        reason="; ".join(reasons) or None,
        scores=scored.scores,
        layers=scored.layers,
        pooling=scored.pooling,
        learning_curves=scored.learning_curves,
        coordinates=scored.coordinates,
        conformance=embedded.checks.get(model.id, []),
        left_out=left_out,
        features={name: sidecar.key for name, sidecar in sidecars.items()},
        provenance={name: sidecar.provenance for name, sidecar in sidecars.items()},
        quality=[*scored.quality, *quality],
        reproduce=reproduce(suite, model.id),
    )


def failed_record(suite: Suite, entry: Entry, embedded: Embedded, reason: str) -> Record:
    """The record of a model that has no scores, and why."""
    model = entry.model
    return Record(
        key=content_key([suite.key, model.id, reason]),
        suite=suite.id,
        suite_version=suite.version,
        model=model.id,
        family=entry.family.submission.family,
        control=model.control,
        status="failed",
        reason=reason,
        conformance=embedded.checks.get(model.id, []),
        reproduce=reproduce(suite, model.id),
    )


def reproduce(suite: Suite, model: str) -> str:
    """The command that makes a record again."""
    limit = "" if suite.limit is None else f" --limit {suite.limit}"
    return f"latent-matter run --suite {suite.origin}{limit} --models {model}"
