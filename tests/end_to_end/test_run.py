"""A whole run on the toy board, undisturbed, killed and with bad input."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.end_to_end.conftest import latent_matter, run_board
from tests.end_to_end.toy_board import toy_model, write_family

pytestmark = pytest.mark.slow

Copy = Callable[..., Path]
# Wall times and memory are the one thing that two equal runs may disagree on.
MEASURED_COSTS = ("costs.csv", "costs.parquet")
HEADLINES = ("alignment", "collapse_information", "cpd")


def tables(folder: Path) -> dict[str, bytes]:
    found = sorted((folder / "results" / "tables").iterdir())
    return {path.name: path.read_bytes() for path in found if path.name not in MEASURED_COSTS}


def board(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "results" / "tables" / "leaderboard.csv").set_index("model")


def test_every_model_has_scores_with_interval_and_null(finished_board: Path) -> None:
    rows = board(finished_board)
    assert len(rows) == 8
    assert (rows["status"] == "ok").all()
    for headline in HEADLINES:
        scored = rows[rows[headline].notna()]
        # The toy networks have no skill to lose, which the reason says.
        assert len(scored) >= (0 if headline == "collapse_information" else 3), headline
        for part in ("low", "high", "null", "null_q95", "p"):
            assert scored[f"{headline}_{part}"].notna().all(), (headline, part)
        assert rows[rows[headline].isna()][f"{headline}_reason"].notna().all()


def test_only_models_are_ranked_and_controls_are_shown(finished_board: Path) -> None:
    rows = board(finished_board)
    models = rows[rows["control"].isna() & (rows.index != "toy-a")]
    assert models["rank_low"].notna().all()
    assert pd.isna(rows.loc["toy-a", "rank_low"])
    assert rows[rows["control"].notna()]["rank_low"].isna().all()


def test_the_reference_has_no_alignment_and_says_why(finished_board: Path) -> None:
    row = board(finished_board).loc["toy-a"]
    assert pd.isna(row["alignment"])
    assert "reference" in row["alignment_reason"]


def test_a_fine_tuned_model_keeps_its_parents_features(finished_board: Path) -> None:
    assert board(finished_board).loc["toy-tuned", "fine_tuning_bias"] > 0.5


def test_controls_are_scored_before_the_models_that_are_compared_with_them(finished_board: Path) -> None:
    (journal,) = (finished_board / ".latent-matter" / "journal").iterdir()
    lines = [json.loads(line) for path in journal.glob("*.jsonl") for line in path.read_text().splitlines()]
    finished = [line["task"] for line in lines if line.get("kind") == "ScoreTask"]
    of_controls = [board(finished_board)["control"].notna()[model] for model in finished]
    assert of_controls == sorted(of_controls, reverse=True)
    assert 0 < sum(of_controls) < len(of_controls)


def test_csv_and_parquet_hold_the_same(finished_board: Path) -> None:
    for csv in (finished_board / "results" / "tables").glob("*.csv"):
        twin = pd.read_parquet(csv.with_suffix(".parquet"))
        read = pd.read_csv(csv)
        assert list(twin.columns) == list(read.columns)
        assert len(twin) == len(read)


def test_load_dataset_reads_the_results_folder(
    finished_board: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loaded = datasets.load_dataset(
        str(finished_board / "results"), "leaderboard", split="train", cache_dir=str(tmp_path / "hub")
    )
    assert set(loaded["model"]) == set(board(finished_board).index)


def test_a_second_run_computes_nothing_and_gives_the_same_tables(fresh_board: Copy) -> None:
    folder = fresh_board(finished=True)
    before = tables(folder)

    def products() -> dict[Path, int]:
        work = folder / ".latent-matter"
        files = [path for path in work.rglob("*") if path.is_file() and path.suffix != ".lock"]
        return {path: path.stat().st_mtime_ns for path in files if not path.is_relative_to(work / "journal")}

    made = products()
    assert run_board(folder).returncode == 0
    assert products() == made
    assert tables(folder) == before


def test_bad_models_are_named_and_cost_the_others_nothing(fresh_board: Copy, finished_board: Path) -> None:
    folder = fresh_board(finished=True)
    bad = {
        "bad-raise": ("these weights are for another network", {"options": {"behaviour": "raise"}}),
        "bad-nan": ("finite", {"options": {"behaviour": "nan"}}),
        "bad-rows": ("shape", {"options": {"behaviour": "rows"}}),
        "bad-fickle": ("determinism", {"options": {"behaviour": "fickle"}}),
        "bad-hang": ("progress", {"options": {"behaviour": "hang"}}),
        "bad-shape": ("dimension", {"layers": {"backbone": {"dimension": 13}}}),
        "bad-file": ("missing.pt", {"checkpoint": {"kind": "package", "file": "missing.pt", "sha256": "0" * 64}}),
        "bad-hash": (
            "sha256",
            {"checkpoint": {"kind": "package", "file": "numpy/__init__.py", "sha256": "0" * 64}},
        ),
    }
    write_family(folder / "submissions", "bad", [toy_model(name, 9, **fields) for name, (_, fields) in bad.items()])
    write_family(folder / "submissions", "unknown-field", [toy_model("bad-field", 9, colour="blue")])
    write_family(folder / "submissions", "chatty", [toy_model("chatty", 8, options={"behaviour": "chatty"})])
    result = run_board(folder, "--timeout", "8")
    assert result.returncode == 1
    rows = board(folder)
    for name, (clue, _) in bad.items():
        assert rows.loc[name, "status"] == "failed", name
        assert clue.lower() in rows.loc[name, "reason"].lower(), (name, rows.loc[name, "reason"])
        assert "\n" not in rows.loc[name, "reason"]
        assert str(folder) not in rows.loc[name, "reason"]
        lines = [line for line in result.stderr.splitlines() if name in line and line.startswith("failed")]
        assert len(lines) == 1, (name, lines)
    assert "models.0.colour" in rows.loc["bad-field", "reason"]
    assert "unknown-field/submission.yaml" in rows.loc["bad-field", "reason"]
    assert rows.loc["chatty", "status"] == "ok"
    untouched = board(finished_board)
    columns = [name for name in untouched.columns if "rank" not in name and not name.startswith("borda")]
    pd.testing.assert_frame_equal(rows.loc[untouched.index, columns], untouched[columns], check_dtype=False)


def test_a_model_that_fails_on_one_data_set_keeps_its_scores_on_the_other(fresh_board: Copy) -> None:
    folder = fresh_board(finished=True)
    write_family(folder / "submissions", "picky", [toy_model("picky", 9, options={"behaviour": "knows no caesium"})])
    assert run_board(folder).returncode == 1
    row = board(folder).loc["picky"]
    assert row["status"] == "partial"
    assert "toy-crystals" in row["reason"] and "caesium is unknown" in row["reason"]
    assert pd.notna(row["cpd"])
    assert pd.isna(row["alignment"])


def test_structures_that_a_model_cannot_embed_are_left_out_for_all(fresh_board: Copy) -> None:
    folder = fresh_board(finished=True)
    options = {"behaviour": "no large cells"}
    write_family(folder / "submissions", "narrow", [toy_model("narrow", 9, options=options)])
    run_board(folder)
    rows = board(folder)
    assert rows.loc["narrow", "status"] == "partial"
    assert "of 72 structures left out, too large" in rows.loc["narrow", "reason"]
    scores = pd.read_csv(folder / "results" / "tables" / "scores.csv")
    counts = scores[(scores["score"] == "intrinsic_dimension") & (scores["dataset"] == "toy-crystals")]
    assert counts["n"].nunique() == 1 and counts["n"].iloc[0] < 72


def test_a_changed_adapter_recomputes_only_its_own_family(fresh_board: Copy) -> None:
    folder = fresh_board(finished=True)
    features = set((folder / ".latent-matter" / "features").iterdir())
    adapter = folder / "submissions" / "composition" / "adapter.py"
    adapter.write_text(adapter.read_text() + "\n# A comment.\n")
    assert run_board(folder, "--models", "toy-a").returncode == 0
    added = set((folder / ".latent-matter" / "features").iterdir()) - features
    assert len(added) == 2  # composition on both data sets


def test_score_alone_uses_what_is_embedded(fresh_board: Copy) -> None:
    folder = fresh_board(finished=True)
    record = folder / "results" / "toy@1" / "records" / "toy-b.json"
    before = record.read_bytes()
    record.unlink()
    result = latent_matter(folder, "score", "--suite", "toy.yaml")
    assert result.returncode == 0, result.stderr
    assert record.read_bytes() == before


def test_a_new_submission_moves_nobody_elses_scores(fresh_board: Copy, finished_board: Path) -> None:
    folder = fresh_board(finished=True)
    write_family(folder / "submissions", "newcomer", [toy_model("newcomer", 11)])
    assert run_board(folder).returncode == 0
    before = pd.read_csv(finished_board / "results" / "tables" / "scores.csv")
    after = pd.read_csv(folder / "results" / "tables" / "scores.csv")
    known = after[after["model"].isin(before["model"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(known, before)


def test_the_scaffold_passes_check_once_its_blanks_are_filled(fresh_board: Copy) -> None:
    folder = fresh_board(finished=True)
    assert latent_matter(folder, "new", "my-model").returncode == 0
    unfilled = latent_matter(folder, "check", "my-model")
    assert unfilled.returncode == 1
    assert "still a blank" in unfilled.stderr
    path = folder / "submissions" / "my-model" / "submission.yaml"
    text = path.read_text()
    path.write_text(
        "\n".join(line.split("FILL IN")[0] + "something" if "FILL IN" in line else line for line in text.splitlines())
    )
    assert yaml.safe_load(path.read_text())["title"] == "something"
    checked = latent_matter(folder, "check", "my-model", "--accelerator", "cpu")
    assert checked.returncode == 0, checked.stderr + checked.stdout


def test_the_site_is_built_from_the_tables(fresh_board: Copy) -> None:
    folder = fresh_board(finished=True)
    result = latent_matter(folder, "site", "results", "--out", "site")
    assert result.returncode == 0, result.stderr
    page = (folder / "site" / "index.html").read_text()
    assert "toy-b" in page
