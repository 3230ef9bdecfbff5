"""The benchmark of the embedding: what counts as time inside the network, what the loop is, what the page claims."""

import sys
import types
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.embedding.extraction import EmbeddingSettings, PreparedModel
from benchmark.embedding.weights import Weights
from benchmark.files import write_json
from benchmark.submission import Entry
from tests.embedding.families import this_environment, write_family

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from embedding_benchmark import measure, runs  # noqa: E402
from embedding_benchmark.measure import Forward, _spread  # noqa: E402
from embedding_benchmark.report import ratio, share, write_report  # noqa: E402
from embedding_benchmark.runs import Measured, Plan, choose_model, draw, measure_model, read_measured  # noqa: E402

FAST = {
    "structures": 256,
    "seconds": [1.0, 2.0, 64.0],
    "loop": {"what": "calculator", "structures": 128, "seconds": 16.0},
}
SLOW = {"structures": 200, "seconds": [10.0], "loop": {"what": "worker", "structures": 200, "seconds": 20.0}}
NETWORK = {"network": ["torch"], "forward_seconds": 0.9, "watched_seconds": 1.0}


def measured(model: str, **changes: Any) -> Measured:
    return replace(
        Measured(
            family="toy",
            model=model,
            weights="trained",
            adapter="a" * 64,
            key="k",
            machine="a machine of the test",
            device="cpu",
            threads=2,
            date="2026-01-01",
            load=0.1,
            sets={"molecules": {**FAST, **NETWORK}, "crystals": {**SLOW, **NETWORK}},
        ),
        **changes,
    )


class Clock:
    now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(measure, "time", types.SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


class Network(torch.nn.Module):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def forward(self, seconds: float) -> float:
        self.clock.now += seconds
        return seconds

    def by_method(self, seconds: float) -> None:
        self(seconds)
        self.clock.now += 1.0
        self(seconds)


def test_only_outermost_calls_of_modules_and_their_methods_count(clock: Clock) -> None:
    forward, network = Forward(), Network(clock)
    hooks = forward.watch_torch(types.SimpleNamespace(models=[network]))
    try:
        network(5.0)
        assert forward.seconds == 0  # not active yet
        forward.active = True
        network(5.0)
        assert forward.seconds == 5.0
        network.by_method(2.0)
        assert forward.seconds == 10.0
        clock.now += 7.0
        assert forward.seconds == 10.0
    finally:
        for hook in hooks:
            hook.remove()
    assert forward.kinds == {"torch"}


def test_a_compiled_function_counts_until_its_result_is_there(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(_: object) -> None:
        clock.now += 3.0

    fake: Any = types.ModuleType("jax")
    fake.jit = lambda function, **_: function
    fake.block_until_ready = wait
    monkeypatch.setitem(sys.modules, "jax", fake)
    forward = Forward()
    forward.watch_jax()

    @fake.jit
    def inner(value: int) -> int:
        clock.now += 1.0
        return value + 1

    @fake.jit
    def outer(value: int) -> int:
        return inner(value) + 1

    forward.active = True
    assert outer(1) == 3
    assert forward.seconds == 4.0
    assert forward.kinds == {"jax"}


def test_a_loop_that_is_cut_short_still_spans_the_set() -> None:
    assert _spread(range(10), 20) == list(range(10))
    assert _spread([5, 6, 7, 8], 2) == [5, 7]


def test_a_draw_is_the_same_every_time_and_keeps_the_order() -> None:
    from benchmark.datasets.store import find_dataset

    structures = find_dataset("molecules-mini").structures()
    chosen = draw(structures, 20, 0)
    assert chosen.ids == draw(structures, 20, 0).ids != draw(structures, 20, 1).ids
    assert [structures.ids.index(name) for name in chosen.ids] == sorted(
        structures.ids.index(name) for name in chosen.ids
    )


def test_the_ratio_takes_the_median_pass_and_the_share_needs_a_network() -> None:
    assert ratio(FAST) == pytest.approx(128 / 8)
    assert ratio({**FAST, "structures": 0}) is None
    assert share({**FAST, **NETWORK}) == pytest.approx(0.9)
    assert share({**FAST, **NETWORK, "network": []}) is None


def test_the_page_names_machine_slow_models_and_what_was_not_measured(tmp_path: Path) -> None:
    rows = {
        "good": measured("good"),
        "busy": measured("busy", load=1.9),
        "broken": measured("broken", failure="ended after 5 s", sets={}),
    }
    page = tmp_path / "page.md"
    write_report(
        rows, {"string-model": "it reads no structures"}, {"good": "the reason"}, {"toy": "b" * 64}, Plan(), page
    )
    text = page.read_text()
    assert "- Machine: a machine of the test" in text
    assert (
        "| toy | good | trained | 128 | 8 | 16 | 20 (200 of 256) | 10* | 2 | 2026-01-01, cpu, earlier adapter |" in text
    )
    assert "| good | torch | 90% | 90% |" in text
    assert "- good (crystals): the reason" in text
    assert "- busy (crystals): not explained yet" in text
    assert "2026-01-01, cpu, busy" in text
    assert "- string-model: it reads no structures" in text
    assert "- toy (broken): ended after 5 s" in text


TIMED = """
class Timed(Adapter):
    def load(self, checkpoint, options, device):
        pass

    def unsupported(self, item):
        return "holds oxygen" if 8 in item.numbers else None

    def embed(self, inputs):
        time.sleep(0.002)
        return Features({"backbone": Layer(np.concatenate([scalars(atoms) for atoms in inputs]))})

    def reference_energies(self, inputs):
        time.sleep(0.02 * len(inputs))
        return np.zeros(len(inputs))
"""


@pytest.fixture
def toy(tmp_path: Path) -> PreparedModel:
    entry = write_family(tmp_path / "toy", TIMED)
    return PreparedModel(entry, this_environment(), Weights(None, None))


@pytest.mark.slow
def test_a_model_is_measured_once_in_a_process_of_its_own(toy: PreparedModel, tmp_path: Path) -> None:
    settings = EmbeddingSettings(tmp_path / "cache", accelerator="cpu", threads=1)
    plan = Plan(structures=24, repeats=2, loop_limit=0.4)
    found = measure_model(toy, settings, plan, tmp_path / "work")
    assert found.failure is None
    assert found.weights == "untrained"
    molecules = found.sets["molecules"]
    assert 0 < molecules["structures"] < 24  # those without oxygen
    assert len(molecules["seconds"]) == 2
    assert molecules["loop"]["what"] == "calculator"
    per_structure = molecules["loop"]["seconds"] / molecules["loop"]["structures"]
    assert per_structure >= 0.02
    crystals = found.sets["crystals"]["loop"]
    assert 16 <= crystals["structures"] <= 20  # 0.4 s allow 20 of 0.02 s each; 16 are always taken
    assert (molecules["network"], share(molecules)) == ([], None)
    kept = tmp_path / "work/measured/toy.json"
    written = kept.stat().st_mtime_ns
    assert measure_model(toy, settings, plan, tmp_path / "work") == found
    assert kept.stat().st_mtime_ns == written
    assert read_measured(tmp_path / "work") == {"toy": found}


def test_a_model_that_breaks_has_its_last_words_on_record(tmp_path: Path) -> None:
    entry = write_family(tmp_path / "toy", TIMED.replace("time.sleep(0.002)", "raise ValueError('no luck')"))
    settings = EmbeddingSettings(tmp_path / "cache", accelerator="cpu", threads=1)
    prepared = PreparedModel(entry, this_environment(), Weights(None, None))
    found = measure_model(prepared, settings, Plan(structures=4), tmp_path / "work")
    assert found.failure == "ValueError: no luck"


def test_of_a_family_the_newest_trained_model_whose_weights_are_here_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.embedding.errors import EmbeddingError

    entry = write_family(tmp_path / "toy")
    variants = {
        "random": {"control": "random"},
        "old": {"superseded_by": "new"},
        "absent": {},
        "new": {},
        "composition": {"control": "composition"},
    }
    entries = {
        name: Entry(entry.family, entry.model.model_copy(update={"id": name, **changes}))
        for name, changes in variants.items()
    }

    def prepare(asked: Entry, _: EmbeddingSettings) -> PreparedModel:
        if asked.model.id == "absent":
            raise EmbeddingError(tmp_path, "checkpoint", "is not here")
        return PreparedModel(asked, this_environment(), Weights(None, None))

    monkeypatch.setattr(runs, "prepare", prepare)
    settings = EmbeddingSettings(tmp_path)

    def chosen(*wanted: str) -> str | None:
        prepared, _ = choose_model(entries, "toy", settings, wanted)
        return None if prepared is None else prepared.entry.model.id

    assert chosen() == "new"
    assert chosen("old", "random") == "old"
    assert chosen("composition") is None
    assert choose_model(entries, "toy", settings, ["absent"])[1] == "absent: checkpoint: is not here"


def test_what_is_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    write_json(tmp_path / "measured/good.json", asdict(measured("good")))
    assert read_measured(tmp_path) == {"good": measured("good")}
    assert np.isfinite(ratio(read_measured(tmp_path)["good"].sets["molecules"]) or np.nan)
