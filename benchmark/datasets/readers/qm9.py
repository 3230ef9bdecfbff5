"""QM9 as it was published, and as DeepChem hands it on.

Ramakrishnan et al., Scientific Data 1, 140022 (2014), https://doi.org/10.6084/m9.figshare.c.978904: one archive of a
file a molecule, and a list of 3,054 molecules whose geometry did not stay what its SMILES says. Both readers call
the values alike: `alpha`, `mu`, `gap`, `Cv`, ... and `U0_atom`, the energy of atomisation at 0 K, all in the units of
the original (Hartree, Debye, Bohr^3, cal/mol/K).
"""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms

from benchmark.datasets.readers.source import (
    Damaged,
    DamagedShardError,
    Shard,
    SourceStructure,
    guarded,
    refuse_unknown_options,
)
from benchmark.schema import InvalidFileError

# The second line of a molecule's file, behind "gdb" and its number.
PROPERTIES = ("A", "B", "C", "mu", "alpha", "HOMO", "LUMO", "gap", "R2", "ZPVE", "U0", "U", "H", "G", "Cv")
# Energies of the atoms at 0 K in Hartree: atomref.txt beside the archive.
ATOM_ENERGIES = {1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579, 9: -99.718730}
DEEPCHEM = {"homo": "HOMO", "lumo": "LUMO", "r2": "R2", "zpve": "ZPVE", "u0": "U0", "cv": "Cv"}
ARCHIVE_ERRORS = (tarfile.TarError, OSError, EOFError)


def read_qm9(shard: Shard, options: Mapping[str, Any]) -> Iterator[SourceStructure | Damaged]:
    """Molecules of dsgdb9nsd.xyz.tar.bz2, called `gdb-<number>`.

    Option `leave_out`: the name of the list of molecules to leave out, a file of the same source.
    """
    refuse_unknown_options("qm9", options, ("leave_out",))
    left_out = _listed(shard, options)
    yield from guarded(shard, _molecules(shard, left_out), "molecule")


def _molecules(shard: Shard, left_out: set[int]) -> Iterator[SourceStructure]:
    with tarfile.open(shard.path, "r|*") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.name.endswith(".xyz") else None
            if stream is None:
                continue
            try:
                structure = parse_molecule(stream.read().decode("ascii"))
            except (ValueError, LookupError) as error:
                raise DamagedShardError(f"{shard.name}: {member.name}: {type(error).__name__}: {error}") from error
            if int(structure.id.removeprefix("gdb-")) not in left_out:
                yield structure


def parse_molecule(text: str) -> SourceStructure:
    """One file of the archive: atoms, `gdb <number>` and properties, coordinates and charges, frequencies, SMILES."""
    lines = text.splitlines()
    count = int(lines[0])
    tag, number, *values = lines[1].split()
    if tag != "gdb" or len(values) != len(PROPERTIES):
        raise ValueError(f"second line is not gdb, a number and {len(PROPERTIES)} properties")
    rows = [line.split() for line in lines[2 : 2 + count]]
    positions = [[_number(cell) for cell in row[1:4]] for row in rows]
    atoms = Atoms([row[0] for row in rows], positions=positions)
    if len(atoms) != count or len(lines) < count + 4:
        raise ValueError(f"is cut: {len(lines)} lines of {count + 5}")
    found = dict(zip(PROPERTIES, map(_number, values), strict=True))
    # Two of them: of the molecule that was put in, and of what the relaxed geometry is.
    smiles = lines[count + 3].split()[1]
    return SourceStructure(f"gdb-{number}", atoms, found | _atomisation(atoms, found["U0"]), smiles)


def _number(text: str) -> float:
    """Some small numbers are written as Mathematica does: 1.5*^-6."""
    return float(text.replace("*^", "e"))


def _atomisation(atoms: Atoms, energy: float) -> dict[str, float]:
    unknown = set(atoms.numbers.tolist()) - set(ATOM_ENERGIES)
    if unknown:
        raise ValueError(f"atomic numbers {sorted(unknown)} do not occur in QM9")
    return {"U0_atom": energy - sum(ATOM_ENERGIES[number] for number in atoms.numbers.tolist())}


def _listed(shard: Shard, options: Mapping[str, Any]) -> set[int]:
    """Numbers of the molecules to leave out: the first word of each line of the table."""
    if "leave_out" not in options:
        return set()
    if options["leave_out"] not in shard.beside:
        raise InvalidFileError(
            f"reader qm9: option leave_out: the source has no file {options['leave_out']!r} beside {shard.name}; "
            f"found {sorted(shard.beside)}"
        )
    words = [line.split() for line in shard.beside[options["leave_out"]].read_text(encoding="utf-8").splitlines()]
    found = {int(line[0]) for line in words if len(line) > 2 and line[0].isdigit()}
    if not found:
        raise InvalidFileError(f"{options['leave_out']}: lists no molecules")
    return found


def read_gdb9(shard: Shard, options: Mapping[str, Any]) -> Iterator[SourceStructure | Damaged]:
    """Molecules of DeepChem's gdb9.tar.gz (gdb9.sdf with geometries, gdb9.sdf.csv with labels), as `gdb-<number>`.

    Option `leave_out`: the name of the list of molecules to leave out, a file of the same source.
    """
    refuse_unknown_options("gdb9", options, ("leave_out",))
    left_out = _listed(shard, options)
    labels = _table(shard, "gdb9.sdf.csv")
    structures = (_labelled(number, atoms, labels) for number, atoms in _geometries(shard) if number not in left_out)
    yield from guarded(shard, structures, "molecule")


def _labelled(number: int, atoms: Atoms, labels: Mapping[int, Mapping[str, float]]) -> SourceStructure:
    found = dict(labels[number])
    return SourceStructure(f"gdb-{number}", atoms, found | _atomisation(atoms, found["U0"]))


def _table(shard: Shard, name: str) -> dict[int, dict[str, float]]:
    """The labels by number of the molecule: ids are `gdb_<number>`."""
    found: dict[int, dict[str, float]] = {}
    try:
        for line in csv.DictReader(_member(shard, name)):
            number = int(line.pop("mol_id").removeprefix("gdb_"))
            found[number] = {DEEPCHEM.get(key, key): float(value) for key, value in line.items()}
    except (*ARCHIVE_ERRORS, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedShardError(f"{shard.name}: {name}: {type(error).__name__}: {error}") from error
    return found


def _member(shard: Shard, name: str) -> IO[str]:
    """A file of the archive as text; the archive is read from its beginning once more."""
    with tarfile.open(shard.path, "r:*") as archive:
        member = next((each for each in archive.getmembers() if Path(each.name).name == name), None)
        stream = archive.extractfile(member) if member is not None else None
        if stream is None:
            raise InvalidFileError(f"{shard.name}: holds no {name}")
        return io.StringIO(stream.read().decode("utf-8"))


def _geometries(shard: Shard) -> Iterator[tuple[int, Atoms]]:
    """Number and atoms of each molecule of the SDF (V2000) in the archive, a molecule at a time."""
    with tarfile.open(shard.path, "r|*") as archive:
        for member in archive:
            stream = archive.extractfile(member) if Path(member.name).name == "gdb9.sdf" else None
            if stream is not None:
                yield from _sdf(line.decode("ascii").rstrip("\n") for line in stream)
                return
    raise InvalidFileError(f"{shard.name}: holds no gdb9.sdf")


def _sdf(lines: Iterable[str]) -> Iterator[tuple[int, Atoms]]:
    block: list[str] = []
    for line in lines:
        if line.strip() != "$$$$":
            block.append(line)
            continue
        count = int(block[3][:3])
        rows = [row.split() for row in block[4 : 4 + count]]
        positions = np.array([[float(cell) for cell in row[:3]] for row in rows])
        yield int(block[0].strip().removeprefix("gdb_")), Atoms([row[3] for row in rows], positions=positions)
        block = []
    if any(line.strip() for line in block):
        raise ValueError("the last molecule is cut")
