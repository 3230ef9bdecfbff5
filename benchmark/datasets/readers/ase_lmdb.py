"""`.aselmdb` shards, in which OMat24, sAlex, OMol25 and other data sets of fairchem come.

An LMDB file of one ase.db row an entry: key "1", "2", ... (ASCII), value zlib-compressed JSON in ase's encoding, and
beside them "nextid", "deleted_ids" and "metadata" in the same encoding. It is the format of `LMDBDatabase` in
https://gitlab.com/ase/ase-db-backends, which is not imported because it brings clients of two database servers.
"""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import lmdb
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.db.row import AtomsRow
from ase.io.jsonio import decode

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
from benchmark.schema import InvalidFileError

ENTRY_ERRORS = (lmdb.Error, zlib.error, ValueError, TypeError, LookupError, AttributeError)
MOST_BYTES = 1 << 28  # of an entry once unpacked; the largest structures take some megabytes
SPARSE = 10  # ids to an entry, beyond which a shard's count of rows is not believed
# LMDB trusts what it finds in its pages, and a damaged one can end the process: another one goes first.
WALK = """
import lmdb, sys, zlib
with lmdb.open(sys.argv[1], subdir=False, readonly=True, lock=False) as environment, environment.begin() as walk:
    walk.get(b"deleted_ids")
    last = int(zlib.decompressobj().decompress(walk.get(b"nextid"), 100))
    for number in range(1, min(last, int(sys.argv[2]))):
        try:
            walk.get(str(number).encode())
        except lmdb.Error:
            pass
"""


def read_ase_lmdb(shard: Shard, options: Mapping[str, Any]) -> Iterator[SourceStructure | Damaged]:
    """Rows of a shard in the order of their ids; the values are as `read_row` says.

    A row that cannot be decoded is `Damaged`. Raises DamagedShardError when the file is cut or no such file.
    """
    refuse_unknown_options("aselmdb", options, ("id", "charge", "spin"))
    try:
        environment = lmdb.open(str(shard.path), subdir=False, readonly=True, lock=False, meminit=False)
    except lmdb.Error as error:
        raise DamagedShardError(f"{shard.name}: not an LMDB file: {error}") from error
    with environment, environment.begin() as transaction:
        _refuse_cut(shard, environment)
        _refuse_deadly(shard, environment.stat()["entries"])
        deleted = set(_reserved(shard, transaction, b"deleted_ids", []))
        for number in range(1, _next_id(shard, environment, transaction, len(deleted))):
            if number in deleted:
                continue
            try:
                row = _row(transaction.get(str(number).encode()), number)
            except ENTRY_ERRORS as error:
                yield Damaged(f"entry {number}", f"{type(error).__name__}: {error}")
                continue
            yield read_row(shard, row, options)


def read_row(shard: Shard, row: Any, options: Mapping[str, Any]) -> SourceStructure:
    """A row of an ase database. Its values are the numbers among its calculated properties, key-value pairs and data.

    Options: `id`, the key of the pairs or data that names a row (without it, its number), `charge` and `spin`
    (multiplicity), the keys that hold these.
    """
    found: dict[str, Any] = {name: row.get(name) for name in all_properties if name in row}
    found |= dict(row.key_value_pairs) | (row.data if isinstance(row.data, dict) else {})
    entry = f"entry {row.id}"
    name = str(named(shard, entry, found, options["id"])) if "id" in options else f"{shard.prefix}{row.id}"
    atoms = Atoms(numbers=row.numbers, positions=row.positions, cell=row.cell, pbc=row.pbc)
    return SourceStructure(name, with_state(shard, entry, atoms, found, options), numbers_of(found))


def _row(value: bytes | None, number: int) -> Any:
    if value is None:
        raise KeyError("is missing")
    return AtomsRow(_unpacked(value) | {"id": number})


def _unpacked(value: bytes) -> Any:
    """A value decoded; ValueError where it would unpack to more than any structure takes."""
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(value, MOST_BYTES)
    if unpacker.unconsumed_tail:
        raise ValueError(f"unpacks to more than {MOST_BYTES} bytes")
    if not unpacker.eof:
        raise ValueError("is cut")
    return decode(text.decode("utf-8"))


def _next_id(shard: Shard, environment: lmdb.Environment, transaction: lmdb.Transaction, deleted: int) -> int:
    """The id after the last one. A damaged one could be any number, and to go through all up to it would not end."""
    found = int(_reserved(shard, transaction, b"nextid", 1))
    entries = environment.stat()["entries"]
    if found > SPARSE * entries + deleted:
        raise DamagedShardError(f"{shard.name}: nextid: says {found - 1} rows, the file holds {entries} entries")
    return found


def _reserved(shard: Shard, transaction: lmdb.Transaction, key: bytes, default: Any) -> Any:
    try:
        value = transaction.get(key)
        return default if value is None else _unpacked(bytes(value))
    except ENTRY_ERRORS as error:
        raise DamagedShardError(f"{shard.name}: entry {key.decode()}: {error}") from error


def _refuse_cut(shard: Shard, environment: lmdb.Environment) -> None:
    """LMDB maps the file into memory: to touch a page behind the end of a cut one kills the process."""
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    size = shard.path.stat().st_size
    if size < needed:
        raise DamagedShardError(f"{shard.name}: is cut at byte {size} of {needed}")
    if environment.stat()["entries"] == 0:
        raise InvalidFileError(f"{shard.name}: holds no entries")


def _refuse_deadly(shard: Shard, entries: int) -> None:
    limit = str(SPARSE * entries)
    done = subprocess.run([sys.executable, "-c", WALK, str(shard.path), limit], capture_output=True, check=False)
    if done.returncode < 0:
        raise DamagedShardError(
            f"{shard.name}: is damaged so that to read it ends the process (signal {-done.returncode})"
        )
