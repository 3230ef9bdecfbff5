"""The submissions of this repository: their metadata, their headers, and the whole chain on real networks."""

from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from benchmark.embedding.conformance import run_conformance
from benchmark.embedding.extraction import EmbeddingSettings
from benchmark.embedding.header import read_header
from benchmark.submission import Entry, load_submissions
from benchmark.suite import Suite, suites

ROOT = Path(__file__).parents[2]
ENTRIES, ERRORS = load_submissions(ROOT / "submissions")
FAMILIES = sorted({entry.family.folder for entry in ENTRIES.values()})
PRETRAINED = [name for name, entry in ENTRIES.items() if entry.model.control is None]


# Their environments hold another PyTorch than the others share, or compiled operators.
HEAVY = ("dpa", "matgl", "matgl_dgl")


def loads_nothing_from_afar(entry: Entry) -> bool:
    return entry.model.checkpoint.kind in ("none", "package")


def case(name: str) -> ParameterSet:
    heavy = ENTRIES[name].family.folder.name in HEAVY
    return pytest.param(ENTRIES[name], id=name, marks=[pytest.mark.heavy] if heavy else [])


def test_every_submission_loads_without_errors() -> None:
    assert ERRORS == []
    assert {folder.name for folder in FAMILIES} >= {"chgnet", "sevennet", "composition", "noise", "soap"}


@pytest.mark.parametrize("suite", suites().values(), ids=lambda suite: suite.key)
def test_every_model_that_a_suite_freezes_has_a_submission(suite: Suite) -> None:
    missing = [name for name in suite.frozen_models() if name not in ENTRIES]
    assert missing == []


@pytest.mark.parametrize("folder", FAMILIES, ids=lambda folder: folder.name)
def test_headers_pin_what_the_worker_needs(folder: Path) -> None:
    header = read_header(folder / "adapter.py")
    for package in ("ase", "numpy", "safetensors"):
        assert header.pinned(package) is not None


def test_small_controls_share_one_environment() -> None:
    headers = {read_header(ROOT / "submissions" / name / "adapter.py").hash for name in ("composition", "noise")}
    assert len(headers) == 1


def test_controls_were_trained_on_nothing() -> None:
    for name, entry in ENTRIES.items():
        if entry.model.control is not None:
            assert entry.model.training_data == [], name


@pytest.mark.parametrize("name", PRETRAINED)
def test_pretrained_models_declare_weights_and_what_they_were_trained_on(name: str) -> None:
    model = ENTRIES[name].model
    assert model.checkpoint.kind != "none"
    assert model.training_data and model.training_targets
    assert model.parameters != 0  # null where neither the source nor the checkpoint could be read


@pytest.mark.slow
@pytest.mark.parametrize("entry", [case(name) for name, entry in ENTRIES.items() if loads_nothing_from_afar(entry)])
def test_adapters_pass_every_conformance_check(entry: Entry, real_work: Path) -> None:
    settings = EmbeddingSettings(real_work, accelerator="cpu", threads=1)
    outcomes = {check.id: (check.status, check.detail) for check in run_conformance(entry, settings)}
    assert {id: detail for id, (status, detail) in outcomes.items() if status == "failed"} == {}
    assert "weights" not in outcomes
    if entry.model.control is None:
        assert outcomes["energies"][0] == outcomes["sensitivity"][0] == outcomes["geometry"][0] == "passed"
    if "equivariant" in entry.model.layers:
        assert outcomes["equivariance"][0] == "passed"
