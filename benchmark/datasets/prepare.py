"""From a spec and its source file to the canonical store, once, whole or not at all.

The draw does not depend on the order of the file: each structure's rank is a hash of seed and id, and the n
smallest are kept. One structure is held at a time beside those, so the source may be of any size.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from filelock import FileLock

from benchmark.datasets.readers import READERS, SourceStructure
from benchmark.datasets.spec import DatasetSpec
from benchmark.datasets.store import (
    Dataset,
    DatasetError,
    dataset_folders,
    load_dataset,
    structures_from_atoms,
    write_dataset,
)
from benchmark.files import content_key, sha256_of_file, write_json

SOURCES_VARIABLE = "LATENT_MATTER_REAL_DATA"
# Raised when drawing, deduplication or conversion change what comes out of an unchanged spec.
PREPARATION_VERSION = 1
SAME_POSITION = 1e-3  # Angstrom


@dataclass(frozen=True)
class Candidate:
    """A structure that may be drawn, with its labels in the spec's units. Ranks are uniform random numbers."""

    rank: str
    row: int
    structure: SourceStructure
    labels: dict[str, float]


def prepare_dataset(spec: DatasetSpec, folder: Path | None = None, source: Path | None = None) -> Dataset:
    """The data set of `spec` in `folder`/<id>, made unless this very spec's is there already.

    folder: where data sets are kept; the first of `dataset_folders()` where not given.
    source: the source file, or a folder that holds it; else it is looked for below $LATENT_MATTER_REAL_DATA.
    Raises DatasetError naming the file and what is wrong; nothing half-made is left behind.
    """
    folder = Path(folder) if folder is not None else dataset_folders()[0]
    target = folder / spec.id
    # Deeper down, where nobody looks for data sets.
    partial = folder / ".partial" / spec.id
    partial.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{partial}.lock"):
        if _made_from(target) == _key(spec):
            return load_dataset(target)
        path = find_source(spec, source)
        for interrupted in partial.iterdir():
            shutil.rmtree(interrupted)
        work = Path(tempfile.mkdtemp(dir=partial))
        try:
            dataset = _write(spec, path, work)
            write_json(work / "prepared.json", {"spec": _key(spec)})
            work.chmod(0o755)
            _replace(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return Dataset(target, dataset.card)


def find_source(spec: DatasetSpec, given: Path | None = None) -> Path:
    """The verified source file of `spec`. Raises DatasetError when it is not there or another one."""
    if given is not None and given.is_file():
        found = [given]
    else:
        roots = [given] if given is not None else _source_folders()
        if not roots:
            raise DatasetError(
                f"{spec.id}: needs {spec.source.file} ({spec.source.description}); "
                f"set {SOURCES_VARIABLE} to the folder that holds it, or give --source"
            )
        found = [path for root in roots for path in sorted(root.rglob(spec.source.file)) if path.is_file()]
        if not found:
            where = ", ".join(str(root) for root in roots)
            raise DatasetError(f"{spec.id}: no {spec.source.file} below {where} ({spec.source.description})")
    digest = sha256_of_file(found[0])
    if digest != spec.source.sha256:
        raise DatasetError(f"{found[0]}: SHA-256 is {digest}, the spec of {spec.id} says {spec.source.sha256}")
    return found[0]


def is_current(dataset: Dataset, spec: DatasetSpec) -> bool:
    """Whether `dataset` was prepared from this very spec."""
    return _made_from(dataset.folder) == _key(spec)


def _source_folders() -> list[Path]:
    return [Path(root) for root in os.environ.get(SOURCES_VARIABLE, "").split(os.pathsep) if root]


def _key(spec: DatasetSpec) -> str:
    return content_key({"version": PREPARATION_VERSION, "spec": spec.model_dump(mode="json")})


def _made_from(folder: Path) -> str | None:
    """Key of the spec that the data set in `folder` was prepared from; None where there is no such data set."""
    try:
        return str(json.loads((folder / "prepared.json").read_text())["spec"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(spec: DatasetSpec, path: Path, work: Path) -> Dataset:
    left_out: Counter[str] = Counter()
    usable = _usable(spec, READERS[spec.reader](path, spec.options), left_out)
    drawn = _draw(usable, spec.sample.n, left_out)
    if not drawn:
        raise DatasetError(f"{path}: the spec of {spec.id} leaves no structure: {dict(left_out)}")
    images = [candidate.structure.atoms for candidate in drawn]
    ids = [candidate.structure.id for candidate in drawn]
    smiles = [candidate.structure.smiles for candidate in drawn]
    strings = [text for text in smiles if text is not None]
    structures = structures_from_atoms(ids, images, strings if len(strings) == len(drawn) else None)
    if spec.fingerprint not in (None, structures.fingerprint()):
        found = f"{len(drawn)} structures with fingerprint {structures.fingerprint()}"
        raise DatasetError(f"{path}: gives {found}, the spec of {spec.id} says {spec.fingerprint}")
    labels = pd.DataFrame([candidate.labels for candidate in drawn], index=ids)
    return write_dataset(work, _card(spec, left_out), structures, labels)


def _card(spec: DatasetSpec, left_out: Counter[str]) -> dict[str, object]:
    return {
        "id": spec.id,
        "version": spec.version,
        "title": spec.title,
        "description": spec.description,
        "source": {"description": spec.source.description, "url": spec.source.url, "sha256": spec.source.sha256},
        "licence": spec.licence,
        "periodic": spec.periodic,
        "labels": {name: label.label().model_dump() for name, label in spec.labels.items()},
        "composition_basis": spec.composition_basis,
        "overlaps": spec.overlaps,
        "left_out": dict(sorted(left_out.items())),
    }


def _usable(spec: DatasetSpec, structures: Iterable[SourceStructure], left_out: Counter[str]) -> Iterator[Candidate]:
    """Structures within the spec's limits, with all their labels, each once; the others are counted by reason."""
    seen: set[bytes] = set()
    names: set[str] = set()
    for row, structure in enumerate(structures):
        if structure.id in names:
            raise DatasetError(f"{spec.source.file}: id {structure.id!r} occurs more than once")
        names.add(structure.id)
        reason = _unusable(spec, structure)
        labels = {} if reason else _labels(spec, structure)
        if not reason and not all(math.isfinite(value) for value in labels.values()):
            reason = "a label is missing or not finite"
        elif not reason and _places(structure.atoms) in seen:
            reason = "repeats another structure"
        if reason:
            left_out[reason] += 1
            continue
        seen.add(_places(structure.atoms))
        rank = hashlib.sha256(f"{spec.sample.seed}:{structure.id}".encode()).hexdigest()
        yield Candidate(rank, row, structure, labels)


def _unusable(spec: DatasetSpec, structure: SourceStructure) -> str | None:
    atoms = structure.atoms
    if len(atoms) == 0:
        return "no atoms"
    if spec.most_atoms is not None and len(atoms) > spec.most_atoms:
        return f"more than {spec.most_atoms} atoms"
    if spec.periodic and not atoms.pbc.all():
        return "not periodic in three directions"
    if not np.isfinite(atoms.positions).all() or not np.isfinite(np.asarray(atoms.cell)).all():
        return "positions or cell are not finite"
    return None


def _labels(spec: DatasetSpec, structure: SourceStructure) -> dict[str, float]:
    values = dict(structure.values)
    if structure.atoms.pbc.all():
        values["volume"] = float(structure.atoms.cell.volume)
    return {
        name: label.convert(values.get(label.source, math.nan), len(structure.atoms))
        for name, label in spec.labels.items()
    }


def _places(atoms: Atoms) -> bytes:
    """Digest of elements, cell and positions to SAME_POSITION, in the order of the atoms."""
    rounded = [np.round(np.asarray(part) / SAME_POSITION).astype(np.int64) for part in (atoms.positions, atoms.cell)]
    return hashlib.sha256(
        b"".join([np.asarray(atoms.numbers, dtype=np.int64).tobytes(), *(part.tobytes() for part in rounded)])
    ).digest()


def _draw(candidates: Iterable[Candidate], n: int, left_out: Counter[str]) -> list[Candidate]:
    """The n candidates of smallest rank, in the order of the file."""
    kept: list[Candidate] = []
    count = 0
    for candidate in candidates:
        count += 1
        kept.append(candidate)
        if len(kept) >= 2 * n + 1000:
            kept = sorted(kept, key=lambda each: each.rank)[:n]
    drawn = sorted(kept, key=lambda each: each.rank)[:n]
    if count > len(drawn):
        left_out["not drawn"] = count - len(drawn)
    return sorted(drawn, key=lambda each: each.row)


def _replace(work: Path, target: Path) -> None:
    """Put the folder `work` in the place of `target`; an older one is moved aside first."""
    if target.exists():
        old = work.with_name(f"{work.name}-old")
        target.rename(old)
        work.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        work.rename(target)
