"""Writing and naming files so that a reader never sees half a product.

Every product of the benchmark is written to a temporary file beside its target, flushed to
disk and renamed over it. A name that exists is therefore always a whole product, whatever was
killed in between. Content keys are SHA-256 digests of canonical JSON or of file contents.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

IGNORED_IN_TREES = ("__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache")


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success fsync it and rename it over `target`.

    On an exception (a full disk, say) the temporary file is removed and `target` is untouched.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
        _sync_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_directory(folder: Path) -> None:
    """Make a rename durable; file systems that cannot sync a directory are left alone."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(target: Path, content: bytes) -> None:
    """Write `content` to `target` atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, content: str) -> None:
    """Write UTF-8 `content` to `target` atomically."""
    write_bytes(target, content.encode())


def write_json(target: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, atomically. NaN and infinities are refused."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def remove_tree(path: Path) -> None:
    """Remove a file or folder if it is there, however deep it is nested and whatever its permissions are."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
            return
        try:
            shutil.rmtree(path)
        except (OSError, RecursionError):
            for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
                subprocess.run([*command, "--", str(path)], stderr=subprocess.DEVNULL, check=False)


def sha256_of_bytes(content: bytes) -> str:
    """Hex SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Hex SHA-256 of a file's contents."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_key(value: Any) -> str:
    """Hex SHA-256 of `value` as canonical JSON: equal inputs have equal keys on any machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256_of_bytes(text.encode())


def sha256_of_tree(folder: Path, excluded: tuple[str, ...] = ()) -> str:
    """Hex SHA-256 over the relative names and contents of all files below `folder`.

    Byte-code, tool caches and the relative paths in `excluded` do not count.
    """
    entries = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        ignored = any(part in IGNORED_IN_TREES for part in relative.parts) or relative.as_posix() in excluded
        if path.is_file() and not ignored:
            entries.append((relative.as_posix(), sha256_of_file(path)))
    return content_key(entries)
