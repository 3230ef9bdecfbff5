"""A submission: one family of models, described by submission.yaml, embedded by adapter.py.

The file is written by strangers and read before any of their code runs. One adapter serves all
checkpoints of its family; a multi-task model is one entry a task.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, AnyHttpUrl, Field, TypeAdapter, model_validator

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
    sha256: Sha256 | None = None


class HuggingFaceCheckpoint(Strict):
    """One file of a Hugging Face repository or several, fetched by the trusted side.

    With `files` the adapter is given a folder that holds them under these names. Without
    `revision` the newest commit is taken, which is fit for a first try only: the record notes it.
    """

    kind: Literal["huggingface"]
    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$", description="full commit, 40 hex digits")
    file: RelativePath | None = None
    files: list[RelativePath] | None = Field(default=None, min_length=1, max_length=50)
    sha256: Sha256 | None = Field(default=None, description="of the file, or the digest over `files`")
    gated: bool = False

    @model_validator(mode="after")
    def _names_files_once(self) -> HuggingFaceCheckpoint:
        if (self.file is None) == (self.files is None):
            raise ValueError("give either `file`, one name, or `files`, several")
        return self


class LocalCheckpoint(Strict):
    """A file or folder that nobody publishes: whoever runs the model gives it."""

    kind: Literal["local"]
    file: RelativePath
    sha256: Sha256 | None = None
    note: Sentence | None = None


class NoCheckpoint(Strict):
    """Nothing to load: a descriptor or a freshly initialised network."""

    kind: Literal["none"]


Checkpoint = Annotated[
    PackageCheckpoint | UrlCheckpoint | HuggingFaceCheckpoint | LocalCheckpoint | NoCheckpoint,
    Field(discriminator="kind"),
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


@dataclass(frozen=True)
class BrokenSubmission:
    """A folder that could not be read: why, and the model ids that it seems to declare."""

    folder: Path
    message: str
    models: tuple[str, ...]


def load_submissions(root: Path) -> tuple[dict[str, Entry], list[BrokenSubmission]]:
    """All models below `root` by id, and the folders that could not be read.

    A broken folder never hides the others. An id that two families claim belongs to the first
    in alphabetical order; the second family is refused.
    """
    entries: dict[str, Entry] = {}
    broken: list[BrokenSubmission] = []
    for folder in sorted(path.parent for path in root.glob("*/submission.yaml")):
        try:
            family = load_family(folder)
            taken = sorted(model.id for model in family.submission.models if model.id in entries)
            if taken:
                owner = entries[taken[0]].family.folder.name
                raise InvalidFileError(
                    f"{folder / 'submission.yaml'}: field models: id {taken[0]!r} is taken by family {owner!r}"
                )
        except InvalidFileError as error:
            broken.append(BrokenSubmission(folder, str(error), _declared_ids(folder, set(entries))))
            continue
        entries.update({model.id: Entry(family, model) for model in family.submission.models})
    for entry in list(entries.values()):
        message = _unknown_relative(entry, entries)
        if message is not None:
            del entries[entry.model.id]
            broken.append(BrokenSubmission(entry.family.folder, message, (entry.model.id,)))
    return entries, broken


def _unknown_relative(entry: Entry, entries: dict[str, Entry]) -> str | None:
    for name in ("fine_tuned_from", "superseded_by"):
        relative = getattr(entry.model, name)
        if relative is not None and relative not in entries:
            path = entry.family.folder / "submission.yaml"
            return f"{path}: field models.{entry.model.id}.{name}: no submission declares {relative!r}"
    return None


def _declared_ids(folder: Path, taken: set[str]) -> tuple[str, ...]:
    """Ids that an invalid submission.yaml declares, as far as they can be made out; else the folder's name."""
    identifier = TypeAdapter(Identifier)
    found = []
    try:
        models = yaml.safe_load((folder / "submission.yaml").read_text(encoding="utf-8"))["models"]
        for model in models:
            name = identifier.validate_python(model["id"])
            if name not in taken:
                found.append(name)
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, RecursionError):
        pass
    return tuple(dict.fromkeys(found)) or (folder.name,)


def irreps_dimension(irreps: str) -> int:
    """Number of components of an e3nn irreps string: "8x0e+4x1o" has 8 + 4*3 = 20."""
    total = 0
    for term in irreps.split("+"):
        multiplicity, _, order = term.partition("x")
        total += int(multiplicity) * (2 * int(order[:-1]) + 1)
    return total
