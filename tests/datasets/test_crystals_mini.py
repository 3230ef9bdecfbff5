"""The embedded data set `crystals-mini` and the generator that made it."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.datasets.generate import crystals
from benchmark.datasets.generate.elements import IONIC, METALLIC, VALENCE_ELECTRONS, ionic_radius
from benchmark.datasets.generate.prototypes import PROTOTYPES
from benchmark.datasets.store import Dataset, Structures, find_dataset

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return find_dataset("crystals-mini")


@pytest.fixture(scope="module")
def structures(dataset: Dataset) -> Structures:
    return dataset.structures()


@pytest.fixture(scope="module")
def labels(dataset: Dataset) -> pd.DataFrame:
    return dataset.labels()


@pytest.fixture(scope="module")
def candidates() -> list[crystals.Candidate]:
    return crystals.generate(120, seed=1)


def test_ids_are_unique_and_counted_by_the_card(dataset: Dataset, structures: Structures) -> None:
    assert len(set(structures.ids)) == len(structures) == dataset.card.structures


def test_every_crystal_is_small_and_periodic(structures: Structures) -> None:
    assert np.diff(structures.offsets).max() <= crystals.MAX_ATOMS
    assert structures.pbc.all()
    assert (np.abs(np.linalg.det(structures.cells)) > 1.0).all()


def test_no_two_atoms_overlap(structures: Structures) -> None:
    contacts = [crystals.closest_contact(structures.atoms(index)) for index in range(len(structures))]
    # Stored coordinates are rounded, hence the last digit.
    assert min(contacts) >= crystals.MINIMAL_DISTANCE - 1e-5


def test_no_two_crystals_are_near_duplicates(structures: Structures) -> None:
    by_formula: dict[str, list[int]] = {}
    for index, formula in enumerate(structures.formulas):
        by_formula.setdefault(formula, []).append(index)
    pairs = [pair for group in by_formula.values() for pair in itertools.combinations(group, 2)]
    twins = [pair for pair in pairs if crystals.near_duplicates(*(structures.atoms(index) for index in pair))]
    assert twins == []


def test_each_reduced_formula_occurs_once(structures: Structures) -> None:
    assert len(set(structures.reduced_formulas())) == len(structures)


def test_labels_are_finite_and_gaps_not_negative(labels: pd.DataFrame) -> None:
    assert list(labels.columns) == ["energy", "energy_per_atom", "gap", "volume_per_atom"]
    assert np.isfinite(labels.to_numpy()).all()
    assert (labels["gap"] >= 0).all()
    assert 0.2 < (labels["gap"] == 0).mean() < 0.95


def test_derived_labels_follow_from_structure_and_energy(structures: Structures, labels: pd.DataFrame) -> None:
    sizes = np.diff(structures.offsets)
    volumes = np.abs(np.linalg.det(structures.cells)) / sizes
    np.testing.assert_allclose(labels["volume_per_atom"], volumes, rtol=1e-5)
    np.testing.assert_allclose(labels["energy_per_atom"], labels["energy"] / sizes, rtol=1e-12)


def test_a_crystal_with_an_odd_number_of_electrons_has_no_gap(structures: Structures, labels: pd.DataFrame) -> None:
    electrons = [
        sum(VALENCE_ELECTRONS[symbol] for symbol in structures.atoms(index).symbols) for index in range(len(structures))
    ]
    assert (labels["gap"].to_numpy()[np.array(electrons) % 2 == 1] == 0).all()


def test_the_structures_file_holds_no_label_and_no_origin(dataset: Dataset) -> None:
    columns = pd.read_parquet(dataset.folder / "structures.parquet").columns
    assert list(columns) == ["id", "formula", "numbers", "positions", "cell", "pbc"]


def test_each_crystal_has_an_origin(dataset: Dataset, structures: Structures) -> None:
    origin = pd.read_parquet(dataset.folder / "origin.parquet")
    assert tuple(origin["id"]) == structures.ids
    assert set(origin["prototype"]) <= set(PROTOTYPES)


@pytest.mark.parametrize("prototype", PROTOTYPES.values(), ids=lambda prototype: prototype.name)
def test_a_prototype_has_the_coordination_it_is_known_for(prototype: crystals.Prototype) -> None:
    for contact in prototype.contacts:
        distances = prototype.distances(contact.centre, contact.ligand)
        shell = int((distances < 1.1 * distances[0]).sum())
        assert shell == contact.number, contact


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("rocksalt", {"A": 1, "X": 1}),
        ("wurtzite", {"A": 2, "X": 2}),
        ("fluorite", {"A": 1, "X": 2}),
        ("antifluorite", {"A": 2, "X": 1}),
        ("rutile", {"A": 2, "X": 4}),
        ("perovskite", {"A": 1, "B": 1, "X": 3}),
        ("half-heusler", {"A": 1, "B": 1, "C": 1}),
        ("heusler", {"A": 1, "B": 1, "C": 2}),
        ("L1_2", {"A": 3, "B": 1}),
        ("hcp", {"A": 2}),
        ("C15", {"A": 2, "B": 4}),
    ],
)
def test_a_prototype_has_its_number_of_atoms(name: str, counts: dict[str, int]) -> None:
    assert PROTOTYPES[name].counts == counts


@pytest.mark.parametrize(
    ("name", "elements", "ions", "lattice"),
    [
        ("rocksalt", "NaCl", {"A": ("Na", 1), "X": ("Cl", -1)}, 5.64),
        ("rocksalt", "MgO", {"A": ("Mg", 2), "X": ("O", -2)}, 4.21),
        ("zincblende", "GaAs", {"A": ("Ga", 3), "X": ("As", -3)}, 5.65),
        ("fluorite", "CaF2", {"A": ("Ca", 2), "X": ("F", -1)}, 5.46),
        ("perovskite", "SrTiO3", {"A": ("Sr", 2), "B": ("Ti", 4), "X": ("O", -2)}, 3.905),
    ],
)
def test_ionic_radii_give_lattice_parameters_of_known_compounds(
    name: str, elements: str, ions: crystals.Ions, lattice: float
) -> None:
    assert crystals.ionic_scale(PROTOTYPES[name], ions) == pytest.approx(lattice, rel=0.05), elements


@pytest.mark.parametrize(
    ("symbol", "name", "lattice"), [("Cu", "fcc", 3.61), ("W", "bcc", 3.16), ("Si", "diamond", 5.43)]
)
def test_metallic_radii_give_lattice_parameters_of_the_elements(symbol: str, name: str, lattice: float) -> None:
    assert crystals.metallic_scale(PROTOTYPES[name], {"A": symbol}) == pytest.approx(lattice, rel=0.04)


def test_ionic_candidates_are_charge_balanced(candidates: list[crystals.Candidate]) -> None:
    ionic = [each for each in candidates if each.charges is not None]
    assert ionic
    for each in ionic:
        counts = PROTOTYPES[each.prototype].counts
        assert sum(counts[slot] * charge for slot, charge in (each.charges or {}).items()) == 0, each


def test_the_same_seed_gives_the_same_candidates(candidates: list[crystals.Candidate]) -> None:
    again = crystals.generate(120, seed=1)
    assert [each.prototype for each in again] == [each.prototype for each in candidates]
    assert all(np.array_equal(a.atoms.positions, b.atoms.positions) for a, b in zip(again, candidates, strict=True))


def test_candidates_survive_a_round_trip_through_the_work_folder(
    candidates: list[crystals.Candidate], tmp_path: Path
) -> None:
    crystals.write_candidates(candidates, tmp_path)
    read = crystals.read_candidates(tmp_path)
    assert [name for name, _ in read][:2] == ["cry-0001", "cry-0002"]
    assert all(np.array_equal(a.atoms.cell, b.atoms.cell) for (_, a), b in zip(read, candidates, strict=True))


def test_the_first_candidate_of_each_formula_is_taken(candidates: list[crystals.Candidate]) -> None:
    named = [(str(number), each) for number, each in enumerate(candidates)]
    taken = crystals.one_a_formula(named)
    formulas = [crystals.reduced_formula(each) for _, each in taken]
    assert len(set(formulas)) == len(formulas) < len(named)
    assert taken[0][1] is named[0][1]
    assert set(formulas) == {crystals.reduced_formula(each) for _, each in named}


def test_a_scaled_copy_is_a_near_duplicate_and_a_sheared_one_is_not() -> None:
    rocksalt = crystals.build(PROTOTYPES["rocksalt"], {"A": "Na", "X": "Cl"}, 5.64)
    scaled = crystals.build(PROTOTYPES["rocksalt"], {"A": "Na", "X": "Cl"}, 6.2)
    sheared = rocksalt.copy()
    sheared.set_cell(rocksalt.cell.array @ [[1, 0.06, 0], [0.06, 1, 0], [0, 0, 1]], scale_atoms=True)
    assert crystals.near_duplicates(rocksalt, scaled)
    assert not crystals.near_duplicates(rocksalt, sheared)


def test_every_element_with_a_radius_has_a_valence() -> None:
    assert set(IONIC) | set(METALLIC) == set(VALENCE_ELECTRONS)


def test_an_ion_grows_with_its_coordination() -> None:
    radii = [ionic_radius("Ca", 2, number) for number in (4, 6, 8, 12)]
    assert radii == sorted(radii)


def _python_with_gpaw() -> str | None:
    for name in ("/usr/bin/python3", shutil.which("python3"), shutil.which("python")):
        if name and Path(name).exists():
            found = subprocess.run([name, "-c", "import gpaw"], capture_output=True, timeout=120, check=False)
            if found.returncode == 0:
                return name
    return None


@pytest.mark.slow
def test_labels_are_reproduced_by_a_new_calculation(
    structures: Structures, labels: pd.DataFrame, tmp_path: Path
) -> None:
    python = _python_with_gpaw()
    if python is None:
        pytest.skip("no Python with gpaw found")
    costs = [crystals.calculation_cost(structures.atoms(index)) for index in range(len(structures))]
    chosen = np.argsort(costs)[:2].tolist()
    crystals.write_candidates(
        [crystals.Candidate(structures.atoms(index), "unknown", None) for index in chosen], tmp_path
    )
    script = ROOT / "scripts/make_crystals_mini"
    subprocess.run([python, str(script), "label", "--work", str(tmp_path)], check=True, cwd=tmp_path, timeout=900)
    for number, index in enumerate(chosen, start=1):
        outcome = json.loads((tmp_path / "labels" / f"cry-{number:04d}.json").read_text())
        assert outcome["status"] == "ok", outcome
        sizes = np.diff(structures.offsets)
        assert outcome["energy"] / sizes[index] == pytest.approx(labels["energy_per_atom"].iloc[index], abs=1e-3)
        assert outcome["gap"] == pytest.approx(labels["gap"].iloc[index], abs=5e-3)
