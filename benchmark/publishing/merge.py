"""New results on top of published ones, without changing what was published unawares.

A published number is only replaced when the suite's changelog says something new or the suite has a new version.
Equal within `TOLERANCE` is unchanged: another machine's rounding is no news.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.datasets.store import DatasetCard
from benchmark.export import Pairs, export_results
from benchmark.files import write_json, write_text
from benchmark.publishing.audit import audited
from benchmark.results.changelog import FILE as CHANGELOG
from benchmark.results.changelog import read_changelog
from benchmark.results.records import PairValue, Record, read_record, write_record
from benchmark.schema import InvalidFileError, read_yaml
from benchmark.submission import Entry
from benchmark.suite import Suite

TOLERANCE = 1e-6
# What may change in a suite without a new version.
TEXTS = {"title", "description", "changelog", "models"}


def merge_results(
    published: Path, results: Path, merged: Path, entries: Mapping[str, Entry], work: Path | None
) -> list[str]:
    """Write the published folder with the new `results` on top into the folder `merged`; return notes for people.

    Raises InvalidFileError when a record contradicts its provenance, when a published score would change without a
    new suite version or changelog entry, or when settings or data of a published suite differ.
    """
    shutil.copytree(published, merged, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
    folders = sorted(path.parent for path in results.glob("*@*/suite.yaml"))
    if not folders:
        raise InvalidFileError(f"{results}: holds no results (<suite>@<version>/suite.yaml)")
    notes: list[str] = []
    for folder in folders:
        explained = _merge_settings(merged / folder.name, folder)
        for path in sorted((folder / "records").glob("*.json")):
            notes += _merge_record(merged / folder.name / "records" / path.name, path, entries, work, explained)
        _merge_pairs(merged / folder.name / "pairs.json", folder / "pairs.json")
    _merge_changelog(published, results, merged)
    export_results(merged, entries)
    _keep_equal_tables(published, merged)
    return notes


def _merge_settings(published: Path, new: Path) -> bool:
    """Bring suite and data set cards up to date; return whether the suite's changelog has gained an entry."""
    suite = read_yaml(new / "suite.yaml", Suite)
    cards = sorted((new / "datasets").glob("*.yaml"))
    explained = False
    if (published / "suite.yaml").is_file():
        before = read_yaml(published / "suite.yaml", Suite)
        _same_settings(new / "suite.yaml", before, suite)
        explained = len(suite.changelog) > len(before.changelog)
        for card in cards:
            _same_data(published / "datasets" / card.name, card)
    write_text(published / "suite.yaml", (new / "suite.yaml").read_text(encoding="utf-8"))
    for card in cards:
        write_text(published / "datasets" / card.name, card.read_text(encoding="utf-8"))
    return explained


def _same_settings(path: Path, before: Suite, now: Suite) -> None:
    old, new = before.model_dump(mode="json", exclude=TEXTS), now.model_dump(mode="json", exclude=TEXTS)
    for name, value in new.items():
        if old[name] != value:
            raise InvalidFileError(
                f"{path}: field {name}: is {value!r}, suite {now.key} was published with {old[name]!r}; "
                "raise the suite's version"
            )
    if now.changelog[: len(before.changelog)] != before.changelog:
        raise InvalidFileError(f"{path}: field changelog: entries of the published changelog were changed or removed")


def _same_data(published: Path, new: Path) -> None:
    if not published.is_file():
        return
    old, now = read_yaml(published, DatasetCard).fingerprint, read_yaml(new, DatasetCard).fingerprint
    if old != now:
        raise InvalidFileError(
            f"{new}: field fingerprint: is {now}, the suite was published with {old}; raise the suite's version"
        )


def _merge_record(
    target: Path, path: Path, entries: Mapping[str, Entry], work: Path | None, explained: bool
) -> list[str]:
    record = read_record(path)
    if path.stem != record.model or path.parent.parent.name != f"{record.suite}@{record.suite_version}":
        raise InvalidFileError(f"{path}: is the record of {record.model} in {record.suite}@{record.suite_version}")
    try:
        record = audited(record, entries, work)
    except InvalidFileError as error:
        raise InvalidFileError(f"{path}: {error}") from error
    before = read_record(target) if target.is_file() else None
    if before is not None:
        changes = changed_scores(before, record)
        if not changes and before.status == record.status and not _better_verified(before, record):
            return []
        if changes and not explained:
            raise InvalidFileError(
                f"{path}: published scores would change: {'; '.join(changes[:3])}"
                f"{f' and {len(changes) - 3} more' if len(changes) > 3 else ''}; "
                "raise the suite's version or add a changelog entry to the suite"
            )
    write_record(target, record)
    told = ("new" if before is None else "replaced", record.status, record.verification or "no scores")
    return [f"{record.suite}@{record.suite_version} {record.model}: {', '.join(told)}"]


def _better_verified(before: Record, now: Record) -> bool:
    return before.verification != "audited" and now.verification == "audited"


def changed_scores(before: Record, now: Record) -> list[str]:
    """Scores of `before` that `now` gives otherwise or no longer gives, a line each."""
    if before.status == "failed":
        return []
    values = {_place(score): score.value for score in now.scores}
    lines = []
    for score in before.scores:
        found = values.get(_place(score))
        if not _equal(score.value, found):
            name = " ".join(part for part in _place(score) if part)
            lines.append(f"{name} from {_shown(score.value)} to {_shown(found)}")
    return lines


def _place(score: object) -> tuple[str, ...]:
    return tuple(str(getattr(score, name) or "") for name in ("id", "dataset", "target", "versus", "layer", "k"))


def _equal(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _shown(value: float | None) -> str:
    return "no value" if value is None else f"{value:.6g}"


def _merge_changelog(published: Path, results: Path, merged: Path) -> None:
    """Take the changelog of the new results, which must still hold every published entry."""
    changes = read_changelog(results)
    if not changes:
        return
    lost = [change for change in read_changelog(published) if change not in changes]
    if lost:
        raise InvalidFileError(f"{results / CHANGELOG}: lacks the published entry of {lost[0].date}: {lost[0].text}")
    write_text(merged / CHANGELOG, (results / CHANGELOG).read_text(encoding="utf-8"))


def _merge_pairs(target: Path, path: Path) -> None:
    """Pairs of both; of a pair that both have, the new one where it differs."""
    if not path.is_file():
        return
    values: dict[tuple[str, ...], PairValue] = {}
    for source in (target, path):
        for value in _read_pairs(source):
            place = (value.dataset, value.metric, value.a, value.b)
            if place not in values or not _equal(values[place].value, value.value):
                values[place] = value
    write_json(target, {"key": None, "values": [values[place].model_dump() for place in sorted(values)]})


def _read_pairs(path: Path) -> Sequence[PairValue]:
    if not path.is_file():
        return []
    try:
        return Pairs.model_validate_json(path.read_text(encoding="utf-8")).values
    except ValueError as error:
        raise InvalidFileError(f"{path}: not a file of pairs: {' '.join(str(error).split())}") from error


def _keep_equal_tables(published: Path, merged: Path) -> None:
    """A Parquet file whose table did not change stays as it is: another release of the library writes other bytes."""
    for path in sorted((merged / "tables").glob("*.csv")):
        before = published / "tables" / path.name
        parquet = before.with_suffix(".parquet")
        if before.is_file() and parquet.is_file() and before.read_bytes() == path.read_bytes():
            shutil.copyfile(parquet, path.with_suffix(".parquet"))
