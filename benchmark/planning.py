"""What a change touches and what has to be computed for it.

A pull request that submits a model may touch its own folder below submissions/ and nothing else: everything outside
is trusted code. Names come from git, and ids from submission.yaml files of strangers: neither reaches a shell.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from benchmark.schema import InvalidFileError
from benchmark.submission import BrokenSubmission, load_submissions

# A change to these needs no new features: they are read by people and by the tables.
TEXTS = ("README.md",)


@dataclass(frozen=True)
class Plan:
    """What a change asks for.

    families: folders below submissions/ that it touches. models: what they declare. removed: families that it
    deletes. outside: files that it touches outside of submissions/.
    """

    families: list[str]
    models: list[str]
    removed: list[str]
    broken: list[str]
    outside: list[str]

    @property
    def problems(self) -> list[str]:
        """Why this may not be a pull request of a contributor, a line each."""
        lines = list(self.broken)
        if self.families and self.outside:
            shown = ", ".join(self.outside[:3])
            lines.append(
                f"touches submissions/{self.families[0]} and also {shown}: a submission may touch its own folder only"
            )
        if len(self.families) + len(self.removed) > 1:
            lines.append(
                f"touches several families: {', '.join([*self.families, *self.removed])}; one pull request each"
            )
        return lines


def plan_change(root: Path, revision: str) -> Plan:
    """What the commits after `revision` up to the working tree's commit touch in the repository at `root`.

    Raises InvalidFileError when git does not know the revision.
    """
    paths = [PurePosixPath(name) for name in _changed_files(root, revision)]
    inside = sorted({path.parts[1] for path in paths if len(path.parts) > 2 and path.parts[0] == "submissions"})
    strange = [name for name in inside if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name)]
    touched = [name for name in inside if name not in strange and _needs_features(name, paths)]
    entries, broken = load_submissions(root / "submissions")
    present = [name for name in touched if (root / "submissions" / name).is_dir()]
    return Plan(
        families=present,
        models=sorted(name for name, entry in entries.items() if entry.family.folder.name in present),
        removed=[name for name in touched if name not in present],
        broken=[
            *(f"submissions/{name!a}: accepted are lower-case letters, digits, '.', '_' and '-'" for name in strange),
            *_broken(root, broken, present),
        ],
        outside=[str(path) for path in paths if path.parts[0] != "submissions" or len(path.parts) < 3],
    )


def _broken(root: Path, broken: Sequence[BrokenSubmission], present: Sequence[str]) -> list[str]:
    lines = [each.message.replace(f"{root}/", "") for each in broken if each.folder.name in present]
    missing = [name for name in present if not (root / "submissions" / name / "submission.yaml").is_file()]
    return [*lines, *(f"submissions/{name}: has no submission.yaml" for name in missing)]


def _needs_features(family: str, paths: Sequence[PurePosixPath]) -> bool:
    return any(path.parts[:2] == ("submissions", family) and path.name not in TEXTS for path in paths)


def _changed_files(root: Path, revision: str) -> list[str]:
    # Three dots: what this branch added since it left the other one, not what the other one added since.
    command = ["git", "-C", str(root), "diff", "--name-only", "--no-renames", "-z", f"{revision}...HEAD", "--"]
    if not revision or revision.startswith("-"):
        raise InvalidFileError(f"revision {revision!r}: accepted is a commit, branch or tag")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InvalidFileError(f"revision {revision!r}: {' '.join(done.stderr.split())}")
    return [name for name in done.stdout.split("\0") if name]
