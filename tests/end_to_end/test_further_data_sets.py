"""A suite with a further data set, prepared from a file: compared and probed, without moving a ranked score."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from benchmark.datasets.store import load_dataset
from benchmark.files import sha256_of_file
from tests.end_to_end.conftest import latent_matter, run_board

pytestmark = pytest.mark.slow


def write_spec(folder: Path) -> Path:
    """Toy crystals as extended XYZ and a spec that draws 40 of them."""
    dataset = load_dataset(folder / "datasets" / "toy-crystals")
    structures, energies = dataset.structures(), dataset.labels()["energy_per_atom"]
    images = []
    for index, energy in enumerate(energies):
        atoms = structures.atoms(index)
        atoms.set_cell(atoms.cell * 1.02, scale_atoms=True)
        atoms.calc = SinglePointCalculator(atoms, energy=energy * len(atoms))
        images.append(atoms)
    source = folder / "sources" / "more.xyz"
    source.parent.mkdir()
    write(source, images, format="extxyz")
    label = {"source": "energy", "source_unit": "eV", "unit": "eV", "per_atom": True, "description": "made up"}
    spec = {
        "id": "toy-more",
        "version": 1,
        "title": "More",
        "description": "For tests.",
        "licence": "CC0-1.0",
        "reader": "extxyz",
        "source": {
            "description": "made by a test",
            "files": [{"file": source.name, "sha256": sha256_of_file(source)}],
        },
        "sample": {"n": 40, "seed": 0},
        "periodic": True,
        "composition_basis": "fractions",
        "labels": {"energy_per_atom": label},
    }
    path = folder / "toy-more.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def test_a_further_data_set_is_compared_and_probed_and_moves_no_ranked_score(
    finished_board: Path, fresh_board: Callable[..., Path]
) -> None:
    folder = fresh_board(finished=True)
    path = write_spec(folder)
    prepared = latent_matter(folder, "data", "prepare", str(path), "--source", "sources")
    assert prepared.returncode == 0, prepared.stderr
    suite = yaml.safe_load((folder / "toy.yaml").read_text())
    suite["further_datasets"] = ["toy-more"]
    suite["energy_targets"]["toy-more"] = "energy_per_atom"
    (folder / "toy.yaml").write_text(yaml.safe_dump(suite))
    run = run_board(folder)
    assert run.returncode == 0, run.stderr

    def table(root: Path, name: str) -> pd.DataFrame:
        return pd.read_csv(root / "results" / "tables" / f"{name}.csv")

    pairs = table(folder, "pairs")
    assert set(pairs["dataset"]) == {"toy-crystals", "toy-molecules", "toy-more"}
    scores = table(folder, "scores")
    probed = scores[(scores["dataset"] == "toy-more") & (scores["score"] == "r2_partial")]
    assert set(probed["model"]) >= {"toy-a", "toy-b", "composition"}
    assert set(table(folder, "datasets")["dataset"]) >= {"toy-more"}
    ranked = ["model", "alignment", "alignment_low", "collapse_convergence", "cpd", "cpd_low", "rank_low", "rank_high"]
    pd.testing.assert_frame_equal(table(folder, "leaderboard")[ranked], table(finished_board, "leaderboard")[ranked])
    site = latent_matter(folder, "site", "results", "--out", "site")
    assert site.returncode == 0, site.stderr
