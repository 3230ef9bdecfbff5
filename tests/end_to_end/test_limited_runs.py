"""A trial run on a few structures: visibly not the suite, without ranks, not published."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from benchmark.datasets.store import load_dataset
from benchmark.results.records import read_record
from tests.end_to_end.conftest import latent_matter, run_board

pytestmark = pytest.mark.slow


def test_a_trial_run_has_its_own_key_and_no_ranks_and_is_not_published(fresh_board: Callable[..., Path]) -> None:
    folder = fresh_board(finished=True)
    done = run_board(folder, "--limit", "40", "--submissions", "submissions")
    assert done.returncode == 0, done.stderr
    record = read_record(folder / "results" / "toy-limit-40@1" / "records" / "toy-b.json")
    assert any("trial run on at most 40 structures" in line for line in record.quality)
    assert record.reproduce == "latent-matter run --suite toy --limit 40 --models toy-b"
    rows = pd.read_csv(folder / "results" / "tables" / "leaderboard.csv").set_index(["suite", "model"])
    trial, whole = rows.loc["toy-limit-40"], rows.loc["toy"]
    assert trial["alignment"].notna().any()
    assert trial.filter(like="rank_").isna().all(axis=None)
    assert trial["borda"].isna().all()
    assert whole["rank_low"].notna().any()

    parent = load_dataset(folder / "datasets" / "toy-crystals").structures()
    drawn = load_dataset(folder / "datasets" / "toy-crystals-limit-40").structures()
    assert len(drawn) == 40
    assert [name for name in parent.ids if name in set(drawn.ids)] == list(drawn.ids)

    built = latent_matter(folder, "site", "results", "--out", "site")
    assert built.returncode == 0, built.stderr
    pages = "".join(path.read_text(encoding="utf-8") for path in (folder / "site").rglob("*.html"))
    assert "trial run on at most 40 structures a data set, without ranks" in pages

    refused = latent_matter(folder, "publish", "results", "--to", "published", "--submissions", "submissions")
    assert refused.returncode == 1
    assert "toy-limit-40@1: is a trial run (--limit 40), which is not published" in refused.stderr
    assert not (folder / "published").exists()
