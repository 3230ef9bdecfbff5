"""What maintainers write about results that changed: a score corrected, a suite replaced, a model withdrawn.

One optional file in the results folder, changelog.yaml, newest entry first or last as you like:

    changes:
    - date: 2026-11-20
      kind: withdrawn
      model: my-model-1
      text: The authors withdrew the checkpoint; its training set held the test structures.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from benchmark.schema import Identifier, Sentence, Strict, read_yaml

FILE = "changelog.yaml"
COLUMNS = ["date", "kind", "suite", "suite_version", "model", "text"]


class Change(Strict):
    """One entry. A withdrawn model's records are deleted; its entry keeps its page alive and says why."""

    date: datetime.date
    kind: Literal["score", "suite", "model", "withdrawn", "site"]
    suite: Identifier | None = None
    suite_version: int | None = None
    model: Identifier | None = None
    text: Sentence


class Changelog(Strict):
    """changelog.yaml: `changes`, a list."""

    changes: list[Change]


def read_changelog(results: Path) -> list[Change]:
    """The entries of `results`/changelog.yaml, none where there is no file. Raises InvalidFileError."""
    path = results / FILE
    return read_yaml(path, Changelog).changes if path.is_file() else []


def changelog_table(changes: Sequence[Change]) -> pd.DataFrame:
    """changelog: one row an entry, newest first."""
    ordered = sorted(changes, key=lambda change: (change.date, change.model or "", change.text), reverse=True)
    rows = [{**change.model_dump(), "date": change.date.isoformat()} for change in ordered]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["suite_version"] = frame["suite_version"].astype("Int64")
    return frame.astype({name: "string" for name in COLUMNS if name != "suite_version"})
