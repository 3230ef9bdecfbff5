"""Where results are published: a repository of data sets on the Hugging Face hub, or a folder of the same layout."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import httpx2
from filelock import FileLock
from huggingface_hub import CommitOperationAdd, HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from benchmark.files import sha256_of_file
from benchmark.schema import InvalidFileError

HUB_PREFIX = "hf://datasets/"
MOVED = (409, 412)
BUSY = (408, 425, 429, 500, 502, 503, 504)


class MovedError(Exception):
    """Somebody published in between, or the hub is busy: read again and try again."""


class Destination(Protocol):
    """Something that results can be published to."""

    def read(self, folder: Path) -> str:
        """Copy what is published into `folder`; return the name of this state."""

    def write(self, changed: Mapping[str, Path], parent: str, message: str) -> None:
        """Replace the files `changed` (name -> new file), all or none, if the state is still `parent`.

        Raises MovedError when it is not, or when it cannot be told whether it worked.
        """


def destination(target: str) -> Destination:
    """The destination that `hf://datasets/ORG/NAME` or a path names. Raises InvalidFileError for other addresses."""
    if target.startswith(HUB_PREFIX):
        name = target.removeprefix(HUB_PREFIX).rstrip("/")
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            raise InvalidFileError(f"{target}: accepted is {HUB_PREFIX}ORGANISATION/NAME or a folder")
        return Hub(name)
    if "://" in target:
        raise InvalidFileError(f"{target}: accepted is {HUB_PREFIX}ORGANISATION/NAME or a folder")
    return Folder(Path(target))


class Hub:
    """A data set repository. Who may write is told by HF_TOKEN, a login, or in a workflow by its OIDC identity."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="latent-matter")

    def read(self, folder: Path) -> str:
        try:
            revision = self.api.repo_info(self.name, repo_type="dataset", revision="main").sha
            assert revision is not None
            snapshot_download(
                self.name, repo_type="dataset", revision=revision, local_dir=folder, endpoint=self.api.endpoint
            )
        except RepositoryNotFoundError as error:
            raise InvalidFileError(
                f"{HUB_PREFIX}{self.name}: no such data set, or no right to read it; create it once with "
                f"`hf repos create {self.name} --repo-type dataset`"
            ) from error
        except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
            raise self._described(error) from error
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        return revision

    def write(self, changed: Mapping[str, Path], parent: str, message: str) -> None:
        operations = [CommitOperationAdd(name, str(path)) for name, path in sorted(changed.items())]
        try:
            self.api.create_commit(
                self.name,
                operations,
                commit_message=message,
                repo_type="dataset",
                revision="main",
                parent_commit=parent,
            )
        except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
            raise self._described(error) from error

    def _described(self, error: Exception) -> Exception:
        """What a failed request means: try again, or a line for people."""
        response = getattr(error, "response", None)
        code = getattr(response, "status_code", None)
        line = " ".join(str(error).split())[:300]
        if code is None or code in MOVED or code in BUSY:
            return MovedError(f"{HUB_PREFIX}{self.name}: {line}")
        if code in (401, 403):
            return InvalidFileError(
                f"{HUB_PREFIX}{self.name}: access denied (HTTP {code}); publishing needs a token with the right to "
                "write to it in HF_TOKEN, or a workflow that is a trusted publisher of it"
            )
        return InvalidFileError(f"{HUB_PREFIX}{self.name}: {line}")


class Folder:
    """A folder. It is replaced as a whole, so that a reader sees the old state or the new one."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def read(self, folder: Path) -> str:
        with self._lock():
            self._mend()
            if self.path.is_dir():
                shutil.copytree(self.path, folder, dirs_exist_ok=True)
            return self._state()

    def write(self, changed: Mapping[str, Path], parent: str, message: str) -> None:
        del message
        fresh = self._beside("new")
        with self._lock():
            self._mend()
            if self._state() != parent:
                raise MovedError(f"{self.path}: was changed in between")
            shutil.rmtree(fresh, ignore_errors=True)
            if self.path.is_dir():
                shutil.copytree(self.path, fresh, symlinks=True)
            for name, path in changed.items():
                target = fresh / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            if self.path.is_dir():
                self.path.rename(self._beside("old"))
            fresh.rename(self.path)
            shutil.rmtree(self._beside("old"), ignore_errors=True)

    def _mend(self) -> None:
        """After a publisher that was killed between its two renames, the old state is the state."""
        old = self._beside("old")
        if old.is_dir() and not self.path.exists():
            old.rename(self.path)
        shutil.rmtree(old, ignore_errors=True)

    def _lock(self) -> FileLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self._beside("lock"))

    def _beside(self, what: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{what}")

    def _state(self) -> str:
        return "\n".join(f"{name} {digest}" for name, digest in sorted(digests(self.path).items()))


def digests(folder: Path) -> dict[str, str]:
    """Relative name -> SHA-256 of every file below `folder`, hidden ones left out."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else []
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {
        name: sha256_of_file(path)
        for name, path in names.items()
        if not any(part.startswith(".") for part in Path(name).parts)
    }
