"""What must hold before a record is published under the leaderboard's name.

A record is compared with the feature files that it says it was made of, and these with the adapter and the weights
that the submission declares. A contradiction is refused. A record whose features are not at hand, or that was made
without a sandbox, is published as self-reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.datasets.store import DatasetError, find_dataset
from benchmark.embedding.extraction import features_folder, find_features, load_embedded
from benchmark.embedding.features import Provenance, Sidecar
from benchmark.results.records import Record
from benchmark.schema import InvalidFileError
from benchmark.submission import Entry

WEAK_SANDBOXES = ("process", "none")


@dataclass
class Audit:
    """What was found: `problems` forbid publishing, `doubts` make the record a self-reported one."""

    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    @property
    def verification(self) -> str:
        return "self-reported" if self.doubts else "audited"


def audited(record: Record, entries: Mapping[str, Entry], work: Path | None) -> Record:
    """The record with the outcome of its audit. Raises InvalidFileError where it may not be published."""
    audit = audit_record(record, entries, work)
    if audit.problems:
        raise InvalidFileError("; ".join(audit.problems))
    verification = None if record.status == "failed" else audit.verification
    return record.model_copy(update={"verification": verification, "doubts": audit.doubts})


def audit_record(record: Record, entries: Mapping[str, Entry], work: Path | None) -> Audit:
    """Compare a record with the submissions `entries` and the features below the folder `work`."""
    found = Audit()
    if record.status == "failed":
        return found
    entry = entries.get(record.model)
    if entry is None:
        found.problems.append(f"{record.model}: no submission declares it")
        return found
    if record.family != entry.family.submission.family:
        found.problems.append(f"{record.model}: is of family {entry.family.submission.family}, not {record.family}")
    if not record.provenance:
        found.problems.append(f"{record.model}: says nothing of how its features were made")
    if set(record.features) != set(record.provenance):
        found.problems.append(f"{record.model}: features and provenance are of different data sets")
    for dataset, provenance in sorted(record.provenance.items()):
        _check_submission(record, dataset, provenance, entry, found)
        _check_features(record, dataset, provenance, work, found)
        if provenance.sandbox in WEAK_SANDBOXES:
            found.doubts.append(f"{dataset}: embedded without a sandbox ({provenance.sandbox})")
    return found


def _check_submission(record: Record, dataset: str, provenance: Provenance, entry: Entry, found: Audit) -> None:
    where = f"{record.model} on {dataset}"
    tree = entry.family.tree_hash()
    if provenance.adapter_tree != tree:
        found.problems.append(f"{where}: was embedded by adapter {provenance.adapter_tree[:12]}, here is {tree[:12]}")
    declared = getattr(entry.model.checkpoint, "sha256", None)
    if entry.model.checkpoint.kind == "none":
        if provenance.checkpoint_sha256 is not None:
            found.problems.append(f"{where}: used weights, submission.yaml declares none")
    elif declared is None:
        found.doubts.append(f"{dataset}: submission.yaml does not pin the weights by sha256")
    elif provenance.checkpoint_sha256 != declared:
        found.problems.append(
            f"{where}: used weights {provenance.checkpoint_sha256}, submission.yaml declares {declared}"
        )


def _check_features(record: Record, dataset: str, provenance: Provenance, work: Path | None, found: Audit) -> None:
    where = f"{record.model} on {dataset}"
    key = record.features.get(dataset, "")
    try:
        sidecar = find_features(work, key) if work is not None and _is_key(key) else None
        if work is None or sidecar is None:
            found.doubts.append(f"{dataset}: its features are not at hand")
            return
        data = find_dataset(dataset)
        found.problems += _contradictions(where, record, dataset, provenance, sidecar)
        if sidecar.dataset_fingerprint != data.card.fingerprint:
            found.problems.append(f"{where}: its features are of another version of the data set")
        load_embedded(work, key, data.structures())
    except DatasetError as error:
        found.doubts.append(f"{dataset}: {error}")
    except InvalidFileError as error:
        assert work is not None
        shown = str(error).replace(str(features_folder(work, key)), "features")
        found.problems.append(f"{where}: {shown}")


def _is_key(key: str) -> bool:
    return len(key) == 64 and set(key) <= set("0123456789abcdef")


def _contradictions(where: str, record: Record, dataset: str, provenance: Provenance, sidecar: Sidecar) -> list[str]:
    compared = {
        "model": (record.model, sidecar.model),
        "data set": (dataset, sidecar.dataset),
        "provenance": (provenance, sidecar.provenance),
        "left-out structures": (record.left_out.get(dataset, {}), sidecar.left_out),
        "key": (record.features[dataset], sidecar.key),
    }
    return [
        f"{where}: {what} of the record and of its features differ"
        for what, (ours, theirs) in compared.items()
        if ours != theirs
    ]
