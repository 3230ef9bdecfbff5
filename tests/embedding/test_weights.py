import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmark.embedding.environment import Environment
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.weights import CHECKPOINTS_VARIABLE, digest, resolve_weights
from benchmark.submission import Entry, HuggingFaceCheckpoint, LocalCheckpoint, PackageCheckpoint, UrlCheckpoint
from tests.embedding.families import write_family

CONTENT = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REVISION = "0123456789" * 4


class Hub(ThreadingHTTPServer):
    """Serves CONTENT; remembers what was asked for; breaks off, refuses or ignores ranges on request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None, str | None]] = []
        self.break_after: list[int] = []
        self.status: int | None = None
        self.ranges = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked, self.headers.get("Authorization")))
        if self.path.startswith("/api/"):
            body = json.dumps({"sha": REVISION}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        if self.server.status is not None:
            self.send_error(self.server.status)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        body = CONTENT[start:]
        if self.server.break_after:
            body = body[: self.server.break_after.pop(0)]
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        del arguments


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(autouse=True)
def no_checkpoints_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(CHECKPOINTS_VARIABLE, raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hugging-face"))


def at_url(folder: Path, hub: Hub, sha256: str = SHA256) -> Entry:
    checkpoint = UrlCheckpoint(kind="url", url=f"{hub.address}/model.bin", file="model.bin", sha256=sha256)  # type: ignore[arg-type]
    return write_family(folder / "toy", checkpoint=checkpoint)


def on_hugging_face(folder: Path, **fields: Any) -> Entry:
    checkpoint = HuggingFaceCheckpoint(
        kind="huggingface", repository="group/model", revision=REVISION, file="deep/model 1.bin", **fields
    )
    return write_family(folder / "toy", checkpoint=checkpoint)


def test_a_model_without_checkpoint_has_no_weights(tmp_path: Path, environment: Environment) -> None:
    weights = resolve_weights(write_family(tmp_path / "toy"), environment, tmp_path)
    assert (weights.path, weights.sha256) == (None, None)


def test_a_package_file_is_found_and_verified(tmp_path: Path, environment: Environment) -> None:
    file = environment.site_packages / "numpy" / "version.py"
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    entry = write_family(
        tmp_path / "toy", checkpoint=PackageCheckpoint(kind="package", file="numpy/version.py", sha256=sha256)
    )
    assert resolve_weights(entry, environment, tmp_path).path == file
    wrong = write_family(
        tmp_path / "toy", checkpoint=PackageCheckpoint(kind="package", file="numpy/version.py", sha256="0" * 64)
    )
    expected = rf"submission\.yaml: field models\.toy\.checkpoint: .*version\.py: sha256 is {sha256}, .* declares 0000"
    with pytest.raises(EmbeddingError, match=expected):
        resolve_weights(wrong, environment, tmp_path)
    absent = write_family(
        tmp_path / "toy", checkpoint=PackageCheckpoint(kind="package", file="numpy/nothing.pt", sha256=sha256)
    )
    with pytest.raises(EmbeddingError, match=r"nothing\.pt: no such file"):
        resolve_weights(absent, environment, tmp_path)


def test_a_download_is_verified_and_happens_once(tmp_path: Path, environment: Environment, hub: Hub) -> None:
    entry = at_url(tmp_path, hub)
    shares: list[float] = []
    weights = resolve_weights(entry, environment, tmp_path / "cache", progress=shares.append)
    assert weights.path is not None and weights.path.read_bytes() == CONTENT
    assert weights.sha256 == SHA256
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert resolve_weights(entry, environment, tmp_path / "cache", offline=True) == weights
    assert len(hub.requests) == 1


def test_a_broken_download_resumes_where_it_stopped(tmp_path: Path, environment: Environment, hub: Hub) -> None:
    hub.break_after = [2_000_000, 1_000_000]
    weights = resolve_weights(at_url(tmp_path, hub), environment, tmp_path / "cache")
    assert weights.path is not None and weights.path.read_bytes() == CONTENT
    assert [asked for _, asked, _ in hub.requests] == [None, "bytes=2000000-", "bytes=3000000-"]


def test_a_server_without_ranges_starts_over(tmp_path: Path, environment: Environment, hub: Hub) -> None:
    hub.break_after = [2_000_000]
    hub.ranges = False
    weights = resolve_weights(at_url(tmp_path, hub), environment, tmp_path / "cache")
    assert weights.path is not None and weights.path.read_bytes() == CONTENT


def test_a_download_with_another_hash_is_refused_and_not_kept(
    tmp_path: Path, environment: Environment, hub: Hub
) -> None:
    entry = at_url(tmp_path, hub, sha256="f" * 64)
    with pytest.raises(EmbeddingError, match=rf"/model\.bin: sha256 of the file is {SHA256}, .* declares ffff"):
        resolve_weights(entry, environment, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("model.bin*") if path.suffix != ".lock"]


def test_a_missing_file_is_named(tmp_path: Path, environment: Environment, hub: Hub) -> None:
    hub.status = 404
    with pytest.raises(EmbeddingError, match=r"/model\.bin: HTTP 404 \(no such file\)"):
        resolve_weights(at_url(tmp_path, hub), environment, tmp_path / "cache")
    assert len(hub.requests) == 1


def test_offline_never_asks_the_network(tmp_path: Path, environment: Environment, hub: Hub) -> None:
    with pytest.raises(EmbeddingError, match="offline"):
        resolve_weights(at_url(tmp_path, hub), environment, tmp_path / "cache", offline=True)
    assert hub.requests == []


def test_the_hub_is_asked_at_the_full_commit_with_the_users_token(
    tmp_path: Path, environment: Environment, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("HF_TOKEN", "secret")
    weights = resolve_weights(on_hugging_face(tmp_path), environment, tmp_path / "cache")
    assert weights.sha256 == SHA256
    assert hub.requests == [(f"/group/model/resolve/{REVISION}/deep/model%201.bin", None, "Bearer secret")]


def test_a_gated_repository_says_how_to_get_access(
    tmp_path: Path, environment: Environment, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    hub.status = 403
    with pytest.raises(
        EmbeddingError, match=r"ask for access at https://huggingface\.co/group/model, then set HF_TOKEN"
    ):
        resolve_weights(on_hugging_face(tmp_path, gated=True), environment, tmp_path / "cache")


def test_a_local_file_may_stand_in_if_it_is_the_declared_one(
    tmp_path: Path, environment: Environment, hub: Hub
) -> None:
    local = tmp_path / "local.bin"
    local.write_bytes(CONTENT)
    entry = at_url(tmp_path, hub)
    assert resolve_weights(entry, environment, tmp_path / "cache", override=local).path == local
    local.write_bytes(b"other")
    with pytest.raises(EmbeddingError, match=r"local\.bin: sha256 is .* declares"):
        resolve_weights(entry, environment, tmp_path / "cache", override=local)
    with pytest.raises(EmbeddingError, match="kind is none"):
        resolve_weights(write_family(tmp_path / "toy"), environment, tmp_path / "cache", override=local)
    assert hub.requests == []


def several_files(folder: Path, **fields: Any) -> Entry:
    checkpoint = HuggingFaceCheckpoint(
        kind="huggingface", repository="group/model", files=["config.json", "deep/weights.bin"], **fields
    )
    return write_family(folder / "toy", checkpoint=checkpoint)


def test_several_files_come_as_a_folder(
    tmp_path: Path, environment: Environment, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    entry = several_files(tmp_path, revision=REVISION)
    weights = resolve_weights(entry, environment, tmp_path / "cache")
    assert weights.path is not None and weights.pinned
    assert {path.relative_to(weights.path).as_posix() for path in weights.path.rglob("*") if path.is_file()} == {
        "config.json",
        "deep/weights.bin",
    }
    assert weights.sha256 == digest(weights.path)
    assert resolve_weights(entry, environment, tmp_path / "cache", offline=True) == weights
    assert len(hub.requests) == 2
    (weights.path / "config.json").write_text("changed")
    pinned = several_files(tmp_path, revision=REVISION, sha256=weights.sha256)
    with pytest.raises(EmbeddingError, match=r"sha256 is .* declares"):
        resolve_weights(pinned, environment, tmp_path / "cache", offline=True)


def test_without_a_commit_the_newest_is_taken_and_said(
    tmp_path: Path, environment: Environment, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    checkpoint = HuggingFaceCheckpoint(kind="huggingface", repository="group/model", file="model.bin")
    entry = write_family(tmp_path / "toy", checkpoint=checkpoint)
    with pytest.raises(EmbeddingError, match="group/model: not fetched yet"):
        resolve_weights(entry, environment, tmp_path / "cache", offline=True)
    weights = resolve_weights(entry, environment, tmp_path / "cache")
    assert (weights.revision, weights.pinned, weights.sha256) == (REVISION, False, SHA256)
    assert [path for path, _, _ in hub.requests] == [
        "/api/models/group/model/revision/main",
        f"/group/model/resolve/{REVISION}/model.bin",
    ]
    assert resolve_weights(entry, environment, tmp_path / "cache", offline=True) == weights


def test_a_download_without_declared_hash_is_kept_and_not_called_pinned(
    tmp_path: Path, environment: Environment, hub: Hub
) -> None:
    checkpoint = UrlCheckpoint(kind="url", url=f"{hub.address}/model.bin", file="model.bin")  # type: ignore[arg-type]
    entry = write_family(tmp_path / "toy", checkpoint=checkpoint)
    weights = resolve_weights(entry, environment, tmp_path / "cache")
    assert (weights.sha256, weights.pinned) == (SHA256, False)
    assert resolve_weights(entry, environment, tmp_path / "cache", offline=True) == weights


def test_files_at_hand_replace_a_download_when_they_are_the_declared_ones(
    tmp_path: Path, environment: Environment, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_hand = tmp_path / "at-hand"
    (at_hand / "old").mkdir(parents=True)
    (at_hand / "new").mkdir()
    (at_hand / "old" / "model.bin").write_bytes(b"an older version")
    (at_hand / "new" / "model.bin").write_bytes(CONTENT)
    monkeypatch.setenv(CHECKPOINTS_VARIABLE, str(at_hand))
    weights = resolve_weights(at_url(tmp_path, hub), environment, tmp_path / "cache")
    assert (weights.path, weights.sha256) == (at_hand / "new" / "model.bin", SHA256)
    assert hub.requests == []
    unsure = write_family(tmp_path / "toy", checkpoint=LocalCheckpoint(kind="local", file="model.bin"))
    with pytest.raises(EmbeddingError, match=r"different files of that name: .*new/model\.bin, .*old/model\.bin"):
        resolve_weights(unsure, environment, tmp_path / "cache")


def test_a_folder_at_hand_needs_the_repositorys_name_and_all_files(
    tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_hand = tmp_path / "at-hand" / "model"
    (at_hand / "deep").mkdir(parents=True)
    (at_hand / "config.json").write_text("{}")
    (at_hand / "notes.txt").write_text("not one of the files")
    monkeypatch.setenv(CHECKPOINTS_VARIABLE, str(tmp_path / "at-hand"))
    entry = several_files(tmp_path, revision=REVISION)
    with pytest.raises(EmbeddingError, match="not fetched yet"):
        resolve_weights(entry, environment, tmp_path / "cache", offline=True)
    (at_hand / "deep" / "weights.bin").write_bytes(CONTENT)
    assert resolve_weights(entry, environment, tmp_path / "cache", offline=True).path == at_hand


def test_a_file_that_nobody_publishes_is_asked_for(tmp_path: Path, environment: Environment) -> None:
    entry = write_family(tmp_path / "toy", checkpoint=LocalCheckpoint(kind="local", file="mine.pt"))
    with pytest.raises(EmbeddingError, match=r"mine\.pt is published nowhere: give it with --checkpoint toy=PATH"):
        resolve_weights(entry, environment, tmp_path / "cache")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "part").write_text("x")
    weights = resolve_weights(entry, environment, tmp_path / "cache", override=tmp_path / "mine")
    assert weights.sha256 == digest(tmp_path / "mine")


def test_the_token_of_a_login_is_used(
    tmp_path: Path, environment: Environment, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    (tmp_path / "hugging-face").mkdir()
    (tmp_path / "hugging-face" / "token").write_text("from-login\n")
    resolve_weights(on_hugging_face(tmp_path), environment, tmp_path / "cache")
    assert hub.requests[0][2] == "Bearer from-login"
