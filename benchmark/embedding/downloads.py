"""Fetching a file over HTTP: resumes where it stopped, sends a token to the hub only."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from benchmark.embedding.errors import Progress

CHUNK = 1 << 20
ATTEMPTS = 5
TIMEOUT = 60.0


class DownloadError(Exception):
    """Why there is no file, in one line."""


def hub_endpoint() -> str:
    """The Hugging Face hub, or the mirror that HF_ENDPOINT names."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def hub_token() -> str | None:
    """The token that HF_TOKEN holds or `hf auth login` left."""
    token = os.environ.get("HF_TOKEN")
    if token:
        return token
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    stored = Path(os.environ.get("HF_TOKEN_PATH", home / "token"))
    try:
        return stored.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def file_url(repository: str, revision: str, file: str) -> str:
    """Where the hub serves `file` of a model repository at `revision`."""
    return f"{hub_endpoint()}/{repository}/resolve/{revision}/{urllib.parse.quote(file)}"


def newest_revision(repository: str) -> str:
    """The full commit, 40 hex digits, that the repository's main branch is at now. Raises as `download` does."""
    url = f"{hub_endpoint()}/api/models/{repository}/revision/main"
    with _open(url, hub_token()) as response:
        answer: Any = json.loads(response.read(1_000_000))
    revision = answer.get("sha") if isinstance(answer, dict) else None
    if not isinstance(revision, str) or len(revision) != 40:
        raise DownloadError(f"{url}: the hub names no commit")
    return revision


def download(url: str, partial: Path, token: str | None, progress: Progress | None) -> None:
    """Fetch `url` into `partial`, continuing what is there. Retries broken connections, not refusals.

    Raises urllib.error.HTTPError when the server refuses, DownloadError when it cannot be reached.
    """
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
    raise DownloadError(f"{url}: download failed after {ATTEMPTS} attempts: {last}") from last


def _fetch(url: str, partial: Path, token: str | None, progress: Progress | None) -> None:
    start = partial.stat().st_size if partial.exists() else 0
    with _open(url, token, start) as response:
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


def _open(url: str, token: str | None, start: int = 0) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": "latent-matter"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    if token:
        # Unredirected: the token is for the hub, not for the storage host that it redirects to.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return urllib.request.urlopen(request, timeout=TIMEOUT)
