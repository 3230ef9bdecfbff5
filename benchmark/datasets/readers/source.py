"""What every reader yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from benchmark.schema import InvalidFileError


@dataclass(frozen=True)
class SourceStructure:
    """One structure of a source file. `values` are its numbers by the file's own names, in the file's own units."""

    id: str
    atoms: Atoms
    values: Mapping[str, float] = field(default_factory=dict)
    smiles: str | None = None


Reader = Callable[[Path, Mapping[str, Any]], Iterator[SourceStructure]]


def refuse_unknown_options(reader: str, options: Mapping[str, Any], accepted: tuple[str, ...]) -> None:
    """Raise InvalidFileError when a spec gives `reader` an option that it does not have."""
    unknown = sorted(set(options) - set(accepted))
    if unknown:
        known = ", ".join(accepted) or "none"
        raise InvalidFileError(f"reader {reader}: options {unknown} are unknown; accepted: {known}")
