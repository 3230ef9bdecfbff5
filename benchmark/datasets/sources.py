"""Finding the source files of a spec: below the user's folders, else fetched from where the spec says they are."""

from __future__ import annotations

import os
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from benchmark.datasets.columns import DatasetError
from benchmark.datasets.readers import READERS
from benchmark.datasets.shards import ARCHIVES
from benchmark.datasets.spec import DatasetSpec, SourceFile
from benchmark.embedding.downloads import DownloadError, download, hub_endpoint, hub_token
from benchmark.files import sha256_of_file

SOURCES_VARIABLE = "LATENT_MATTER_REAL_DATA"
Report = Callable[[str], None]
"""Called with a line about what has been done."""


def silent(line: str) -> None:
    """A `Report` that nobody reads."""
    del line


class MissingSourceError(DatasetError):
    """A source file is not at hand."""


@dataclass(frozen=True)
class Found:
    """A source file on disk, and its SHA-256 (empty for a folder)."""

    file: SourceFile
    path: Path
    sha256: str


def source_folders() -> list[Path]:
    """The folders of $LATENT_MATTER_REAL_DATA, separated as in PATH."""
    return [Path(root) for root in os.environ.get(SOURCES_VARIABLE, "").split(os.pathsep) if root]


def find_sources(spec: DatasetSpec, given: Path | None, downloads: Path | None, report: Report = silent) -> list[Found]:
    """All source files of `spec`, verified.

    given: a file (of a spec of one file), or the folder to look in; $LATENT_MATTER_REAL_DATA by default.
    downloads: where fetched files are kept; None to fetch nothing. Raises DatasetError when a file is not to be had or
    is another one than the spec says.
    """
    found = []
    for file in spec.source.files:
        path = _local(spec, file, given) or (None if downloads is None else _fetched(spec, file, downloads, report))
        if path is None:
            raise MissingSourceError(_missing(spec, file, given))
        digest = "" if path.is_dir() else sha256_of_file(path)
        if file.sha256 is not None and digest != file.sha256:
            raise DatasetError(f"{path}: SHA-256 is {digest}, the spec of {spec.id} says {file.sha256}")
        found.append(Found(file, path, digest))
    return found


def _local(spec: DatasetSpec, file: SourceFile, given: Path | None) -> Path | None:
    """The file below the folders; an archive without a pinned SHA-256 may lie there unpacked."""
    if given is not None and given.is_file() and len(spec.source.files) == 1:
        return given
    names = [file.file]
    ending = next((each for each in ARCHIVES if file.file.endswith(each)), None)
    read_packed = file.file.endswith(READERS[spec.reader].suffixes)
    if ending is not None and file.sha256 is None and not read_packed:
        names.append(file.file.removesuffix(ending))
    for name in names:
        for root in [given] if given is not None else source_folders():
            direct = root / name
            paths = [direct] if direct.exists() else sorted(root.rglob(name))
            if paths:
                return paths[0]
    return None


def _missing(spec: DatasetSpec, file: SourceFile, given: Path | None) -> str:
    roots = [given] if given is not None else source_folders()
    about = f"{spec.source.description}; {spec.source.url}" if spec.source.url else spec.source.description
    fetch = f"; without --offline it is fetched from {file.place}" if file.place else ""
    if not roots:
        which = f"set {SOURCES_VARIABLE} to the folder that holds it, or give --source"
        return f"{spec.id}: needs {file.file} ({about}); {which}{fetch}"
    return f"{spec.id}: no {file.file} below {', '.join(map(str, roots))} ({about}){fetch}"


def _fetched(spec: DatasetSpec, file: SourceFile, downloads: Path, report: Report) -> Path | None:
    """The file from its place on the network, continued where an earlier attempt stopped; None where it has none."""
    target = downloads / spec.id / file.file
    if target.is_file():
        return target
    if file.place is None:
        return None
    url = file.place
    if file.repository is not None:
        url = f"{hub_endpoint()}/datasets/{file.repository}/resolve/{file.revision or 'main'}/{file.file}"
    partial = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{partial}.lock"):
        if target.is_file():
            return target
        report(f"fetching {url}")
        try:
            download(url, partial, hub_token() if file.repository else None, _percents(file.file, report))
        except urllib.error.HTTPError as error:
            raise DatasetError(_refused(spec, file, url, error.code)) from error
        except (DownloadError, OSError) as error:
            hint = f"fetch it by other means, put it below a folder and set {SOURCES_VARIABLE} to that"
            raise DatasetError(f"{spec.id}: {error}; {hint}") from error
        partial.replace(target)
    return target


def _percents(name: str, report: Report) -> Callable[[float], None]:
    told = [0]

    def progress(share: float) -> None:
        if int(share * 10) > told[0]:
            told[0] = int(share * 10)
            report(f"{name}: {10 * told[0]} %")

    return progress


def _refused(spec: DatasetSpec, file: SourceFile, url: str, code: int) -> str:
    if file.repository is not None and code in (401, 403):
        page = f"https://huggingface.co/datasets/{file.repository}"
        return (
            f"{spec.id}: {url}: access denied (HTTP {code}); ask for access at {page}, then set HF_TOKEN to a token "
            "of yours"
        )
    return f"{spec.id}: {url}: HTTP {code}; see {spec.source.url or spec.source.description}"
