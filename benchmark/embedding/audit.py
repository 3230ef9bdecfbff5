"""Are the stored features a function of the structure alone?

The conformance checks know their structures beforehand, and an adapter could know them too. The audit comes
after the features of a data set were made: a few of its structures, drawn in secret, are moved and given their
atoms in another order, others are displaced a little, and all go in random order through a new process. The
moved ones must give the stored features again; the displaced ones must give neighbouring features, neither the
same nor others altogether. Features that count rows, depend on the input order or on what was embedded
before, were looked up in a table, or are honest in the checks only, do not come through.
"""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from benchmark.datasets.store import Structures, structures_from_atoms
from benchmark.embedding.batching import pack
from benchmark.embedding.errors import EmbeddingError, with_ids
from benchmark.embedding.features import FeatureSet, column_deviations
from benchmark.embedding.output import Part, read_part
from benchmark.embedding.prepared import PreparedModel, write_inputs
from benchmark.embedding.process import RunSettings, run_worker
from benchmark.files import remove_tree

AUDITED_STRUCTURES = 12
AUDITED_ATOMS = 1000
LONGEST_MOVE = 5.0  # Angstrom
NUDGE = 0.002  # Angstrom, standard deviation of each coordinate
# In units of the spread of a layer over the data set: root mean square of its columns' standard deviations.
SAME = 1e-2
BLIND = 1e-5
# Mean over columns of the root mean square change, each in units of the column's own standard deviation.
# Independent features change by 1.4; a displacement of NUDGE changed those of networks by 0.02 at most.
JUMP = 0.3
LIVELY = 1e-3  # share of the spread that a column's standard deviation must have to count
STEP = "shard-00000"


@dataclass(frozen=True)
class Copies:
    """Transformed copies of structures of a data set, in the random order in which the model gets them.

    sources[i]: which structure of the data set copy i is of; orders[i]: its atom j is atom orders[i][j] of
    the source; nudged[i]: whether its atoms were displaced.
    """

    structures: Structures
    sources: list[int]
    orders: list[NDArray[np.int64]]
    nudged: list[bool]


def audit(prepared: PreparedModel, structures: Structures, features: FeatureSet, settings: RunSettings) -> None:
    """Embed secret copies again and compare with `features`. Raises EmbeddingError naming a structure."""
    positions = np.arange(len(structures)) if features.positions is None else features.positions
    if not len(positions):
        return
    modality = prepared.entry.family.submission.modality
    copies = draw_copies(structures, positions, modality, np.random.default_rng())
    parent = Path(settings["cache"]).absolute() / "work"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix="audit-"))
    try:
        part = _embed(prepared, copies, folder, settings)
    except EmbeddingError as error:
        raise with_ids(error, copies.structures.ids) from error
    finally:
        remove_tree(folder)
    _compare(prepared, structures, features, copies, part)


def draw_copies(
    structures: Structures, positions: NDArray[np.int64], modality: str, generator: np.random.Generator
) -> Copies:
    """Copies of randomly drawn structures among `positions`; strings have no other copies than themselves."""
    lengths = np.diff(structures.offsets)
    drawn = generator.permutation(positions)
    small = drawn[np.cumsum(lengths[drawn]) <= AUDITED_ATOMS]
    chosen = (small if len(small) else drawn[:1])[:AUDITED_STRUCTURES]
    kinds = (False, True) if modality == "atoms" else (False,)
    pairs = [(int(index), nudged) for index in chosen for nudged in kinds]
    pairs = [pairs[place] for place in generator.permutation(len(pairs))]
    images, orders = [], []
    for index, nudged in pairs:
        order = generator.permutation(int(lengths[index]))
        images.append(_copy(structures.atoms(index), order, nudged, generator))
        orders.append(order)
    built = structures_from_atoms([structures.ids[index] for index, _ in pairs], images)
    strings = structures.strings(modality)
    if strings is not None:
        name = "smiles" if modality == "smiles" else "sequences"
        built = dataclasses.replace(built, **{name: tuple(strings[index] for index, _ in pairs)})  # type: ignore[arg-type]
    return Copies(built, [index for index, _ in pairs], orders, [nudged for _, nudged in pairs])


def _copy(atoms: Atoms, order: NDArray[np.int64], nudged: bool, generator: np.random.Generator) -> Atoms:
    """Moved as a whole, with its atoms in another order, and perhaps with each atom displaced."""
    move = generator.uniform(-LONGEST_MOVE, LONGEST_MOVE, size=3).round(6)
    positions = atoms.positions + move
    if nudged:
        positions = positions + NUDGE * generator.normal(size=positions.shape)
    return Atoms(
        numbers=atoms.numbers[order], positions=positions[order], cell=atoms.cell.array, pbc=atoms.pbc, info=atoms.info
    )


def _embed(prepared: PreparedModel, copies: Copies, folder: Path, settings: RunSettings) -> Part:
    place = prepared.entry.family.adapter
    lengths = np.diff(copies.structures.offsets)
    # As many atoms a batch as the largest copy has: batches unlike those of the run.
    batches = pack(range(len(lengths)), lengths, int(lengths.max()))
    order = [index for batch in batches for index in batch]
    inputs = write_inputs(folder, prepared.entry, copies.structures)
    run_worker(
        prepared.job(inputs, [{"do": "embed", "name": STEP, "batches": batches}]),
        prepared.environment,
        folder,
        **settings,
    )
    path = folder / "output" / f"{STEP}.safetensors"
    part = read_part(place, path, order, lengths[order], prepared.entry.model.layers)
    if part.left_out:
        index, why = next(iter(part.left_out.items()))
        raise _failure(prepared, f"cannot embed {copies.structures.ids[index]} again: {why}")
    return part


def _compare(prepared: PreparedModel, structures: Structures, features: FeatureSet, copies: Copies, part: Part) -> None:
    for name, layer in features.layers.items():
        rows = part.rows(name)
        deviations = column_deviations(layer.values)
        spread = _spread(deviations)
        changes, jumps = [], []
        for copy, (index, order, nudged) in enumerate(zip(copies.sources, copies.orders, copies.nudged, strict=True)):
            stored = stored_rows(features, name, index)
            difference = rows[copy].astype(np.float64) - (stored[order] if layer.level == "atom" else stored)
            change = float(np.abs(difference).max()) / spread
            if nudged:
                changes.append(change)
                jumps.append(_jump(difference, deviations, LIVELY * spread))
            elif change > SAME:
                raise _failure(
                    prepared,
                    f"layer {name} of {structures.ids[index]}, embedded again among others, moved and with its atoms "
                    f"in another order, differs by {change:.2g} of the spread, at most {SAME:g} is accepted: "
                    "features may depend on nothing but the structure",
                )
        if changes and prepared.entry.model.control is None:  # controls may do as they do
            _judge_nudged(prepared, name, max(changes), float(np.median(jumps)))


def _jump(difference: NDArray[np.float64], deviations: NDArray[np.float64], least: float) -> float:
    """Mean over lively columns of the root mean square of `difference`, in units of the column's deviation."""
    lively = deviations > least
    if not lively.any():
        return 0.0
    changes = np.sqrt((difference[:, lively] ** 2).mean(axis=0)) / deviations[lively]
    return float(np.minimum(changes, 2.0).mean())


def _judge_nudged(prepared: PreparedModel, layer: str, most: float, jump: float) -> None:
    """most: largest change of any displaced copy; jump: of half of them. One may jump where a cutoff is crossed."""
    where = f"layer {layer} changes by"
    if jump > JUMP:
        change = f"{where} {jump:.2g} standard deviations when atoms move by {NUDGE:g} Angstrom"
        raise _failure(prepared, f"{change}, at most {JUMP:g} is accepted: looked up rather than computed")
    if most < BLIND:
        change = f"{where} {most:.2g} of the spread when atoms move by {NUDGE:g} Angstrom"
        raise _failure(prepared, f"{change}, at least {BLIND:g} is needed: blind to the positions")


def stored_rows(features: FeatureSet, layer: str, index: int) -> NDArray[np.float32]:
    """Rows of structure `index` of the data set."""
    found = features.layers[layer]
    row = index if features.positions is None else int(np.searchsorted(features.positions, index))
    if found.level == "structure":
        return found.values[row : row + 1]
    return found.values[features.offsets[row] : features.offsets[row + 1]]


def _spread(deviations: NDArray[np.float64]) -> float:
    """Root mean square over columns of the standard deviation over rows; 1 for constant features."""
    spread = float(np.sqrt(np.square(deviations).mean()))
    return spread if spread > 0 else 1.0


def _failure(prepared: PreparedModel, message: str) -> EmbeddingError:
    return EmbeddingError(prepared.entry.family.adapter, "audit", message)
