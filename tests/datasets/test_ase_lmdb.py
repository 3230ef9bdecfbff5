"""Shards of `.aselmdb`: whole, cut, damaged, and made to do harm."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.db import connect
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.datasets.readers import Damaged, DamagedShardError, ase_lmdb
from benchmark.schema import InvalidFileError
from tests.datasets.reading import labelled, read, same, whole


def write_aselmdb(path: Path, count: int = 12) -> list[Atoms]:
    """A shard as fairchem's tools write it; info of OMol25 as data."""
    backend = pytest.importorskip("ase_db_backends.aselmdb")
    images = list(labelled(count))
    database = backend.LMDBDatabase(path)
    for number, atoms in enumerate(images):
        data = {"charge": number % 3 - 1, "spin": 1 + number % 2, "data_id": "elytes", "gaps": np.array([1.5, 2.5])}
        database.write(atoms, data=data, sid=f"s-{number}")
    database.metadata = {"natoms": [len(atoms) for atoms in images]}
    database.close()
    return images


def test_an_aselmdb_shard_reads_as_ase_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "data.0000.aselmdb"
    write_aselmdb(path)
    found = whole("aselmdb", path, {"id": "sid", "charge": "charge", "spin": "spin"})
    rows = list(connect(path, type="aselmdb", readonly=True).select())
    assert len(found) == len(rows) == 12
    for structure, row in zip(found, rows, strict=True):
        same(structure.atoms, row.toatoms())
        assert structure.id == row.sid
        assert structure.values["energy"] == row.energy
        assert structure.atoms.info == {"charge": row.data["charge"], "spin": row.data["spin"]}
        assert (structure.values["gaps[0]"], structure.values["gaps[1]"]) == (1.5, 2.5)


def test_deleted_rows_of_an_aselmdb_shard_are_passed_over_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "data.0000.aselmdb"
    write_aselmdb(path)
    database = connect(path, type="aselmdb")
    database.delete([3, 12])
    database.close()
    ids = [each.id for each in whole("aselmdb", path, prefix="data.0000-")]
    assert ids == [f"data.0000-{number}" for number in range(1, 12) if number != 3]


def test_a_cut_aselmdb_shard_is_refused_with_the_byte_at_which_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "data.0000.aselmdb"
    write_aselmdb(path)
    content = path.read_bytes()
    path.write_bytes(content[:-5000])
    with pytest.raises(DamagedShardError, match=rf"data\.0000\.aselmdb: is cut at byte {len(content) - 5000} of"):
        read("aselmdb", path)
    path.write_bytes(content[:1000])
    with pytest.raises(DamagedShardError, match=r"data\.0000\.aselmdb: not an LMDB file"):
        read("aselmdb", path)


def test_a_damaged_entry_of_an_aselmdb_shard_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    path = tmp_path / "data.0000.aselmdb"
    write_aselmdb(path)
    with lmdb.open(str(path), subdir=False, map_size=1 << 30) as environment, environment.begin(write=True) as change:
        value = change.get(b"5")
        change.put(b"5", value[:40] + bytes(10) + value[50:])
    found = read("aselmdb", path)
    assert len(found) == 12
    assert isinstance(found[4], Damaged)
    assert found[4].entry == "entry 5"


def test_an_aselmdb_shard_that_says_it_has_endless_rows_is_refused(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    path = tmp_path / "data.0000.aselmdb"
    write_aselmdb(path)
    with lmdb.open(str(path), subdir=False, map_size=1 << 30) as environment, environment.begin(write=True) as change:
        change.put(b"nextid", zlib.compress(str(10**18).encode()))
    with pytest.raises(DamagedShardError, match=r"nextid: says 9{18} rows, the file holds \d+ entries"):
        read("aselmdb", path)


def test_an_entry_of_an_aselmdb_shard_that_unpacks_without_end_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lmdb = pytest.importorskip("lmdb")
    monkeypatch.setattr(ase_lmdb, "MOST_BYTES", 1 << 20)
    path = tmp_path / "data.0000.aselmdb"
    write_aselmdb(path)
    with lmdb.open(str(path), subdir=False, map_size=1 << 30) as environment, environment.begin(write=True) as change:
        change.put(b"5", zlib.compress(b" " * (2 << 20)))
    found = read("aselmdb", path)
    assert [each.reason for each in found if isinstance(each, Damaged)] == [
        "ValueError: unpacks to more than 1048576 bytes"
    ]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damage_to_an_aselmdb_shard_ends_the_process_or_gives_another_error(
    tmp_path: Path, data: st.DataObject
) -> None:
    original = tmp_path / "original.aselmdb"
    if not original.exists():
        write_aselmdb(original)
    content = bytearray(original.read_bytes())
    for _ in range(data.draw(st.integers(1, 30))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.aselmdb"
    path.write_bytes(content)
    try:
        read("aselmdb", path)
    except InvalidFileError as error:
        assert "damaged.aselmdb" in str(error)
