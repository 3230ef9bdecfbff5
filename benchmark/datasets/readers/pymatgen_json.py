"""JSON files of pymatgen structures: MPtrj, Alexandria and exports of the Materials Project.

They are parsed as a stream, since the original of MPtrj is one object of 11 GB. pymatgen is not needed: a structure is
a lattice matrix and sites with a species and fractional or cartesian coordinates.
"""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import ijson
import numpy as np
from ase import Atoms

from benchmark.datasets.readers.source import (
    Damaged,
    DamagedShardError,
    Shard,
    SourceStructure,
    numbers_of,
    refuse_unknown_options,
)

STRUCTURE_ERRORS = (ValueError, TypeError, LookupError, AttributeError)
READ_ERRORS = (ijson.JSONError, OSError, EOFError, UnicodeDecodeError)
Entries = Callable[[IO[bytes]], Iterator[tuple[str, Mapping[str, Any]]]]


def read_mptrj(shard: Shard, options: Mapping[str, Any]) -> Iterator[SourceStructure | Damaged]:
    """Frames of MPtrj_2022.9_full.json: material id -> frame id -> structure and numbers (total energies in eV)."""
    refuse_unknown_options("mptrj", options, ())
    yield from _read(shard, _frames)


def read_computed_entries(shard: Shard, options: Mapping[str, Any]) -> Iterator[SourceStructure | Damaged]:
    """`entries` of a file of Alexandria: ComputedStructureEntry; values are its own numbers and those of `data`."""
    refuse_unknown_options("computed-entries", options, ())
    yield from _read(shard, lambda stream: _listed(stream, "entries.item"))


def read_materials_project(shard: Shard, options: Mapping[str, Any]) -> Iterator[SourceStructure | Damaged]:
    """A list of documents of the Materials Project (summary, or materials): `material_id`, `structure`, numbers."""
    refuse_unknown_options("materials-project", options, ())
    yield from _read(shard, lambda stream: _listed(stream, "item"))


def _read(shard: Shard, entries: Entries) -> Iterator[SourceStructure | Damaged]:
    with _open(shard.path) as stream:
        count = 0
        found = entries(stream)
        while True:
            try:
                name, fields = next(found)
            except StopIteration:
                return
            except READ_ERRORS as error:
                place = f"entry {count} (before byte {stream.tell()})"
                raise DamagedShardError(f"{shard.name}: {place}: {type(error).__name__}: {error}") from error
            try:
                atoms = atoms_of(fields["structure"])
            except STRUCTURE_ERRORS as error:
                yield Damaged(f"entry {count} ({name})", f"{type(error).__name__}: {error}")
            else:
                values = {key: value for key, value in fields.items() if key not in ("structure", "force", "data")}
                data = fields.get("data")
                yield SourceStructure(name, atoms, numbers_of((data if isinstance(data, dict) else {}) | values))
            count += 1


def _open(path: Path) -> IO[bytes]:
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
    stream: IO[bytes] = openers.get(path.suffix, open)(path, "rb")
    return stream


def _frames(stream: IO[bytes]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each frame as soon as it is read: a material's frames together can be tens of megabytes."""
    events = ijson.parse(stream, use_float=True)
    for prefix, event, _ in events:
        # "<material>.<frame>": ids hold hyphens and no dots.
        if event == "start_map" and prefix.count(".") == 1:
            builder = ijson.ObjectBuilder()
            builder.event("start_map", None)
            for inner, kind, value in events:
                builder.event(kind, value)
                if kind == "end_map" and inner == prefix:
                    break
            yield prefix.partition(".")[2], builder.value


def _listed(stream: IO[bytes], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, fields in enumerate(ijson.items(stream, prefix, use_float=True)):
        data = fields["data"] if isinstance(fields.get("data"), dict) else {}
        known = (fields.get("material_id"), fields.get("entry_id"), data.get("mat_id"))
        yield str(next((name for name in known if name), f"entry-{number}")), fields


def atoms_of(structure: Mapping[str, Any]) -> Atoms:
    """The structure of pymatgen's `Structure.as_dict`. Raises ValueError where a site is not one element."""
    lattice = np.asarray(structure["lattice"]["matrix"], dtype=np.float64)
    symbols, positions = [], []
    for site in structure["sites"]:
        if len(site["species"]) != 1 or float(site["species"][0].get("occu", 1)) != 1.0:
            raise ValueError(f"a site is shared by {[each['element'] for each in site['species']]}")
        symbols.append(_symbol(str(site["species"][0]["element"])))
        if "abc" in site:
            positions.append(np.asarray(site["abc"], dtype=np.float64) @ lattice)
        else:
            positions.append(np.asarray(site["xyz"], dtype=np.float64))
    pbc = structure["lattice"].get("pbc", (True, True, True))
    return Atoms(symbols, positions=np.array(positions).reshape(-1, 3), cell=lattice, pbc=pbc)


def _symbol(species: str) -> str:
    """The element of a species with or without oxidation state: "Fe3+" is "Fe"."""
    return species.rstrip("+-0123456789.")
