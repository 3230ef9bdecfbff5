from pathlib import Path

import pandas as pd
import pytest

from benchmark.export import export_results, make_tables, rank_table
from benchmark.results.records import Null, Record, Score, read_record, write_record
from benchmark.results.writing import write_tables
from benchmark.schema import InvalidFileError
from benchmark.suite import find_suite

QUICK = find_suite("quick")


def record(model: str, alignment: float | None, control: str | None = None, **fields: object) -> Record:
    """A record with one score, whose subsamples lie closely around it."""
    subsamples = [] if alignment is None else [alignment + 0.001 * step for step in (-1, 0, 1)]
    score = Score(
        id="alignment",
        dataset="crystals-mini",
        value=alignment,
        low=None if alignment is None else alignment - 0.002,
        high=None if alignment is None else alignment + 0.002,
        standard_error=0.001,
        null=Null(mean=-0.1, quantile95=0.0, p_value=0.005, permutations=200),
        n=900,
        reason="is the reference" if alignment is None else None,
        subsamples=subsamples,
    )
    values = {
        "key": "0" * 64,
        "suite": "quick",
        "suite_version": 1,
        "model": model,
        "family": "family",
        "control": control,
        "status": "ok",
        "scores": [score],
        "reproduce": "latent-matter run",
        **fields,
    }
    return Record.model_validate(values)


def tables_of(*records: Record) -> dict[str, pd.DataFrame]:
    return make_tables(records, {}, {}, {QUICK.key: QUICK}, {})


def test_a_surely_better_model_is_ranked_above_and_a_control_is_not_ranked() -> None:
    ranks = rank_table([record("good", 0.8), record("bad", 0.2), record("noise", 0.9, control="noise")], "other")
    assert (ranks.loc["good", "alignment_rank_low"], ranks.loc["good", "alignment_rank_high"]) == (1, 1)
    assert (ranks.loc["bad", "alignment_rank_low"], ranks.loc["bad", "alignment_rank_high"]) == (2, 2)
    assert pd.isna(ranks.loc["noise", "alignment_rank_low"])
    assert ranks.loc["good", "alignment_ranked"] == 2


def test_the_leaderboard_lists_models_before_controls_and_failures_last_among_models() -> None:
    failed = record("broken", None, status="failed", reason="adapter.py: load: no", scores=[])
    board = tables_of(record("noise", 0.1, control="noise"), failed, record("b", 0.2), record("a", 0.9))["leaderboard"]
    assert list(board["model"]) == ["a", "b", "broken", "noise"]
    assert board.set_index("model").loc["broken", "alignment_reason"] == "adapter.py: load: no"


def test_the_reference_takes_no_overall_place() -> None:
    board = tables_of(record(QUICK.reference, None), record("a", 0.9), record("b", 0.2))["leaderboard"].set_index(
        "model"
    )
    assert pd.isna(board.loc[QUICK.reference, "rank_low"])
    assert (board.loc["a", "rank_low"], board.loc["b", "rank_low"]) == (1, 2)


def test_a_missing_score_keeps_its_reason() -> None:
    scores = tables_of(record("reference", None), record("other", 0.5))["scores"].set_index("model")
    assert pd.isna(scores.loc["reference", "value"])
    assert scores.loc["reference", "reason"] == "is the reference"


def test_columns_keep_their_types_when_they_are_empty(tmp_path: Path) -> None:
    full, empty = tables_of(record("a", 0.5), record("b", 0.2)), tables_of(record("a", None))
    for name in ("leaderboard", "scores"):
        numeric = {column for column in full[name] if pd.api.types.is_numeric_dtype(full[name][column])}
        assert numeric == {column for column in empty[name] if pd.api.types.is_numeric_dtype(empty[name][column])}, name
    paths = write_tables(tmp_path, full)
    assert all(path.with_suffix(".parquet").is_file() for path in paths)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), full["scores"])


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    before = record("a", 1 / 3)
    write_record(tmp_path / "a.json", before)
    assert read_record(tmp_path / "a.json") == before


def test_a_damaged_record_is_named_and_no_table_is_written(tmp_path: Path) -> None:
    path = tmp_path / "quick@1" / "records" / "a.json"
    write_record(path, record("a", 0.5))
    path.write_text(path.read_text().replace('"status": "ok"', '"status": "great"'))
    with pytest.raises(InvalidFileError, match=r"a\.json: field status"):
        export_results(tmp_path, {})
    assert not (tmp_path / "tables").exists()


def test_an_empty_results_folder_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match="holds no records"):
        export_results(tmp_path, {})
