"""The controls without a package of their own, run in this process."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from benchmark.adapter import Adapter

SUBMISSIONS = Path(__file__).parents[2] / "submissions"


def load_adapter(family: str, class_name: str, **options: Any) -> Adapter:
    spec = importlib.util.spec_from_file_location(f"{family}_adapter", SUBMISSIONS / family / "adapter.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    adapter: Adapter = getattr(module, class_name)()
    adapter.load(None, options, "cpu")
    return adapter


@pytest.fixture(scope="module")
def composition() -> Adapter:
    return load_adapter("composition", "Composition")


@pytest.fixture(scope="module")
def noise() -> Adapter:
    return load_adapter("noise", "Noise", seed=0)


@pytest.fixture
def crystal() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.05, seed=3)
    return atoms


def backbone(adapter: Adapter, *structures: Atoms) -> np.ndarray:
    return adapter.embed(structures).layers["backbone"].values


def test_mean_of_the_composition_control_is_the_element_fractions(composition: Adapter) -> None:
    water = Atoms("OH2", positions=[[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])
    mean = backbone(composition, water).mean(axis=0)
    assert mean.shape == (103,)
    assert mean[0] == pytest.approx(2 / 3) and mean[7] == pytest.approx(1 / 3)
    assert np.count_nonzero(mean) == 2


def test_composition_control_refuses_elements_that_it_has_no_column_for(composition: Adapter) -> None:
    with pytest.raises(ValueError, match="104"):
        composition.embed([Atoms(numbers=[104])])


def test_composition_control_is_blind_to_geometry(composition: Adapter, crystal: Atoms) -> None:
    strained = crystal.copy()
    strained.set_cell(crystal.cell * 1.1, scale_atoms=True)
    assert np.array_equal(backbone(composition, crystal), backbone(composition, strained))


def test_noise_does_not_depend_on_how_a_structure_is_written_down(noise: Adapter, crystal: Atoms) -> None:
    turned = crystal.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    moved = crystal.copy()
    moved.positions += [0.3, -1.2, 2.0]
    same = [crystal[::-1], turned, moved, crystal.repeat((2, 1, 1))]
    expected = np.tile(backbone(noise, crystal), (len(same), 1))
    assert np.array_equal(backbone(noise, *same), expected)


def test_noise_of_different_structures_is_independent_and_standard_normal(noise: Adapter) -> None:
    structures = []
    for seed in range(300):
        atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
        atoms.rattle(0.1, seed=seed)
        structures.append(atoms)
    values = backbone(noise, *structures)
    assert values.shape == (300, 64)
    assert abs(values.mean()) < 4 / np.sqrt(values.size)
    assert abs(values.var() - 1) < 4 * np.sqrt(2 / values.size)
    correlations = np.corrcoef(values)[np.triu_indices(300, 1)]
    assert np.std(correlations) == pytest.approx(1 / np.sqrt(64), rel=0.1)


def test_noise_follows_its_seed(noise: Adapter, crystal: Atoms) -> None:
    other = load_adapter("noise", "Noise", seed=1)
    assert not np.allclose(backbone(noise, crystal), backbone(other, crystal))
