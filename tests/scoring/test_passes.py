"""A pass whose blocks are computed apart is the pass of one process, to the bit."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.metrics import calibration, stream, streaming
from benchmark.metrics.validation import features
from benchmark.scoring import comparisons
from benchmark.scoring.passes import PassFolder, row_pass
from tests.scoring.synthetic import World, scorer


@pytest.fixture
def arrays(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    # Tiles of eight rows and blocks of two tiles, so that a few hundred rows make many of them.
    monkeypatch.setattr(streaming, "TILE_BYTES", {"cpu": 1, "cuda": 1})
    monkeypatch.setattr(streaming, "BLOCK_TILES", 2)
    row_pass.cache_clear()
    generator = np.random.default_rng(11)
    shared = generator.normal(size=(205, 3))
    made = {name: np.tanh(shared @ generator.normal(size=(3, 7))) for name in ("a", "b", "c")}
    return made | {"ties": generator.integers(0, 3, size=(205, 4)).astype(float)}


def laid_out(folder: Path, arrays: dict[str, np.ndarray]) -> PassFolder:
    found = PassFolder(folder)
    found.lay_out({name: features(name, array, minimum_rows=4) for name, array in arrays.items()})
    return found


def test_blocks_in_any_order_add_up_to_the_pass_of_one_process(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    apart = laid_out(tmp_path / "pass", arrays)
    blocks = apart.missing()
    assert len(blocks) == 13
    for block in reversed(blocks):
        row_pass.cache_clear()  # as in a process that has seen nothing before
        apart.compute(block)
    found, whole = apart.reduce(), stream(arrays, cosine=0, euclidean=0, device="cpu")
    np.testing.assert_array_equal(found.rank_sums, whole.rank_sums)
    np.testing.assert_array_equal(found.products, whole.products)
    for name in arrays:
        np.testing.assert_array_equal(found.models[name].distance_sums, whole.models[name].distance_sums)


def test_an_interrupted_pass_computes_what_is_missing_only(
    arrays: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = laid_out(tmp_path / "pass", arrays)
    blocks = apart.missing()
    for block in blocks[:5]:
        apart.compute(block)
    (tmp_path / "pass" / f".block-{blocks[5][0]:08d}.npz.x.tmp").write_bytes(b"half a block")
    computed: list[tuple[int, int]] = []
    compute = streaming.RowPass.compute

    def counted(self, wanted, progress=None):  # type: ignore[no-untyped-def]
        computed.extend(wanted)
        return compute(self, wanted, progress)

    monkeypatch.setattr(streaming.RowPass, "compute", counted)
    assert apart.missing() == blocks[5:]
    found = apart.reduce()
    assert computed == blocks[5:]
    np.testing.assert_array_equal(found.products, stream(arrays, cosine=0, euclidean=0, device="cpu").products)


def test_neighbours_of_blocks_are_put_back_into_their_rows(arrays: dict[str, np.ndarray]) -> None:
    whole = stream(arrays, cosine=5, euclidean=3, device="cpu")
    checked = {name: features(name, array, minimum_rows=4) for name, array in arrays.items()}
    rows = streaming.RowPass.of(checked, cosine=5, euclidean=3, device="cpu")
    found = rows.reduce([next(iter(rows.compute([block]))) for block in rows.blocks])
    for name in arrays:
        for kind in ("cosine", "euclidean"):
            here, there = getattr(whole.models[name], kind), getattr(found.models[name], kind)
            np.testing.assert_array_equal(there.indices, here.indices)
            np.testing.assert_array_equal(there.values, here.values)


def test_distance_correlations_of_many_rows_come_from_the_pass(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    models = ["panel-a", "reference", "composition"]
    direct = {(pair.metric, pair.a, pair.b): pair for pair in scorer(world).pairs("panel-a", models[1:], "inside")}
    monkeypatch.setattr(calibration, "MATRIX_ROWS", 20)  # as if these were too many rows for permutations
    whole: list[str] = []
    unbiased = comparisons.distance_correlation

    def counted(*arrays: np.ndarray, biased: bool = False) -> float:
        whole.append("biased" if biased else "unbiased")
        return unbiased(*arrays, biased=biased)

    monkeypatch.setattr(comparisons, "distance_correlation", counted)
    alone = {(pair.metric, pair.a, pair.b): pair for pair in scorer(world).pairs("panel-a", models[1:], "inside")}
    assert "unbiased" in whole
    whole.clear()
    scoring = scorer(world)
    scoring.stream(models, "inside")
    found = {(pair.metric, pair.a, pair.b): pair for pair in scoring.pairs("panel-a", models[1:], "inside")}
    assert whole == []
    checked = [place for place in found if place[0].startswith("dcor")]
    assert {place[0] for place in checked} == {"dcor", "dcor_biased"}
    for place in checked:
        assert found[place].value == pytest.approx(direct[place].value, abs=1e-12)
        assert found[place].value == pytest.approx(alone[place].value, abs=1e-12)
        assert found[place].p_value == pytest.approx(alone[place].p_value, abs=1e-12)
        assert found[place].null_quantile95 == alone[place].null_quantile95
