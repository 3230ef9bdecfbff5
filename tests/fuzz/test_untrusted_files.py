"""Files from outside, damaged and made up: each is read, or refused in one printable line, and nothing is written.

A hang shows as a missed deadline.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from benchmark.datasets.store import load_dataset, structures_from_atoms
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.features import load_features
from benchmark.embedding.header import read_header
from benchmark.embedding.output import read_left_out, read_part
from benchmark.embedding.process import read_message
from benchmark.results.records import read_record
from benchmark.schema import InvalidFileError
from benchmark.submission import LayerDeclaration, load_submissions
from benchmark.suite import load_suite, suites
from tests.embedding.families import HEADER, write_small_dataset
from tests.end_to_end.toy_board import toy_model

REPOSITORY = Path(__file__).parents[2]
fuzzed = settings(
    max_examples=80,
    deadline=datetime.timedelta(seconds=20),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    derandomize=True,
)

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["../../etc/passwd", "/etc/passwd", "\x1b[2J\n", "${jndi:x}", "0" * 64, "1e400", "a" * 3000, "FILL IN"]
    ),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.dates(), st.just(10**400), st.binary(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
# What a reader of YAML, of JSON or of a header may stumble over.
TROUBLE = [
    b"",
    b"\x00\x01\x02",
    b"\xff\xfe" + "a: 1".encode("utf-16-le"),
    b"[" * 5_000,
    b"{" * 5_000,
    b"- " * 5_000,
    b"a: &a [*a]",
    b"a: &a {b: *a}",
    b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 108)),
    b"!!python/object/apply:os.system ['touch /tmp/owned']",
    b"? {a: b}\n: c",
    b"2026-13-45",
    b"a: 2026-02-30",
    b"1: 2\n1: 3",
    b"<<: 3",
    b"a: !!binary '*'",
    b"a: " + b"9" * 10_000,
    b"a: 1:99:99:99",
    b"%YAML 9.9\n---\n",
    b"---\na: 1\n---\nb: 2\n",
    b"=",
    b"a: .nan",
]


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Fails when anything in `folder` is another one afterwards."""

    def state() -> dict[str, str]:
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    before = state()
    yield
    assert state() == before


def refused_at_most(call: Callable[[], Any], *errors: type[Exception]) -> Any:
    """What `call` returns, or None when it refuses in one printable line of bearable length."""
    try:
        return call()
    except errors as error:
        line = str(error)
        assert line.isprintable() and len(line) < 6000, line[:200]
        return None


def mutated(whole: Any, place: int, value: Any, what: int) -> Any:
    """A copy of `whole` with the value at one place replaced, removed, or given a neighbour."""
    copy = json.loads(json.dumps(whole, default=str))
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, inner in list(pairs):
            places.append((node, key))
            walk(inner)

    walk(copy)
    node, key = places[place % len(places)]
    if what == 0:
        node[key] = value
    elif what == 1:
        del node[key]
    elif isinstance(node, dict):
        node[str(value)] = value
    else:
        node.insert(0, value)
    return copy


def cut_and_changed(content: bytes, start: int, change: bytes) -> bytes:
    """`content` with some bytes overwritten, or cut off there."""
    start %= len(content) + 1
    return content[:start] + change + content[start + len(change) :] if change else content[:start]


LAYERS = {"backbone": {"dimension": 12}, "equivariant": {"dimension": 8, "irreps": "2x0e+2x1o"}}
SUBMISSION = {
    "family": "toy",
    "title": "Toy",
    "description": "A toy.",
    "modality": "atoms",
    "symmetry": "invariant",
    "authors": ["Nobody"],
    "links": {"code": "https://example.org"},
    "licence": {"code": "Apache-2.0"},
    "models": [
        toy_model("toy-a", 1),
        toy_model(
            "toy-b", 2, checkpoint={"kind": "url", "url": "https://example.org/w", "file": "w", "sha256": "0" * 64}
        ),
        toy_model("toy-c", 3, fine_tuned_from="toy-a", layers=LAYERS),
    ],
}


def _reads_submission(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "submissions" / "toy"
        folder.mkdir(parents=True)
        (folder / "submission.yaml").write_bytes(content)
        (folder / "adapter.py").write_text(HEADER)
        with unchanged(Path(name)):
            entries, broken = load_submissions(folder.parent)
        for submission in broken:
            assert submission.message.isprintable() and len(submission.message) < 6000
            assert all(model.isprintable() for model in submission.models)
        assert len(broken) <= 1
        assert not (entries and broken) or len(entries) < 3


def test_the_submission_that_is_mutated_is_itself_accepted(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "submission.yaml").write_text(yaml.safe_dump(SUBMISSION))
    (tmp_path / "toy" / "adapter.py").write_text(HEADER)
    entries, broken = load_submissions(tmp_path)
    assert not broken
    assert sorted(entries) == ["toy-a", "toy-b", "toy-c"]


@pytest.mark.parametrize("content", TROUBLE, ids=range(len(TROUBLE)))
def test_every_reader_survives_what_readers_stumble_over(content: bytes, tmp_path: Path) -> None:
    _reads_submission(content)
    _reads_submission(yaml.safe_dump(SUBMISSION).encode() + content)
    path = tmp_path / "quick.yaml"
    path.write_bytes(content)
    refused_at_most(lambda: load_suite(path), InvalidFileError)
    refused_at_most(lambda: read_record(path), InvalidFileError)
    refused_at_most(lambda: read_header(path), EmbeddingError)
    assert isinstance(read_message(path), dict)
    (tmp_path / "dataset.yaml").write_bytes(content)
    refused_at_most(lambda: load_dataset(tmp_path), InvalidFileError)


@fuzzed
@given(st.integers(0, 10**6), VALUES, st.integers(0, 2))
def test_a_submission_with_another_value(place: int, value: Any, what: int) -> None:
    _reads_submission(yaml.safe_dump(mutated(SUBMISSION, place, value, what)).encode())


@fuzzed
@given(st.integers(0, 10**6), st.one_of(st.binary(max_size=6), st.sampled_from(TROUBLE[:12])))
def test_a_submission_with_other_bytes(start: int, change: bytes) -> None:
    _reads_submission(cut_and_changed(yaml.safe_dump(SUBMISSION).encode(), start, change))


@fuzzed
@given(VALUES)
@example({"models": [{"id": ["x"]}, {"id": {"a": 1}}, 3]})
@example({"models": {"id": "\x1b[2J"}})
def test_any_value_as_a_submission(value: Any) -> None:
    _reads_submission(yaml.safe_dump(value).encode())


@fuzzed
@given(st.integers(0, 10**6), VALUES, st.integers(0, 2))
def test_a_suite_with_another_value(place: int, value: Any, what: int) -> None:
    quick = suites()["quick"].model_dump(mode="json")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "quick.yaml"
        path.write_text(yaml.safe_dump(mutated(quick, place, value, what)))
        with unchanged(Path(name)):
            refused_at_most(lambda: load_suite(path), InvalidFileError)


RECORD = {
    "key": "0" * 64,
    "suite": "quick",
    "suite_version": 1,
    "model": "toy",
    "family": "toy",
    "control": None,
    "status": "failed",
    "reason": "why not",
    "reproduce": "latent-matter run",
    "features": {"crystals": "0" * 64},
    "conformance": [{"id": "rotation", "status": "failed", "detail": "far", "measured": 1.0, "tolerance": 0.1}],
}


@fuzzed
@given(st.integers(0, 10**6), VALUES, st.integers(0, 2), st.integers(0, 10**6), st.binary(max_size=4))
def test_a_record_with_another_value_and_other_bytes(
    place: int, value: Any, what: int, start: int, change: bytes
) -> None:
    whole = json.dumps(mutated(RECORD, place, value, what), default=str).encode()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "toy.json"
        for content in (whole, cut_and_changed(whole, start, change)):
            path.write_bytes(content)
            with unchanged(Path(name)):
                refused_at_most(lambda: read_record(path), InvalidFileError)


@fuzzed
@given(st.integers(0, 10**6), st.one_of(TEXTS.map(str.encode), st.binary(max_size=6)))
@example(25, b"\n# ]]]]\n#")
def test_a_header_with_other_bytes(start: int, change: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "adapter.py"
        path.write_bytes(cut_and_changed(HEADER.encode(), start, change))
        with unchanged(Path(name)):
            refused_at_most(lambda: read_header(path), EmbeddingError)


DECLARED = {"backbone": LayerDeclaration(dimension=3), "equivariant": LayerDeclaration(dimension=3, irreps="1x1o")}
LENGTHS = np.array([2, 3], dtype=np.int64)
METADATA = {
    "step": "shard-00000",
    "layers": json.dumps(
        {"backbone": {"level": "atom", "irreps": None}, "equivariant": {"level": "atom", "irreps": "1x1o"}}
    ),
    "left_out": "{}",
}
ROWS = np.arange(15, dtype=np.float32).reshape(5, 3)
PART = {"layer.backbone": ROWS, "layer.equivariant": ROWS, "energies": np.zeros(2)}


def _reads_part(content: bytes) -> Any:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "shard-00000.safetensors"
        path.write_bytes(content)
        with unchanged(Path(name)):
            return refused_at_most(
                lambda: read_part(Path("adapter.py"), path, [0, 1], LENGTHS, DECLARED), EmbeddingError
            )


def test_the_part_that_is_mutated_is_itself_accepted() -> None:
    assert _reads_part(save(PART, METADATA)).inputs == (0, 1)


@fuzzed
@given(st.integers(0, 10**6), st.binary(max_size=8))
def test_a_feature_file_with_other_bytes(start: int, change: bytes) -> None:
    _reads_part(cut_and_changed(save(PART, METADATA), start, change))


@fuzzed
@given(st.integers(0, 10**6), VALUES, st.integers(0, 2), st.binary(max_size=200))
def test_a_feature_file_with_another_header(place: int, value: Any, what: int, data: bytes) -> None:
    content = save(PART, METADATA)
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(mutated(json.loads(content[8 : 8 + length]), place, value, what), default=str).encode()
    _reads_part(len(header).to_bytes(8, "little") + header + content[8 + length :])
    _reads_part(len(header).to_bytes(8, "little") + header + data)


@fuzzed
@given(st.dictionaries(TEXTS, TEXTS, max_size=3), VALUES)
def test_a_feature_file_with_other_metadata(metadata: dict[str, str], value: Any) -> None:
    said = {**METADATA, **metadata, "left_out": json.dumps(value, default=str)}
    refused_at_most(lambda: read_left_out(Path("adapter.py"), said, [0, 1]), EmbeddingError)
    described = {**METADATA, "layers": json.dumps(value, default=str)}
    _reads_part(save(PART, described))


def _sidecar(content: bytes) -> dict[str, Any]:
    """A sidecar that fits `content`."""
    return {
        "format": 1,
        "key": "0" * 64,
        "model": "toy",
        "dataset": "small",
        "dataset_fingerprint": "0" * 64,
        "structures": 2,
        "atoms": 5,
        "layers": {"backbone": {"level": "atom", "dimension": 3, "irreps": None}},
        "has_energies": False,
        "arrays_sha256": hashlib.sha256(content).hexdigest(),
        "left_out": {},
        "provenance": {
            "adapter_tree": "0" * 64,
            "checkpoint_sha256": None,
            "environment": "0" * 64,
            "packages": {"numpy": "2"},
            "python": "3.11",
            "device": "cpu",
            "hardware": "a computer",
            "sandbox": "process",
            "wall_seconds": 1.0,
            "peak_memory_mb": 1.0,
            "code": "latent-matter",
        },
    }


def _reads_features(content: bytes, sidecar: Any) -> Any:
    images = [Atoms("H2"), Atoms("H3")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "features.safetensors").write_bytes(content)
        (folder / "features.json").write_text(json.dumps(sidecar, default=str))
        with unchanged(folder):
            structures = structures_from_atoms(["a", "b"], images)
            return refused_at_most(lambda: load_features(folder, "features", structures), InvalidFileError)


def test_the_product_that_is_mutated_is_itself_accepted() -> None:
    content = save({"layer.backbone": ROWS})
    assert _reads_features(content, _sidecar(content)).layers["backbone"].values.shape == (5, 3)


@fuzzed
@given(st.integers(0, 10**6), st.binary(max_size=8))
def test_stored_features_with_other_bytes(start: int, change: bytes) -> None:
    content = cut_and_changed(save({"layer.backbone": ROWS}), start, change)
    _reads_features(content, _sidecar(content))


@fuzzed
@given(st.integers(0, 10**6), VALUES, st.integers(0, 2))
@example(16, "structure", 0)
def test_stored_features_with_another_sidecar(place: int, value: Any, what: int) -> None:
    content = save({"layer.backbone": ROWS})
    _reads_features(content, mutated(_sidecar(content), place, value, what))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a small data set."""
    folder = tmp_path_factory.mktemp("data") / "small"
    write_small_dataset(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _reads_dataset(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "small"
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)

        def read() -> None:
            dataset = load_dataset(folder)
            dataset.structures()
            dataset.labels()

        with unchanged(folder):
            refused_at_most(read, InvalidFileError)


@fuzzed
@given(
    st.sampled_from(["structures.parquet", "labels.parquet", "dataset.yaml"]),
    st.integers(0, 10**6),
    st.binary(max_size=8),
)
def test_a_data_set_with_other_bytes(stored: dict[str, bytes], file: str, start: int, change: bytes) -> None:
    _reads_dataset({**stored, file: cut_and_changed(stored[file], start, change)})


@fuzzed
@given(st.integers(0, 10**6), VALUES, st.integers(0, 2))
def test_a_data_set_with_another_card(stored: dict[str, bytes], place: int, value: Any, what: int) -> None:
    card = yaml.safe_load(stored["dataset.yaml"])
    _reads_dataset({**stored, "dataset.yaml": yaml.safe_dump(mutated(card, place, value, what)).encode()})


@pytest.mark.parametrize("missing", ["structures.parquet", "labels.parquet", "dataset.yaml"])
def test_a_data_set_without_one_of_its_files(stored: dict[str, bytes], missing: str) -> None:
    _reads_dataset({name: content for name, content in stored.items() if name != missing})
