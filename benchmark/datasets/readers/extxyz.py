"""Extended XYZ: frames one after the other, read by ase. Compressed files (.gz, .bz2, .xz) are read as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ase.io import iread

from benchmark.datasets.readers.source import (
    Damaged,
    DamagedShardError,
    Shard,
    SourceStructure,
    named,
    numbers_of,
    refuse_unknown_options,
    with_state,
)


def read_extxyz(shard: Shard, options: Mapping[str, Any]) -> Iterator[SourceStructure | Damaged]:
    """Frames of a file; their values are the numbers of the comment line, the energy among them.

    Options: `id`, the key of the comment line that names a frame (without it frames are numbered), `smiles`, the key
    that holds its SMILES, `charge` and `spin` (multiplicity), the keys that hold these. Raises InvalidFileError
    naming file and frame.
    """
    refuse_unknown_options("extxyz", options, ("id", "smiles", "charge", "spin"))
    frames = enumerate(iread(shard.path, index=":", format="extxyz"))
    number = -1
    while True:
        try:
            number, atoms = next(frames)
        except StopIteration:
            return
        except Exception as error:  # ase raises whatever its parser stumbles over
            raise DamagedShardError(f"{shard.name}: frame {number + 1}: not extended XYZ: {error}") from error
        entry = f"frame {number}"
        smiles = str(named(shard, entry, atoms.info, options["smiles"])) if "smiles" in options else None
        name = str(named(shard, entry, atoms.info, options["id"])) if "id" in options else f"frame-{number:06d}"
        name = name if "id" in options else f"{shard.prefix}{name}"
        # ase hands the numbers that it knows, such as `energy`, to a calculator.
        found = dict(atoms.info) | (atoms.calc.results if atoms.calc is not None else {})
        yield SourceStructure(name, with_state(shard, entry, atoms, found, options), numbers_of(found), smiles)
