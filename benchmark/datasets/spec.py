"""How a data set is made from source files that the project does not ship: specs/<id>.yaml.

A spec is versioned like a suite: whatever could change a structure or a label is in it, and `fingerprint` says
which structures must come out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from benchmark.datasets.readers import READERS
from benchmark.datasets.store import SPECS, DatasetError, Label
from benchmark.datasets.units import conversion
from benchmark.schema import Identifier, InvalidFileError, Sentence, Sha256, Strict, read_yaml


class SourceFile(Strict):
    """A file of a source: an archive, a file that the reader reads, or a folder of them.

    It is looked for below the user's folders, else fetched from `url` or from the data set `repository` of the
    Hugging Face hub at `revision`. Without `sha256` it is taken as it is, and the card says what was read.
    """

    file: str = Field(pattern=r"^[\w-][\w.-]*(/[\w-][\w.-]*)*$", description="its name, with folders where need be")
    sha256: Sha256 | None = None
    url: str | None = Field(default=None, pattern=r"^https://\S+$")
    repository: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    beside: bool = Field(default=False, description="handed to the reader beside the others, not read by itself")

    @model_validator(mode="after")
    def _one_place(self) -> SourceFile:
        if self.url is not None and self.repository is not None:
            raise ValueError("accepted is url or repository, not both")
        if self.revision is not None and self.repository is None:
            raise ValueError("revision: belongs to a repository")
        return self

    @property
    def place(self) -> str | None:
        """Where it is fetched from, for people; None where it cannot be."""
        return self.url or (f"https://huggingface.co/datasets/{self.repository}" if self.repository else None)


class DataSource(Strict):
    """The files that the structures and labels are read from. `url`: a page about them."""

    description: Sentence
    url: str | None = None
    files: list[SourceFile] = Field(min_length=1)

    @model_validator(mode="after")
    def _something_is_read(self) -> DataSource:
        names = [file.file for file in self.files]
        if len(set(names)) != len(names):
            raise ValueError(f"files: a name occurs twice in {names}")
        if all(file.beside for file in self.files):
            raise ValueError("files: all of them are beside; nothing is left to read")
        return self


class Sample(Strict):
    """How many structures are drawn at random, and the seed that decides which."""

    n: int = Field(ge=1)
    seed: int


class SpecLabel(Strict):
    """A label: what the reader calls it, the unit it has there, and the unit it is stored in."""

    source: str = Field(min_length=1, description="a value of the reader, or `volume`: that of the cell in Angstrom^3")
    source_unit: str
    unit: str
    per_atom: bool = Field(default=False, description="divide by the number of atoms")
    description: Sentence

    @model_validator(mode="after")
    def _unit_can_be_converted(self) -> SpecLabel:
        conversion(self.source_unit, self.unit)
        return self

    def label(self) -> Label:
        """What the data set's card says of it."""
        return Label(unit=f"{self.unit}/atom" if self.per_atom else self.unit, description=self.description)

    def convert(self, value: float, atoms: int) -> float:
        """`value` of a structure of so many atoms, in the stored unit."""
        return value * conversion(self.source_unit, self.unit) / (atoms if self.per_atom else 1)


class DatasetSpec(Strict):
    """specs/<id>.yaml. Its roles in a suite are the suite's to say."""

    id: Identifier
    version: int = Field(ge=1)
    title: Sentence
    description: Sentence
    licence: Sentence
    reader: str
    options: dict[str, Any] = Field(default_factory=dict, description="handed to the reader")
    source: DataSource
    sample: Sample
    most_atoms: int | None = Field(default=None, ge=1, description="larger ones (in residues) are left out")
    periodic: bool
    composition_basis: Literal["counts", "fractions"]
    labels: dict[Identifier, SpecLabel] = Field(min_length=1)
    overlaps: dict[str, Sentence] = Field(default_factory=dict)
    fingerprint: Sha256 | None = Field(default=None, description="of the structures that must come out; null: unknown")

    @model_validator(mode="after")
    def _reader_exists(self) -> DatasetSpec:
        if self.reader not in READERS:
            raise ValueError(f"reader {self.reader!r} is unknown; accepted: {', '.join(sorted(READERS))}")
        return self


def load_spec(path: Path) -> DatasetSpec:
    """Read a spec file. Raises InvalidFileError naming file and field."""
    spec = read_yaml(path, DatasetSpec)
    if spec.id != path.stem:
        raise InvalidFileError(f"{path}: field id: is {spec.id!r}, the file is {path.name!r}")
    return spec


def known_specs() -> dict[str, DatasetSpec]:
    """The specs shipped with the package, by id."""
    return {spec.id: spec for spec in (load_spec(path) for path in sorted(SPECS.glob("*.yaml")))}


def find_spec(name: str) -> DatasetSpec:
    """The spec called `name` (an id, or a path to a file). Raises DatasetError listing what there is."""
    if name.endswith((".yaml", ".yml")):
        return load_spec(Path(name))
    known = known_specs()
    if name not in known:
        raise DatasetError(f"no spec describes a data set {name!r}; known: {', '.join(sorted(known)) or 'none'}")
    return known[name]
