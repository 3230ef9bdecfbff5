"""What a run will cost before it starts: tasks, structures, atoms, disk and hours.

Hours come from what was measured on the same hardware in this work folder: throughputs of models, and seconds of
scoring tasks of earlier runs of the same suite on as many structures. What was never measured has no hours and is
left out of their sum.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmark.embedding.features import Sidecar
from benchmark.embedding.tasks import Size
from benchmark.embedding.throughput import Throughput, throughput_of
from benchmark.evaluation import GROUP
from benchmark.journal import read_lines, runs
from benchmark.metrics.streaming import block_bounds
from benchmark.schema import Strict
from benchmark.submission import Entry
from benchmark.suite import Suite

FLOAT32, FLOAT64 = 4, 8


class EmbeddingPrice(Strict):
    """One model on one data set. hours: None where its throughput was not measured; 0 where the features are there."""

    model: str
    dataset: str
    structures: int
    atoms: int
    bytes: int
    found: bool
    atoms_per_second: float | None
    hours: float | None


class ScoringPrice(Strict):
    """All tasks of one kind, whose costs add up from `units`; hours of one core, None where none was measured."""

    kind: str
    tasks: int
    units: int
    hours: float | None


class Price(Strict):
    """What a run asks for. hours: of what was measured, one task after another; `unmeasured` says what is left out."""

    suite: str
    device: str
    hardware: str
    models: int
    tasks: int
    structures: int
    atoms: int
    bytes: int
    temporary_bytes: int
    hours: float
    unmeasured: list[str]
    embedding: list[EmbeddingPrice]
    scoring: list[ScoringPrice]


def price(
    suite: Suite,
    entries: Mapping[str, Entry],
    models: Sequence[str],
    sizes: Mapping[str, Size],
    work: Path,
    device: str,
    hardware: str,
) -> Price:
    """The price of `models` on the data sets `sizes` of `suite` on machines with this `device` and `hardware`."""
    made = list(_sidecars(work))
    embedding = [
        _embedding(entries[model], size, made, work, device, hardware) for model in models for size in sizes.values()
    ]
    missing = [each for each in embedding if not each.found]
    scoring = _scoring(suite, sizes, len(models), work, hardware)
    unmeasured = [f"{each.model} · {each.dataset}" for each in missing if each.hours is None]
    unmeasured += [each.kind for each in scoring if each.hours is None]
    hours = [*(each.hours for each in missing), *(each.hours for each in scoring)]
    # Passes lie on disk in float64 while they are computed, the features themselves and without composition.
    widths = sum(_width(entries[model], suite.layer) for model in models)
    return Price(
        suite=suite.key,
        device=device,
        hardware=hardware,
        models=len(models),
        tasks=len(models) + len(missing) + sum(each.tasks for each in scoring),
        structures=sum(each.structures for each in missing),
        atoms=sum(each.atoms for each in missing),
        bytes=sum(each.bytes for each in missing),
        temporary_bytes=sum(2 * FLOAT64 * widths * size.structures for size in sizes.values()),
        hours=sum(each for each in hours if each is not None),
        unmeasured=unmeasured,
        embedding=embedding,
        scoring=scoring,
    )


def _embedding(
    entry: Entry, size: Size, made: Iterable[Sidecar], work: Path, device: str, hardware: str
) -> EmbeddingPrice:
    model = entry.model.id
    tree = entry.family.tree_hash()
    found = any(
        (each.model, each.dataset_fingerprint, each.provenance.adapter_tree, each.provenance.device)
        == (model, size.fingerprint, tree, device)
        for each in made
    )
    measured = throughput_of(work, model, device, hardware) or _of_sidecars(made, model, device, hardware)
    hours = size.atoms / measured.atoms_per_second / 3600.0 if measured is not None else None
    return EmbeddingPrice(
        model=model,
        dataset=size.dataset,
        structures=size.structures,
        atoms=size.atoms,
        bytes=feature_bytes(entry, size),
        found=found,
        atoms_per_second=measured.atoms_per_second if measured is not None else None,
        hours=0.0 if found else hours,
    )


def feature_bytes(entry: Entry, size: Size) -> int:
    """Bytes of the features on disk: the declared layers in float32, and an energy a structure."""
    rows = {"atom": size.atoms, "structure": size.structures}
    values = sum(layer.dimension * rows[layer.level] for layer in entry.model.layers.values())
    return FLOAT32 * values + FLOAT64 * size.structures


def _of_sidecars(made: Iterable[Sidecar], model: str, device: str, hardware: str) -> Throughput | None:
    """Of features that were made before throughputs were kept."""
    found = [
        each
        for each in made
        if (each.model, each.provenance.device, each.provenance.hardware) == (model, device, hardware)
        and each.provenance.wall_seconds > 0
    ]
    if not found:
        return None
    largest = max(found, key=lambda each: each.atoms)
    seconds = largest.provenance.wall_seconds
    return Throughput(largest.atoms / seconds, largest.structures / seconds, hardware, largest.atoms)


def _scoring(suite: Suite, sizes: Mapping[str, Size], models: int, work: Path, hardware: str) -> list[ScoringPrice]:
    """Kinds of scoring tasks, with tasks and units as the pipeline will make them when every model is embedded."""
    structures = [size.structures for size in sizes.values()]
    compared = structures if models > 1 else []
    blocks = [block for n in compared for block in block_bounds(n, models)]
    groups = [min(GROUP, models - start) for start in range(0, models, GROUP)]
    within = [size * (size - 1) // 2 for size in groups]
    across = [a * b for a, b in itertools.combinations(groups, 2)]
    planned = {
        "LayOutTask": (len(compared), models * len(compared)),
        "BlockTask": (2 * len(blocks), 2 * models * sum(stop - start for start, stop in blocks)),
        "PassTask": (len(compared), models * len(compared)),
        "ReconstructTask": (len(within + across) * len(compared), sum(within + across) * len(compared)),
        "ScoreTask": (models, models),
        "PairTask": ((models - 1) * len(compared), models * (models - 1) // 2 * len(compared)),
    }
    rates = _seconds_per_unit(suite, sizes, work, hardware)
    return [
        ScoringPrice(kind=kind, tasks=tasks, units=units, hours=rates[kind] * units / 3600.0 if kind in rates else None)
        for kind, (tasks, units) in planned.items()
        if tasks
    ]


def _seconds_per_unit(suite: Suite, sizes: Mapping[str, Size], work: Path, hardware: str) -> dict[str, float]:
    """Mean seconds a unit of each kind of task in the earlier runs of this suite on so many structures."""
    seconds: dict[str, float] = defaultdict(float)
    units: dict[str, int] = defaultdict(int)
    for folder in runs(work):
        lines = list(read_lines(folder))
        begun = next((line for line in lines if line["event"] == "run"), None)
        same = {name: size.structures for name, size in sizes.items()}
        if begun is None or (begun["suite"], begun["structures"], begun["machine"]) != (suite.key, same, hardware):
            continue
        for line in lines:
            # A task that found all its products on disk says nothing of what they cost.
            if line["event"] == "finished" and line["outcome"] == "ok" and not (line["found"] and not line["made"]):
                seconds[line["kind"]] += line["seconds"]
                units[line["kind"]] += line["units"]
    return {kind: seconds[kind] / count for kind, count in units.items() if count}


def _width(entry: Entry, layer: str) -> int:
    found = entry.model.layers.get(layer)
    return found.dimension if found is not None else 0


def _sidecars(work: Path) -> Iterable[Sidecar]:
    for path in sorted((work / "features").glob("*/features.json")):
        try:
            yield Sidecar.model_validate_json(path.read_bytes())
        except (OSError, ValueError):
            continue  # damaged: as if it were not there
