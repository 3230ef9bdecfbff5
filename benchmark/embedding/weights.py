"""Declared weights, fetched and verified by the trusted side before any code of a submission runs.

Downloads resume where they stopped and lie in `<cache>/weights/`. A file is used only after its
SHA-256 was compared with the declared one (or, for a Hugging Face file without one, was fetched at
a full commit).
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from benchmark.embedding.environment import Environment
from benchmark.embedding.errors import EmbeddingError, Progress
from benchmark.files import sha256_of_bytes, sha256_of_file
from benchmark.submission import (
    Checkpoint,
    Entry,
    HuggingFaceCheckpoint,
    NoCheckpoint,
    PackageCheckpoint,
)

CHUNK = 1 << 20
ATTEMPTS = 5
TIMEOUT = 60.0


@dataclass(frozen=True)
class Weights:
    """A verified local file, or neither path nor hash for a model that loads nothing."""

    path: Path | None
    sha256: str | None


def resolve_weights(
    entry: Entry,
    environment: Environment,
    cache: Path,
    *,
    override: Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Weights:
    """The weights that `entry` declares, or the local file `override` in their place.

    Raises EmbeddingError naming submission.yaml and the field when the file is missing, cannot be
    fetched, or does not have the declared SHA-256.
    """
    place = entry.family.folder / "submission.yaml"
    field = f"field models.{entry.model.id}.checkpoint"
    checkpoint = entry.model.checkpoint
    try:
        if isinstance(checkpoint, NoCheckpoint):
            if override is not None:
                raise _Problem(f"kind is none, so the local file {override} has no use")
            return Weights(None, None)
        path = override or _locate(checkpoint, environment, Path(cache) / "weights", offline, progress)
        # Records are published: this machine's folders stay out of their reasons.
        packaged = isinstance(checkpoint, PackageCheckpoint) and override is None
        shown = f"site-packages/{checkpoint.file}" if packaged else path.name
        return _verified(path, shown, checkpoint.sha256)
    except _Problem as problem:
        raise EmbeddingError(place, field, str(problem)) from problem.__cause__


class _Problem(Exception):
    """Why there are no weights."""


def _verified(path: Path, shown: str, expected: str | None) -> Weights:
    if not path.is_file():
        raise _Problem(f"{shown}: no such file")
    found = sha256_of_file(path)
    if expected is not None and found != expected:
        raise _Problem(f"{shown}: sha256 is {found}, submission.yaml declares {expected}")
    return Weights(path.absolute(), found)


def _locate(
    checkpoint: Checkpoint, environment: Environment, folder: Path, offline: bool, progress: Progress | None
) -> Path:
    if isinstance(checkpoint, PackageCheckpoint):
        return environment.site_packages / checkpoint.file
    assert not isinstance(checkpoint, NoCheckpoint)
    if isinstance(checkpoint, HuggingFaceCheckpoint):
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        quoted = urllib.parse.quote(checkpoint.file)
        url = f"{endpoint}/{checkpoint.repository}/resolve/{checkpoint.revision}/{quoted}"
        identity = checkpoint.sha256 or sha256_of_bytes(f"{checkpoint.repository}@{checkpoint.revision}".encode())
        token = os.environ.get("HF_TOKEN")
    else:
        url, identity, token = str(checkpoint.url), checkpoint.sha256, None
    target = folder / identity / checkpoint.file
    if target.is_file():
        return target
    if offline:
        raise _Problem(f"{target}: not fetched yet, and downloads are switched off (offline)")
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{identity}.lock"):
        if not target.is_file():
            partial = target.with_name(target.name + ".part")
            try:
                _download(url, partial, token, progress)
            except urllib.error.HTTPError as error:
                raise _Problem(_describe_refusal(checkpoint, url, error.code)) from error
            if checkpoint.sha256 is not None:
                _discard_unless(partial, checkpoint.sha256, url)
            partial.replace(target)
    return target


def _discard_unless(partial: Path, expected: str, url: str) -> None:
    found = sha256_of_file(partial)
    if found != expected:
        partial.unlink()
        raise _Problem(f"{url}: sha256 of the file is {found}, submission.yaml declares {expected}")


def _describe_refusal(checkpoint: Checkpoint, url: str, code: int) -> str:
    if isinstance(checkpoint, HuggingFaceCheckpoint) and code in (401, 403):
        page = f"https://huggingface.co/{checkpoint.repository}"
        return f"{url}: access denied (HTTP {code}); ask for access at {page}, then set HF_TOKEN to a token of yours"
    return f"{url}: HTTP {code}" + (" (no such file)" if code == 404 else "")


def _download(url: str, partial: Path, token: str | None, progress: Progress | None) -> None:
    """Fetch `url` into `partial`, continuing what is there. Retries broken connections, not refusals."""
    last: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            _fetch(url, partial, token, progress)
            return
        except urllib.error.HTTPError as error:
            if error.code == 416:  # what lies there is not a beginning of this file
                partial.unlink(missing_ok=True)
            elif error.code < 500:
                raise
            last = error
        except (OSError, http.client.HTTPException) as error:
            last = error
    if isinstance(last, urllib.error.HTTPError):
        raise last
    raise _Problem(f"{url}: download failed after {ATTEMPTS} attempts: {last}") from last


def _fetch(url: str, partial: Path, token: str | None, progress: Progress | None) -> None:
    start = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "latent-matter"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    if token:
        # Unredirected: the token is for the hub, not for the storage host that it redirects to.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != 206:
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        with partial.open("ab" if start else "wb") as stream:
            done = start
            while chunk := response.read(CHUNK):
                stream.write(chunk)
                done += len(chunk)
                if progress is not None and total:
                    progress(done / total)
            stream.flush()
            os.fsync(stream.fileno())
    if total is not None and done < total:
        raise OSError(f"connection closed after {done} of {total} bytes")
