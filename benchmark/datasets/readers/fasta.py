"""FASTA files of protein sequences, such as RCSB's pdb_seqres.txt.gz: structures without atoms.

A header of pdb_seqres reads `>101m_A mol:protein length:154  MYOGLOBIN`.
"""

from __future__ import annotations

import gzip
import string
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ase import Atoms

from benchmark.datasets.readers.source import (
    Damaged,
    DamagedShardError,
    Shard,
    SourceStructure,
    refuse_unknown_options,
)

RESIDUES = set(string.ascii_uppercase)  # the twenty, and what rarely stands for others or unknown ones: B J O U X Z


def read_fasta(shard: Shard, options: Mapping[str, Any]) -> Iterator[SourceStructure | Damaged]:
    """Sequences of a file, called by the first word of their header; value `length` in residues.

    Option `molecule`: keep only headers with `mol:<molecule>`, for example protein. Raises DamagedShardError naming
    file and line.
    """
    refuse_unknown_options("fasta", options, ("molecule",))
    wanted = f"mol:{options['molecule']}" if "molecule" in options else None
    with _open(shard.path) as stream:
        for line, header, sequence in _records(shard, stream):
            if wanted is not None and wanted not in header:
                continue
            strange = sorted(set(sequence) - RESIDUES)
            if strange or not sequence:
                yield Damaged(f"line {line}", f"{header[0]} has the letters {strange}" if strange else "no sequence")
                continue
            yield SourceStructure(header[0], Atoms(), {"length": float(len(sequence))}, sequence=sequence)


def _open(path: Path) -> IO[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    stream: IO[str] = opener(path, "rt", encoding="ascii")
    return stream


def _records(shard: Shard, lines: Iterable[str]) -> Iterator[tuple[int, list[str], str]]:
    """Line number and words of each header, with its sequence."""
    number, place, header, parts = 0, 0, [""], list[str]()
    try:
        for number, line in enumerate(lines, 1):
            if line.startswith(">"):
                if place:
                    yield place, header, "".join(parts)
                place, header, parts = number, line[1:].split() or [f"line-{number}"], []
            elif place:
                parts.append(line.strip())
            elif line.strip():
                raise ValueError("sequence before the first header")
    except (OSError, EOFError, ValueError) as error:
        raise DamagedShardError(f"{shard.name}: line {number + 1}: {type(error).__name__}: {error}") from error
    if place:
        yield place, header, "".join(parts)
