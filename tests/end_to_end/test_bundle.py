"""Embedding on one machine and scoring on another: the same numbers, and nothing else taken on trust."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.results.records import read_record
from tests.end_to_end.conftest import latent_matter
from tests.end_to_end.toy_board import toy_model, write_family

Copy = Callable[..., Path]
EMBED = ("embed", "--suite", "toy.yaml", "--accelerator", "cpu", "--bundle", "bundle", "--models")


@pytest.fixture
def bundled(fresh_board: Copy) -> Path:
    folder = fresh_board(finished=True)
    result = latent_matter(folder, *EMBED, "toy-tuned")
    assert result.returncode == 0, result.stderr
    return folder


def on_another_machine(folder: Path, tmp_path: Path) -> Path:
    """The repository and the bundle, without the work folder."""
    other = tmp_path / "other"
    other.mkdir()
    for name in ("submissions", "datasets", "bundle"):
        shutil.copytree(folder / name, other / name)
    shutil.copy(folder / "toy.yaml", other)
    return other


@pytest.mark.slow
def test_a_bundle_gives_the_scores_of_a_whole_run_for_the_models_asked_for(bundled: Path, tmp_path: Path) -> None:
    other = on_another_machine(bundled, tmp_path)
    result = latent_matter(other, "score", "--suite", "toy.yaml", "--bundle", "bundle")
    assert result.returncode == 0, result.stderr
    records = other / "results" / "toy@1" / "records"
    assert [path.stem for path in records.iterdir()] == ["toy-tuned"]
    whole = read_record(bundled / "results" / "toy@1" / "records" / "toy-tuned.json")
    alone = read_record(records / "toy-tuned.json")
    assert alone.scores == whole.scores
    assert alone.provenance == whole.provenance
    assert alone.verification in ("audited", "self-reported")  # as this machine has a sandbox or not
    pairs = json.loads((other / "results" / "toy@1" / "pairs.json").read_text())["values"]
    assert pairs and all("toy-tuned" in (pair["a"], pair["b"]) for pair in pairs)
    assert (other / "results" / "tables" / "leaderboard.csv").is_file()


@pytest.mark.slow
def test_a_model_that_fails_becomes_a_failed_record_where_it_is_scored(fresh_board: Copy, tmp_path: Path) -> None:
    folder = fresh_board(finished=True)
    write_family(folder / "submissions", "bad", [toy_model("bad", 9, options={"behaviour": "nan"})])
    assert latent_matter(folder, *EMBED, "bad").returncode == 0
    other = on_another_machine(folder, tmp_path)
    assert latent_matter(other, "score", "--suite", "toy.yaml", "--bundle", "bundle").returncode == 0
    record = read_record(other / "results" / "toy@1" / "records" / "bad.json")
    assert record.status == "failed" and record.reason is not None and "finite" in record.reason


@pytest.mark.slow
def test_a_damaged_bundle_is_refused_in_one_line(bundled: Path, tmp_path: Path) -> None:
    other = on_another_machine(bundled, tmp_path)
    path = other / "bundle" / "bundle.json"
    whole = json.loads(path.read_text())
    keys = whole["features"]["toy-tuned"]
    swapped = {**whole["features"], "toy-tuned": {name: whole["features"]["toy-a"][name] for name in keys}}
    attempts = {
        "field suite: is 'toy@2'": {**whole, "suite": "toy@2"},
        "the folder lacks these features": {**whole, "features": swapped},
        "field features": {**whole, "features": {"toy-tuned": {"toy-crystals": "../../etc"}}},
        "no submission declares stranger": {**whole, "wanted": ["stranger"]},
    }
    for message, content in attempts.items():
        path.write_text(json.dumps(content))
        result = latent_matter(other, "score", "--suite", "toy.yaml", "--bundle", "bundle")
        assert result.returncode == 1
        assert message in result.stderr and "Traceback" not in result.stderr
    path.unlink()
    result = latent_matter(other, "score", "--suite", "toy.yaml", "--bundle", "bundle")
    assert "no such file; `latent-matter embed --bundle` writes one" in result.stderr
