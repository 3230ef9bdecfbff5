"""The quick suite on the real pretrained networks, on the first structures of its data sets."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmark.datasets.store import find_dataset, structures_from_atoms, write_dataset
from benchmark.suite import find_suite

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
STRUCTURES = 160


def write_first_part(name: str, folder: Path) -> None:
    """The first structures of a shipped data set, as a data set of its own under the same id."""
    whole = find_dataset(name)
    structures, labels = whole.structures(), whole.labels()
    count = min(STRUCTURES, len(structures))
    smiles = None if structures.smiles is None else list(structures.smiles[:count])
    part = structures_from_atoms(list(structures.ids[:count]), [structures.atoms(i) for i in range(count)], smiles)
    write_dataset(folder / name, whole.card.model_dump(exclude={"structures", "fingerprint"}), part, labels)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, real_work: Path) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("quick")
    for name in find_suite("quick").datasets():
        write_first_part(name, folder / "datasets")
    command = [sys.executable, "-m", "benchmark.cli", "run", "--suite", "quick", "--accelerator", "cpu"]
    command += ["--submissions", str(REPOSITORY / "submissions"), "--work", str(real_work)]
    command += ["--results", str(folder / "results")]
    environment = {**os.environ, "LATENT_MATTER_DATASETS": str(folder / "datasets")}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1100, check=False
    )
    assert result.returncode == 0, result.stderr
    yield folder / "results" / "tables"


@pytest.fixture(scope="module")
def board(tables: Path) -> pd.DataFrame:
    return pd.read_csv(tables / "leaderboard.csv").set_index("model")


@pytest.fixture(scope="module")
def scores(tables: Path) -> pd.DataFrame:
    return pd.read_csv(tables / "scores.csv")


def test_seven_pretrained_models_and_five_controls_are_scored(board: pd.DataFrame) -> None:
    assert (board["status"] == "ok").all()
    assert board["control"].isna().sum() >= 7
    assert board["control"].notna().sum() >= 5


def test_every_headline_score_has_interval_and_null_or_a_reason(board: pd.DataFrame) -> None:
    for headline in ("alignment", "collapse_information", "cpd", "fine_tuning_bias"):
        there = board[headline].notna()
        for part in ("low", "high", "null", "p"):
            assert board.loc[there, f"{headline}_{part}"].notna().all(), (headline, part)
        assert board.loc[~there, f"{headline}_reason"].notna().all(), headline


def test_the_fine_tuned_chgnet_is_close_to_its_parent(board: pd.DataFrame) -> None:
    bias = board["fine_tuning_bias"].dropna()
    assert list(bias.index) == ["chgnet-r2scan"]
    assert bias["chgnet-r2scan"] > 0.5


def test_noise_aligns_at_its_null(board: pd.DataFrame) -> None:
    assert board.loc["noise", "alignment_low"] < 0.0 < board.loc["noise", "alignment_high"]
    assert board.loc["noise", "alignment_p"] > 0.05
    pretrained = board[board["control"].isna()]["alignment"].dropna()
    assert (pretrained > board.loc["noise", "alignment_high"]).all()


def test_composition_has_nothing_left_once_composition_is_projected_out(scores: pd.DataFrame) -> None:
    rows = scores[(scores["model"] == "composition") & scores["score"].isin(["r2_partial", "r2_geometry", "cpd"])]
    probe = rows[rows["dataset"] == find_suite("quick").probe.dataset]
    assert len(probe) >= 5
    assert (probe["low"] <= 1e-3).all()
    assert (probe["high"] >= -1e-3).all()


def test_between_chgnet_versions_the_imbalance_drops_from_crystals_to_molecules(tables: Path) -> None:
    pairs = pd.read_csv(tables / "pairs.csv")
    two = {"chgnet-0.2.0", "chgnet-0.3.0"}
    imbalance = pairs[(pairs["metric"] == "information_imbalance") & pairs["a"].isin(two) & pairs["b"].isin(two)]
    means = imbalance.groupby("dataset")["value"].mean()
    assert means["molecules-mini"] < 0.5 * means["crystals-mini"]


def test_pretrained_networks_read_the_crystal_energy_better_than_every_control(
    scores: pd.DataFrame, board: pd.DataFrame
) -> None:
    rows = scores[(scores["score"] == "r2_partial") & (scores["dataset"] == "crystals-mini")]
    energy = rows[(rows["target"] == "energy_per_atom") & (rows["layer"] == "backbone")].set_index("model")["value"]
    controls = board["control"].notna()
    assert energy[board.index[~controls]].min() > energy[board.index[controls]].max()


def test_the_real_submissions_pin_what_the_records_say(tables: Path) -> None:
    models = pd.read_csv(tables / "models.csv").set_index("model")
    pinned = yaml.safe_load((REPOSITORY / "submissions" / "chgnet" / "submission.yaml").read_text())
    declared = {model["id"]: model["checkpoint"].get("sha256") for model in pinned["models"]}
    assert models.loc["chgnet-0.3.0", "checkpoint_sha256"] == declared["chgnet-0.3.0"]
    assert "chgnet==0.4.2" in models.loc["chgnet-0.3.0", "packages"]
