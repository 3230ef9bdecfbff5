"""Wrong use and listings: what the command line says before any model runs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmark.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]
SUBMISSIONS = str(REPOSITORY / "submissions")


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


@pytest.mark.parametrize(
    ("arguments", "clue"),
    [
        (["run", "--suite", "nope"], "known: "),
        (["run", "--models", "nope"], "nope"),
        (["run", "--accelerator", "tpu"], "auto, cpu, cuda"),
        (["run", "--checkpoint", "chgnet-0.3.0"], "MODEL=PATH"),
        (["check", "nope"], "known families"),
        (["compare", "nope", "chgnet-0.3.0"], "neither a file nor a model"),
    ],
)
def test_wrong_use_exits_with_2_and_says_what_is_accepted(runner: CliRunner, arguments: list[str], clue: str) -> None:
    result = runner.invoke(app, [*arguments, "--submissions", SUBMISSIONS])
    assert result.exit_code == 2
    assert clue in result.output


def test_a_missing_submissions_folder_is_wrong_use(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(app, ["list", "models", "--submissions", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "no such folder" in result.output


def test_the_listed_models_hold_the_first_families_and_controls(runner: CliRunner) -> None:
    result = runner.invoke(app, ["list", "models", "--json", "--submissions", SUBMISSIONS])
    rows = {row["model"]: row for row in json.loads(result.output)}
    assert {"chgnet-0.2.0", "chgnet-0.3.0", "chgnet-r2scan", "sevennet-0", "sevennet-l3i5"} <= set(rows)
    assert {row["role"] for row in rows.values()} == {"model", "composition", "noise", "descriptor", "random"}


@pytest.mark.parametrize("what", ["suites", "datasets", "scores"])
def test_every_listing_is_json_on_request(runner: CliRunner, what: str) -> None:
    result = runner.invoke(app, ["list", what, "--json"])
    assert result.exit_code == 0
    assert json.loads(result.output)


def test_units_in_brackets_are_shown(runner: CliRunner) -> None:
    assert "gap [eV]" in " ".join(runner.invoke(app, ["list", "datasets"]).output.split())


def test_two_feature_files_are_compared(runner: CliRunner, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    first = generator.normal(size=(80, 6))
    np.save(tmp_path / "a.npy", first)
    np.savez(tmp_path / "b.npz", features=first @ generator.normal(size=(6, 6)), other=np.ones(3))
    result = runner.invoke(app, ["compare", str(tmp_path / "a.npy"), str(tmp_path / "b.npz"), "--k", "5", "--json"])
    assert result.exit_code == 0, result.output
    values = {(row["metric"], row["a"], row["b"]): row for row in json.loads(result.output)}
    assert values["gfre", "a.npy", "b.npz"]["value"] < 1e-6
    assert 0.0 < values["mutual_knn", "a.npy", "b.npz"]["value"] < 1.0
    assert values["cknna", "a.npy", "b.npz"]["p_value"] < 0.01


def test_any_number_of_feature_files_is_compared_and_saved(runner: CliRunner, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    names = [str(tmp_path / f"{letter}.npy") for letter in "abc"]
    for name in names:
        np.save(name, generator.normal(size=(60, 4)))
    for out in ("table.csv", "table.parquet"):
        arguments = [*names, "--k", "5", "--permutations", "0", "--out", str(tmp_path / out)]
        result = runner.invoke(app, ["compare", *arguments])
        assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "table.csv")
    assert (table.metric == "information_imbalance").sum() == 6
    np.testing.assert_allclose(table.value, pd.read_parquet(tmp_path / "table.parquet").value)
    refused = runner.invoke(app, ["compare", *names, "--out", str(tmp_path / "table.txt")])
    assert refused.exit_code == 2 and ".csv or .parquet" in refused.output


def test_feature_files_that_do_not_fit_are_refused_with_their_names(runner: CliRunner, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((5, 2)))
    np.save(tmp_path / "b.npy", np.ones((6, 2)))
    np.save(tmp_path / "flat.npy", np.ones(6))
    (tmp_path / "text.npy").write_text("no array")
    for second, clue in (("b.npy", "6 rows"), ("flat.npy", "(n, d)"), ("text.npy", "not readable")):
        result = runner.invoke(app, ["compare", str(tmp_path / "a.npy"), str(tmp_path / second)])
        assert result.exit_code != 0
        assert clue in str(result.exception), second
