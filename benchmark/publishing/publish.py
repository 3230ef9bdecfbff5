"""Publishing results and getting published ones."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.files import sha256_of_file
from benchmark.publishing.destinations import Destination, MovedError, digests
from benchmark.publishing.merge import merge_results
from benchmark.schema import InvalidFileError, read_yaml
from benchmark.submission import Entry
from benchmark.suite import Suite

ATTEMPTS = 6
FIRST_PAUSE = 1.0  # seconds; doubled after each attempt


@dataclass(frozen=True)
class Published:
    """What was, or with a dry run would be, published: a line a record, and the files that change."""

    notes: list[str]
    changed: list[str]


def publish(
    results: Path,
    target: Destination,
    entries: Mapping[str, Entry],
    *,
    work: Path | None = None,
    dry_run: bool = False,
    pause: float = FIRST_PAUSE,
) -> Published:
    """Merge `results` into what `target` holds and write what changed in one commit.

    Publishing the same results again changes nothing. When somebody else publishes in between, or the hub fails in a
    way that leaves open whether the commit was made, the state is read again and only what is still missing written.
    work: the work folder with the features, for the audit. Raises InvalidFileError when something may not be
    published or the target stays out of reach.
    """
    _refuse_trial_runs(results)
    last: MovedError | None = None
    notes: list[str] = []
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        with tempfile.TemporaryDirectory(prefix="latent-matter-publish-") as scratch:
            published, merged = Path(scratch) / "published", Path(scratch) / "merged"
            published.mkdir()
            try:
                state = target.read(published)
                found = merge_results(published, results, merged, entries, work)
                notes = notes or found
                before = digests(published)
                changed = {name: merged / name for name, value in digests(merged).items() if before.get(name) != value}
                if changed and not dry_run:
                    target.write(changed, state, _message(notes))
            except MovedError as error:
                last = error
                continue
            return Published(notes, sorted(changed))
    raise InvalidFileError(f"gave up after {ATTEMPTS} attempts: {last}")


def _refuse_trial_runs(results: Path) -> None:
    for path in sorted(results.glob("*@*/suite.yaml")):
        limit = read_yaml(path, Suite).limit
        if limit is not None:
            raise InvalidFileError(
                f"{path.parent}: is a trial run (--limit {limit}), which is not published; remove the folder, or keep "
                "trial runs in a results folder of their own"
            )


def _message(notes: list[str]) -> str:
    """First line of the commit, and a line a record."""
    return "Publish results\n\n" + "\n".join(notes) if notes else "Bring the tables up to date"


def pull(target: Destination, out: Path, records: bool = False) -> list[str]:
    """Get the published tables (with `records` everything) into the folder `out`; return the names of the files.

    Files that are there and equal stay untouched. Raises InvalidFileError when nothing is published there.
    """
    with tempfile.TemporaryDirectory(prefix="latent-matter-pull-") as scratch:
        try:
            target.read(Path(scratch))
        except MovedError as error:
            raise InvalidFileError(str(error)) from error
        names = [
            name for name in digests(Path(scratch)) if records or name.startswith("tables/") or name == "README.md"
        ]
        if not any(name.startswith("tables/") for name in names):
            raise InvalidFileError("nothing is published there yet")
        for name in names:
            place = out / name
            if place.is_file() and sha256_of_file(place) == sha256_of_file(Path(scratch) / name):
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary = place.with_name(f".{place.name}.tmp")
            shutil.copyfile(Path(scratch) / name, temporary)
            temporary.replace(place)
        return names
