from pathlib import Path

import pytest

from benchmark.embedding.features import LayerSidecar, Provenance, Sidecar
from benchmark.embedding.tasks import EmbedTask, Size, largest_first
from benchmark.embedding.throughput import note_throughput, throughput_of
from benchmark.journal import Journal
from benchmark.pricing import feature_bytes, price
from benchmark.submission import Entry, load_submissions
from benchmark.suite import Suite, load_suite
from tests.end_to_end.toy_board import write_board

REPOSITORY = Path(__file__).resolve().parents[2]
MACHINE = "AMD EPYC, 2 cores"
SIZES = {
    "toy-crystals": Size("toy-crystals", "0" * 64, 1000, 20_000),
    "toy-molecules": Size("toy-molecules", "1" * 64, 500, 9_000),
}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    write_board(folder, REPOSITORY / "submissions")
    return folder


@pytest.fixture
def suite(board: Path) -> Suite:
    return load_suite(board / "toy.yaml")


@pytest.fixture
def entries(board: Path) -> dict[str, Entry]:
    return load_submissions(board / "submissions")[0]


def sidecar(entry: Entry, size: Size) -> Sidecar:
    """As of features that are on disk."""
    made = Provenance(
        adapter_tree=entry.family.tree_hash(),
        checkpoint_sha256=None,
        environment="2" * 64,
        packages={},
        python="3.11",
        device="cpu",
        hardware=MACHINE,
        sandbox="none",
        wall_seconds=50.0,
        peak_memory_mb=1.0,
        code="x",
    )
    return Sidecar(
        key="3" * 64,
        model=entry.model.id,
        dataset=size.dataset,
        dataset_fingerprint=size.fingerprint,
        structures=size.structures,
        atoms=size.atoms,
        layers={"backbone": LayerSidecar(level="atom", dimension=12, irreps=None)},
        has_energies=False,
        arrays_sha256="4" * 64,
        provenance=made,
    )


def spent(structures: int, atoms: int, seconds: float) -> dict[str, object]:
    return {
        "structures": structures,
        "atoms": atoms,
        "wall_seconds": seconds,
        "peak_memory_mb": 1.0,
        "sandbox": "none",
    }


def test_what_was_never_measured_has_no_hours(suite: Suite, entries: dict[str, Entry], tmp_path: Path) -> None:
    found = price(suite, entries, ["toy-a", "toy-b"], SIZES, tmp_path, "cpu", MACHINE)
    assert found.hours == 0.0
    assert {"toy-a · toy-crystals", "toy-b · toy-molecules", "ScoreTask", "BlockTask"} <= set(found.unmeasured)
    assert (found.structures, found.atoms) == (3000, 58_000)


def test_hours_come_from_the_longest_measured_run_on_the_same_hardware(
    suite: Suite, entries: dict[str, Entry], tmp_path: Path
) -> None:
    made = sidecar(entries["toy-a"], SIZES["toy-crystals"])
    note_throughput(tmp_path, made, [spent(10, 100, 10.0), spent(100, 1000, 20.0)])
    found = price(suite, entries, ["toy-a"], SIZES, tmp_path, "cpu", MACHINE)
    assert [each.atoms_per_second for each in found.embedding] == [50.0, 50.0]
    assert found.hours == pytest.approx(29_000 / 50.0 / 3600.0)
    for device, machine in (("cuda", MACHINE), ("cpu", "another machine")):
        other = price(suite, entries, ["toy-a"], SIZES, tmp_path, device, machine)
        assert (other.hours, other.embedding[0].hours) == (0.0, None)


def test_features_on_disk_cost_nothing(suite: Suite, entries: dict[str, Entry], tmp_path: Path) -> None:
    made = sidecar(entries["toy-a"], SIZES["toy-crystals"])
    (tmp_path / "features" / "x").mkdir(parents=True)
    (tmp_path / "features" / "x" / "features.json").write_text(made.model_dump_json())
    found = price(suite, entries, ["toy-a"], SIZES, tmp_path, "cpu", MACHINE)
    assert [(each.dataset, each.found) for each in found.embedding] == [
        ("toy-crystals", True),
        ("toy-molecules", False),
    ]
    # ... and say how quick the model was, though nothing else does
    assert found.hours == pytest.approx(9_000 / (20_000 / 50.0) / 3600.0)
    assert found.bytes == feature_bytes(entries["toy-a"], SIZES["toy-molecules"]) == 4 * 12 * 9_000 + 8 * 500


def test_scoring_costs_what_earlier_runs_of_as_many_structures_did(
    suite: Suite, entries: dict[str, Entry], tmp_path: Path
) -> None:
    structures = {name: size.structures for name, size in SIZES.items()}
    journal = Journal.of_new_run(tmp_path, "toy")
    journal.write("run", suite=suite.key, structures=structures, executor="x", machine=MACHINE)
    finished = {"stage": "Scoring", "outcome": "ok", "kind": "ScoreTask", "units": 1}
    journal.write("finished", task="toy-a", seconds=30.0, found=0, made=9, **finished)
    journal.write("finished", task="toy-b", seconds=50.0, found=3, made=6, **finished)
    journal.write("finished", task="toy-c", seconds=1.0, found=9, made=0, **finished)  # all of it was on disk

    def hours(sizes: dict[str, Size]) -> float | None:
        found = price(suite, entries, ["toy-a", "toy-b", "toy-c"], sizes, tmp_path, "cpu", MACHINE)
        return next(each.hours for each in found.scoring if each.kind == "ScoreTask")

    assert hours(SIZES) == pytest.approx(3 * 40.0 / 3600.0)
    assert hours({**SIZES, "toy-molecules": Size("toy-molecules", "1" * 64, 501, 9_000)}) is None


def test_long_embeddings_start_first_and_unmeasured_ones_before_them(entries: dict[str, Entry], tmp_path: Path) -> None:
    from benchmark.embedding.extraction import EmbeddingSettings

    settings = EmbeddingSettings(cache=tmp_path, accelerator="cpu")
    note_throughput(tmp_path, sidecar(entries["toy-a"], SIZES["toy-crystals"]), [spent(10, 100, 1.0)])
    note_throughput(tmp_path, sidecar(entries["toy-b"], SIZES["toy-crystals"]), [spent(10, 100, 10.0)])
    tasks = [
        EmbedTask(entries[name], size, settings) for name in ("toy-a", "toy-b", "toy-c") for size in SIZES.values()
    ]
    order = [task.place for task in largest_first(tasks, tmp_path)]
    assert order == [
        ("toy-c", "toy-crystals"),
        ("toy-c", "toy-molecules"),
        ("toy-b", "toy-crystals"),
        ("toy-b", "toy-molecules"),
        ("toy-a", "toy-crystals"),
        ("toy-a", "toy-molecules"),
    ]
    assert throughput_of(tmp_path, "toy-c", "cpu") is None


def test_large_embeddings_are_split_into_spans_that_cover_all_shards(entries: dict[str, Entry], tmp_path: Path) -> None:
    from benchmark.embedding.extraction import EmbeddingSettings

    task = EmbedTask(entries["toy-a"], SIZES["toy-crystals"], EmbeddingSettings(cache=tmp_path, accelerator="cpu"))
    assert [each.span for each in task.parts(3)] == [range(0, 3), range(3, 6), range(6, 8)]
    assert task.parts(8) == task.parts(None) == []
