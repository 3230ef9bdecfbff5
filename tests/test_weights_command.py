"""`latent-matter weights` and what `check` says of a model whose weights are not at hand."""

import hashlib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from benchmark.cli import app
from benchmark.embedding import extraction
from benchmark.embedding.weights import CHECKPOINTS_VARIABLE
from tests.embedding.families import this_environment
from tests.end_to_end.toy_board import toy_model, write_family

GATED = {"kind": "huggingface", "repository": "group/model", "file": "model.bin", "gated": True}


@pytest.fixture
def submissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in (CHECKPOINTS_VARIABLE, "HF_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    models = [
        toy_model("toy-a", 1),
        toy_model("toy-mine", 2, checkpoint={"kind": "local", "file": "mine.bin"}),
        toy_model("toy-gated", 3, checkpoint=GATED),
    ]
    write_family(tmp_path / "submissions", "toy", models)
    return tmp_path / "submissions"


def invoke(submissions: Path, *arguments: str) -> Result:
    places = ["--submissions", str(submissions), "--work", str(submissions.parent / "work")]
    return CliRunner().invoke(app, [*arguments, *places])


def test_each_model_gets_a_line_and_what_is_missing_says_how_to_get_it(submissions: Path) -> None:
    result = invoke(submissions, "weights", "toy", "--offline")
    assert result.exit_code == 1
    assert "toy-a: loads no weights" in result.stdout
    assert "mine.bin is published nowhere: give it with --checkpoint toy-mine=PATH" in result.stderr
    assert "group/model: not fetched yet, and downloads are switched off" in result.stderr


def test_weights_at_hand_are_named_with_what_would_pin_them(
    submissions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "at-hand").mkdir()
    (tmp_path / "at-hand" / "mine.bin").write_bytes(b"weights")
    monkeypatch.setenv(CHECKPOINTS_VARIABLE, str(tmp_path / "at-hand"))
    result = invoke(submissions, "weights", "toy-mine", "--offline")
    assert result.exit_code == 0
    digest = hashlib.sha256(b"weights").hexdigest()
    assert f"mine.bin sha256 {digest}; submission.yaml does not pin it, add sha256: {digest}" in result.stdout


@pytest.mark.parametrize(("arguments", "message"), [((), "name models or families"), (("other",), "other: unknown")])
def test_wrong_use_is_told(submissions: Path, arguments: tuple[str, ...], message: str) -> None:
    result = invoke(submissions, "weights", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.slow
def test_a_check_passes_on_what_ran_and_names_what_did_not(submissions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "ensure_environment", lambda *_: this_environment())
    result = invoke(submissions, "check", "toy", "--offline")
    assert result.exit_code == 0, result.stderr
    assert "1 of 3 models passed, 2 not checked because their weights are not at hand" in result.stdout
    assert "not checked: toy-gated:" in result.stderr
    alone = invoke(submissions, "check", "toy", "--models", "toy-gated", "--offline")
    assert alone.exit_code == 1
    assert "0 of 1 models passed" in alone.stdout


@pytest.mark.slow
def test_weights_with_another_hash_fail_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "ensure_environment", lambda *_: this_environment())
    pinned = {"kind": "local", "file": "mine.bin", "sha256": "0" * 64}
    write_family(tmp_path / "others", "pinned", [toy_model("pinned", 1, checkpoint=pinned)])
    (tmp_path / "mine.bin").write_bytes(b"weights")
    result = invoke(tmp_path / "others", "check", "pinned", "--checkpoint", f"pinned={tmp_path / 'mine.bin'}")
    assert result.exit_code == 1
    assert "failed: pinned:" in result.stderr and "submission.yaml declares 0000" in result.stderr
