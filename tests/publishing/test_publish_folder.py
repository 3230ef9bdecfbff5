"""Publishing to a folder: what is audited, merged, refused."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from datasets import load_dataset

from benchmark.publishing.destinations import Folder, MovedError, destination
from benchmark.publishing.publish import publish, pull
from benchmark.results.records import Record, read_record, write_record
from benchmark.schema import InvalidFileError
from tests.publishing.boards import provenance, write_features
from tests.publishing.conftest import Board, Tree


def record_path(results: Path, model: str, suite: str = "toy@1") -> Path:
    return results / suite / "records" / f"{model}.json"


def edit(results: Path, model: str, **fields: object) -> Record:
    """Change fields of a record on disk."""
    path = record_path(results, model)
    record = read_record(path).model_copy(update=fields)
    write_record(path, record)
    return record


def test_records_with_their_features_are_audited_and_load_as_a_data_set(board: Board, tmp_path: Path) -> None:
    done = publish(board.results(), Folder(tmp_path / "public"), board.entries, work=board.work)
    assert done.notes == [f"toy@1 {model}: new, ok, audited" for model in ("toy-a", "toy-b", "toy-c")]
    rows = load_dataset(str(tmp_path / "public"), "leaderboard", split="train").to_pandas().set_index("model")
    assert rows.loc["toy-b", "alignment"] == pytest.approx(0.1)
    assert set(rows["verification"]) == {"audited"}
    assert len(load_dataset(str(tmp_path / "public"), "pairs", split="train")) == 3


def test_publishing_twice_changes_nothing(board: Board, tmp_path: Path, tree: Tree) -> None:
    results, target = board.results(), Folder(tmp_path / "public")
    publish(results, target, board.entries, work=board.work)
    before = tree(tmp_path / "public")
    again = publish(results, target, board.entries, work=board.work)
    assert (again.notes, again.changed) == ([], [])
    assert tree(tmp_path / "public") == before


def test_a_dry_run_says_what_would_change_and_writes_nothing(board: Board, tmp_path: Path) -> None:
    done = publish(board.results(), Folder(tmp_path / "public"), board.entries, work=board.work, dry_run=True)
    assert "toy@1/records/toy-a.json" in done.changed and "tables/leaderboard.csv" in done.changed
    assert not (tmp_path / "public").exists()


def test_results_of_one_model_join_what_is_published(board: Board, tmp_path: Path) -> None:
    target = Folder(tmp_path / "public")
    publish(board.results("first", toy_a=0.1, toy_b=0.2), target, board.entries, work=board.work)
    done = publish(board.results("second", toy_c=0.3), target, board.entries, work=board.work)
    assert done.notes == ["toy@1 toy-c: new, ok, audited"]
    rows = pd.read_csv(tmp_path / "public" / "tables" / "leaderboard.csv")
    assert set(rows["model"]) == {"toy-a", "toy-b", "toy-c"}
    assert "toy@1/records/toy-a.json" not in done.changed


def test_without_features_or_sandbox_a_record_is_self_reported(board: Board, tmp_path: Path) -> None:
    results = board.results()
    publish(results, Folder(tmp_path / "public"), board.entries)
    rows = pd.read_csv(tmp_path / "public" / "tables" / "leaderboard.csv")
    assert set(rows["verification"]) == {"self-reported"}
    assert rows["doubts"].str.contains("features are not at hand").all()
    # Once the features are there, the same numbers become audited.
    done = publish(results, Folder(tmp_path / "public"), board.entries, work=board.work)
    assert done.notes[0] == "toy@1 toy-a: replaced, ok, audited"


def test_a_plain_process_makes_a_record_self_reported(board: Board, tmp_path: Path) -> None:
    results, entry = board.results(toy_a=0.1), board.entries["toy-a"]
    made = {each.card.id: provenance(entry, sandbox="process") for each in board.datasets}
    keys = {each.card.id: write_features(board.work, entry, each, made[each.card.id]) for each in board.datasets}
    edit(results, "toy-a", provenance=made, features=keys)
    done = publish(results, Folder(tmp_path / "public"), board.entries, work=board.work)
    assert done.notes == ["toy@1 toy-a: new, ok, self-reported"]


def test_a_failed_model_is_published_as_failed(board: Board, tmp_path: Path) -> None:
    publish(board.results(toy_a=0.1, toy_b=None), Folder(tmp_path / "public"), board.entries, work=board.work)
    rows = pd.read_csv(tmp_path / "public" / "tables" / "leaderboard.csv").set_index("model")
    assert rows.loc["toy-b", "status"] == "failed" and rows.loc["toy-b", "reason"] == "adapter.py: load: no"
    assert pd.isna(rows.loc["toy-b", "verification"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": {}}, "features and provenance are of different data sets"),
        ({"provenance": {}, "features": {}}, "says nothing of how its features were made"),
        ({"family": "other"}, "is of family toy, not other"),
        ({"left_out": {"toy-crystals": {"toy-crystals-000": "too large"}}}, "left-out structures of the record"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(
    board: Board, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    results = board.results(toy_a=0.1)
    edit(results, "toy-a", **change)
    with pytest.raises(InvalidFileError, match=message):
        publish(results, Folder(tmp_path / "public"), board.entries, work=board.work)
    assert not (tmp_path / "public").exists()


def test_an_adapter_that_changed_since_is_refused(board: Board, tmp_path: Path) -> None:
    results = board.results(toy_a=0.1)
    adapter = board.entries["toy-a"].family.adapter
    adapter.write_text(adapter.read_text() + "\n# changed\n")
    with pytest.raises(InvalidFileError, match=r"toy-a on toy-crystals: was embedded by adapter \w+, here is"):
        publish(results, Folder(tmp_path / "public"), board.entries, work=board.work)


def test_features_of_another_model_or_with_other_bytes_are_refused(board: Board, tmp_path: Path) -> None:
    results = board.results(toy_a=0.1, toy_b=0.2)
    theirs = read_record(record_path(results, "toy-b"))
    edit(results, "toy-a", features=theirs.features)
    with pytest.raises(InvalidFileError, match="model of the record and of its features differ"):
        publish(results, Folder(tmp_path / "public"), board.entries, work=board.work)
    results = board.results(toy_a=0.1)
    key = read_record(record_path(results, "toy-a")).features["toy-crystals"]
    arrays = board.work / "features" / key / "features.safetensors"
    content = bytearray(arrays.read_bytes())
    content[-1] ^= 1
    arrays.write_bytes(content)
    with pytest.raises(InvalidFileError, match="do not have the SHA-256"):
        publish(results, Folder(tmp_path / "public"), board.entries, work=board.work)


def test_a_key_that_is_a_path_is_not_followed(board: Board, tmp_path: Path) -> None:
    results = board.results(toy_a=0.1)
    edit(results, "toy-a", features={"toy-crystals": "../../secret", "toy-molecules": "x"})
    done = publish(results, Folder(tmp_path / "public"), board.entries, work=board.work)
    assert done.notes == ["toy@1 toy-a: new, ok, self-reported"]


def test_a_changed_score_needs_a_changelog_entry_or_a_new_version(board: Board, tmp_path: Path) -> None:
    target = Folder(tmp_path / "public")
    publish(board.results("first", toy_a=0.1), target, board.entries, work=board.work)
    changed = board.results("second", toy_a=0.11)
    with pytest.raises(InvalidFileError, match=r"alignment toy-crystals toy-a 5 from 0\.1 to 0\.11|from 0\.1 to 0\.11"):
        publish(changed, target, board.entries, work=board.work)
    explained = board.results("third", {"changelog": ["1: a fix."]}, toy_a=0.11)
    assert publish(explained, target, board.entries, work=board.work).notes == ["toy@1 toy-a: replaced, ok, audited"]
    newer = board.results("fourth", {"version": 2, "changelog": ["1: a fix."]}, toy_a=0.5)
    assert publish(newer, target, board.entries, work=board.work).notes == ["toy@2 toy-a: new, ok, audited"]
    assert read_record(record_path(tmp_path / "public", "toy-a")).scores[0].value == 0.11


def test_another_machines_rounding_is_no_change(board: Board, tmp_path: Path) -> None:
    target = Folder(tmp_path / "public")
    publish(board.results("first", toy_a=0.1), target, board.entries, work=board.work)
    again = publish(board.results("second", toy_a=0.1 + 1e-9), target, board.entries, work=board.work)
    assert (again.notes, again.changed) == ([], [])


def test_settings_and_history_of_a_published_suite_stay(board: Board, tmp_path: Path) -> None:
    target = Folder(tmp_path / "public")
    publish(board.results("first", {"changelog": ["1: first."]}, toy_a=0.1), target, board.entries, work=board.work)
    with pytest.raises(InvalidFileError, match=r"suite\.yaml: field k: is 6, suite toy@1 was published with 5"):
        publish(board.results("second", {"k": 6}, toy_a=0.1), target, board.entries, work=board.work)
    with pytest.raises(InvalidFileError, match="field changelog: entries of the published changelog were changed"):
        publish(board.results("third", {"changelog": []}, toy_a=0.1), target, board.entries, work=board.work)


def test_a_record_under_another_name_is_refused(board: Board, tmp_path: Path) -> None:
    results = board.results(toy_a=0.1)
    shutil.move(record_path(results, "toy-a"), record_path(results, "toy-b"))
    with pytest.raises(InvalidFileError, match=r"toy-b\.json: is the record of toy-a in toy@1"):
        publish(results, Folder(tmp_path / "public"), board.entries, work=board.work)


def test_a_publisher_killed_between_two_renames_left_the_old_state(board: Board, tmp_path: Path, tree: Tree) -> None:
    results, public = board.results(), tmp_path / "public"
    publish(results, Folder(public), board.entries, work=board.work)
    before = tree(public)
    public.rename(tmp_path / ".public.old")
    again = publish(results, Folder(public), board.entries, work=board.work)
    assert again.changed == [] and tree(public) == before


def test_a_folder_that_changed_in_between_is_not_overwritten(board: Board, tmp_path: Path) -> None:
    public = tmp_path / "public"
    publish(board.results("first", toy_a=0.1), Folder(public), board.entries, work=board.work)
    target = Folder(public)
    state = target.read(tmp_path / "seen")
    (public / "note.txt").write_text("somebody else")
    with pytest.raises(MovedError):
        target.write({"tables/x.csv": tmp_path / "seen" / "README.md"}, state, "message")
    assert not (public / "tables" / "x.csv").exists()


def test_pulling_gets_tables_and_on_request_records(board: Board, tmp_path: Path) -> None:
    publish(board.results(), Folder(tmp_path / "public"), board.entries, work=board.work)
    names = pull(Folder(tmp_path / "public"), tmp_path / "mine")
    assert "tables/leaderboard.parquet" in names and not any("records" in name for name in names)
    stamp = (tmp_path / "mine" / "tables" / "scores.csv").stat().st_mtime_ns
    assert "toy@1/records/toy-a.json" in pull(Folder(tmp_path / "public"), tmp_path / "mine", records=True)
    assert (tmp_path / "mine" / "tables" / "scores.csv").stat().st_mtime_ns == stamp
    with pytest.raises(InvalidFileError, match="nothing is published"):
        pull(Folder(tmp_path / "nowhere"), tmp_path / "other")


@pytest.mark.parametrize(
    "target", ["hf://datasets/", "hf://datasets/one", "hf://models/a/b", "https://x/y", "hf://datasets/a/b/../c"]
)
def test_other_addresses_are_refused(target: str) -> None:
    with pytest.raises(InvalidFileError, match="accepted is hf://datasets/ORGANISATION/NAME or a folder"):
        destination(target)


def test_damaged_published_pairs_are_named(board: Board, tmp_path: Path) -> None:
    public = tmp_path / "public"
    publish(board.results("first", toy_a=0.1), Folder(public), board.entries, work=board.work)
    (public / "toy@1" / "pairs.json").write_text(json.dumps({"values": 3}))
    with pytest.raises(InvalidFileError, match=r"pairs\.json: not a file of pairs"):
        publish(board.results("second", toy_b=0.1), Folder(public), board.entries, work=board.work)


def test_the_changelog_is_published_and_never_loses_an_entry(board: Board, tmp_path: Path) -> None:
    target, results = Folder(tmp_path / "public"), board.results(toy_a=0.1)
    entry = "- {date: 2026-11-20, kind: model, model: toy-a, text: The first model.}\n"
    (results / "changelog.yaml").write_text("changes:\n" + entry)
    publish(results, target, board.entries, work=board.work)
    assert pd.read_csv(tmp_path / "public" / "tables" / "changelog.csv")["text"].tolist() == ["The first model."]
    (results / "changelog.yaml").write_text("changes:\n- {date: 2026-11-21, kind: site, text: Another.}\n")
    with pytest.raises(InvalidFileError, match=r"changelog\.yaml: lacks the published entry of 2026-11-20: The first"):
        publish(results, target, board.entries, work=board.work)
    (results / "changelog.yaml").unlink()
    assert publish(results, target, board.entries, work=board.work).changed == []
