from pathlib import Path

import pytest
import yaml

from benchmark.datasets.spec import known_specs
from benchmark.datasets.store import known_datasets
from benchmark.schema import InvalidFileError
from benchmark.submission import load_submissions
from benchmark.suite import Suite, find_suite, load_suite, suites

SUBMISSIONS = Path(__file__).resolve().parents[1] / "submissions"


@pytest.mark.parametrize("suite", suites().values(), ids=lambda suite: suite.key)
def test_a_shipped_suite_names_models_data_sets_and_labels_that_exist(suite: Suite) -> None:
    entries, broken = load_submissions(SUBMISSIONS)
    assert not broken
    assert {*suite.frozen_models(), *(suite.models or [])} <= set(entries)
    assert suite.models is None or set(suite.frozen_models()) <= set(suite.models)
    labels = {name: set(spec.labels) for name, spec in known_specs().items()}
    labels |= {name: set(dataset.card.labels) for name, dataset in known_datasets().items()}
    for name in suite.datasets():
        assert suite.energy_targets[name] in labels[name]
    assert set(suite.probe.targets) <= labels[suite.probe.dataset]
    controls = {name: entries[name].model.control for name in suite.controls.ids()}
    assert controls[suite.controls.composition] == "composition"
    assert controls[suite.controls.noise] == "noise"
    assert controls[suite.controls.descriptor] == "descriptor"
    assert {controls[name] for name in suite.controls.random} == {"random"}
    assert not any(entries[name].model.control for name in [suite.reference, *suite.panel])


def test_the_quick_panel_has_four_models_of_two_families() -> None:
    quick = find_suite("quick")
    entries, _ = load_submissions(SUBMISSIONS)
    assert len(quick.panel) == 4
    assert len({entries[name].family.folder.name for name in quick.panel}) == 2


def test_a_suite_without_an_energy_target_is_refused(tmp_path: Path) -> None:
    values = find_suite("quick").model_dump(mode="json")
    values["energy_targets"].pop("crystals-mini")
    path = tmp_path / "quick.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(InvalidFileError, match=r"energy_targets lack \['crystals-mini'\]"):
        load_suite(path)


def test_an_unknown_suite_lists_the_known_ones() -> None:
    with pytest.raises(InvalidFileError, match="known: local-qm9, local-real, mad, omat24-omol25, qm9, quick, salex"):
        find_suite("nope")


def test_further_data_sets_are_embedded_after_those_with_a_role() -> None:
    suite = find_suite("local-real")
    assert suite.datasets() == ["mptrj-sample", "qm9-sample", "alexandria-sample", "mad-sample"]
    assert find_suite("quick").further_datasets == []
