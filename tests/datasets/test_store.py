import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk, molecule

from benchmark.datasets.store import Dataset, DatasetError, load_dataset, structures_from_atoms, write_dataset

CARD = {
    "id": "tiny",
    "version": 1,
    "title": "Tiny",
    "description": "For tests.",
    "source": {"description": "made here"},
    "licence": "CC0-1.0",
    "periodic": False,
    "labels": {"gap": {"unit": "eV", "description": "made up"}},
    "composition_basis": "counts",
}


@pytest.fixture
def tiny(tmp_path: Path) -> Dataset:
    images = [molecule("H2O"), bulk("NaCl", "rocksalt", a=5.64), molecule("CH4")]
    structures = structures_from_atoms(["a", "b", "c"], images, smiles=["O", "", "C"])
    labels = pd.DataFrame({"gap": [1.0, 2.0, 3.0]}, index=["c", "b", "a"])
    return write_dataset(tmp_path / "tiny", CARD, structures, labels)


def test_structures_and_labels_come_back_in_one_order(tiny: Dataset) -> None:
    structures = tiny.structures()
    assert structures.ids == ("a", "b", "c")
    assert list(tiny.labels()["gap"]) == [3.0, 2.0, 1.0]
    atoms = structures.atoms(1)
    assert list(atoms.numbers) == [11, 17]
    assert atoms.pbc.all()
    np.testing.assert_allclose(atoms.cell.lengths(), 5.64 / np.sqrt(2), atol=1e-6)
    assert not atoms.info
    assert atoms.calc is None


def test_the_structures_file_holds_no_label(tiny: Dataset) -> None:
    columns = set(pd.read_parquet(tiny.folder / "structures.parquet").columns)
    assert columns == {"id", "formula", "numbers", "positions", "cell", "pbc", "smiles"}


def test_strings_come_back_by_modality(tiny: Dataset, tmp_path: Path) -> None:
    structures = tiny.structures()
    assert structures.strings("smiles") == ("O", "", "C")
    assert structures.strings("sequence") is None
    proteins = dataclasses.replace(structures, smiles=None, sequences=("AC", "GG", "K"))
    read = write_dataset(tmp_path / "proteins", CARD, proteins, tiny.labels()).structures()
    assert read.strings("sequence") == ("AC", "GG", "K")
    assert read.strings("smiles") is None


def test_composition_is_counts_or_fractions_by_element(tiny: Dataset) -> None:
    counts = tiny.structures().composition("counts")
    assert counts.shape == (3, 5)  # H C O Na Cl
    assert counts[0].tolist() == [2, 0, 1, 0, 0]
    np.testing.assert_allclose(tiny.structures().composition("fractions").sum(axis=1), 1.0)


def test_reduced_formulas_ignore_the_size_of_the_cell() -> None:
    small, large = bulk("NaCl", "rocksalt", a=5.64), bulk("NaCl", "rocksalt", a=5.64) * (2, 1, 1)
    reduced = structures_from_atoms(["a", "b"], [small, large]).reduced_formulas()
    assert reduced[0] == reduced[1]


def test_a_moved_atom_changes_the_fingerprint_and_is_noticed(tiny: Dataset) -> None:
    path = tiny.folder / "structures.parquet"
    frame = pd.read_parquet(path)
    frame.at[0, "positions"] = frame.at[0, "positions"] + 1e-4
    frame.to_parquet(path)
    with pytest.raises(DatasetError, match="fingerprint"):
        load_dataset(tiny.folder).structures()


def test_missing_labels_and_columns_are_named(tiny: Dataset) -> None:
    path = tiny.folder / "labels.parquet"
    frame = pd.read_parquet(path)
    frame.iloc[:2].to_parquet(path)
    with pytest.raises(DatasetError, match="1 structures have no labels, first 'c'"):
        tiny.labels()
    frame.drop(columns="gap").to_parquet(path)
    with pytest.raises(DatasetError, match="gap"):
        tiny.labels()
    path.write_bytes(b"PAR1 no")
    with pytest.raises(DatasetError, match="not a readable Parquet file"):
        tiny.labels()


def test_an_unknown_field_of_the_card_is_named(tiny: Dataset) -> None:
    card = tiny.folder / "dataset.yaml"
    card.write_text(card.read_text() + "colour: blue\n")
    with pytest.raises(DatasetError, match="field colour"):
        load_dataset(tiny.folder)
