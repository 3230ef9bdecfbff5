"""Reading the exported tables: CSV in, rows with checked cells out.

A missing column or a cell that is no number raises TableError, which names file, column and line.
Nothing is guessed. Three tables make a site (ESSENTIAL); where another one is missing, what it
would fill says so.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HEADLINE_IDS = ("alignment", "collapse_information", "cpd", "fine_tuning_bias")
_HEADLINE_PARTS = ("", "_low", "_high", "_null", "_null_q95", "_p", "_rank_low", "_rank_high", "_ranked", "_reason")

ESSENTIAL = ("suites", "leaderboard", "models")

# Columns that a table must have where it is there.
REQUIRED_COLUMNS: dict[str, tuple[str, ...]] = {
    "suites": (
        *("suite", "version", "title", "description", "in_distribution", "out_of_distribution", "reference"),
        *("panel", "controls", "probe_dataset", "probe_targets", "k", "permutations", "subsamples", "seed"),
        *("further_datasets", "changelog"),
    ),
    "leaderboard": (
        *("suite", "suite_version", "model", "title", "family", "control", "status", "reason"),
        *("verification", "doubts"),
        *("rank_low", "rank_high", "borda", "borda_missing"),
        *(f"{headline}{part}" for headline in HEADLINE_IDS for part in (*_HEADLINE_PARTS, "_beaten_by")),
        *("alignment_residual", "collapse_convergence", "cpd_r2_geometry"),
        *("symmetry", "modality", "parameters", "training_data", "overlaps", "fine_tuned_from", "superseded_by"),
        *("released", "licence_code", "licence_weights"),
    ),
    "scores": (
        *("suite", "suite_version", "model", "score", "dataset", "target", "versus", "layer", "value", "low", "high"),
        *("standard_error", "null_mean", "null_quantile95", "p_value", "permutations", "n", "d", "k", "reason"),
        "beaten_by",
    ),
    "pairs": (
        *("suite", "suite_version", "dataset", "metric", "a", "b", "value", "null_mean", "null_quantile95"),
        *("p_value", "calibrated", "standard_error", "n", "k", "reason"),
    ),
    "layers": ("suite", "suite_version", "model", "dataset", "layer", "level", "dimension", "irreps"),
    "models": (
        *("model", "title", "family", "family_title", "description", "authors", "links", "modality", "symmetry"),
        *("control", "parameters", "training_data", "training_targets", "fine_tuned_from", "superseded_by"),
        *("released", "licence_code", "licence_weights", "note", "checkpoint", "checkpoint_sha256", "adapter_tree"),
        *("environment", "python", "packages", "device", "hardware", "sandbox", "code", "reproduce"),
    ),
    "conformance": ("model", "check", "status", "measured", "tolerance", "detail"),
    "quality": ("suite", "suite_version", "model", "line"),
    "pooling": ("suite", "suite_version", "model", "dataset", "layer", "pooling", "dimension"),
    "learning_curves": (
        *("suite", "suite_version", "model", "dataset", "layer", "target", "measure", "n_train"),
        *("mean", "standard_error", "draws"),
    ),
    "costs": ("suite", "suite_version", "model", "dataset", "wall_seconds", "peak_memory_mb", "device", "hardware"),
    "datasets": (
        *("dataset", "version", "title", "description", "structures", "periodic", "labels", "licence", "source"),
        *("overlaps", "left_out", "fingerprint"),
    ),
    "metrics": ("id", "title", "group", "headline", "direction", "formula", "reading", "pitfalls", "source", "null"),
}

# Tables that a results folder may hold besides: positions of structures in two dimensions, dated changes.
EXTRA_COLUMNS: dict[str, tuple[str, ...]] = {
    "coordinates": ("suite", "suite_version", "model", "dataset", "structure", "x", "y", "error"),
    "changelog": ("date", "kind", "suite", "suite_version", "model", "text"),
}

# Identifiers become file names and fragments of the site.
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9._-]*")
_EMPTY = ("", "nan", "NaN", "None", "<NA>")


class TableError(ValueError):
    """A table is missing, lacks a column or holds a cell that cannot be read."""


@dataclass(frozen=True)
class Row:
    """One line of a table; each accessor checks its cell."""

    file: Path
    line: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """The cell without surrounding blanks; empty where the table says there is nothing."""
        cell = self.cells[column].strip()
        return "" if cell in _EMPTY else cell

    def number(self, column: str) -> float | None:
        """The cell as a finite number, None where it is empty."""
        cell = self.text(column)
        if not cell:
            return None
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(column, "a finite number or nothing")
        return value

    def integer(self, column: str) -> int | None:
        """The cell as a whole number (pandas writes `3.0` in a column with gaps)."""
        value = self.number(column)
        if value is None:
            return None
        if value != int(value):
            raise self.error(column, "a whole number or nothing")
        return int(value)

    def items(self, column: str, separator: str = ";") -> list[str]:
        """The cell's parts, blanks removed."""
        return [part.strip() for part in self.text(column).split(separator) if part.strip()]

    def flag(self, column: str) -> bool:
        """True or false, in any case."""
        cell = self.text(column).lower()
        if cell not in ("true", "false"):
            raise self.error(column, "true or false")
        return cell == "true"

    def identifier(self, column: str) -> str:
        """A name that may become a file name: lower-case letters, digits, dot, dash, underscore."""
        cell = self.text(column)
        if not _IDENTIFIER.fullmatch(cell):
            raise self.error(column, f"an identifier ({_IDENTIFIER.pattern})")
        return cell

    def error(self, column: str, accepted: str) -> TableError:
        """The error for a cell that is not `accepted`."""
        return TableError(
            f"{self.file}: line {self.line}, column {column}: found {self.cells[column]!r}, accepted is {accepted}"
        )


@dataclass(frozen=True)
class Tables:
    """All tables of a results folder, their files in a fixed order, and the names of those it lacks."""

    rows: Mapping[str, list[Row]]
    files: list[Path]
    missing: list[str]

    def __getitem__(self, name: str) -> list[Row]:
        return self.rows[name]


def read_tables(results: Path) -> Tables:
    """Read `results/tables/*.csv`. Raises TableError naming file and missing column."""
    folder = results / "tables"
    if not folder.is_dir():
        raise TableError(f"{folder}: no such folder; export the tables first")
    known = REQUIRED_COLUMNS | EXTRA_COLUMNS
    missing = [name for name in known if name not in ESSENTIAL and not (folder / f"{name}.csv").exists()]
    rows = {
        name: [] if name in missing else read_table(folder / f"{name}.csv", columns) for name, columns in known.items()
    }
    twins = [folder / f"{name}.{suffix}" for name in known for suffix in ("csv", "parquet")]
    return Tables(rows, [path for path in twins if path.is_file()], missing)


def read_table(path: Path, columns: tuple[str, ...]) -> list[Row]:
    """The rows of one CSV, which must have at least `columns`."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream)
            header = next(reader, [])
            missing = [column for column in columns if column not in header]
            if missing:
                raise TableError(f"{path}: missing column {', '.join(missing)}")
            rows = [_row(path, reader.line_num, header, cells) for cells in reader if cells]
    except FileNotFoundError:
        raise TableError(f"{path}: no such file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path}: not a UTF-8 CSV: {error}") from error
    return rows


def _row(path: Path, line: int, header: list[str], cells: list[str]) -> Row:
    """A line's cells by column; those that it lacks at its end are empty."""
    if len(cells) > len(header):
        raise TableError(f"{path}: line {line}: more cells than the header has columns")
    empty = [""] * (len(header) - len(cells))
    return Row(path, line, dict(zip(header, [*cells, *empty], strict=True)))
