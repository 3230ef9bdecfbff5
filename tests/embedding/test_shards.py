"""Shards that are computed apart make the same product, and none is computed twice."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.datasets.store import Dataset
from benchmark.embedding import extraction
from benchmark.embedding.environment import Environment
from benchmark.embedding.extraction import EmbeddingSettings, embed, embed_shards, load_embedded, shard_count
from benchmark.embedding.process import Usage
from benchmark.embedding.throughput import throughput_of
from tests.embedding.families import write_family


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Shards of few structures; gives the names of those that each started worker is to compute."""
    started: list[list[str]] = []
    run_worker = extraction.run_worker

    def counted(job, *arguments, **options) -> Usage:  # type: ignore[no-untyped-def]
        started.append([step["name"] for step in job["steps"]])
        usage: Usage = run_worker(job, *arguments, **options)
        return usage

    monkeypatch.setattr(extraction, "SHARD_STRUCTURES", 3)
    monkeypatch.setattr(extraction, "run_worker", counted)
    return started


def test_shards_computed_apart_make_the_product_of_one_process(
    tmp_path: Path,
    dataset: Dataset,
    settings: EmbeddingSettings,
    environment: Environment,
    small_shards: list[list[str]],
) -> None:
    entry = write_family(tmp_path / "toy")
    structures = dataset.structures()
    count = shard_count(len(structures))
    assert count >= 3
    apart = EmbeddingSettings(**{**vars(settings), "cache": tmp_path / "apart"})
    # The last first, as it may come about when several machines compute them.
    for span in (range(2, count), range(0, 2), range(0, 2)):
        embed_shards(entry, dataset, apart, span, environment=environment)
    names = [f"shard-{number:05d}" for number in range(count)]
    assert small_shards == [names[2:], names[:2]]
    there = embed(entry, dataset, apart, environment=environment)
    assert small_shards == [names[2:], names[:2]]
    here = embed(entry, dataset, settings, environment=environment)
    assert there.arrays_sha256 == here.arrays_sha256
    np.testing.assert_array_equal(
        load_embedded(apart.cache, there.key, structures).layers["backbone"].values,
        load_embedded(settings.cache, here.key, structures).layers["backbone"].values,
    )
    assert there.provenance.wall_seconds > 0 and there.provenance.peak_memory_mb > 10
    measured = throughput_of(apart.cache, there.model, "cpu")
    assert measured is not None and 0 < measured.atoms <= there.atoms
    assert not list((apart.cache / "work").iterdir())
    embed_shards(entry, dataset, apart, range(0, 2), environment=environment)  # the product is there: nothing to do
    assert len(small_shards) == 3


def test_shards_that_a_lost_process_left_are_taken_over(
    tmp_path: Path,
    dataset: Dataset,
    settings: EmbeddingSettings,
    environment: Environment,
    small_shards: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = write_family(tmp_path / "toy")
    key = extraction.feature_key(extraction.prepare(entry, settings, environment), dataset)

    def lost(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(extraction, "refuse_strangers", lost)  # all is computed, nothing is handed over
        embed_shards(entry, dataset, settings, range(0, 2), environment=environment)
    left = settings.cache / "work" / f"{key}-00000" / "output"
    (left / "shard-00001.safetensors").write_bytes(b"half a file")
    embed_shards(entry, dataset, settings, range(0, 2), environment=environment)
    assert small_shards == [["shard-00000", "shard-00001"], ["shard-00001"]]
    assert not left.exists()
