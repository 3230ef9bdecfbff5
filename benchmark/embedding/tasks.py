"""The parts of embedding as tasks that any process can be given: checks, whole data sets, shards of large ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.datasets.store import Dataset, find_dataset
from benchmark.embedding.conformance import run_conformance
from benchmark.embedding.extraction import EmbeddingSettings, embed, embed_shards, shard_count
from benchmark.embedding.features import Sidecar
from benchmark.embedding.machine import find_device
from benchmark.embedding.throughput import throughput_of
from benchmark.results.records import ConformanceCheck
from benchmark.schema import InvalidFileError
from benchmark.submission import Entry

Report = Callable[[float], None]


@dataclass(frozen=True)
class Size:
    """A data set and how large it is."""

    dataset: str
    fingerprint: str
    structures: int
    atoms: int


def size_of(dataset: Dataset) -> Size:
    """How many structures and atoms there are."""
    structures = dataset.structures()
    return Size(dataset.card.id, dataset.card.fingerprint, len(structures), int(structures.offsets[-1]))


def located(entry: Entry) -> Entry:
    """`entry` with the whole path of its folder, for processes that run elsewhere."""
    return replace(entry, family=replace(entry.family, folder=entry.family.folder.absolute()))


@dataclass(frozen=True, eq=False)
class CheckTask:
    """Run a model's conformance checks."""

    entry: Entry
    settings: EmbeddingSettings

    @property
    def model(self) -> str:
        return self.entry.model.id

    def __call__(self, report: Report) -> list[ConformanceCheck]:
        del report  # it takes seconds
        return run_conformance(self.entry, self.settings)

    def __str__(self) -> str:
        return f"{self.model} · conformance"


@dataclass(frozen=True, eq=False)
class EmbedTask:
    """Embed one data set with one model, or (`span`) some shards of it for a later task to find."""

    entry: Entry
    size: Size
    settings: EmbeddingSettings
    span: range | None = None

    @property
    def place(self) -> tuple[str, str]:
        """Model and data set."""
        return self.entry.model.id, self.size.dataset

    def __call__(self, report: Report) -> Sidecar | None:
        dataset = find_dataset(self.size.dataset)
        if dataset.card.fingerprint != self.size.fingerprint:
            raise InvalidFileError(
                f"data set {self.size.dataset}: fingerprint is {dataset.card.fingerprint} where the task runs, "
                f"{self.size.fingerprint} where it was planned"
            )
        if self.span is None:
            return embed(self.entry, dataset, self.settings, progress=report)
        embed_shards(self.entry, dataset, self.settings, self.span, progress=report)
        return None

    def parts(self, shards_per_task: int | None) -> list[EmbedTask]:
        """Tasks of so many shards each, which can run side by side before this one; none where it is small."""
        count = shard_count(self.size.structures)
        if shards_per_task is None or count <= shards_per_task:
            return []
        spans = [range(start, min(start + shards_per_task, count)) for start in range(0, count, shards_per_task)]
        return [replace(self, span=span) for span in spans]

    def __str__(self) -> str:
        shards = f" · shards {self.span.start}-{self.span.stop - 1}" if self.span is not None else ""
        return f"{self.entry.model.id} · {self.size.dataset}{shards}"


def largest_first(tasks: Sequence[EmbedTask], work: Path) -> list[EmbedTask]:
    """Tasks in the order in which to start them: one that lasts long must not be the last.

    By the time that they will take, where the model's throughput was measured; before those the ones where it was
    not, by atoms times parameters.
    """

    def order(task: EmbedTask) -> tuple[bool, float]:
        measured = throughput_of(work, task.entry.model.id, find_device(task.settings.accelerator))
        if measured is None:
            return False, -float(task.size.atoms) * (task.entry.model.parameters or 0)
        return True, -task.size.atoms / measured.atoms_per_second

    return sorted(tasks, key=order)
