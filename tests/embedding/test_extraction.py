"""Embedding with adapters that behave and adapters that do not. Each starts a real worker process."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.datasets.store import Dataset, write_dataset
from benchmark.embedding import extraction
from benchmark.embedding.environment import Environment
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.extraction import EmbeddingSettings, embed, features_folder, find_features, load_embedded
from benchmark.embedding.output import Part
from benchmark.submission import LayerDeclaration
from tests.embedding.families import WELL_BEHAVED, this_environment, write_family, write_small_dataset

# The body of `embed` is what differs between these adapters.
ADAPTER = """
class Odd(Adapter):
    calls = 0

    def load(self, checkpoint, options, device):
        {load}

    def embed(self, inputs):
        self.calls += 1
        values = np.concatenate([scalars(atoms) for atoms in inputs])
        {embed}
        return Features({{"backbone": Layer(values)}})
"""


def adapter(embed: str = "pass", load: str = "pass") -> str:
    return ADAPTER.format(
        embed=textwrap.indent(textwrap.dedent(embed).strip(), " " * 8).strip(),
        load=textwrap.indent(textwrap.dedent(load).strip(), " " * 8).strip(),
    )


# How an adapter that means harm finds the folder that the worker writes to.
OUTPUT = 'output = Path(sys.argv[1]).parent / "output"\n'


@pytest.fixture
def fails(tmp_path: Path, dataset: Dataset, settings: EmbeddingSettings, environment: Environment) -> "Fails":
    return Fails(tmp_path, dataset, settings, environment)


class Fails:
    """Embeds with an adapter that must fail and returns the one line that it gives."""

    def __init__(self, folder: Path, dataset: Dataset, settings: EmbeddingSettings, environment: Environment) -> None:
        self.folder, self.dataset, self.settings, self.environment = folder, dataset, settings, environment

    def __call__(self, adapter: str, timeout: float = 120.0, **family: object) -> str:
        entry = write_family(self.folder / "toy", adapter, **family)  # type: ignore[arg-type]
        settings = dataclasses.replace(self.settings, timeout=timeout)
        with pytest.raises(EmbeddingError) as caught:
            embed(entry, self.dataset, settings, environment=self.environment)
        assert not list(self.settings.cache.glob("features/*/*.json"))
        line = str(caught.value)
        assert line.startswith(f"{self.folder / 'toy' / 'adapter.py'}: ")
        assert "\n" not in line
        return line.removeprefix(f"{self.folder / 'toy' / 'adapter.py'}: ")


def test_features_come_back_in_the_order_of_the_data_set(
    tmp_path: Path, dataset: Dataset, settings: EmbeddingSettings, environment: Environment
) -> None:
    entry = write_family(tmp_path / "toy")
    shares: list[float] = []
    sidecar = embed(entry, dataset, settings, environment=environment, progress=shares.append)
    structures = dataset.structures()
    features = load_embedded(settings.cache, sidecar.key, structures)
    values = features.layers["backbone"].values
    np.testing.assert_array_equal(values[:, 0], structures.numbers)
    assert shares[-1] == 1.0
    assert sidecar.dataset_fingerprint == dataset.card.fingerprint
    assert sidecar.provenance.packages == environment.packages
    assert sidecar.provenance.peak_memory_mb > 10
    assert not list((settings.cache / "work").iterdir())


def test_what_exists_is_not_computed_again(
    tmp_path: Path, dataset: Dataset, settings: EmbeddingSettings, environment: Environment
) -> None:
    entry = write_family(tmp_path / "toy")
    first = embed(entry, dataset, settings, environment=environment)
    # An interpreter that does not exist: starting a worker would fail.
    broken = dataclasses.replace(environment, python=Path("/nowhere/python"))
    assert embed(entry, dataset, settings, environment=broken) == first
    (tmp_path / "toy" / "adapter.py").write_text("# changed\n" + (tmp_path / "toy" / "adapter.py").read_text())
    with pytest.raises(OSError, match="nowhere"):
        embed(entry, dataset, settings, environment=broken)


def test_the_key_depends_on_options_and_packages_but_not_on_the_title(
    tmp_path: Path, dataset: Dataset, settings: EmbeddingSettings, environment: Environment
) -> None:
    def key(**changes: object) -> str:
        entry = write_family(tmp_path / "toy", options=changes.get("options"))  # type: ignore[arg-type]
        model = entry.model.model_copy(update={"title": changes.get("title", "Toy")})
        used = dataclasses.replace(environment, packages=changes.get("packages", environment.packages))  # type: ignore[arg-type]
        prepared = extraction.prepare(dataclasses.replace(entry, model=model), settings, used)
        return extraction.feature_key(prepared, dataset)

    assert key() == key(title="Another")
    assert len({key(), key(options={"head": 1}), key(packages={"numpy": "0"})}) == 3


def test_the_adapter_sees_neither_labels_nor_ids_nor_our_environment(
    tmp_path: Path,
    dataset: Dataset,
    settings: EmbeddingSettings,
    environment: Environment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    body = """
    assert not any(atoms.info or atoms.calc or atoms.has("tags") for atoms in inputs)
    assert "HF_TOKEN" not in os.environ
    assert os.environ["HOME"] != "{home}"
    import benchmark
    names = sorted(str(path.relative_to(Path(benchmark.__file__).parent))
                   for path in Path(benchmark.__file__).parent.rglob("*") if path.is_file())
    assert names == ["__init__.py", "adapter.py", "embedding/__init__.py", "embedding/worker.py"], names
    """.replace("{home}", os.environ.get("HOME", ""))
    embed(write_family(tmp_path / "toy", adapter(body)), dataset, settings, environment=environment)


def test_what_an_adapter_prints_disturbs_nothing_and_is_bounded(
    tmp_path: Path, dataset: Dataset, settings: EmbeddingSettings, environment: Environment
) -> None:
    body = """
    os.write(1, b"{}\\n\\xff\\x00" * 10_000_000)
    print("Traceback: error.json", file=sys.stderr)
    """
    entry = write_family(tmp_path / "toy", adapter(body))
    assert embed(entry, dataset, settings, environment=environment).structures == len(dataset.structures())


def test_an_adapter_that_raises_is_quoted(fails: Fails) -> None:
    line = fails(adapter('raise ValueError("no\\nidea")'))
    assert line.startswith("embed: raised ValueError: no idea (structures s")


def test_a_load_that_raises_is_named(fails: Fails) -> None:
    assert fails(adapter(load='raise KeyError("head")')).startswith("load: raised KeyError: 'head'")


def test_a_shard_that_changes_after_its_worker_ended_is_refused(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = extraction.read_part, set()

    def changed(place: Path, path: Path, *given: Any) -> Part:
        part = read(place, path, *given)
        again = path in seen
        seen.add(path)
        return dataclasses.replace(part, inputs=part.inputs[::-1]) if again else part

    monkeypatch.setattr(extraction, "read_part", changed)
    assert fails(WELL_BEHAVED) == "output: shard-00000.safetensors changed after the worker had ended"


def test_an_adapter_that_does_not_import_is_named(fails: Fails) -> None:
    assert fails("import no_such_package\n").startswith("load: raised ModuleNotFoundError")


def test_a_module_with_two_adapters_is_refused(fails: Fails) -> None:
    line = fails(WELL_BEHAVED + "\n\nclass Second(Descriptor):\n    pass\n")
    assert "adapter class: exactly one concrete subclass of Adapter is needed, found: Descriptor, Second" in line


def test_nan_is_refused_naming_layer_and_structures(fails: Fails) -> None:
    line = fails(adapter("values[0, 1] = np.nan"))
    assert line.startswith("layer backbone: NaN or infinite for 1 of 10 structures (structures s00")


def test_a_wrong_number_of_rows_is_refused(fails: Fails) -> None:
    line = fails(adapter("values = values[:-1]"))
    assert line.startswith("layer backbone: has shape (")
    assert "atoms;" in line


def test_columns_other_than_declared_are_refused(fails: Fails) -> None:
    line = fails(adapter("values = values[:, :3]"))
    assert line == "layer backbone: has 3 columns, submission.yaml declares dimension 4"


def test_layers_other_than_declared_are_refused(fails: Fails) -> None:
    declared = {"backbone": LayerDeclaration(dimension=4), "last_layer": LayerDeclaration(dimension=2)}
    line = fails(adapter(), layers=declared)
    assert line == "layers: the adapter gives ['backbone'], submission.yaml declares ['backbone', 'last_layer']"


def test_a_level_other_than_declared_is_refused(fails: Fails) -> None:
    line = fails(adapter(), layers={"backbone": LayerDeclaration(dimension=4, level="structure")})
    assert line.startswith("layer backbone: level is 'atom', submission.yaml declares 'structure'")


def test_something_that_is_not_features_is_refused(fails: Fails) -> None:
    assert fails(adapter("return values")).startswith("embed: returned ndarray, not Features")


def test_a_hang_is_ended_after_the_timeout(fails: Fails) -> None:
    started = time.monotonic()
    line = fails(adapter("time.sleep(1000)"), timeout=3)
    assert line == "embed: timed out after 3 s without progress"
    assert time.monotonic() - started < 60


def test_children_of_a_hanging_adapter_are_ended_too(fails: Fails, tmp_path: Path) -> None:
    note = tmp_path / "child"
    body = f"""
    import subprocess
    child = subprocess.Popen(["sleep", "1000"])
    Path({str(note)!r}).write_text(str(child.pid))
    time.sleep(1000)
    """
    fails(adapter(body), timeout=3)
    child = int(note.read_text())
    for _ in range(50):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            return
        time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("os._exit(3)", "process: the worker ended: exit code 3"),
        ("os._exit(0)", "output: the worker ended without writing shard-00000.safetensors"),
        ("sys.exit(0)", "embed: raised SystemExit: 0"),
        ("import signal; os.kill(os.getpid(), signal.SIGKILL)", "process: the worker ended: killed by SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", "process: the worker ended: killed by SIGSEGV"),
    ],
)
def test_a_worker_that_ends_itself_is_reported(fails: Fails, body: str, expected: str) -> None:
    assert fails(adapter(body)).startswith(expected)


def test_files_that_nobody_asked_for_are_refused(fails: Fails) -> None:
    line = fails(adapter(OUTPUT + '(output / "features.pkl").write_bytes(b"x")'))
    assert line == "output: unexpected file 'features.pkl' in the output folder"


@pytest.mark.parametrize(
    ("trick", "expected"),
    [
        ("shard.symlink_to('/etc/passwd')", "shard-00000.safetensors is not a regular file"),
        ("os.mkfifo(shard)", "shard-00000.safetensors is not a regular file"),
        ("shard.mkdir()", "shard-00000.safetensors is not a regular file"),
        ("shard.write_bytes(b'x' * 100)", "shard-00000.safetensors is no safetensors file"),
        ("shard.write_bytes(b'x' * 50_000_000)", "shard-00000.safetensors has 50000000 bytes, at most"),
        ("import pickle; shard.write_bytes(pickle.dumps([1]))", "shard-00000.safetensors is no safetensors file"),
    ],
)
def test_a_forged_shard_is_refused(fails: Fails, trick: str, expected: str) -> None:
    body = OUTPUT + f'shard = output / "shard-00000.safetensors"\n{trick}\nos._exit(0)'
    assert fails(adapter(body)).startswith(f"output: {expected}")


def test_forged_messages_are_not_believed(fails: Fails) -> None:
    body = OUTPUT + (
        '(output / "progress.json").write_text("[" * 100000)\n'
        '(output / "error.json").symlink_to("/etc/passwd")\n'
        "os._exit(1)"
    )
    assert fails(adapter(body)).startswith("process: the worker ended: exit code 1")


def test_batches_halve_until_they_fit_into_memory(
    tmp_path: Path, dataset: Dataset, settings: EmbeddingSettings, environment: Environment
) -> None:
    whole = embed(write_family(tmp_path / "toy", adapter()), dataset, settings, environment=environment)
    body = 'if len(inputs) > 2: raise RuntimeError("CUDA out of memory. Tried to allocate")'
    halved = embed(write_family(tmp_path / "toy", adapter(body)), dataset, settings, environment=environment)
    assert halved.key != whole.key
    assert halved.arrays_sha256 == whole.arrays_sha256


def test_a_structure_that_does_not_fit_alone_is_named(fails: Fails) -> None:
    line = fails(adapter("if any(len(atoms) == 8 for atoms in inputs): raise MemoryError"))
    assert line.startswith("memory: one structure alone does not fit into memory (structures s00")


def test_an_interrupted_run_resumes_to_the_same_bits(
    tmp_path: Path, settings: EmbeddingSettings, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "SHARD_STRUCTURES", 2)
    monkeypatch.setattr(extraction, "audit", lambda *_: None)  # its calls would count too
    dataset = write_small_dataset(tmp_path / "data" / "small")
    undisturbed = embed(
        write_family(tmp_path / "a" / "toy", adapter()),
        dataset,
        dataclasses.replace(settings, cache=tmp_path / "other"),
        environment=environment,
    )
    note = tmp_path / "calls"
    # Dies in the third shard the first time; the second run must start there. One byte is written a call.
    body = f"""
    with open({str(note)!r}, "a") as stream: stream.write("x")
    if os.path.getsize({str(note)!r}) == 3: os._exit(9)
    """
    entry = write_family(tmp_path / "b" / "toy", adapter(body))
    with pytest.raises(EmbeddingError, match="exit code 9"):
        embed(entry, dataset, settings, environment=environment)
    resumed = embed(entry, dataset, settings, environment=environment)
    assert resumed.arrays_sha256 == undisturbed.arrays_sha256
    assert note.stat().st_size == 5 + 1  # five shards, and the one that died
    # What the first process took went with it; its two shards count like those of the second one.
    (measured,) = (settings.cache / "throughput" / "toy").glob("*.json")
    (run,) = json.loads(measured.read_text())["runs"]
    assert 0 < run["structures"] < resumed.structures
    expected = run["wall_seconds"] * resumed.structures / run["structures"]
    assert resumed.provenance.wall_seconds == pytest.approx(expected, abs=1e-3)


RUN = """
import sys
from pathlib import Path
from benchmark.datasets.store import load_dataset
from benchmark.embedding import extraction
from tests.embedding.families import this_environment, write_family
extraction.SHARD_STRUCTURES = 2
folder = Path(sys.argv[1])
entry = write_family(folder / "toy", (folder / "body.py").read_text())
settings = extraction.EmbeddingSettings(folder / "cache", threads=1, sandbox="none")
extraction.embed(entry, load_dataset(folder / "data" / "small"), settings, environment=this_environment())
"""


def test_kill_9_of_everything_leaves_nothing_half_done_and_no_orphan(tmp_path: Path) -> None:
    write_small_dataset(tmp_path / "data" / "small")
    note = tmp_path / "pid"
    body = adapter(f"Path({str(note)!r}).write_text(str(os.getpid()))\ntime.sleep(0.3 if self.calls < 3 else 1000)")
    (tmp_path / "body.py").write_text(body)
    run = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)], cwd=Path(__file__).parents[2])
    output = tmp_path / "cache" / "work"
    try:
        for _ in range(600):
            if len(list(output.glob("*/output/shard-*.safetensors"))) == 2:
                break
            time.sleep(0.1)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    worker = int(note.read_text())
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists():
            break
        time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert not list(tmp_path.glob("cache/features/*/*"))
    job = json.loads(next(output.glob("*/job.json")).read_text())
    assert [step["name"] for step in job["steps"]] == [f"shard-{number:05d}" for number in range(5)]


def test_strings_are_embedded_when_the_data_set_has_them(
    tmp_path: Path, dataset: Dataset, settings: EmbeddingSettings
) -> None:
    entry = write_family(tmp_path / "toy", adapter(), modality="smiles")
    with pytest.raises(EmbeddingError, match=r"submission\.yaml: field modality: the data set has no smiles strings"):
        embed(entry, dataset, settings, environment=this_environment())


def test_a_damaged_product_is_not_taken_for_a_whole_one(
    tmp_path: Path, dataset: Dataset, settings: EmbeddingSettings, environment: Environment
) -> None:
    sidecar = embed(write_family(tmp_path / "toy"), dataset, settings, environment=environment)
    folder = features_folder(settings.cache, sidecar.key)
    (folder / "features.json").unlink()
    assert find_features(settings.cache, sidecar.key) is None
    again = embed(write_family(tmp_path / "toy"), dataset, settings, environment=environment)
    assert again.arrays_sha256 == sidecar.arrays_sha256


def test_the_adapter_gets_charge_and_spin_where_the_data_set_has_them(
    tmp_path: Path, settings: EmbeddingSettings, environment: Environment
) -> None:
    plain = write_small_dataset(tmp_path / "plain")
    structures = plain.structures()
    charges = np.arange(len(structures)) % 3 - 1
    charged = dataclasses.replace(structures, charges=charges, spins=np.abs(charges) + 1)
    card = {**plain.card.model_dump(exclude={"structures", "fingerprint"}), "id": "charged"}
    dataset = write_dataset(tmp_path / "charged", card, charged, plain.labels())
    assert dataset.card.fingerprint != plain.card.fingerprint
    assert dataset.structures().atoms(0).info == {"charge": -1, "spin": 2}
    body = """
    assert all(set(atoms.info) == {"charge", "spin"} for atoms in inputs)
    values[:, 0] = np.concatenate([[10 * atoms.info["charge"] + atoms.info["spin"]] * len(atoms) for atoms in inputs])
    """
    entry = write_family(tmp_path / "toy", adapter(body))
    key = embed(entry, dataset, settings, environment=environment).key
    values = load_embedded(settings.cache, key, dataset.structures()).structures("backbone")[:, 0]
    np.testing.assert_array_equal(values, 10 * charges + np.abs(charges) + 1)
