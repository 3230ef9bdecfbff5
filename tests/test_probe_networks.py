"""Training networks on a label: what is held out stays held out, and the page says what the records say."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.datasets.store import Dataset, load_dataset

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from probe_networks.alignment import Plan, file_name, probe  # noqa: E402
from probe_networks.report import write_report  # noqa: E402
from probe_networks.train import Order, Task, check, job_for, split  # noqa: E402


@pytest.fixture(scope="module")
def molecules() -> Dataset:
    return load_dataset(ROOT / "benchmark/datasets/embedded/molecules-mini")


def test_every_formula_gives_the_same_share_to_training(molecules: Dataset) -> None:
    formulas = molecules.structures().formulas
    train = split(formulas, 0.6, seed=1)
    for name in set(formulas):
        rows = np.array([formula == name for formula in formulas])
        assert train[rows].sum() == round(0.6 * rows.sum())


def test_the_split_follows_its_seed_alone(molecules: Dataset) -> None:
    formulas = molecules.structures().formulas
    assert np.array_equal(split(formulas, 0.6, seed=1), split(formulas, 0.6, seed=1))
    assert not np.array_equal(split(formulas, 0.6, seed=1), split(formulas, 0.6, seed=2))


def test_a_checkpoint_names_the_molecules_that_it_was_trained_on(molecules: Dataset, tmp_path: Path) -> None:
    task = Task("schnet", "gap", split_seed=3)
    job = job_for(Order(task, tmp_path / "network.safetensors"), molecules, tmp_path, 0)
    structures = molecules.structures()
    train = split(structures.formulas, task.share, 3)
    assert job["description"]["training"]["ids"] == [structures.ids[index] for index in np.flatnonzero(train)]
    assert job["description"]["unit"] == "eV"
    assert np.array_equal(np.load(job["molecules"])["train"], train)


def test_an_unknown_label_is_named_with_those_there_are(molecules: Dataset) -> None:
    with pytest.raises(ValueError, match=r"molecules-mini has no label 'colour'; it has .*'gap'"):
        check(Task("schnet", "colour"), molecules)


def test_crystals_are_refused() -> None:
    crystals = load_dataset(ROOT / "benchmark/datasets/embedded/crystals-mini")
    with pytest.raises(ValueError, match="periodic"):
        check(Task("schnet", "energy_per_atom"), crystals)


def test_probes_do_not_see_molecules_that_were_trained_on(molecules: Dataset) -> None:
    task = Task("schnet", "gap", split_seed=5)
    structures = molecules.structures()
    train = split(structures.formulas, task.share, 5)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(len(structures), 6))
    features[:, 0] = molecules.labels()["gap"]
    expected = probe(features, molecules, task)
    features[train] = 1e6 * rng.normal(size=features[train].shape)
    assert probe(features, molecules, task) == expected
    assert expected["gap"]["n"] == (~train).sum()
    assert expected["gap"]["r2_partial"] > 0.99 > 0.2 > expected["energy_per_atom"]["r2_partial"]


def test_the_untrained_network_is_the_start_of_the_one_trained_on_the_gap() -> None:
    tasks = dict(Plan(architectures=("painn",), seeds=(4,)).tasks())
    assert tasks["nothing"].epochs == 0
    assert (tasks["nothing"].seed, tasks["nothing"].split_seed) == (tasks["gap"].seed, tasks["gap"].split_seed)
    assert tasks["energy"].per_atom and not tasks["gap"].per_atom
    assert len({file_name(trained_on, task) for trained_on, task in tasks.items()}) == 3


def records(plan: Plan, reading: dict[str, float]) -> list[dict[str, Any]]:
    """Made-up records in which a label reads as `reading` says for what a network was trained on."""
    made = []
    for trained_on, task in plan.tasks():
        cell = {"r2_partial": reading[trained_on] + task.seed / 25, "r2_geometry": 0.1, "n": 302, "d": 64}
        part = {"mean_absolute_error": 0.4, "r2_beyond_elements": 0.7}
        made.append(
            {
                "trained_on": trained_on,
                "trained_on_molecules": 433,
                "task": {"architecture": task.architecture, "seed": task.seed, "rate": task.rate, "batch": task.batch},
                "probes": {
                    layer: {"gap": cell, "energy_per_atom": {**cell, "r2_partial": 0.5}}
                    for layer in ("backbone", "last_layer")
                },
                "held_out": part,
                "train": part,
            }
        )
    return made


def test_the_page_counts_the_seeds_for_and_against(tmp_path: Path) -> None:
    plan = Plan(architectures=("schnet",), seeds=(0, 1))
    write_report(records(plan, {"gap": 0.6, "energy": 0.4, "nothing": 0.45}), plan, "", tmp_path / "page.md")
    text = " ".join((tmp_path / "page.md").read_text().split())
    assert "| SchNet | `backbone` | 0.62 (0.60 to 0.64) | 0.42 (0.40 to 0.44) | 0.47 (0.45 to 0.49) |" in text
    assert "trained on it +0.20 against trained on the energy, ahead in 2 of 2 seeds" in text
    assert "trained on the energy it is above the untrained network in 0 of 2" in text
    assert "433 of the 735 molecules are trained on" in text and "the other 302 are held out" in text
    assert "energy from `backbone`: trained on it +0.00 against trained on the gap, ahead in 0 of 2 seeds" in text
