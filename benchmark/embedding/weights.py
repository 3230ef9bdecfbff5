"""Declared weights, found or fetched and verified by the trusted side before any code of a submission runs.

Downloads resume where they stopped and lie in `<cache>/weights/`. A file is used only after its
SHA-256 was compared with the declared one, where one is declared. Files at hand can be laid into the
folder $LATENT_MATTER_CHECKPOINTS: one of the right name and SHA-256 is used in place of a download.
"""

from __future__ import annotations

import os
import urllib.error
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from benchmark.embedding.downloads import DownloadError, download, file_url, hub_token, newest_revision
from benchmark.embedding.environment import Environment
from benchmark.embedding.errors import EmbeddingError, Progress
from benchmark.files import content_key, sha256_of_file, write_text
from benchmark.submission import (
    Checkpoint,
    Entry,
    HuggingFaceCheckpoint,
    LocalCheckpoint,
    NoCheckpoint,
    PackageCheckpoint,
    UrlCheckpoint,
)

CHECKPOINTS_VARIABLE = "LATENT_MATTER_CHECKPOINTS"


@dataclass(frozen=True)
class Weights:
    """A verified local file or folder, or neither path nor digest for a model that loads nothing.

    sha256: of the file, or the digest over a folder's files.
    pinned: whether submission.yaml says which bytes these are, by SHA-256 or full commit.
    revision: the commit that an unpinned Hugging Face checkpoint was taken at.
    """

    path: Path | None
    sha256: str | None
    pinned: bool = True
    revision: str | None = None


def resolve_weights(
    entry: Entry,
    environment: Environment | None,
    cache: Path,
    *,
    override: Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Weights:
    """The weights that `entry` declares, or the local file or folder `override` in their place.

    environment: where checkpoints of kind `package` lie; not needed for other kinds.
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
        if override is not None:
            return _verified(override, override.name, checkpoint)
        if isinstance(checkpoint, PackageCheckpoint):
            assert environment is not None
            # Records are published: this machine's folders stay out of their reasons.
            path = environment.site_packages / checkpoint.file
            return _verified(path, f"site-packages/{checkpoint.file}", checkpoint)
        at_hand = _at_hand(entry.model.id, checkpoint)
        if at_hand is not None:
            return at_hand
        if isinstance(checkpoint, LocalCheckpoint):
            raise _NotAtHand(
                f"{checkpoint.file} is published nowhere: give it with --checkpoint {entry.model.id}=PATH or put it "
                f"into the folder that ${CHECKPOINTS_VARIABLE} names"
            )
        return _fetched(checkpoint, Path(cache).absolute() / "weights", offline, progress)
    except (_NotAtHand, DownloadError) as problem:
        raise MissingWeightsError(place, field, str(problem)) from problem.__cause__
    except _Problem as problem:
        raise EmbeddingError(place, field, str(problem)) from problem.__cause__


class MissingWeightsError(EmbeddingError):
    """The declared weights are not at hand and cannot be fetched now: gated, offline, given by hand only.

    Nothing is known to be wrong with the submission.
    """


class _Problem(Exception):
    """Why there are no weights."""


class _NotAtHand(_Problem):
    """They may be right, and they are elsewhere."""


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, the digest over the names and contents of all its files."""
    if path.is_file():
        return sha256_of_file(path)
    names = sorted(found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file())
    return _digest_of(path, names)


def _digest_of(folder: Path, names: Sequence[str]) -> str:
    return content_key([(name, sha256_of_file(folder / name)) for name in sorted(names)])


def _verified(path: Path, shown: str, checkpoint: Checkpoint) -> Weights:
    """`path` as the weights of `checkpoint`, whose declared SHA-256 it must have."""
    assert not isinstance(checkpoint, NoCheckpoint)
    names = checkpoint.files if isinstance(checkpoint, HuggingFaceCheckpoint) else None
    if names is not None:
        missing = [name for name in names if not (path / name).is_file()]
        if missing:
            raise _Problem(f"{shown}: has no file {missing[0]}")
    elif not path.exists():
        raise _Problem(f"{shown}: no such file")
    found = _digest_of(path, names) if names is not None else digest(path)
    if checkpoint.sha256 is not None and found != checkpoint.sha256:
        raise _Problem(f"{shown}: sha256 is {found}, submission.yaml declares {checkpoint.sha256}")
    return Weights(path.absolute(), found, pinned=checkpoint.sha256 is not None)


def _at_hand(model: str, checkpoint: UrlCheckpoint | HuggingFaceCheckpoint | LocalCheckpoint) -> Weights | None:
    """What $LATENT_MATTER_CHECKPOINTS holds of `checkpoint`; raises _Problem where that is not one thing."""
    folder = os.environ.get(CHECKPOINTS_VARIABLE)
    if not folder:
        return None
    found: dict[str, Weights] = {}
    for path in _candidates(Path(folder), model, checkpoint):
        try:
            weights = _verified(path, path.name, checkpoint)
        except _Problem:
            continue  # another version of the file, or half a folder
        found.setdefault(str(weights.sha256), weights)
    if len(found) > 1:
        places = ", ".join(sorted(str(weights.path) for weights in found.values()))
        raise _Problem(f"${CHECKPOINTS_VARIABLE} holds different files of that name: {places}; no sha256 tells which")
    return next(iter(found.values()), None)


def _candidates(
    folder: Path, model: str, checkpoint: UrlCheckpoint | HuggingFaceCheckpoint | LocalCheckpoint
) -> Iterator[Path]:
    if isinstance(checkpoint, HuggingFaceCheckpoint) and checkpoint.files is not None:
        names = {model, checkpoint.repository.split("/")[-1]}
        yield from (path for name in sorted(names) for path in sorted(folder.rglob(name)) if path.is_dir())
    else:
        yield from sorted(folder.rglob(Path(str(checkpoint.file)).name))


def _fetched(
    checkpoint: UrlCheckpoint | HuggingFaceCheckpoint, folder: Path, offline: bool, progress: Progress | None
) -> Weights:
    """The declared files from the cache or, where they are not there yet, from their place on the network."""
    if isinstance(checkpoint, UrlCheckpoint):
        identity = checkpoint.sha256 or content_key(str(checkpoint.url))
        path = _fetch(str(checkpoint.url), folder / identity, checkpoint.file, checkpoint, offline, progress)
        return _verified(path, path.name, checkpoint)
    revision = checkpoint.revision or _revision(checkpoint, folder, offline)
    single = checkpoint.file is not None
    identity = checkpoint.sha256 if single and checkpoint.sha256 else content_key([checkpoint.repository, revision])
    names = [checkpoint.file] if checkpoint.file is not None else list(checkpoint.files or [])
    for number, name in enumerate(names):
        url = file_url(checkpoint.repository, revision, name)
        share = _share(number, len(names), progress)
        path = _fetch(url, folder / identity, name, checkpoint, offline, share)
    weights = _verified(path if single else folder / identity, path.name, checkpoint)
    pinned = weights.pinned or checkpoint.revision is not None
    return Weights(weights.path, weights.sha256, pinned, None if checkpoint.revision else revision)


def _share(number: int, count: int, progress: Progress | None) -> Progress | None:
    return None if progress is None else lambda part: progress((number + part) / count)


def _revision(checkpoint: HuggingFaceCheckpoint, folder: Path, offline: bool) -> str:
    """The repository's newest commit, or offline the one that was newest when last looked up."""
    known = folder / "revisions" / checkpoint.repository
    if offline:
        if not known.is_file():
            raise _NotAtHand(f"{checkpoint.repository}: not fetched yet, and downloads are switched off (offline)")
        return known.read_text(encoding="utf-8").strip()
    try:
        revision = newest_revision(checkpoint.repository)
    except urllib.error.HTTPError as error:
        raise _refused(checkpoint, checkpoint.repository, error.code) from error
    except OSError as error:
        raise _NotAtHand(f"{checkpoint.repository}: the hub cannot be reached: {error}") from error
    write_text(known, revision + "\n")
    return revision


def _fetch(
    url: str,
    folder: Path,
    name: str,
    checkpoint: UrlCheckpoint | HuggingFaceCheckpoint,
    offline: bool,
    progress: Progress | None,
) -> Path:
    target = folder / name
    if target.is_file():
        return target
    if offline:
        raise _NotAtHand(f"{name}: not fetched yet, and downloads are switched off (offline)")
    target.parent.mkdir(parents=True, exist_ok=True)
    token = hub_token() if isinstance(checkpoint, HuggingFaceCheckpoint) else None
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not target.is_file():
            partial = target.with_name(target.name + ".part")
            try:
                download(url, partial, token, progress)
            except urllib.error.HTTPError as error:
                raise _refused(checkpoint, url, error.code) from error
            one = not isinstance(checkpoint, HuggingFaceCheckpoint) or checkpoint.files is None
            if one and checkpoint.sha256 is not None:
                _discard_unless(partial, checkpoint.sha256, url)
            partial.replace(target)
    return target


def _discard_unless(partial: Path, expected: str, url: str) -> None:
    found = sha256_of_file(partial)
    if found != expected:
        partial.unlink()
        raise _Problem(f"{url}: sha256 of the file is {found}, submission.yaml declares {expected}")


def _refused(checkpoint: Checkpoint, url: str, code: int) -> _Problem:
    if isinstance(checkpoint, HuggingFaceCheckpoint) and code in (401, 403):
        page = f"https://huggingface.co/{checkpoint.repository}"
        return _NotAtHand(
            f"{url}: access denied (HTTP {code}); ask for access at {page}, then set HF_TOKEN to a token of yours"
        )
    if code == 404:
        return _Problem(f"{url}: HTTP 404 (no such file)")
    return _NotAtHand(f"{url}: HTTP {code}")
