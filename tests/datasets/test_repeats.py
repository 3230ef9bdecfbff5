"""Structures that occur twice are recognised however they are written down, and nothing else is."""

import tracemalloc

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, make_supercell, molecule
from ase.build.supercells import find_optimal_cell_shape
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.datasets.repeats import TOLERANCE, repeats
from benchmark.datasets.store import find_dataset


def rewritten(atoms: Atoms, seed: int = 0, mirrored: bool = False) -> Atoms:
    """The same structure, turned, shifted, with its atoms in another order and places to 1e-6 Angstrom."""
    rng = np.random.default_rng(seed)
    other = atoms[rng.permutation(len(atoms))]
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn)) * (-1 if mirrored else 1)
    other.set_positions(np.round((other.positions + rng.normal(size=3)) @ turn, 6))
    other.set_cell(np.round(other.cell.array @ turn, 6))
    return other


def strained(atoms: Atoms, strain: float) -> Atoms:
    other = atoms.copy()
    other.set_cell(other.cell * (1 + strain), scale_atoms=True)
    return other


CRYSTALS = {
    "fcc": bulk("Cu", "fcc", a=3.6),
    "hcp": bulk("Mg", "hcp", a=3.2),
    "rock salt": bulk("NaCl", "rocksalt", a=5.64),
    "wurtzite": bulk("ZnS", "wurtzite", a=3.8),
}


@pytest.mark.parametrize("name", ["H2O", "CH3CH2OH", "C6H6", "bicyclobutane", "SiH4"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_molecule_is_known_again(name: str, mirrored: bool) -> None:
    for seed in range(5):
        atoms = molecule(name)
        assert repeats([atoms, rewritten(atoms, seed, mirrored)]).tolist() == [False, True]


@pytest.mark.parametrize("name", CRYSTALS)
def test_a_crystal_is_known_again_in_another_cell(name: str) -> None:
    atoms = CRYSTALS[name]
    copies = [
        rewritten(atoms, 1),
        rewritten(atoms * (2, 1, 1), 2),
        rewritten(atoms * (1, 3, 1), 3, mirrored=True),
        make_supercell(atoms, [[1, 1, 0], [0, 1, 0], [0, 0, 1]]),
        make_supercell(atoms, find_optimal_cell_shape(atoms.cell, 2, "sc")),
    ]
    assert repeats([atoms, *copies]).tolist() == [False] + [True] * len(copies)
    # Where neither cell is a multiple of the other.
    assert repeats([atoms * (1, 1, 2), rewritten(atoms * (3, 1, 1), 4)]).tolist() == [False, True]


@pytest.mark.parametrize("name", CRYSTALS)
def test_a_strain_that_moves_neighbours_beyond_the_tolerance_makes_another_crystal(name: str) -> None:
    atoms = CRYSTALS[name]
    nearest = atoms.get_all_distances(mic=True)
    bound = 6.0  # Angstrom, the farthest that is compared
    assert repeats([atoms, strained(atoms, 0.5 * TOLERANCE / bound)]).tolist() == [False, True]
    assert not repeats([atoms, strained(atoms, 2 * TOLERANCE / max(2.0, nearest.max()))]).any()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (molecule("CH3CH2OH"), molecule("CH3OCH3")),
        (molecule("trans-butane"), molecule("isobutane")),
        (bulk("Co", "fcc", a=3.54), bulk("Co", "hcp", a=3.54 / 2**0.5, c=3.54 / 2**0.5 * (8 / 3) ** 0.5)),
        (bulk("ZnS", "zincblende", a=5.41), bulk("ZnS", "wurtzite", a=5.41 / 2**0.5, c=5.41 / 3**0.5 * 2)),
        (molecule("C2H4"), Atoms("CH2", positions=[[0, 0, 0], [0.9, 0.6, 0], [-0.9, 0.6, 0]])),
        (bulk("Cu", "fcc", a=3.6), Atoms("Cu", positions=[[0, 0, 0]])),
    ],
    ids=["isomers", "chains", "stackings of a metal", "stackings of a salt", "a formula twice", "an atom alone"],
)
def test_what_has_the_same_formula_only_is_no_repeat(first: Atoms, second: Atoms) -> None:
    assert not repeats([first, second]).any()


def test_a_slab_is_known_again_whatever_is_said_of_the_direction_without_period() -> None:
    slab = fcc111("Al", (1, 1, 3), vacuum=5.0)
    other = rewritten(slab * (2, 1, 1), 5)
    other.cell[2] = other.cell[0] + other.cell[1]
    assert repeats([slab, other, fcc111("Al", (1, 1, 4), vacuum=5.0)]).tolist() == [False, True, False]


def test_two_orders_of_one_lattice_with_the_same_pairs_of_elements_nearby_are_two_crystals() -> None:
    layers = bulk("Cu", "fcc", a=3.7, cubic=True) * (1, 1, 4)
    heights = np.round(layers.positions[:, 2] / 1.85).astype(int)
    pure, mixed = layers.copy(), layers.copy()
    pure.numbers[np.isin(heights, [0, 1, 4, 5])] = 79
    mixed.numbers[np.isin(heights, [0, 1, 3, 6])] = 79
    assert not repeats([pure, mixed]).any()
    assert repeats([pure, mixed, rewritten(mixed, 3)]).tolist() == [False, False, True]


def test_a_structure_stays_when_what_it_repeats_is_itself_left_out() -> None:
    pair = [Atoms("N2", positions=[[0, 0, 0], [1.1 + 0.7 * TOLERANCE * step, 0, 0]]) for step in range(4)]
    assert repeats(pair).tolist() == [False, True, False, True]


def test_thousands_of_copies_need_no_list_of_their_pairs() -> None:
    pairs = [Atoms("N2", positions=[[0, 0, number], [1.1, 0, number]]) for number in range(3000)]
    tracemalloc.start()
    assert repeats(pairs).tolist() == [False] + [True] * 2999
    assert tracemalloc.get_traced_memory()[1] < 20e6  # 4.5 million pairs of integers would be 72 MB
    tracemalloc.stop()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(2, 12), periodic=st.booleans(), moved=st.floats(-0.3, 0.3))
def test_one_atom_that_moves_decides(seed: int, size: int, periodic: bool, moved: float) -> None:
    rng = np.random.default_rng(seed)
    numbers = rng.choice([1, 6, 8], size)
    places = rng.uniform(0, 1, (size, 3)) + np.arange(size)[:, None] * [1.3, 0, 0]
    atoms = Atoms(numbers, positions=places, cell=[1.3 * size + 1.0, 3.0, 3.0], pbc=periodic)
    other = atoms.copy()
    other.positions[0, 1] += moved
    change = np.abs(np.sort(_distances(atoms), axis=1) - np.sort(_distances(other), axis=1)).max()
    again = repeats([atoms, rewritten(other, seed)])[1]
    if abs(moved) < TOLERANCE - 1e-4:
        assert again
    elif not periodic and change > 1.5 * TOLERANCE and len(set(numbers.tolist())) == size:
        assert not again


def _distances(atoms: Atoms) -> np.ndarray:
    return np.asarray(atoms.get_all_distances())


def test_the_molecules_of_the_package_repeat_nothing() -> None:
    structures = find_dataset("molecules-mini").structures()
    groups: dict[str, list[Atoms]] = {}
    for index, formula in enumerate(structures.reduced_formulas()):
        groups.setdefault(formula, []).append(structures.atoms(index))
    assert min(len(images) for images in groups.values()) > 20
    assert not any(repeats(images).any() for images in groups.values())


def test_the_crystals_of_the_package_have_a_formula_each() -> None:
    formulas = find_dataset("crystals-mini").structures().reduced_formulas()
    assert len(set(formulas)) == len(formulas)
