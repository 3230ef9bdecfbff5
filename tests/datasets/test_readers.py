"""Each reader on a small file in its data set's own format, against ase's reading of it where ase reads it."""

import bz2
import gzip
import io
import itertools
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.db import connect
from ase.io import write
from hypothesis import given
from hypothesis import strategies as st

from benchmark.datasets.columns import structures_table, write_tables
from benchmark.datasets.readers import READERS, Damaged, DamagedShardError, Shard, SourceStructure
from benchmark.datasets.readers.pymatgen_json import atoms_of
from benchmark.datasets.readers.qm9 import ATOM_ENERGIES, parse_molecule
from benchmark.datasets.structures import structures_from_atoms
from benchmark.schema import InvalidFileError
from tests.datasets.reading import labelled, read, same, whole


@pytest.mark.parametrize("name", ["rows.db", "rows.json"])
def test_an_ase_database_reads_as_ase_reads_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with connect(path) as database:
        for number, atoms in enumerate(labelled(6)):
            database.write(atoms, name=f"row-{number}", gap=0.5 * number, data={"charge": 1})
    found = whole("ase-db", path, {"id": "name", "charge": "charge"})
    for structure, row in zip(found, connect(path).select(), strict=True):
        same(structure.atoms, row.toatoms())
        assert (structure.id, structure.values["gap"], structure.values["energy"]) == (row.name, row.gap, row.energy)
        assert structure.atoms.info == {"charge": 1}


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    path.write_bytes(b"SQLite format 3\0" + bytes(200))
    with pytest.raises(DamagedShardError, match=r"rows\.db: entry 0"):
        read("ase-db", path)


def test_a_file_of_this_store_reads_as_it_was_written(tmp_path: Path) -> None:
    images = list(labelled(6))
    structures = structures_from_atoms([f"x-{number}" for number in range(6)], images, ["C"] * 6)
    path = tmp_path / "structures.parquet"
    write_tables(path, [structures_table(structures)])
    found = whole("parquet", path, {"id": "id", "smiles": "smiles"})
    assert [each.id for each in found] == list(structures.ids)
    for index, structure in enumerate(found):
        same(structure.atoms, structures.atoms(index))


def test_a_file_of_colabfit_is_read_with_its_labels(tmp_path: Path) -> None:
    images = list(labelled(4))
    frame = pd.DataFrame(
        {
            "configuration_id": [f"CO_{number}" for number in range(4)],
            "atomic_numbers": [atoms.numbers for atoms in images],
            "positions": [atoms.positions.tolist() for atoms in images],
            "cell": [np.asarray(atoms.cell).tolist() for atoms in images],
            "pbc": [atoms.pbc for atoms in images],
            "energy": [atoms.get_potential_energy() for atoms in images],
        }
    )
    path = tmp_path / "co.parquet"
    frame.to_parquet(path)
    for structure, atoms in zip(whole("parquet", path, {"id": "configuration_id"}), images, strict=True):
        same(structure.atoms, atoms)
        assert structure.values == {"energy": atoms.get_potential_energy()}
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedShardError, match=r"co\.parquet: not a readable Parquet file"):
        read("parquet", path)


# Molecules 1 and 2 of QM9 in the layout of its archive; the second has an exponent as Mathematica writes it.
METHANE = """5
gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t0.044749\t\
-40.47893\t-40.476062\t-40.475117\t-40.498597\t6.469\t
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 0.002150416\t-0.0060313176\t 0.0019761204\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 0.0002765748\t 0.133922
H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923
1341.307\t1341.3284\t1341.365\t1562.6731\t1562.7453\t3038.3205\t3151.6034\t3151.6788\t3151.7078
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""
WATER = """3
gdb 3\t799.58812\t437.90386\t282.94545\t1.8511\t6.31\t-0.2928\t0.0687\t0.3615\t19.0002\t0.021375\t\
-76.404702\t-76.401867\t-76.400922\t-76.422349\t6.002\t
O\t-0.0343604951\t 0.9775395708\t 0.0076015923\t-0.589706
H\t 0.0647664923\t 2.1*^-6\t 0.0015346341\t 0.294853
H\t 0.8717903737\t 1.3007924048\t 0.0069312848\t 0.294853
1671.4222\t3803.6305\t3907.698
O\tO\t
InChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2
"""


def write_qm9(path: Path, molecules: dict[str, str], mode: str = "w:bz2") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, text in molecules.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def test_the_original_archive_of_qm9_is_read_with_its_exponents_and_atomisation_energies(tmp_path: Path) -> None:
    path = tmp_path / "dsgdb9nsd.xyz.tar.bz2"
    write_qm9(path, {"dsgdb9nsd_000001.xyz": METHANE, "dsgdb9nsd_000003.xyz": WATER})
    methane, water = whole("qm9", path)
    assert (methane.id, water.id, methane.smiles, water.smiles) == ("gdb-1", "gdb-3", "C", "O")
    assert methane.atoms.get_chemical_symbols() == ["C", "H", "H", "H", "H"]
    assert water.atoms.positions[1].tolist() == [0.0647664923, 2.1e-6, 0.0015346341]
    assert (water.values["mu"], water.values["gap"], water.values["Cv"]) == (1.8511, 0.3615, 6.002)
    # The published energies of atomisation at 0 K: -0.631066 and -0.339577 Hartree.
    assert methane.values["U0_atom"] == pytest.approx(-0.631066, abs=1e-6)
    assert water.values["U0_atom"] == pytest.approx(-0.339577, abs=1e-6)


def test_molecules_of_qm9_on_the_list_are_left_out(tmp_path: Path) -> None:
    path, listed = tmp_path / "dsgdb9nsd.xyz.tar.bz2", tmp_path / "uncharacterized.txt"
    write_qm9(path, {"1.xyz": METHANE, "3.xyz": WATER})
    listed.write_text("Index of molecules\n 3 of them\n     3  O  O  [OH2]\n\n1 compounds\n")
    beside = {listed.name: listed}
    assert [each.id for each in whole("qm9", path, {"leave_out": listed.name}, beside=beside)] == ["gdb-1"]
    with pytest.raises(InvalidFileError, match=r"no file 'uncharacterized\.txt' beside"):
        read("qm9", path, {"leave_out": listed.name})


def test_a_cut_archive_of_qm9_gives_what_comes_before_and_names_where(tmp_path: Path) -> None:
    path = tmp_path / "dsgdb9nsd.xyz.tar.bz2"
    write_qm9(path, {"1.xyz": METHANE, "3.xyz": WATER[:200]})
    structures = READERS["qm9"].read(Shard(path.name, path), {})
    assert next(structures).id == "gdb-1"  # type: ignore[union-attr]
    with pytest.raises(DamagedShardError, match=r"tar\.bz2: 3\.xyz: "):
        next(structures)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedShardError, match="molecule 0: "):
        read("qm9", path)


@given(st.integers(1, 10**9), st.integers(-12, 9))
def test_a_number_of_qm9_is_read_with_either_exponent(digits: int, exponent: int) -> None:
    molecules = [parse_molecule(METHANE.replace("-0.0126981359", f"{digits}{sign}{exponent}")) for sign in ("*^", "e")]
    assert molecules[0].atoms.positions[0, 0] == molecules[1].atoms.positions[0, 0] == float(f"{digits}e{exponent}")


def test_deepchems_archive_of_qm9_gives_what_the_original_gives(tmp_path: Path) -> None:
    original, mirror = tmp_path / "dsgdb9nsd.xyz.tar.bz2", tmp_path / "gdb9.tar.gz"
    write_qm9(original, {"1.xyz": METHANE, "3.xyz": WATER})
    expected = whole("qm9", original)
    blocks, lines = [], ["mol_id,A,B,C,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv,u0_atom"]
    for structure in expected:
        atoms, number = structure.atoms, structure.id.removeprefix("gdb-")
        rows = [
            f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:<3} 0  0"
            for symbol, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
        ]
        blocks += [f"gdb_{number}", " -OEChem-03231823243D", "", f"{len(atoms):3d}  0  0     0  0  0  0  0  0999 V2000"]
        blocks += [*rows, "M  END", "$$$$"]
        keys = ("A", "B", "C", "mu", "alpha", "HOMO", "LUMO", "gap", "R2", "ZPVE", "U0", "U", "H", "G", "Cv")
        lines.append(",".join([f"gdb_{number}", *(repr(structure.values[key]) for key in keys), "-395.99"]))
    write_qm9(mirror, {"gdb9.sdf": "\n".join(blocks) + "\n", "gdb9.sdf.csv": "\n".join(lines) + "\n"}, "w:gz")
    for found, structure in zip(whole("gdb9", mirror), expected, strict=True):
        assert found.id == structure.id
        np.testing.assert_allclose(found.atoms.positions, structure.atoms.positions, atol=1e-4)
        for key in ("mu", "gap", "HOMO", "Cv", "U0_atom"):
            assert found.values[key] == pytest.approx(structure.values[key])
    assert set(ATOM_ENERGIES) == {1, 6, 7, 8, 9}


def pymatgen_structure(atoms: Atoms, cartesian: bool = False) -> dict[str, Any]:
    """What pymatgen's `Structure.as_dict` gives, in the parts that are read."""
    places = atoms.positions if cartesian else atoms.get_scaled_positions(wrap=False)
    sites = [
        {"species": [{"element": symbol, "occu": 1}], "xyz" if cartesian else "abc": place.tolist()}
        for symbol, place in zip(atoms.symbols, places, strict=True)
    ]
    return {"@class": "Structure", "lattice": {"matrix": np.asarray(atoms.cell).tolist()}, "sites": sites}


def crystals() -> list[Atoms]:
    return [atoms for atoms in labelled(8) if atoms.pbc.all()]


@pytest.mark.parametrize("cartesian", [False, True])
def test_a_pymatgen_structure_becomes_the_same_atoms(cartesian: bool) -> None:
    for atoms in crystals():
        same(atoms_of(pymatgen_structure(atoms, cartesian)), atoms)


def test_frames_of_mptrj_are_read_material_by_material(tmp_path: Path) -> None:
    images = crystals()
    frames = {
        f"mp-{number // 2}": {
            f"mp-{number // 2}-{frame}-0": {
                "structure": pymatgen_structure(images[number // 2 * 2 + frame]),
                "uncorrected_total_energy": -2.5 * frame,
                "bandgap": 0.5,
                "force": [[0.0, 0.0, 0.0]] * 2,
                "magmom": None,
                "mp_id": f"mp-{number // 2}",
            }
            for frame in (0, 1)
        }
        for number in (0, 2)
    }
    path = tmp_path / "MPtrj_2022.9_full.json"
    path.write_text(json.dumps(frames))
    found = whole("mptrj", path)
    assert [each.id for each in found] == ["mp-0-0-0", "mp-0-1-0", "mp-1-0-0", "mp-1-1-0"]
    for structure, atoms in zip(found, images, strict=True):
        same(structure.atoms, atoms)
    assert found[1].values == {"uncorrected_total_energy": -2.5, "bandgap": 0.5}
    path.write_text(json.dumps(frames)[:-300])
    stream = READERS["mptrj"].read(Shard(path.name, path), {})
    assert [next(stream).id for _ in range(3)] == ["mp-0-0-0", "mp-0-1-0", "mp-1-0-0"]  # type: ignore[union-attr]
    with pytest.raises(DamagedShardError, match=r"MPtrj_2022\.9_full\.json: entry 3 \(before byte \d+\)"):
        next(stream)


def test_entries_of_alexandria_are_read_from_their_compressed_file(tmp_path: Path) -> None:
    images = crystals()
    entries = [
        {
            "@class": "ComputedStructureEntry",
            "energy": -1.0 * number,
            "correction": 0.0,
            "entry_id": None,
            "data": {"mat_id": f"agm{number}", "e_above_hull": 0.25, "decomposition": "Na Cl"},
            "structure": pymatgen_structure(atoms),
        }
        for number, atoms in enumerate(images)
    ]
    entries[2]["structure"]["sites"][0]["species"] = [{"element": "Na", "occu": 0.5}, {"element": "K", "occu": 0.5}]
    path = tmp_path / "alexandria_000.json.bz2"
    path.write_bytes(bz2.compress(json.dumps({"entries": entries}).encode()))
    found = read("computed-entries", path)
    assert [each.id for each in found if isinstance(each, SourceStructure)] == ["agm0", "agm1", "agm3"]
    assert isinstance(found[2], Damaged)
    assert "a site is shared by ['Na', 'K']" in found[2].reason
    assert isinstance(found[1], SourceStructure)
    assert found[1].values == {"energy": -1.0, "correction": 0.0, "e_above_hull": 0.25}
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DamagedShardError, match=r"alexandria_000\.json\.bz2: entry 0"):
        read("computed-entries", path)


def test_an_export_of_the_materials_project_is_read(tmp_path: Path) -> None:
    images = crystals()
    documents = [
        {"material_id": f"mp-{number}", "structure": pymatgen_structure(atoms), "band_gap": 1.5, "is_metal": False}
        for number, atoms in enumerate(images)
    ]
    path = tmp_path / "summary.json.gz"
    path.write_bytes(gzip.compress(json.dumps(documents).encode()))
    found = whole("materials-project", path)
    assert [each.id for each in found] == ["mp-0", "mp-1", "mp-2", "mp-3"]
    assert found[0].values == {"band_gap": 1.5}
    same(found[3].atoms, images[3])


SEQRES = """>101m_A mol:protein length:8  MYOGLOBIN
MVLS
EGEW
>1a02_A mol:na length:4  DNA
TTGG
>1ubq_A mol:protein length:3  UBIQUITIN
MQI
"""


def test_sequences_of_proteins_are_read_without_atoms(tmp_path: Path) -> None:
    path = tmp_path / "pdb_seqres.txt.gz"
    path.write_bytes(gzip.compress(SEQRES.encode()))
    found = whole("fasta", path, {"molecule": "protein"})
    assert [(each.id, each.sequence) for each in found] == [("101m_A", "MVLSEGEW"), ("1ubq_A", "MQI")]
    assert found[0].values == {"length": 8.0}
    assert all(len(each.atoms) == 0 for each in found)
    path.write_bytes(gzip.compress((SEQRES * 500).encode())[:-30])
    with pytest.raises(DamagedShardError, match=r"pdb_seqres\.txt\.gz: line \d+: EOFError"):
        read("fasta", path)


def test_a_table_of_cif_is_read_as_ase_reads_cif(tmp_path: Path) -> None:
    images = crystals()
    rows = []
    for number, atoms in enumerate(images):
        cif = io.BytesIO()
        write(cif, atoms, format="cif")
        rows.append(
            {"material_id": number, "cif": cif.getvalue().decode(), "formula": "NaCl", "heat_all": 0.5 * number}
        )
    rows.append({"material_id": 99, "cif": "data_nothing\n", "formula": "", "heat_all": 1.0})
    path = tmp_path / "test.csv"
    pd.DataFrame(rows).to_csv(path)
    *found, damaged = read("cif-table", path, {"id": "material_id"})
    for structure, atoms in zip(found, images, strict=True):
        assert isinstance(structure, SourceStructure)
        np.testing.assert_array_equal(structure.atoms.numbers, atoms.numbers)
        np.testing.assert_allclose(
            structure.atoms.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=1e-4
        )
        np.testing.assert_allclose(structure.atoms.cell.cellpar(), atoms.cell.cellpar(), atol=1e-4)
    assert isinstance(damaged, Damaged)
    assert damaged.entry == "row 4"
    assert [each.id for each in found if isinstance(each, SourceStructure)] == ["0", "1", "2", "3"]


def test_extended_xyz_keeps_the_charge_and_spin_that_a_spec_asks_for(tmp_path: Path) -> None:
    images = []
    for number, atoms in enumerate(labelled(4)):
        atoms.info |= {"total_charge_e": number - 1, "multiplicity": 2}
        images.append(atoms)
    path = tmp_path / "frames.xyz"
    write(path, images, format="extxyz")
    found = whole("extxyz", path, {"charge": "total_charge_e", "spin": "multiplicity"})
    assert [each.atoms.info for each in found] == [{"charge": number - 1, "spin": 2} for number in range(4)]
    assert all(not each.atoms.info for each in whole("extxyz", path))
    packed = tmp_path / "frames.xyz.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert [each.values["energy"] for each in whole("extxyz", packed)] == [each.values["energy"] for each in found]
    with pytest.raises(InvalidFileError, match=r"frames\.xyz: frame 0: pbc is .*not a whole number|frame 0 has no 'q'"):
        read("extxyz", path, {"charge": "q"})


def test_a_folder_is_read_by_what_the_names_of_its_files_say(tmp_path: Path) -> None:
    images = list(labelled(3))
    write(tmp_path / "a.xyz", images, format="extxyz")
    with connect(tmp_path / "b.db") as database:
        for atoms in images:
            database.write(atoms)
    for name in ("a.xyz", "b.db"):
        found = whole("folder", tmp_path / name, prefix=f"{name}-")
        assert [each.values["energy"] for each in found] == [atoms.get_potential_energy() for atoms in images]
        assert len({each.id for each in found}) == 3
        assert all(each.id.startswith(f"{name}-") for each in found)


@pytest.mark.parametrize("kind", sorted(set(READERS) - {"folder"}))
def test_every_reader_refuses_an_option_that_it_does_not_have(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"file{READERS[kind].suffixes[0]}"
    shutil.copy(__file__, path)
    with pytest.raises(InvalidFileError, match=r"options \['colour'\] are unknown"):
        read(kind, path, {"colour": "blue"})


def real(name: str) -> Path:
    """A file below the folder of real data. Skips where there is none."""
    root = os.environ.get("LATENT_MATTER_REAL_DATA")
    path = Path(root or "nowhere") / name
    if not path.is_file():
        pytest.skip(f"needs {name} below LATENT_MATTER_REAL_DATA")
    return path


def test_real_molecules_of_omol25_are_read_with_charge_and_spin() -> None:
    path = real("omol25-18.xyz")
    found = whole("extxyz", path, {"charge": "total_charge_e", "spin": "multiplicity"})
    assert len(found) == 18
    assert any(each.atoms.info["charge"] for each in found)
    for structure in found:
        electrons = int(structure.atoms.numbers.sum()) - structure.atoms.info["charge"]
        # An even number of electrons has an odd multiplicity.
        assert (electrons + structure.atoms.info["spin"]) % 2 == 1
        assert structure.values["energy"] < 0


def test_real_perovskites_are_read_as_five_atoms_in_a_cube() -> None:
    rows = READERS["cif-table"].read(Shard("perov5", real("perov5-test.csv")), {"id": "material_id"})
    for structure in itertools.islice(rows, 20):
        assert isinstance(structure, SourceStructure)
        assert len(structure.atoms) == 5
        np.testing.assert_allclose(structure.atoms.cell.angles(), 90.0)
