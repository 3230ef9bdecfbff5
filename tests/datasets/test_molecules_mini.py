"""The embedded data set `molecules-mini`, and the code that makes it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase import Atoms

from benchmark.datasets.store import EMBEDDED, Dataset, Structures, load_dataset

FOLDER = EMBEDDED / "molecules-mini"
LABELS = ["energy", "energy_per_atom", "gap", "dipole_x", "dipole_y", "dipole_z", "dipole_norm"]
# Total energies of free atoms (eV, rounded): a molecule lies below their sum by its binding energy.
FREE_ATOMS = {1: -13.6, 6: -1028.5, 7: -1483.5, 8: -2040.0, 9: -2710.0}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(FOLDER)


@pytest.fixture(scope="module")
def structures(dataset: Dataset) -> Structures:
    return dataset.structures()


@pytest.fixture(scope="module")
def labels(dataset: Dataset) -> pd.DataFrame:
    return dataset.labels()


def sorted_distances(atoms: Atoms) -> np.ndarray:
    first, second = np.triu_indices(len(atoms), k=1)
    pairs = np.sort(np.stack([atoms.numbers[first], atoms.numbers[second]]), axis=0)
    distances = atoms.get_all_distances()[first, second]
    return distances[np.lexsort((distances, pairs[1], pairs[0]))]


def test_card_counts_what_the_files_hold(dataset: Dataset, structures: Structures, labels: pd.DataFrame) -> None:
    assert dataset.card.structures == len(structures) == len(labels)
    assert list(dataset.card.labels) == LABELS


def test_ids_and_smiles_are_unique(structures: Structures) -> None:
    assert structures.smiles is not None
    assert len(set(structures.ids)) == len(set(structures.smiles)) == len(structures)


def test_every_formula_has_at_least_twenty_isomers(structures: Structures) -> None:
    assert min(Counter(structures.formulas).values()) >= 20


def test_row_order_does_not_follow_the_formula(structures: Structures) -> None:
    neighbours = np.mean([a == b for a, b in zip(structures.formulas, structures.formulas[1:], strict=False)])
    assert neighbours < 3 / len(set(structures.formulas)) + 0.02


def test_structures_are_centred_molecules_of_five_elements(structures: Structures) -> None:
    assert set(np.unique(structures.numbers)) <= {1, 6, 7, 8, 9}
    assert not structures.pbc.any()
    assert not structures.cells.any()
    for index in range(len(structures)):
        atoms = structures.atoms(index)
        assert 5 <= (atoms.numbers > 1).sum() <= 9
        assert np.abs(atoms.positions.mean(axis=0)).max() < 1e-5
        assert sum(atoms.numbers) % 2 == 0, "closed shell"
        distances = atoms.get_all_distances() + 10 * np.eye(len(atoms))
        assert distances.min() > 0.9 and distances.min(axis=1).max() < 1.7, "no atom clashes or floats away"


def test_no_two_isomers_are_the_same_geometry(structures: Structures) -> None:
    groups: dict[str, list[np.ndarray]] = {}
    for index, formula in enumerate(structures.formulas):
        groups.setdefault(formula, []).append(sorted_distances(structures.atoms(index)))
    for formula, vectors in groups.items():
        stacked = np.stack(vectors)
        differences = np.abs(stacked[:, None] - stacked[None]).max(axis=-1) + np.eye(len(stacked))
        assert differences.min() > 0.03, formula


def test_structures_file_holds_no_label() -> None:
    columns = set(pd.read_parquet(FOLDER / "structures.parquet").columns)
    assert columns == {"id", "formula", "numbers", "positions", "cell", "pbc", "smiles"}


def test_labels_are_finite_and_agree_with_each_other(structures: Structures, labels: pd.DataFrame) -> None:
    assert np.isfinite(labels.to_numpy()).all()
    sizes = np.diff(structures.offsets)
    np.testing.assert_allclose(labels["energy_per_atom"], labels["energy"] / sizes, rtol=1e-12)
    vectors = labels[["dipole_x", "dipole_y", "dipole_z"]].to_numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), labels["dipole_norm"], atol=1e-9)


def test_labels_have_the_units_that_the_card_says(structures: Structures, labels: pd.DataFrame) -> None:
    atoms = np.array([sum(FREE_ATOMS[z] for z in structures.atoms(i).numbers) for i in range(len(structures))])
    binding = (atoms - labels["energy"].to_numpy()) / np.diff(structures.offsets)
    assert binding.min() > 2.5 and binding.max() < 8.0, "eV an atom"
    assert labels["gap"].between(1.5, 12.0).all(), "eV"
    assert labels["dipole_norm"].between(0.0, 10.0).all(), "Debye"
    assert 1.0 < labels["dipole_norm"].mean() < 4.0, "Debye, not atomic units"


def test_labels_vary_within_a_formula(structures: Structures, labels: pd.DataFrame) -> None:
    spread = labels[["energy", "gap", "dipole_norm"]].groupby(np.array(structures.formulas)).std()
    assert (spread > [0.05, 0.05, 0.1]).all(axis=None)


@pytest.mark.slow
def test_labels_are_reproduced_by_the_density_functional_program(structures: Structures, labels: pd.DataFrame) -> None:
    pytest.importorskip("pyscf", reason="recomputing labels needs pyscf")
    from benchmark.datasets.generate.molecule_labels import density_functional_labels

    smallest = np.argsort(np.diff(structures.offsets), kind="stable")[:2]
    for index in smallest:
        again = density_functional_labels(structures.atoms(index))
        stored = labels.iloc[index]
        assert again["energy"] == pytest.approx(stored["energy"], abs=1e-4)
        assert again["gap"] == pytest.approx(stored["gap"], abs=3e-4)  # of first order in the orbitals
        assert again["dipole_norm"] == pytest.approx(stored["dipole_norm"], abs=2e-3)


class TestLabelling:
    """The driver, without chemistry: the function that labels is a stand-in."""

    def test_resumes_and_stops(self, tmp_path: Path) -> None:
        pytest.importorskip("tqdm", reason="the driver shows a progress bar")
        from benchmark.datasets.generate.molecule_labels import label_all, read_results

        calls: list[str] = []

        def stand_in(smiles: str) -> dict[str, Any]:
            calls.append(smiles)
            return {"smiles": smiles}

        label_all(["C", "N"], tmp_path, label=stand_in)
        label_all(["C", "N", "C#C/C"], tmp_path, label=stand_in)
        label_all(["O"], tmp_path, stop=lambda: True, label=stand_in)
        assert calls == ["C", "N", "C#C/C"]
        assert list(read_results(["O", "N", "C#C/C"], tmp_path)) == ["N", "C#C/C"]

    def test_bonds_are_found_from_distances(self) -> None:
        from benchmark.datasets.generate.molecule_labels import bonds_by_distance

        water = Atoms("OHH", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
        assert bonds_by_distance(water) == {(0, 1), (0, 2)}
        water.positions[2] *= 2
        assert bonds_by_distance(water) == {(0, 1)}

    def test_a_molecule_that_fails_gives_its_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from benchmark.datasets.generate import molecule_labels

        def explode(smiles: str) -> None:
            raise ValueError(f"{smiles} is bad")

        monkeypatch.setattr(molecule_labels, "embed", explode)
        result = molecule_labels.label_molecule("C")
        assert (result["status"], result["reason"]) == ("left_out", "program error (ValueError)")
        assert "C is bad" in result["detail"]


class TestSelection:
    """What the build keeps."""

    @pytest.fixture(autouse=True)
    def _needs_rdkit(self) -> None:
        pytest.importorskip("rdkit", reason="the enumerator needs rdkit")

    def results(self, smiles: list[str]) -> dict[str, dict[str, Any]]:
        random = np.random.default_rng(0)
        return {
            entry: {
                "status": "ok",
                "numbers": [6, 6, 1],
                "positions": random.normal(size=(3, 3)).tolist(),
                "labels": dict.fromkeys(LABELS, 1.0),
            }
            for entry in smiles
        }

    def test_keeps_groups_of_twenty_and_counts_the_rest(self) -> None:
        from benchmark.datasets.generate.molecule_build import TOO_FEW, select

        many, few = ["C" * n for n in range(1, 25)], ["C" * n + "O" for n in range(1, 6)]
        results = self.results(many + few)
        results["C"] = {"status": "left_out", "reason": "no conformer found"}
        results["CC"]["positions"] = results["CCC"]["positions"]
        plan = [{"formula": "A", "smiles": many}, {"formula": "B", "smiles": few}]
        chosen = select(plan, results)
        assert list(chosen.formulas) == [entry for entry in many if entry not in ("C", "CCC")]
        assert chosen.left_out == {"no conformer found": 1, "same molecule as another": 1, TOO_FEW: 5}

    def test_labelling_reaches_every_formula_before_it_completes_one(self) -> None:
        from benchmark.datasets.generate.molecule_build import FIRST_SHARE, labelling_order, planned_smiles

        plan = [{"formula": name, "smiles": [f"{name}{i}" for i in range(30)]} for name in "AB"]
        order = labelling_order(plan)
        assert order[FIRST_SHARE] == "B0"
        assert sorted(order) == sorted(planned_smiles(plan))

    def test_ids_do_not_depend_on_what_is_labelled(self) -> None:
        from benchmark.datasets.generate.molecule_build import stable_ids

        ids = stable_ids([{"formula": "A", "smiles": ["C", "N"]}, {"formula": "B", "smiles": ["O"]}])
        assert sorted(ids.values()) == ["mol-0001", "mol-0002", "mol-0003"]

    def test_build_writes_a_data_set_with_its_readme(self, tmp_path: Path) -> None:
        from benchmark.datasets.generate.molecule_build import build
        from benchmark.datasets.generate.molecule_labels import label_all

        pytest.importorskip("tqdm", reason="the driver shows a progress bar")
        smiles = ["C" * n for n in range(1, 23)]
        results = self.results(smiles)
        (tmp_path / "plan.json").write_text(json.dumps([{"formula": "C2H", "smiles": smiles}]))
        label_all(smiles, tmp_path / "results", label=results.__getitem__)
        dataset, _ = build(tmp_path, tmp_path / "molecules-mini")
        assert dataset.card.structures == len(dataset.labels()) == 22
        assert "{" not in (tmp_path / "molecules-mini" / "README.md").read_text()


class TestEnumeration:
    """The random walk over molecular graphs."""

    @pytest.fixture(autouse=True)
    def _needs_rdkit(self) -> None:
        pytest.importorskip("rdkit", reason="the enumerator needs rdkit")

    def test_same_seed_gives_same_pool_of_canonical_molecules(self) -> None:
        from rdkit import Chem

        from benchmark.datasets.generate.molecules import enumerate_pool, rejection

        pool = enumerate_pool(1500, (4, 7), seed=3)
        assert pool == enumerate_pool(1500, (4, 7), seed=3)
        assert sum(map(len, pool.values())) > 50
        for members in pool.values():
            assert len(set(members)) == len(members)
            for smiles in members:
                molecule = Chem.MolFromSmiles(smiles)
                assert Chem.MolToSmiles(molecule) == smiles
                assert rejection(molecule) is None
                assert 4 <= molecule.GetNumAtoms() <= 7

    @pytest.mark.parametrize(
        "smiles", ["CCCOOC", "CC=C=CC", "CC(O)=CC", "C1#CCCCC1", "CCN=NC", "C1=CC1C", "CCNF", "C1CC2=CC1CC2", "CC(O)O"]
    )
    def test_rejects_molecules_that_do_not_last(self, smiles: str) -> None:
        from rdkit import Chem

        from benchmark.datasets.generate.molecules import rejection

        assert rejection(Chem.MolFromSmiles(smiles)) is not None

    @pytest.mark.parametrize("smiles", ["c1ccccc1", "CC(=O)OC", "CC#CCO", "Cc1ncc[nH]1", "C1CC1C(F)=C", "CC(N)C(N)=O"])
    def test_accepts_ordinary_molecules(self, smiles: str) -> None:
        from rdkit import Chem

        from benchmark.datasets.generate.molecules import rejection

        assert rejection(Chem.MolFromSmiles(smiles)) is None

    def test_bond_graph_forgets_bond_orders_only(self) -> None:
        from benchmark.datasets.generate.molecules import bond_graph

        assert bond_graph("C1=CC=CC1=O") != bond_graph("C1=CCC=C1O")
        assert bond_graph("CC1=C2CC2=C1C") == bond_graph("CC1=C(C)C2=C1C2")

    def test_groups_respect_size_cost_and_number(self) -> None:
        from benchmark.datasets.generate.molecules import basis_functions, choose_groups, counts_of

        pool = {formula: [f"{formula}{i}" for i in range(40)] for formula in ("C4H8O2", "C5H9N", "C6H14", "C4H4FNO")}
        pool["C5H8O"] = ["a", "b"]
        groups = choose_groups(pool, 4, 30, 34, {6: 1.0, 7: 0.0}, 150, seed=0)
        assert set(groups) == {"C4H8O2", "C5H9N"}, "C6H14 costs too much, C4H4FNO is too large, C5H8O has too few"
        assert all(len(set(members)) == 30 for members in groups.values())
        assert basis_functions(counts_of("C6H14")) == 6 * 14 + 14 * 5
