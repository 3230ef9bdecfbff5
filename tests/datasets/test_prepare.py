"""Data sets made from a user's files: what is drawn, converted, refused, and that nothing half-made stays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.datasets.prepare import prepare_dataset
from benchmark.datasets.readers import READERS, Shard
from benchmark.datasets.sources import SOURCES_VARIABLE, find_sources
from benchmark.datasets.spec import DatasetSpec, known_specs, load_spec
from benchmark.datasets.store import DATASETS_VARIABLE, DatasetError, dataset_folders, find_dataset
from benchmark.datasets.units import conversion
from benchmark.files import sha256_of_file
from benchmark.schema import InvalidFileError


def crystals(count: int) -> list[Atoms]:
    """Rock salt of growing cells, each another structure, with an energy of -1 eV a frame number and a name."""
    images = []
    for number in range(count):
        atoms = bulk("NaCl", "rocksalt", a=5.0 + 0.03 * number)
        atoms.info["name"] = f"salt-{number}"
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0 * number)
        images.append(atoms)
    return images


def spec_of(path: Path, **changes: Any) -> DatasetSpec:
    values: dict[str, Any] = {
        "id": "salts",
        "version": 1,
        "title": "Salts",
        "description": "For tests.",
        "licence": "CC0-1.0",
        "reader": "extxyz",
        "options": {"id": "name"},
        "source": {
            "description": "made by a test",
            "files": [{"file": path.name, "sha256": sha256_of_file(path)}],
        },
        "sample": {"n": 100, "seed": 3},
        "periodic": True,
        "composition_basis": "fractions",
        "labels": {
            "energy_per_atom": {
                "source": "energy",
                "source_unit": "eV",
                "unit": "meV",
                "per_atom": True,
                "description": "made up",
            },
            "volume": {"source": "volume", "source_unit": "Angstrom^3", "unit": "Bohr^3", "description": "of the cell"},
        },
    }
    return DatasetSpec.model_validate(values | changes)


@pytest.fixture
def salts(tmp_path: Path) -> Path:
    path = tmp_path / "salts.xyz"
    write(path, crystals(12), format="extxyz")
    return path


def test_structures_and_converted_labels_of_a_file_come_out(salts: Path, tmp_path: Path) -> None:
    dataset = prepare_dataset(spec_of(salts), tmp_path / "out", salts)
    structures, labels = dataset.structures(), dataset.labels()
    assert structures.ids == tuple(f"salt-{number}" for number in range(12))
    np.testing.assert_allclose(labels["energy_per_atom"], [-500.0 * number for number in range(12)])
    np.testing.assert_allclose(labels["volume"].iloc[0], 5.0**3 / 4 / units.Bohr**3, rtol=1e-6)
    assert dataset.card.labels["energy_per_atom"].unit == "meV/atom"
    assert dataset.card.left_out == {}


def test_a_draw_depends_on_the_seed_and_not_on_the_order_of_the_file(salts: Path, tmp_path: Path) -> None:
    reversed_file = tmp_path / "reversed.xyz"
    write(reversed_file, crystals(12)[::-1], format="extxyz")

    def drawn(path: Path, seed: int) -> set[str]:
        spec = spec_of(path, sample={"n": 4, "seed": seed})
        dataset = prepare_dataset(spec, tmp_path / f"{path.stem}-{seed}", path)
        assert dataset.card.left_out == {"not drawn": 8}
        return set(dataset.structures().ids)

    assert drawn(salts, 0) == drawn(reversed_file, 0)
    assert len({frozenset(drawn(salts, seed)) for seed in range(4)}) > 1


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    images = crystals(3)
    repeated = images[0].copy()
    repeated.info["name"] = "again"
    repeated.calc = SinglePointCalculator(repeated, energy=5.0)
    unlabelled = bulk("Si")
    unlabelled.info["name"] = "unlabelled"
    large = bulk("Cu") * (3, 3, 3)
    large.info["name"] = "large"
    turned = images[2] * (2, 1, 1)
    turned.rotate(30, "x", rotate_cell=True)
    turned.info["name"] = "turned"
    turned.calc = SinglePointCalculator(turned, energy=6.0)
    flat = bulk("Si")
    flat.cell[2] = flat.cell[1]
    flat.info["name"] = "flat"
    thin = bulk("Si")
    thin.cell[2] = thin.cell[1] + [0.0, 0.0, 0.05]
    thin.info["name"] = "thin"
    loose = molecule("H2O", vacuum=3.0)
    loose.info["name"] = "loose"
    path = tmp_path / "mixed.xyz"
    write(path, [*images, repeated, turned, unlabelled, large, flat, thin, loose], format="extxyz")
    dataset = prepare_dataset(spec_of(path, most_atoms=20), tmp_path / "out", path)
    # Which of two that are alike stays, their random numbers say.
    left = set(dataset.structures().ids)
    assert len(left) == 3 and "salt-1" in left
    assert len(left & {"salt-0", "again"}) == len(left & {"salt-2", "turned"}) == 1
    assert dataset.card.left_out == {
        "a label is missing or not finite": 1,
        "cell faces closer than 0.1 Angstrom": 1,
        "more than 20 atoms": 1,
        "not periodic in three directions": 1,
        "periodic directions without a cell": 1,
        "repeats another structure": 2,
    }


def test_a_prepared_data_set_is_found_and_made_again_only_for_another_spec(
    salts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATASETS_VARIABLE, str(tmp_path / "kept"))
    monkeypatch.setenv(SOURCES_VARIABLE, str(tmp_path))
    spec = spec_of(salts)
    prepare_dataset(spec)
    assert find_dataset("salts").card.structures == 12
    card = tmp_path / "kept/salts/dataset.yaml"
    written = card.stat().st_mtime_ns
    salts.rename(tmp_path / "away")
    prepare_dataset(spec)
    assert card.stat().st_mtime_ns == written
    (tmp_path / "away").rename(salts)
    prepare_dataset(spec_of(salts, sample={"n": 5, "seed": 0}))
    assert find_dataset("salts").card.structures == 5


def test_another_file_of_the_name_is_refused(salts: Path, tmp_path: Path) -> None:
    spec = spec_of(salts)
    salts.write_text(salts.read_text().replace("salt-3", "salt-x"))
    with pytest.raises(DatasetError, match=r"salts\.xyz: SHA-256 is .* the spec of salts says"):
        prepare_dataset(spec, tmp_path / "out", tmp_path)


def test_a_missing_file_says_what_it_is_and_where_it_is_looked_for(
    salts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(salts)
    monkeypatch.delenv(SOURCES_VARIABLE, raising=False)
    with pytest.raises(DatasetError, match=rf"needs salts\.xyz \(made by a test\); set {SOURCES_VARIABLE}"):
        prepare_dataset(spec, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv(SOURCES_VARIABLE, str(tmp_path / "empty"))
    with pytest.raises(DatasetError, match=r"no salts\.xyz below .*empty"):
        prepare_dataset(spec, tmp_path / "out")


def test_structures_other_than_the_spec_says_are_refused_and_leave_the_older_set(salts: Path, tmp_path: Path) -> None:
    first = prepare_dataset(spec_of(salts), tmp_path / "out", salts)
    with pytest.raises(DatasetError, match=r"12 structures with fingerprint .* the spec of salts says 0000"):
        prepare_dataset(spec_of(salts, fingerprint="0" * 64), tmp_path / "out", salts)
    assert first.structures().ids[0] == "salt-0"
    assert [each.name for each in (tmp_path / "out/.partial/salts").iterdir()] == ["draw.sqlite"]
    spec = spec_of(salts, fingerprint=first.card.fingerprint)
    assert prepare_dataset(spec, tmp_path / "out", salts).card == first.card


def test_what_an_interrupted_preparation_left_behind_is_no_data_set_and_goes(
    salts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATASETS_VARIABLE, str(tmp_path / "out"))
    prepare_dataset(spec_of(salts), source=salts)
    left = tmp_path / "out/.partial/salts/tmpkilled"
    (tmp_path / "out/salts").rename(left)
    with pytest.raises(DatasetError, match="unknown"):
        find_dataset("salts")
    prepare_dataset(spec_of(salts), source=salts)
    assert find_dataset("salts").card.structures == 12
    assert not left.exists()


def test_an_id_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    images = crystals(2)
    images[1].info["name"] = "salt-0"
    path = tmp_path / "twice.xyz"
    write(path, images, format="extxyz")
    with pytest.raises(DatasetError, match="id 'salt-0' occurs more than once"):
        prepare_dataset(spec_of(path), tmp_path / "out", path)


def test_molecule_arrays_are_read_with_their_labels(tmp_path: Path) -> None:
    images = [molecule("H2O"), molecule("CH4")]
    path = tmp_path / "molecules.npz"
    arrays = {
        "N": np.array([3, 5]),
        "Z": np.concatenate([atoms.numbers for atoms in images]),
        "R": np.concatenate([atoms.positions for atoms in images]),
        "gdb_id": np.array([7, 9]),
        "gap": np.array([0.5, 0.25]),
    }
    np.savez(path, **arrays)
    gap = {"source": "gap", "source_unit": "Hartree", "unit": "eV", "description": "made up"}
    spec = spec_of(
        path,
        reader="molecule-arrays",
        options={"id": "gdb_id", "prefix": "gdb-"},
        periodic=False,
        labels={"gap": gap},
    )
    dataset = prepare_dataset(spec, tmp_path / "out", path)
    assert dataset.structures().ids == ("gdb-7", "gdb-9")
    np.testing.assert_allclose(dataset.structures().atoms(1).positions, images[1].positions, atol=1e-6)
    np.testing.assert_allclose(dataset.labels()["gap"], np.array([0.5, 0.25]) * units.Hartree)
    np.savez(path, **{**arrays, "Z": arrays["Z"][:-1]})
    with pytest.raises(InvalidFileError, match=r"N counts 8 atoms, so Z \(8,\)"):
        list(READERS["molecule-arrays"].read(Shard(path.name, path), {}))
    path.write_bytes(b"PK no")
    with pytest.raises(InvalidFileError, match=r"not a readable \.npz file"):
        list(READERS["molecule-arrays"].read(Shard(path.name, path), {}))


def test_a_broken_frame_or_key_is_named(salts: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match="frame 0 has no 'label'"):
        list(READERS["extxyz"].read(Shard(salts.name, salts), {"id": "label"}))
    with pytest.raises(InvalidFileError, match=r"options \['colour'\] are unknown; accepted: id, smiles, "):
        list(READERS["extxyz"].read(Shard(salts.name, salts), {"colour": "blue"}))
    broken = tmp_path / "broken.xyz"
    broken.write_text("\n".join(salts.read_text().splitlines()[:6]))
    with pytest.raises(InvalidFileError, match="frame 1: not extended XYZ"):
        list(READERS["extxyz"].read(Shard(broken.name, broken), {}))


def test_units_of_different_dimension_are_not_converted() -> None:
    assert conversion("kcal/mol", "eV") == pytest.approx(0.0433641, rel=1e-5)
    assert conversion("made-up", "made-up") == 1.0
    with pytest.raises(ValueError, match=r"Debye \(dipole\) cannot be converted to eV \(energy\)"):
        conversion("Debye", "eV")
    with pytest.raises(ValueError, match="unit 'Hatree' is unknown"):
        conversion("Hatree", "eV")


def test_an_unknown_reader_or_unit_of_a_spec_is_named(salts: Path, tmp_path: Path) -> None:
    values = spec_of(salts).model_dump(mode="json")
    path = tmp_path / "salts.yaml"
    path.write_text(yaml.safe_dump(values | {"reader": "pickle"}))
    with pytest.raises(InvalidFileError, match="reader 'pickle' is unknown; accepted: ase-db, aselmdb"):
        load_spec(path)
    values["labels"]["volume"]["unit"] = "eV"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(InvalidFileError, match=r"labels\.volume.*cannot be converted"):
        load_spec(path)


def test_without_a_setting_data_sets_lie_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(DATASETS_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert dataset_folders() == [tmp_path / "latent-matter/datasets"]
    with pytest.raises(DatasetError, match="run `latent-matter data prepare qm9-sample`"):
        find_dataset("qm9-sample")


def test_the_commands_prepare_verify_and_describe(salts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATASETS_VARIABLE, str(tmp_path / "kept"))
    path = tmp_path / "salts.yaml"
    path.write_text(yaml.safe_dump(spec_of(salts).model_dump(mode="json")))
    runner = CliRunner()
    done = runner.invoke(app, ["data", "prepare", str(path), "--source", str(tmp_path)])
    assert (done.exit_code, done.stdout.split(" in ")[0]) == (0, "salts: 12 structures")
    described = runner.invoke(app, ["data", "info", "salts", "--json"])
    assert '"reduced_formulas": 1' in described.output
    assert runner.invoke(app, ["data", "verify", "salts"]).exit_code == 0
    card = tmp_path / "kept/salts/dataset.yaml"
    card.write_text(card.read_text().replace("structures: 12", "structures: 13"))
    assert runner.invoke(app, ["data", "verify", "salts"]).exit_code == 1


@pytest.mark.parametrize("spec", known_specs().values(), ids=known_specs().keys())
def test_a_shipped_spec_gives_the_structures_it_promises(spec: DatasetSpec, tmp_path: Path) -> None:
    try:
        find_sources(spec, None, None)
    except DatasetError as error:
        pytest.skip(str(error))
    assert spec.fingerprint is not None
    dataset = prepare_dataset(spec, tmp_path)
    assert dataset.card.fingerprint == spec.fingerprint
    assert len(dataset.structures()) == spec.sample.n
    labels = dataset.labels()
    assert np.isfinite(labels.to_numpy()).all()
    # Per atom and in eV: a total, or Hartree, would lie far outside. Hypothetical perovskites reach 4.7 eV.
    assert -15 < labels["energy_per_atom"].min() < labels["energy_per_atom"].max() < 5
