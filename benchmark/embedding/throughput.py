"""How quickly models embed, as measured: one small file a product, below `<work>/throughput/<model>/`.

Rates are of what was computed in one process, start-up included. Nothing here is extrapolated from another model,
device or machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.embedding.features import Sidecar
from benchmark.files import write_json
from benchmark.schema import Strict

FOLDER = "throughput"


class Spent(Strict):
    """What one process computed, and how long it took."""

    structures: int
    atoms: int
    wall_seconds: float
    peak_memory_mb: float
    sandbox: str


class Measured(Strict):
    """throughput/<model>/<key>.json."""

    model: str
    dataset: str
    device: str
    hardware: str
    runs: list[Spent]


@dataclass(frozen=True)
class Throughput:
    """Atoms and structures a second of the longest measured run on one kind of machine."""

    atoms_per_second: float
    structures_per_second: float
    hardware: str
    atoms: int


def note_throughput(work: Path, sidecar: Sidecar, spent: Sequence[Mapping[str, Any]]) -> None:
    """Keep what the processes that made a product took."""
    made = sidecar.provenance
    measured = Measured(
        model=sidecar.model,
        dataset=sidecar.dataset,
        device=made.device,
        hardware=made.hardware,
        runs=[Spent.model_validate(each) for each in spent],
    )
    write_json(work / FOLDER / sidecar.model / f"{sidecar.key[:16]}.json", measured.model_dump())


def throughput_of(work: Path, model: str, device: str, hardware: str | None = None) -> Throughput | None:
    """What was measured of `model` on this device and hardware (None: any); the longest run counts.

    None where nothing was measured.
    """
    runs: list[tuple[Spent, str]] = []
    for path in sorted((work / FOLDER / model).glob("*.json")):
        try:
            found = Measured.model_validate_json(path.read_bytes())
        except (OSError, ValueError):
            continue  # damaged: as if it had not been measured
        if found.device == device and hardware in (None, found.hardware):
            runs += [(run, found.hardware) for run in found.runs if run.wall_seconds > 0 and run.structures > 0]
    if not runs:
        return None
    longest, hardware = max(runs, key=lambda run: run[0].atoms)
    seconds = longest.wall_seconds
    return Throughput(longest.atoms / seconds, longest.structures / seconds, hardware, longest.atoms)
