"""What every reader is given and yields."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from benchmark.schema import InvalidFileError


@dataclass(frozen=True)
class Shard:
    """A file that is read in one go: a source file, or a part of an archive or folder.

    name: what errors and cards call it. prefix: what the ids begin with that a reader has to make up.
    beside: further files of the source by name, which the reader may need.
    """

    name: str
    path: Path
    sha256: str = ""
    prefix: str = ""
    beside: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceStructure:
    """One structure of a shard. `values` are its numbers by the file's own names, in the file's own units.

    `atoms` is empty for a protein that is known by its `sequence` alone; "charge" and "spin" in its info are kept.
    """

    id: str
    atoms: Atoms
    values: Mapping[str, float] = field(default_factory=dict)
    smiles: str | None = None
    sequence: str | None = None


@dataclass(frozen=True)
class Damaged:
    """An entry that cannot be read, while those after it can."""

    entry: str
    reason: str


class DamagedShardError(InvalidFileError):
    """A shard cannot be read from some place on; the message names the place."""


Reader = Callable[[Shard, Mapping[str, Any]], Iterator[SourceStructure | Damaged]]


@dataclass(frozen=True)
class Format:
    """A reader, and how the names of the files end that it reads."""

    read: Reader
    suffixes: tuple[str, ...]


def refuse_unknown_options(reader: str, options: Mapping[str, Any], accepted: tuple[str, ...]) -> None:
    """Raise InvalidFileError when a spec gives `reader` an option that it does not have."""
    unknown = sorted(set(options) - set(accepted))
    if unknown:
        known = ", ".join(accepted) or "none"
        raise InvalidFileError(f"reader {reader}: options {unknown} are unknown; accepted: {known}")


def numbers_of(found: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among the values of `found`; those of a short list are called `key[0]`, `key[1]`, `key[2]`."""
    values: dict[str, float] = {}
    for key, value in found.items():
        if isinstance(value, numbers.Real) and not isinstance(value, bool):
            values[key] = float(value)
        elif isinstance(value, (list, tuple, np.ndarray)) and len(np.shape(value)) == 1 and len(value) <= 3:
            values |= numbers_of({f"{key}[{index}]": each for index, each in enumerate(value)})
    return values


def named(shard: Shard, entry: str, found: Mapping[str, Any], key: str) -> Any:
    """found[key]. Raises InvalidFileError naming shard and entry when a spec asks for what an entry has not."""
    if key not in found:
        raise InvalidFileError(f"{shard.name}: {entry} has no {key!r}; found {sorted(map(str, found))}")
    return found[key]


def with_state(shard: Shard, entry: str, atoms: Atoms, found: Mapping[str, Any], options: Mapping[str, Any]) -> Atoms:
    """`atoms` without anything beside elements, places and cell, but the charge and spin that `options` name keys of.

    Raises InvalidFileError when such a key is missing or holds no whole number.
    """
    plain = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    for state in ("charge", "spin"):
        if state in options:
            value = named(shard, entry, found, options[state])
            if not isinstance(value, numbers.Real) or not float(value).is_integer():
                raise InvalidFileError(f"{shard.name}: {entry}: {options[state]} is {value!r}, not a whole number")
            plain.info[state] = int(float(value))
    return plain


def guarded(
    shard: Shard, structures: Iterable[SourceStructure | Damaged], what: str
) -> Iterator[SourceStructure | Damaged]:
    """`structures`, with whatever a parser raises turned into one line that names shard and entry."""
    entry, source = -1, iter(structures)
    while True:
        try:
            structure = next(source)
        except StopIteration:
            return
        except InvalidFileError:
            raise
        except Exception as error:  # parsers raise whatever they stumble over
            raise DamagedShardError(f"{shard.name}: {what} {entry + 1}: {type(error).__name__}: {error}") from error
        entry += 1
        yield structure
