"""What is said of models that ran: written by the command alone, and a page that is up to date with it."""

import datetime
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark import observations, pipeline
from benchmark.cli import app
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.extraction import EmbeddingSettings
from benchmark.embedding.weights import Weights
from benchmark.models_page import page_files, render, run_with
from benchmark.observations import Observation, observe, read_observations, save_observations
from benchmark.results.records import ConformanceCheck
from benchmark.schema import InvalidFileError
from benchmark.submission import (
    Entry,
    LayerDeclaration,
    LocalCheckpoint,
    NoCheckpoint,
    PackageCheckpoint,
    load_submissions,
)
from tests.embedding.families import this_environment, write_family

ROOT = Path(__file__).resolve().parents[1]
SHA = "ab" * 32
PASSED = [
    ConformanceCheck(id="dimensions", status="passed", detail="as declared"),
    ConformanceCheck(id="energies", status="passed", measured=2.5e-7, tolerance=1e-5, detail="close"),
]
FAILED = [ConformanceCheck(id="rotation", status="failed", measured=0.5, tolerance=1e-3, detail="largest | difference")]


def seen_of(entry: Entry, sha256: str | None, checks: list[ConformanceCheck] = PASSED) -> Observation:
    return observe(entry, this_environment(), Weights(None, sha256), checks)


def variant(entry: Entry, **changes: object) -> Entry:
    return Entry(entry.family, entry.model.model_copy(update=changes))


@pytest.fixture
def toy(tmp_path: Path) -> Entry:
    layers = {
        "backbone": LayerDeclaration(dimension=4),
        "equivariant": LayerDeclaration(dimension=8, irreps="1x1o+1x2e"),
        "last_layer": LayerDeclaration(dimension=2, level="structure"),
    }
    checkpoint = PackageCheckpoint(kind="package", file="toy/weights.pt", sha256=SHA)
    return write_family(tmp_path / "toy", layers=layers, parameters=1234, checkpoint=checkpoint)


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Weights that `prepare` finds, by model; others cannot be had."""
    weights: dict[str, str | None] = {}

    def prepare(entry: Entry, _: EmbeddingSettings) -> object:
        if entry.model.id not in weights:
            raise EmbeddingError(entry.family.adapter, "checkpoint", "is not here")

        class Prepared:
            environment = this_environment()

        Prepared.weights = Weights(None, weights[entry.model.id])  # type: ignore[attr-defined]
        return Prepared

    monkeypatch.setattr(observations, "prepare", prepare)
    return weights


def test_the_page_is_up_to_date_with_submissions_and_observations() -> None:
    entries, broken = load_submissions(ROOT / "submissions")
    assert not broken
    page, observed = page_files(ROOT)
    assert page.read_text() == render(entries, read_observations(observed)), "run scripts/make_models_page"


def test_every_observation_is_of_a_declared_model() -> None:
    entries, _ = load_submissions(ROOT / "submissions")
    assert set(read_observations(page_files(ROOT)[1])) <= set(entries)


def test_the_page_tells_what_ran_from_what_never_did(toy: Entry) -> None:
    entries = {"toy": toy, "unseen": variant(toy, id="unseen")}
    text = render(entries, {"toy": seen_of(toy, SHA)})
    assert "2 models: 1 have run with trained weights, 0 without any" in text
    today = datetime.date.today()
    assert (
        "| toy | in the package: toy/weights.pt | 1,234 | 4 | 2 a structure | 1x1o+1x2e | declared weights | "
        f"passed {today}, 2.5e-07 eV/atom |"
    ) in text
    assert "| 1x1o+1x2e | never run |  |" in text
    assert "| [toy](#toy) | Toy | 2 | 1 | 0 | 1 |" in text


def test_the_weights_that_ran_are_named_as_they_are(toy: Entry) -> None:
    assert run_with(toy, seen_of(toy, SHA)) == "declared weights"
    assert run_with(toy, seen_of(toy, "cd" * 32)) == "other weights cdcdcdcdcdcd"
    unpinned = variant(toy, checkpoint=LocalCheckpoint(kind="local", file="x.pt"))
    assert run_with(unpinned, seen_of(toy, SHA)) == "weights abababababab, SHA-256 not declared"
    untrained = variant(toy, checkpoint=NoCheckpoint(kind="none"))
    assert run_with(untrained, seen_of(toy, None)) == "untrained weights"
    assert run_with(variant(untrained, parameters=0), seen_of(toy, None)) == "no weights"
    assert run_with(variant(toy, control="random"), seen_of(toy, SHA)) == "untrained weights"
    assert run_with(toy, None) == "never run"


def test_a_failure_and_an_adapter_that_has_changed_since_are_said(toy: Entry) -> None:
    seen = seen_of(toy, SHA, FAILED)
    adapter = toy.family.adapter
    adapter.write_text(adapter.read_text() + "\n# changed\n")
    text = render({"toy": toy}, {"toy": seen})
    assert "rotation: largest \\| difference, by an earlier adapter |" in text
    assert f"failed {seen.date}" in text


def test_what_is_seen_again_keeps_its_date_and_what_changed_gets_a_new_one(
    toy: Entry, tmp_path: Path, at_hand: dict[str, str | None]
) -> None:
    path, settings = tmp_path / "observed.json", EmbeddingSettings(tmp_path / "cache")
    at_hand["toy"] = SHA
    assert save_observations(path, {"toy": toy}, {"toy": PASSED}, settings) == ["toy"]
    stored = json.loads(path.read_text())
    stored["toy"]["date"] = "2020-01-01"
    stored["other"] = stored["toy"]
    path.write_text(json.dumps(stored))
    save_observations(path, {"toy": toy}, {"toy": PASSED}, settings)
    assert read_observations(path)["toy"].date == datetime.date(2020, 1, 1)
    save_observations(path, {"toy": toy}, {"toy": FAILED}, settings)
    found = read_observations(path)
    assert (found["toy"].outcome, found["toy"].date) == ("failed", datetime.date.today())
    assert found["other"].outcome == "passed"


def test_a_model_whose_weights_are_missing_was_not_seen(
    toy: Entry, tmp_path: Path, at_hand: dict[str, str | None]
) -> None:
    assert at_hand == {}
    path = tmp_path / "observed.json"
    missing = [ConformanceCheck(id="checkpoint", status="failed", detail="is not here")]
    assert save_observations(path, {"toy": toy}, {"toy": missing}, EmbeddingSettings(tmp_path / "cache")) == []
    assert read_observations(path) == {}


def test_a_file_edited_by_hand_is_refused_where_it_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "observed.json"
    path.write_text('{"toy": {"outcome": "splendid"}}')
    with pytest.raises(InvalidFileError, match=r"observed\.json: .*toy\.outcome"):
        read_observations(path)


def test_the_command_saves_what_the_checks_found(
    tmp_path: Path, at_hand: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_hand["composition"] = None
    done = pipeline.Embedded(checks={"composition": PASSED})
    monkeypatch.setattr(pipeline, "check_models", lambda *_: done)
    path = tmp_path / "observed.json"
    options = ["--submissions", str(ROOT / "submissions"), "--work", str(tmp_path / "work"), "--save", str(path)]
    result = CliRunner().invoke(app, ["check", "composition", *options])
    assert result.exit_code == 0, result.output
    assert read_observations(path)["composition"].passed == ["dimensions", "energies"]
