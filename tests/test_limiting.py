"""Draws for trial runs: nested, made once, and of a suite that cannot be taken for the suite itself."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.datasets.store import DATASETS_VARIABLE, Dataset, DatasetError, find_dataset
from benchmark.limiting import draw_limited, limited_suite
from benchmark.suite import Suite, find_suite


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(DATASETS_VARIABLE, str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def crystals() -> Dataset:
    return find_dataset("crystals-mini")


def test_a_draw_keeps_order_labels_and_atoms_of_what_it_draws(crystals: Dataset) -> None:
    drawn = draw_limited(crystals, 20, seed=1)
    whole, part = crystals.structures(), drawn.structures()
    assert len(part) == drawn.card.structures == 20
    places = [whole.ids.index(name) for name in part.ids]
    assert places == sorted(places)
    for index, place in enumerate(places):
        np.testing.assert_array_equal(part.atoms(index).positions, whole.atoms(place).positions)
        assert part.formulas[index] == whole.formulas[place]
    assert drawn.labels().equals(crystals.labels().loc[list(part.ids)])


def test_a_larger_draw_holds_the_smaller(crystals: Dataset) -> None:
    small, large = (set(draw_limited(crystals, count, seed=1).structures().ids) for count in (20, 60))
    assert small < large


def test_a_draw_is_made_once_and_again_for_another_seed(crystals: Dataset) -> None:
    first = draw_limited(crystals, 20, seed=1)
    written = (first.folder / "dataset.yaml").stat().st_mtime_ns
    assert (draw_limited(crystals, 20, seed=1).folder / "dataset.yaml").stat().st_mtime_ns == written
    again = draw_limited(crystals, 20, seed=2)
    assert again.folder == first.folder
    assert again.card.fingerprint != first.card.fingerprint


def test_a_set_that_has_no_more_is_taken_whole_and_keeps_its_fingerprint(crystals: Dataset) -> None:
    drawn = draw_limited(crystals, 10_000, seed=1)
    assert drawn.card.fingerprint == crystals.card.fingerprint


def test_the_suite_of_a_trial_run_says_so_in_id_title_and_data_sets() -> None:
    whole = find_suite("quick")
    trial = limited_suite(whole, 25)
    assert trial.key == "quick-limit-25@1"
    assert trial.origin == "quick"
    assert "trial run on at most 25 structures" in trial.title
    assert trial.datasets() == ["crystals-mini-limit-25", "molecules-mini-limit-25"]
    assert trial.probe.dataset == "molecules-mini-limit-25"
    assert set(trial.energy_targets) == set(trial.datasets())
    assert [find_dataset(name).card.structures for name in trial.datasets()] == [25, 25]
    assert trial.frozen_models() == whole.frozen_models()


def test_what_a_suites_results_are_keyed_by_is_unchanged_by_the_field_of_trial_runs() -> None:
    whole = find_suite("quick")
    assert "limit" not in whole.model_dump(mode="json")
    assert limited_suite(whole, 25).model_dump(mode="json")["limit"] == 25
    assert Suite.model_validate(limited_suite(whole, 25).model_dump()).limit == 25


def test_a_suite_whose_data_are_missing_says_in_one_line_how_to_get_all_of_them() -> None:
    with pytest.raises(
        DatasetError,
        match="sets omat24, omol25, qm9 are not prepared; run `latent-matter data prepare omat24 omol25 qm9`",
    ):
        limited_suite(find_suite("omat24-omol25"), 100)
