"""From a source file to what a reader reads: the file itself, the files of a folder, or the members of an archive.

Archives are read as streams, and one member at a time lies on disk, so a terabyte needs no more room than its largest
member. A member is called by its place below the archive's own name, whether the archive is packed or not.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from benchmark.datasets.readers import DamagedShardError, Shard
from benchmark.files import sha256_of_file
from benchmark.schema import InvalidFileError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
ARCHIVE_ERRORS = (tarfile.TarError, zlib.error, EOFError, OSError)
COPIED = 1 << 20  # bytes at once


def shards(name: str, path: Path, suffixes: tuple[str, ...], work: Path, digest: str, single: bool) -> Iterator[Shard]:
    """The shards of the source file `name`, which lies at `path`.

    suffixes: how the names end that the reader reads. work: a folder for one member at a time. digest: SHA-256 of
    the file, where it is one. single: whether it is the only file of its source, so that ids need no prefix.
    Raises DamagedShardError when an archive is cut, InvalidFileError when nothing in it is for the reader.
    """
    if path.is_file() and path.name.endswith(suffixes):
        prefix = "" if single else f"{_stem(PurePosixPath(name).name, suffixes)}-"
        yield Shard(name, path, digest, prefix)
        return
    if path.is_dir():
        members = _of_folder(path, suffixes)
    elif path.name.endswith(ARCHIVES):
        members = _of_archive(name, path, suffixes, work)
    else:
        accepted = ", ".join((*suffixes, *ARCHIVES))
        raise InvalidFileError(f"{path}: accepted are names that end in {accepted}, and folders")
    base = _stem(name, ARCHIVES)
    empty = True
    for inside, member, found in members:
        empty = False
        wrapped = len(inside.parts) > 1 and inside.parts[0] == PurePosixPath(base).name
        relative = "/".join(inside.parts[1:] if wrapped else inside.parts)
        prefix = f"{PurePosixPath(base).name}/{_stem(relative, suffixes)}-"
        yield Shard(f"{base}/{relative}", member, found, prefix)
    if empty:
        raise InvalidFileError(f"{path}: holds no file whose name ends in {', '.join(suffixes)}")


def _stem(name: str, suffixes: tuple[str, ...]) -> str:
    ending = max((each for each in suffixes if name.endswith(each)), key=len, default="")
    return name.removesuffix(ending)


def _of_folder(folder: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[PurePosixPath, Path, str]]:
    for path in sorted(folder.rglob("*")):
        inside = PurePosixPath(path.relative_to(folder).as_posix())
        if path.is_file() and path.name.endswith(suffixes) and not any(part.startswith(".") for part in inside.parts):
            yield inside, path, sha256_of_file(path)


def _of_archive(
    name: str, path: Path, suffixes: tuple[str, ...], work: Path
) -> Iterator[tuple[PurePosixPath, Path, str]]:
    """Members in the order of the archive, each copied to a file of ours: no name of the archive is ever a path."""
    member, place = "its beginning", 0
    target = work / "member"
    try:
        with tarfile.open(path, "r|*") as archive:
            for found in archive:
                member, place = found.name, found.offset
                inside = PurePosixPath(found.name.removeprefix("./"))
                if not found.isfile() or inside.name.startswith(".") or not inside.name.endswith(suffixes):
                    continue
                target = work / f"member{PurePosixPath(_ending(inside.name, suffixes))}"
                digest = _copy(archive, found, target)
                yield inside, target, digest
                target.unlink(missing_ok=True)
    except ARCHIVE_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            # The system's word, such as a full disk: no damage of the archive, and never to be skipped as one.
            raise InvalidFileError(f"{name}: {member}: {error}") from error
        where = f"{member} (from byte {place} of the unpacked archive on)"
        raise DamagedShardError(f"{name}: cut or damaged at {where}: {type(error).__name__}: {error}") from error
    finally:
        target.unlink(missing_ok=True)


def _ending(name: str, suffixes: tuple[str, ...]) -> str:
    return max((each for each in suffixes if name.endswith(each)), key=len)


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> str:
    digest = hashlib.sha256()
    stream = archive.extractfile(member)
    if stream is None:
        raise tarfile.ReadError(f"{member.name} is no file")
    with target.open("wb") as copy:
        while piece := stream.read(COPIED):
            digest.update(piece)
            copy.write(piece)
    if target.stat().st_size != member.size:
        raise tarfile.ReadError(f"{target.stat().st_size} of {member.size} bytes")
    return digest.hexdigest()
