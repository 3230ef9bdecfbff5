"""Sources of many files: packed or not, cut, damaged, interrupted, fetched."""

import errno
import http.server
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.datasets import prepare
from benchmark.datasets import shards as shards_module
from benchmark.datasets.drawing import Draw
from benchmark.datasets.prepare import prepare_dataset
from benchmark.datasets.readers import Format, Shard, SourceStructure
from benchmark.datasets.spec import DatasetSpec
from benchmark.datasets.store import DatasetError
from benchmark.files import sha256_of_file
from benchmark.schema import InvalidFileError

SHARDS, FRAMES = 4, 6


def frames(shard: int) -> list[Atoms]:
    images = []
    for number in range(FRAMES):
        atoms = bulk("NaCl", "rocksalt", a=5.0 + 0.1 * shard + 0.01 * number)
        atoms.calc = SinglePointCalculator(atoms, energy=-10.0 * shard - number)
        images.append(atoms)
    return images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of four shards of six frames."""
    root = tmp_path / "sources" / "salts"
    root.mkdir(parents=True)
    for shard in range(SHARDS):
        write(root / f"part-{shard}.xyz", frames(shard), format="extxyz")
    return root


def pack(folder: Path, names: list[str] | None = None) -> Path:
    """The folder as an archive that holds it, members in the order given."""
    path = folder.with_name("salts.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for name in names or sorted(each.name for each in folder.iterdir()):
            archive.add(folder / name, f"salts/{name}")
    return path


def spec_of(files: list[dict[str, Any]], n: int = 100, **changes: Any) -> DatasetSpec:
    label = {"source": "energy", "source_unit": "eV", "unit": "eV", "description": "made up"}
    values: dict[str, Any] = {
        "id": "salts",
        "version": 1,
        "title": "Salts",
        "description": "For tests.",
        "licence": "CC0-1.0",
        "reader": "extxyz",
        "source": {"description": "made by a test", "files": files},
        "sample": {"n": n, "seed": 3},
        "periodic": True,
        "composition_basis": "fractions",
        "labels": {"energy": label},
    }
    return DatasetSpec.model_validate(values | changes)


PACKED = [{"file": "salts.tar.gz"}]


def test_an_archive_gives_what_its_unpacked_folder_gives_whatever_its_order(folder: Path, tmp_path: Path) -> None:
    spec = spec_of(PACKED, n=10)
    unpacked = prepare_dataset(spec, tmp_path / "a", folder.parent)
    names = sorted(each.name for each in folder.iterdir())
    pack(folder, names[::-1])
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    packed = prepare_dataset(spec, tmp_path / "b", folder.parent)
    assert packed.card.fingerprint == unpacked.card.fingerprint
    assert packed.card.left_out == {"not drawn": 14}
    assert packed.structures().ids[0].startswith("salts/part-")
    assert packed.card.source.files == {"salts.tar.gz": sha256_of_file(folder.parent / "salts.tar.gz")}


def test_several_files_are_one_source(folder: Path, tmp_path: Path) -> None:
    spec = spec_of([{"file": f"part-{shard}.xyz"} for shard in range(SHARDS)])
    dataset = prepare_dataset(spec, tmp_path / "out", folder)
    assert len(dataset.structures()) == SHARDS * FRAMES
    assert dataset.structures().ids[FRAMES] == "part-1-frame-000000"
    np.testing.assert_allclose(dataset.labels()["energy"].iloc[FRAMES : 2 * FRAMES], -10.0 - np.arange(FRAMES))


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the shards that are read from now on."""
    names: list[str] = []
    known = prepare.READERS["extxyz"]

    def read(shard: Shard, options: Any) -> Iterator[Any]:
        names.append(shard.name)
        yield from known.read(shard, options)

    monkeypatch.setitem(prepare.READERS, "extxyz", Format(read, known.suffixes))
    return names


def test_a_cut_archive_is_named_with_its_place_and_what_came_before_is_not_read_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in folder.iterdir():  # of noise, so that the archive can be cut in a known member
        path.write_text(path.read_text().replace("pbc", f'noise="{os.urandom(20_000).hex()}" pbc', 1))
    archive = pack(folder)
    whole = archive.read_bytes()
    packed_only = tmp_path / "packed"
    packed_only.mkdir()
    spec = spec_of(PACKED)
    (packed_only / "salts.tar.gz").write_bytes(whole[: int(len(whole) * 0.6)])
    with pytest.raises(InvalidFileError, match=r"salts\.tar\.gz: cut or damaged at salts/part-2\.xyz \(from byte \d+"):
        prepare_dataset(spec, tmp_path / "out", packed_only)
    assert not (tmp_path / "out/salts").exists()
    names = reads(monkeypatch)
    (packed_only / "salts.tar.gz").write_bytes(whole)
    dataset = prepare_dataset(spec, tmp_path / "out", packed_only)
    assert names == ["salts/part-2.xyz", "salts/part-3.xyz"]
    assert len(dataset.structures()) == SHARDS * FRAMES
    assert dataset.card.fingerprint == prepare_dataset(spec, tmp_path / "new", packed_only).card.fingerprint


def test_a_full_disk_is_not_skipped_as_damage(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(folder)

    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shards_module, "_copy", full)
    with pytest.raises(InvalidFileError, match=r"salts\.tar\.gz: salts/part-0\.xyz: .*No space left on device"):
        prepare_dataset(spec_of(PACKED), tmp_path / "out", archive, skip_damaged=True)
    assert not (tmp_path / "out/salts").exists()


def test_damage_is_refused_or_on_request_left_out_and_said_on_the_card(folder: Path, tmp_path: Path) -> None:
    path = folder / "part-1.xyz"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[: 3 * 4], "2", "no comment", "Na here"]) + "\n")
    spec = spec_of([{"file": "salts"}])
    with pytest.raises(InvalidFileError, match=r"salts/part-1\.xyz: frame 3: not extended XYZ"):
        prepare_dataset(spec, tmp_path / "out", folder.parent)
    dataset = prepare_dataset(spec, tmp_path / "out", folder.parent, skip_damaged=True)
    assert len(dataset.structures()) == (SHARDS - 1) * FRAMES + 3
    assert list(dataset.card.damaged) == ["salts/part-1.xyz"]
    assert "frame 3: not extended XYZ" in dataset.card.damaged["salts/part-1.xyz"]


def test_a_shard_that_changed_since_the_interruption_lets_all_begin_anew(folder: Path, tmp_path: Path) -> None:
    spec = spec_of([{"file": "salts"}])
    last = folder / "part-3.xyz"
    good = last.read_text()
    last.write_text("no frames\n")
    with pytest.raises(InvalidFileError, match=r"part-3\.xyz: frame 0"):
        prepare_dataset(spec, tmp_path / "out", folder.parent)
    last.write_text(good)
    write(folder / "part-0.xyz", frames(7), format="extxyz")
    lines: list[str] = []
    dataset = prepare_dataset(spec, tmp_path / "out", folder.parent, report=lines.append)
    assert any("beginning anew" in line for line in lines)
    energies = dataset.labels()["energy"]
    assert energies.min() == -75.0
    assert not (energies > -10).any()


KILLED = """
import sys, time
from pathlib import Path
import yaml
from benchmark.datasets import prepare
from benchmark.datasets.readers import Format
from benchmark.datasets.spec import load_spec

known = prepare.READERS["extxyz"]

def slowly(shard, options):
    for structure in known.read(shard, options):
        print(shard.name, flush=True)
        time.sleep(0.05)
        yield structure

prepare.READERS["extxyz"] = Format(slowly, known.suffixes)
prepare.prepare_dataset(load_spec(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))
"""


def test_a_killed_preparation_goes_on_at_the_next_shard(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of([{"file": "salts"}], n=9)
    path = tmp_path / "salts.yaml"
    path.write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    command = [sys.executable, "-c", KILLED, str(path), str(tmp_path / "out"), str(folder.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "salts/part-2.xyz":
                process.send_signal(signal.SIGKILL)
                break
    names = reads(monkeypatch)
    resumed = prepare_dataset(spec, tmp_path / "out", folder.parent)
    assert names == ["salts/part-2.xyz", "salts/part-3.xyz"]
    monkeypatch.undo()
    undisturbed = prepare_dataset(spec, tmp_path / "new", folder.parent)
    assert resumed.card == undisturbed.card
    assert resumed.labels().equals(undisturbed.labels())
    assert not (tmp_path / "out/.partial/salts/draw.sqlite").exists()


def pair(distance: int, turn: int) -> Atoms:
    """Two atoms of neon, 1 + `distance` Angstrom apart, in a place and direction that `turn` chooses."""
    along = np.roll([1.0 + distance, 0.0, 0.0], turn)
    return Atoms("Ne2", positions=np.array([np.zeros(3), along]) + turn)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(60)),
    n=st.integers(1, 40),
    cut=st.integers(0, 60),
    alike=st.integers(1, 60),
    turns=st.integers(1, 3),
)
def test_a_draw_depends_on_nothing_but_seed_and_structures(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], n: int, cut: int, alike: int, turns: int
) -> None:
    def drawn(numbers: list[int], stop: int) -> set[str]:
        path = tmp_path_factory.mktemp("draw") / "draw.sqlite"
        draw = Draw(path, n, 1, 0, "key")
        for shard, part in enumerate((numbers[:stop], numbers[stop:])):
            draw.begin(Shard(f"shard-{shard}", path, str(shard)))
            for entry, number in enumerate(part):
                draw.add(entry, SourceStructure(f"x-{number}", pair(number % alike, number % turns)), [])
            draw.finish()
            draw.close()
            draw = Draw(path, n, 1, 0, "key")  # as after an interruption
        count = draw.drawn()
        ids = {name for structures, _ in draw.parts() for name in structures.ids}
        draw.close()
        assert count == len(ids) <= min(n, alike)
        # Of three that are the same up to their direction more than the reserve can be repeats.
        assert count == min(n, alike) or turns == 3
        return ids

    assert drawn(list(order), cut) == drawn(list(range(60)), 30)


def test_a_draw_of_many_more_than_it_keeps_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.datasets.drawing.SLACK", 10)
    found = {}
    for n in (5, 20, 300):
        draw = Draw(tmp_path / f"{n}.sqlite", n, 1, 1, "key")
        draw.begin(Shard("shard", tmp_path))
        for number in range(300):
            draw.add(number, SourceStructure(f"x-{number}", pair(number, 0)), [float(number)])
            assert draw._count() <= 3 * n + 10
        assert draw.drawn() == n
        found[n] = {name for structures, _ in draw.parts() for name in structures.ids}
        assert draw.left_out["not drawn"] == 300 - n
        draw.close()
    assert found[5] < found[20] < found[300]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """A server of the folder `served`, which knows ranges as far as asked; gives the URL of a file."""
    served = tmp_path / "served"
    served.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            content = (served / self.path.strip("/").rpartition("/")[2]).read_bytes()
            if self.path.startswith("/datasets/"):
                self.send_error(403)
                return
            start = int((self.headers.get("Range") or "bytes=0-")[6:].rstrip("-"))
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:])

        def log_message(self, format: str, *arguments: Any) -> None:
            del format, arguments

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served)))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield lambda name: f"http://127.0.0.1:{running.server_port}/{name}"
    running.shutdown()


def served_spec(url: str, **file: Any) -> DatasetSpec:
    """A spec of a file at `url`; addresses without encryption are for this test alone."""
    spec = spec_of([{"file": "part-0.xyz", **file}])
    source = spec.source.model_copy(update={"files": [spec.source.files[0].model_copy(update={"url": url})]})
    return spec.model_copy(update={"source": source})


def test_a_file_that_is_not_at_hand_is_fetched_on_from_where_it_stopped_and_verified(
    folder: Path, tmp_path: Path, server: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LATENT_MATTER_REAL_DATA", raising=False)
    content = (folder / "part-0.xyz").read_bytes()
    (tmp_path / "served/part-0.xyz").write_bytes(content)
    spec = served_spec(server("part-0.xyz"), sha256=sha256_of_file(folder / "part-0.xyz"))
    with pytest.raises(DatasetError, match="without --offline it is fetched from http"):
        prepare_dataset(spec, tmp_path / "out")
    part = tmp_path / "out/.sources/salts/part-0.xyz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[:100])
    lines: list[str] = []
    dataset = prepare_dataset(spec, tmp_path / "out", offline=False, report=lines.append)
    assert len(dataset.structures()) == FRAMES
    assert any(line.startswith("fetching http") for line in lines)
    wrong = served_spec(server("part-0.xyz"), sha256="0" * 64)
    with pytest.raises(DatasetError, match=r"part-0\.xyz: SHA-256 is .*, the spec of salts says 0000"):
        prepare_dataset(wrong, tmp_path / "other", offline=False)


def test_a_gated_repository_says_where_to_ask_for_access(
    tmp_path: Path, server: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LATENT_MATTER_REAL_DATA", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", server("").rstrip("/"))
    (tmp_path / "served/part-0.xyz").write_bytes(b"")
    spec = spec_of([{"file": "part-0.xyz", "repository": "someone/gated", "revision": "0" * 40}])
    with pytest.raises(
        DatasetError,
        match=r"access denied \(HTTP 403\); ask for access at https://huggingface\.co/datasets/someone/gated",
    ):
        prepare_dataset(spec, tmp_path / "out", offline=False)


def test_a_file_nobody_can_fetch_says_so_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENT_MATTER_REAL_DATA", raising=False)
    with pytest.raises(DatasetError, match=r"needs salts\.tar\.gz \(made by a test\); set LATENT_MATTER_REAL_DATA"):
        prepare_dataset(spec_of(PACKED), tmp_path / "out", offline=False)


def test_nothing_of_an_archive_is_written_outside_of_the_work_folder(folder: Path, tmp_path: Path) -> None:
    del folder
    content = b"not a frame\n"
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "salts.tar.gz", "w:gz") as archive:
        for name, kind in (("../../escaped.xyz", tarfile.REGTYPE), ("link.xyz", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "/etc/passwd"
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(InvalidFileError, match="frame 0"):
        prepare_dataset(spec_of(PACKED), tmp_path / "out", packed)
    assert not list(tmp_path.rglob("escaped.xyz"))


def test_sequences_without_atoms_become_a_data_set(tmp_path: Path) -> None:
    path = tmp_path / "chains.fasta"
    chains = {"a": "MVLSEGEW", "b": "MQI", "c": "MVLSEGEW", "d": "GGGGGG", "e": "GIGI"}
    path.write_text("".join(f">{name} mol:protein\n{chain}\n" for name, chain in chains.items()))
    length = {"source": "length", "source_unit": "residues", "unit": "residues", "description": "residues"}
    spec = spec_of([{"file": path.name}], reader="fasta", periodic=False, labels={"length": length}, most_atoms=7, n=10)
    dataset = prepare_dataset(spec, tmp_path / "out", path)
    structures = dataset.structures()
    assert structures.strings("sequence") == ("MQI", "GGGGGG", "GIGI")
    assert structures.formulas == ("I1M1Q1", "G6", "G2I2")
    assert dataset.card.left_out == {"more than 7 residues": 2}
    np.testing.assert_array_equal(structures.composition("counts").sum(axis=1), [3, 6, 4])
    assert len(set(structures.reduced_formulas())) == 3
    changed = tmp_path / "changed.fasta"
    changed.write_text(path.read_text().replace("MQI", "MQL"))
    other = prepare_dataset(
        spec.model_copy(update={"source": spec_of([{"file": changed.name}]).source}), tmp_path / "other", changed
    )
    assert other.card.fingerprint != dataset.card.fingerprint


def test_verify_notices_a_changed_store_and_a_changed_source(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.commands.data import verify_dataset

    monkeypatch.setenv("LATENT_MATTER_DATASETS", str(tmp_path / "kept"))
    spec = spec_of([{"file": "part-0.xyz"}])
    dataset = prepare_dataset(spec, source=folder)
    assert verify_dataset(dataset, spec, folder).endswith("1 source files as the card says")
    assert verify_dataset(dataset, spec, tmp_path / "served").endswith("source files are not at hand")
    write(folder / "part-0.xyz", frames(9), format="extxyz")
    with pytest.raises(DatasetError, match=r"part-0\.xyz: SHA-256 is .*, the card of salts says"):
        verify_dataset(dataset, spec, folder)
    labels = dataset.labels() + 1.0
    labels.rename_axis("id").reset_index().to_parquet(dataset.folder / "labels.parquet")
    done = CliRunner().invoke(app, ["data", "verify", "salts"])
    assert done.exit_code == 1
    assert "labels.parquet: is not the file that `data prepare` wrote" in " ".join(done.output.split())
