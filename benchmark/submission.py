"""A submission: one family of models, described by submission.yaml, embedded by adapter.py.

The file is written by strangers and read before any of their code runs. One adapter serves all
checkpoints of its family; a multi-task model is one entry a task.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AnyHttpUrl, Field, model_validator

from benchmark.files import sha256_of_tree
from benchmark.schema import Identifier, InvalidFileError, Sentence, Sha256, Strict, read_yaml

ControlKind = Literal["composition", "noise", "descriptor", "random"]


def _stays_below(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/") or "\\" in path or "\0" in path:
        raise ValueError("must be a relative path without '..' or backslashes")
    return path


RelativePath = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_stays_below)]


class PackageCheckpoint(Strict):
    """A file inside a Python distribution that the adapter's environment installs."""

    kind: Literal["package"]
    file: RelativePath = Field(description="path below site-packages")
    sha256: Sha256


class UrlCheckpoint(Strict):
    """A file at a URL, fetched by the trusted side."""

    kind: Literal["url"]
    url: AnyHttpUrl
    file: RelativePath
    sha256: Sha256


class HuggingFaceCheckpoint(Strict):
    """A file of a Hugging Face repository at a full commit, fetched by the trusted side."""

    kind: Literal["huggingface"]
    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$", description="full commit, 40 hex digits")
    file: RelativePath
    sha256: Sha256 | None = None
    gated: bool = False


class NoCheckpoint(Strict):
    """Nothing to load: a descriptor or a freshly initialised network."""

    kind: Literal["none"]


Checkpoint = Annotated[
    PackageCheckpoint | UrlCheckpoint | HuggingFaceCheckpoint | NoCheckpoint, Field(discriminator="kind")
]


class Licence(Strict):
    """SPDX identifiers where there are any."""

    code: Sentence
    weights: Sentence | None = None


class LayerDeclaration(Strict):
    """The shape an adapter promises for a layer; the conformance checks hold it to that."""

    dimension: int = Field(ge=1, le=20_000)
    level: Literal["atom", "structure"] = "atom"
    irreps: str | None = Field(default=None, pattern=r"^\d+x\d+[eo](\+\d+x\d+[eo])*$")

    @model_validator(mode="after")
    def _irreps_fill_the_dimension(self) -> LayerDeclaration:
        if self.irreps is not None and irreps_dimension(self.irreps) != self.dimension:
            raise ValueError(
                f"irreps {self.irreps} have {irreps_dimension(self.irreps)} components, dimension says {self.dimension}"
            )
        return self


class Model(Strict):
    """One row of the leaderboard."""

    id: Identifier
    title: Sentence
    checkpoint: Checkpoint
    options: dict[str, Any] = Field(default_factory=dict, description="handed to the adapter as they stand")
    layers: dict[Identifier, LayerDeclaration]
    parameters: int | None = Field(ge=0, description="trainable weights; null where the notion has no meaning")
    training_data: list[Sentence] = Field(description="names of training sets; empty for controls")
    training_targets: list[Sentence]
    fine_tuned_from: Identifier | None = None
    superseded_by: Identifier | None = None
    released: datetime.date
    control: ControlKind | None = Field(default=None, description="set for an unranked control row")
    note: Sentence | None = None

    @model_validator(mode="after")
    def _backbone_is_declared(self) -> Model:
        if "backbone" not in self.layers:
            raise ValueError("layers must declare `backbone`")
        if self.layers["backbone"].irreps is not None:
            raise ValueError("layers.backbone holds invariant features and takes no irreps")
        return self


class Submission(Strict):
    """submission.yaml."""

    family: Identifier
    title: Sentence
    description: Sentence
    modality: Literal["atoms", "smiles", "sequence"]
    symmetry: Literal["invariant", "equivariant", "unconstrained"]
    authors: list[Sentence] = Field(min_length=1)
    links: dict[Identifier, AnyHttpUrl]
    licence: Licence
    models: list[Model] = Field(min_length=1)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Submission:
        ids = [model.id for model in self.models]
        repeated = sorted({name for name in ids if ids.count(name) > 1})
        if repeated:
            raise ValueError(f"model ids {repeated} occur more than once")
        return self


@dataclass(frozen=True)
class Family:
    """A folder under submissions/ and what its submission.yaml says."""

    folder: Path
    submission: Submission

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter.py"

    def tree_hash(self) -> str:
        """SHA-256 over the folder's files other than submission.yaml: what the features depend on."""
        return sha256_of_tree(self.folder, excluded=("submission.yaml", "README.md"))


@dataclass(frozen=True)
class Entry:
    """One model together with its family."""

    family: Family
    model: Model


def load_family(folder: Path) -> Family:
    """Read one submission folder. Raises InvalidFileError naming file and field."""
    submission = read_yaml(folder / "submission.yaml", Submission)
    if submission.family != folder.name:
        raise InvalidFileError(
            f"{folder / 'submission.yaml'}: field family: is {submission.family!r}, the folder is {folder.name!r}"
        )
    if not (folder / "adapter.py").is_file():
        raise InvalidFileError(f"{folder / 'adapter.py'}: no such file")
    return Family(folder, submission)


def load_submissions(root: Path) -> tuple[dict[str, Entry], list[str]]:
    """All models below `root` by id, and one line for each folder that could not be read.

    A broken folder never hides the others. An id that two families claim belongs to the first
    in alphabetical order; the second family is refused.
    """
    entries: dict[str, Entry] = {}
    errors: list[str] = []
    for folder in sorted(path.parent for path in root.glob("*/submission.yaml")):
        try:
            family = load_family(folder)
        except InvalidFileError as error:
            errors.append(str(error))
            continue
        taken = sorted(model.id for model in family.submission.models if model.id in entries)
        if taken:
            owner = entries[taken[0]].family.folder.name
            errors.append(f"{folder / 'submission.yaml'}: field models: id {taken[0]!r} is taken by family {owner!r}")
            continue
        entries.update({model.id: Entry(family, model) for model in family.submission.models})
    errors.extend(_unknown_relatives(entries))
    return entries, errors


def _unknown_relatives(entries: dict[str, Entry]) -> list[str]:
    lines = []
    for entry in entries.values():
        for name in ("fine_tuned_from", "superseded_by"):
            relative = getattr(entry.model, name)
            if relative is not None and relative not in entries:
                path = entry.family.folder / "submission.yaml"
                lines.append(f"{path}: field models.{entry.model.id}.{name}: {relative!r} is no known model")
    return lines


def ancestors(entries: dict[str, Entry], model: str) -> set[str]:
    """Ids that `model` was fine-tuned from, transitively."""
    found: set[str] = set()
    parent = entries[model].model.fine_tuned_from if model in entries else None
    while parent is not None and parent not in found and parent in entries:
        found.add(parent)
        parent = entries[parent].model.fine_tuned_from
    return found


def related(entries: dict[str, Entry], first: str, second: str) -> bool:
    """Whether one is the other, its ancestor or its descendant."""
    return first == second or first in ancestors(entries, second) or second in ancestors(entries, first)


def irreps_dimension(irreps: str) -> int:
    """Number of components of an e3nn irreps string: "8x0e+4x1o" has 8 + 4*3 = 20."""
    total = 0
    for term in irreps.split("+"):
        multiplicity, _, order = term.partition("x")
        total += int(multiplicity) * (2 * int(order[:-1]) + 1)
    return total
