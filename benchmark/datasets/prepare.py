"""From a spec and its source files to the canonical store, once, whole or not at all.

Shard after shard is read, one structure at a time, into a draw on disk (drawing.py), so the source may be of any size
and an interrupted preparation goes on at the next shard.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from filelock import FileLock
from numpy.typing import NDArray

from benchmark.datasets.columns import DatasetError, read_structures, structures_table, write_tables
from benchmark.datasets.drawing import ChangedShardError, Draw
from benchmark.datasets.readers import READERS, Damaged, DamagedShardError, Shard, SourceStructure
from benchmark.datasets.repeats import periodic_cell
from benchmark.datasets.shards import shards
from benchmark.datasets.sources import Found, Report, find_sources, silent
from benchmark.datasets.spec import DatasetSpec
from benchmark.datasets.store import Dataset, dataset_folders, load_dataset, write_card
from benchmark.datasets.structures import Structures
from benchmark.files import content_key, sha256_of_file, write_json

# Raised when drawing, deduplication or conversion change what comes out of an unchanged spec.
PREPARATION_VERSION = 3
STORE = ("structures.parquet", "labels.parquet")
DAMAGED = "damaged in the source"
LEAST_HEIGHT = 0.1  # Angstrom


def prepare_dataset(
    spec: DatasetSpec,
    folder: Path | None = None,
    source: Path | None = None,
    *,
    offline: bool = True,
    skip_damaged: bool = False,
    report: Report = silent,
) -> Dataset:
    """The data set of `spec` in `folder`/<id>, made unless this very spec's is there already.

    folder: where data sets are kept; the first of `dataset_folders()` where not given.
    source: a source file, or a folder that holds all of them; else they are looked for below $LATENT_MATTER_REAL_DATA
    and then, unless `offline`, fetched. skip_damaged: leave out what cannot be read and say so on the card, rather
    than stop there. Raises DatasetError naming the file and what is wrong; a data set is there whole or not at all, and
    what whole shards gave is kept for the next attempt.
    """
    folder = Path(folder) if folder is not None else dataset_folders()[0]
    target = folder / spec.id
    # Deeper down, where nobody looks for data sets.
    partial = folder / ".partial" / spec.id
    partial.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{partial}.lock"):
        if made_from(target) == preparation_key(spec):
            return load_dataset(target)
        found = find_sources(spec, source, None if offline else folder / ".sources", report)
        for interrupted in partial.iterdir():
            if interrupted.is_dir():
                shutil.rmtree(interrupted)
        work = Path(tempfile.mkdtemp(dir=partial))
        progress = partial / "draw.sqlite"
        try:
            draw = _drawn(spec, found, work, progress, skip_damaged, report)
            try:
                dataset = _write(spec, draw, found, work)
            finally:
                draw.close()
            stored = {name: sha256_of_file(work / name) for name in STORE}
            write_json(work / "prepared.json", {"spec": preparation_key(spec), "files": stored})
            work.chmod(0o755)
            replace_folder(work, target)
            progress.unlink()
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return Dataset(target, dataset.card)


def is_current(dataset: Dataset, spec: DatasetSpec) -> bool:
    """Whether `dataset` was prepared from this very spec."""
    return made_from(dataset.folder) == preparation_key(spec)


def preparation_key(spec: DatasetSpec) -> str:
    """Digest of what a data set depends on that is made from `spec`."""
    return content_key({"version": PREPARATION_VERSION, "spec": spec.model_dump(mode="json")})


def made_from(folder: Path) -> str | None:
    """Key of what the data set in `folder` was made from; None where there is no such data set."""
    try:
        return str(json.loads((folder / "prepared.json").read_text())["spec"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def refuse_changed_files(dataset: Dataset) -> None:
    """Raise DatasetError when a prepared data set's files are not to the byte those that were written."""
    try:
        written = json.loads((dataset.folder / "prepared.json").read_text()).get("files", {})
    except (OSError, ValueError, AttributeError):
        return  # shipped with the package, or made by hand
    for name, digest in written.items():
        if sha256_of_file(dataset.folder / name) != digest:
            raise DatasetError(f"{dataset.folder / name}: is not the file that `data prepare` wrote")


def replace_folder(work: Path, target: Path) -> None:
    """Put the folder `work` in the place of `target`; an older one is moved aside first."""
    if target.exists():
        old = work.with_name(f"{work.name}-old")
        target.rename(old)
        work.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        work.rename(target)


def _drawn(spec: DatasetSpec, found: list[Found], work: Path, path: Path, skip: bool, report: Report) -> Draw:
    """The finished draw; begun anew when what was read before is of another spec or has changed since."""
    for _ in range(2):
        draw: Draw | None = None
        try:
            key = content_key([preparation_key(spec), skip])
            draw = Draw(path, spec.sample.n, spec.sample.seed, len(spec.labels), key)
            _read(spec, found, work, draw, skip, report)
            return draw
        except ChangedShardError:
            report(f"{spec.id}: the source or its spec is another one than when it was begun; beginning anew")
            if draw is not None:
                draw.close()
            path.unlink()
        except BaseException:
            if draw is not None:
                draw.close()
            raise
    raise DatasetError(f"{spec.id}: the source changes while it is read")


def _read(spec: DatasetSpec, found: list[Found], work: Path, draw: Draw, skip: bool, report: Report) -> None:
    reader = READERS[spec.reader]
    beside = {each.file.file: each.path for each in found if each.file.beside}
    read = [each for each in found if not each.file.beside]
    for each in read:
        try:
            for shard in shards(each.file.file, each.path, reader.suffixes, work, each.sha256, len(read) == 1):
                if draw.begin(shard):
                    _read_shard(spec, Shard(shard.name, shard.path, shard.sha256, shard.prefix, beside), draw, skip)
                    draw.finish()
                    report(f"{spec.id}: {shard.name}: read")
                else:
                    report(f"{spec.id}: {shard.name}: read before")
        except DamagedShardError as error:
            # The archive itself is cut: what came before the cut has been read.
            if not skip:
                raise
            draw.damaged[each.file.file] = str(error)
            draw.finish()
            report(f"{spec.id}: {error}")


def _read_shard(spec: DatasetSpec, shard: Shard, draw: Draw, skip: bool) -> None:
    """Offer every usable structure of a shard to the draw; count the others by reason."""
    try:
        for entry, structure in enumerate(READERS[spec.reader].read(shard, spec.options)):
            if isinstance(structure, Damaged):
                if not skip:
                    raise DamagedShardError(f"{shard.name}: {structure.entry}: {structure.reason}")
                draw.left_out[DAMAGED] += 1
                draw.damaged.setdefault(shard.name, f"{structure.entry}: {structure.reason}, the first of such")
                continue
            labels = [] if (reason := _unusable(spec, structure)) else _labels(spec, structure)
            if reason is None and not all(math.isfinite(value) for value in labels):
                reason = "a label is missing or not finite"
            if reason is None:
                draw.add(entry, structure, labels)
            else:
                draw.left_out[reason] += 1
    except DamagedShardError as error:
        if not skip:
            raise
        draw.damaged[shard.name] = str(error)
    except DatasetError as error:
        raise DatasetError(f"{shard.name}: {error}") from error


def _unusable(spec: DatasetSpec, structure: SourceStructure) -> str | None:
    atoms = structure.atoms
    size = _size(structure)
    if size == 0:
        return "no atoms"
    if spec.most_atoms is not None and size > spec.most_atoms:
        return f"more than {spec.most_atoms} {'atoms' if len(atoms) else 'residues'}"
    if spec.periodic and not atoms.pbc.all():
        return "not periodic in three directions"
    if not np.isfinite(atoms.positions).all() or not np.isfinite(np.asarray(atoms.cell)).all():
        return "positions or cell are not finite"
    if np.linalg.matrix_rank(atoms.cell.array[atoms.pbc]) < atoms.pbc.sum():
        return "periodic directions without a cell"
    # As long as one over the distance of two faces. A neighbour search in a flatter cell would not end.
    if (np.linalg.norm(np.linalg.inv(periodic_cell(atoms)), axis=0)[atoms.pbc] > 1 / LEAST_HEIGHT).any():
        return f"cell faces closer than {LEAST_HEIGHT} Angstrom"
    return None


def _size(structure: SourceStructure) -> int:
    return len(structure.atoms) or len(structure.sequence or "")


def _labels(spec: DatasetSpec, structure: SourceStructure) -> list[float]:
    values = dict(structure.values)
    if structure.atoms.pbc.all():
        values["volume"] = float(structure.atoms.cell.volume)
    return [label.convert(values.get(label.source, math.nan), _size(structure)) for label in spec.labels.values()]


def _write(spec: DatasetSpec, draw: Draw, found: list[Found], work: Path) -> Dataset:
    if not draw.drawn():
        raise DatasetError(f"{spec.id}: no structure of the source can be used: {dict(draw.left_out)}")
    write_tables(work / STORE[0], (structures_table(part) for part, _ in draw.parts()))
    write_tables(work / STORE[1], (_labels_table(spec, part, labels) for part, labels in draw.parts()))
    structures = read_structures(work / STORE[0])
    fingerprint = structures.fingerprint()
    if spec.fingerprint not in (None, fingerprint):
        gives = f"{len(structures)} structures with fingerprint {fingerprint}"
        raise DatasetError(f"{found[0].path}: gives {gives}, the spec of {spec.id} says {spec.fingerprint}")
    return write_card(work, _card(spec, draw, found), len(structures), fingerprint)


def _labels_table(spec: DatasetSpec, part: Structures, labels: NDArray[np.float64]) -> pa.Table:
    columns = {name: pa.array(labels[:, column]) for column, name in enumerate(spec.labels)}
    return pa.table({"id": pa.array(part.ids, pa.string()), **columns})


def _card(spec: DatasetSpec, draw: Draw, found: list[Found]) -> dict[str, object]:
    files = {each.file.file: each.sha256 for each in found if each.sha256}
    revisions = {each.file.revision for each in found}
    return {
        "id": spec.id,
        "version": spec.version,
        "title": spec.title,
        "description": spec.description,
        "source": {
            "description": spec.source.description,
            "url": spec.source.url,
            "revision": revisions.pop() if len(revisions) == 1 else None,
            "files": files,
        },
        "licence": spec.licence,
        "periodic": spec.periodic,
        "labels": {name: label.label().model_dump() for name, label in spec.labels.items()},
        "composition_basis": spec.composition_basis,
        "overlaps": spec.overlaps,
        "left_out": dict(sorted((reason, count) for reason, count in draw.left_out.items() if count)),
        "damaged": draw.damaged,
    }
