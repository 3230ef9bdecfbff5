"""What an adapter must show before it is scored.

The trusted side makes transformed copies of a few probe structures, has the worker embed them like
any other input, and compares. An adapter sees structures and cannot tell which check it is in.
Differences are measured in units of a layer's spread: the root mean square, over columns, of the
standard deviation over all probe rows.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from benchmark.datasets.store import structures_from_atoms
from benchmark.embedding.batching import pack
from benchmark.embedding.environment import Environment
from benchmark.embedding.errors import EmbeddingError, with_ids
from benchmark.embedding.extraction import EmbeddingSettings, prepare
from benchmark.embedding.output import HEADER_BYTES, Part, read_arrays, read_left_out, read_part, refuse_strangers
from benchmark.embedding.prepared import PreparedModel, write_inputs
from benchmark.embedding.probes import (
    Probes,
    default_probes,
    in_other_elements,
    of_strings,
    single_elements,
    with_variants,
)
from benchmark.embedding.process import run_worker
from benchmark.embedding.rotations import rotate_features
from benchmark.embedding.weights import MissingWeightsError
from benchmark.files import content_key, remove_tree, write_json
from benchmark.results.records import ConformanceCheck
from benchmark.submission import Entry

CONFORMANCE_VERSION = 2
# Largest differences, in units of the layer's spread. Models compute in float32: their sums depend on
# the order of the terms, which permuting, moving and batching change.
SAME_CALL = 1e-5
SAME_STRUCTURE = 1e-3
# Smallest differences between what must differ, in the same unit.
DIFFERENT = 2e-3
PERTURBATION = 0.1
ENERGY_TOLERANCE = 1e-5  # eV an atom
ATOMS_PER_BATCH = 256
FEWEST_PROBES = 3
NOT_AT_HAND = "weights"

Status = Literal["passed", "failed", "reported", "skipped"]
Difference = tuple[float, str]  # largest difference and where it was


def run_conformance(
    entry: Entry,
    settings: EmbeddingSettings,
    *,
    environment: Environment | None = None,
    probes: Sequence[Atoms] | None = None,
) -> list[ConformanceCheck]:
    """Outcomes of all checks of `entry`; a check that failed names its reason.

    An adapter that cannot be run at all (header, weights, load, embed, output) gives one failed check; weights that
    are not at hand give one skipped check, `NOT_AT_HAND`.
    probes: structures to try it on, for models that know few elements. Finished outcomes are kept
    under the content key of everything they depend on.
    """
    try:
        prepared = prepare(entry, settings, environment)
        tried = _probes(entry, probes)
        kept = _kept(prepared, tried, settings)
        found = _read(kept)
        if found is None:
            found = _measure(prepared, tried, settings)
            write_json(kept, [check.model_dump() for check in found])
        return found
    except MissingWeightsError as error:
        return [ConformanceCheck(id=NOT_AT_HAND, status="skipped", detail=f"{Path(error.place).name}: {error.message}")]
    except EmbeddingError as error:
        return [ConformanceCheck(id=error.check, status="failed", detail=f"{Path(error.place).name}: {error.message}")]


def find_conformance(prepared: PreparedModel, settings: EmbeddingSettings) -> list[ConformanceCheck] | None:
    """Outcomes that are kept from an earlier run with the default probes, or None; starts no model."""
    return _read(_kept(prepared, _probes(prepared.entry, None), settings))


def _kept(prepared: PreparedModel, tried: Probes, settings: EmbeddingSettings) -> Path:
    """Where the outcomes lie, named by everything they depend on."""
    identity = {"conformance": CONFORMANCE_VERSION, "data": tried.structures.fingerprint(), **_identity(prepared)}
    return settings.cache / "conformance" / f"{content_key(identity)}.json"


def _probes(entry: Entry, given: Sequence[Atoms] | None) -> Probes:
    modality = entry.family.submission.modality
    if modality != "atoms":
        return of_strings(modality)
    return with_variants(default_probes() if given is None else given)


def _identity(prepared: PreparedModel) -> dict[str, Any]:
    model, submission = prepared.entry.model, prepared.entry.family.submission
    declared = {"symmetry": submission.symmetry, "control": model.control, "parameters": model.parameters}
    return {**prepared.identity(), **declared}


def _read(path: Path) -> list[ConformanceCheck] | None:
    try:
        return [ConformanceCheck.model_validate(check) for check in json.loads(path.read_text())]
    except (FileNotFoundError, ValueError):
        return None


class Measured:
    """What the worker returned: features of each step, energies of the package's calculator, perturbed or not."""

    def __init__(self, parts: Mapping[str, Part], reference: NDArray[np.float64] | None, perturbed: bool) -> None:
        self.parts = parts
        self.reference = reference
        self.perturbed = perturbed


def _measure(prepared: PreparedModel, probes: Probes, settings: EmbeddingSettings) -> list[ConformanceCheck]:
    parent = settings.cache / "work"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent.absolute(), prefix="conformance-"))
    try:
        measured = _run(prepared, probes, settings, folder / "first")
        left_out = {index: why for part in measured.parts.values() for index, why in part.left_out.items()}
        if left_out:
            probes = _embeddable(prepared, probes, left_out, settings, folder / "survey")
            measured = _run(prepared, probes, settings, folder / "second")
    except EmbeddingError as error:
        raise with_ids(error, probes.structures.ids) from error
    finally:
        remove_tree(folder)
    return Judge(prepared, probes, measured).checks()


def _embeddable(
    prepared: PreparedModel, probes: Probes, left_out: Mapping[int, str], settings: EmbeddingSettings, folder: Path
) -> Probes:
    """The probes that the adapter can embed; where those are too few, others of elements that it knows."""
    refused = {index for index in range(probes.count) if index in left_out}
    refused |= {index for copies in probes.variants.values() for index, copy in copies.items() if copy in left_out}
    originals = [probes.structures.atoms(index) for index in range(probes.count)]
    kept = [atoms for index, atoms in enumerate(originals) if index not in refused]
    place = prepared.entry.family.adapter
    if prepared.entry.family.submission.modality != "atoms":
        index, why = next(iter(left_out.items()))
        raise EmbeddingError(place, "unsupported", f"the adapter cannot embed {probes.structures.ids[index]!r}: {why}")
    if len(kept) < FEWEST_PROBES:
        elements = single_elements()
        unknown = _survey(prepared, elements, settings, folder / "elements")
        known = {int(atoms.numbers[0]) for index, atoms in enumerate(elements) if index not in unknown}
        if known:
            replaced = in_other_elements(originals, sorted(known))
            unknown = _survey(prepared, replaced, settings, folder / "replaced")
            kept += [atoms for index, atoms in enumerate(replaced) if index not in unknown]
    if len(kept) < FEWEST_PROBES:
        why = next(iter(left_out.values()))
        message = f"the adapter can embed {len(kept)} of the probes, {FEWEST_PROBES} are needed: {why}"
        raise EmbeddingError(place, "unsupported", message)
    return with_variants(kept)


def _survey(prepared: PreparedModel, asked: list[Atoms], settings: EmbeddingSettings, folder: Path) -> dict[int, str]:
    """Which of the structures the adapter says it cannot embed, and why."""
    folder.mkdir(parents=True)
    structures = structures_from_atoms([str(index) for index in range(len(asked))], asked)
    inputs = list(range(len(asked)))
    job = prepared.job(
        write_inputs(folder, prepared.entry, structures), [{"do": "survey", "name": "survey", "inputs": inputs}]
    )
    run_worker(job, prepared.environment, folder, **settings.running)
    place = prepared.entry.family.adapter
    _, told = read_arrays(place, folder / "output" / "survey.safetensors", HEADER_BYTES)
    return read_left_out(place, told, inputs)


def _steps(probes: Probes, lengths: NDArray[np.int64]) -> list[dict[str, Any]]:
    originals = list(range(probes.count))
    transformed = list(range(probes.count, len(lengths)))
    batches = {
        "together": [originals],
        "again": [originals],
        "alone": [[index] for index in originals],
        "reversed": [originals[::-1]],
        "transformed": pack(transformed, lengths, ATOMS_PER_BATCH),
    }
    return [
        *({"do": "embed", "name": name, "batches": given} for name, given in batches.items() if given),
        {"do": "reference_energies", "name": "reference", "batches": [originals]},
        # Last: nothing that follows would be the model's own.
        {"do": "perturb", "name": "perturb", "scale": PERTURBATION, "seed": 0},
        {"do": "embed", "name": "perturbed", "batches": [originals]},
    ]


def _run(prepared: PreparedModel, probes: Probes, settings: EmbeddingSettings, folder: Path) -> Measured:
    folder.mkdir()
    place, output = prepared.entry.family.adapter, folder / "output"
    lengths = np.diff(probes.structures.offsets)
    steps = _steps(probes, lengths)
    job = prepared.job(write_inputs(folder, prepared.entry, probes.structures), steps)
    run_worker(job, prepared.environment, folder, **settings.running)
    refuse_strangers(place, output, [f"{step['name']}.safetensors" for step in steps])
    parts = {}
    for step in steps:
        if step["do"] == "embed":
            order = [index for batch in step["batches"] for index in batch]
            path = output / f"{step['name']}.safetensors"
            parts[step["name"]] = read_part(place, path, order, lengths[order], prepared.entry.model.layers)
    reference, _ = read_arrays(place, output / "reference.safetensors", 8 * probes.count + HEADER_BYTES)
    _, told = read_arrays(place, output / "perturb.safetensors", HEADER_BYTES)
    return Measured(parts, reference.get("energies"), told.get("perturbed") == "true")


class Judge:
    """Compares what came back and decides."""

    def __init__(self, prepared: PreparedModel, probes: Probes, measured: Measured) -> None:
        self.model = prepared.entry.model
        self.symmetry = prepared.entry.family.submission.symmetry
        self.probes = probes
        self.measured = measured
        self.scales = {name: _spread(layer.values) for name, layer in measured.parts["together"].layers.items()}

    def checks(self) -> list[ConformanceCheck]:
        """All checks in the order of DESIGN.md. Reading the parts has already proved shapes and finiteness."""
        invariant = [name for name, layer in self.model.layers.items() if layer.irreps is None]
        equivariant = [name for name, layer in self.model.layers.items() if layer.irreps is not None]
        return [
            self._dimensions(),
            self._small("determinism", self._steps_differ("again"), SAME_CALL),
            self._small("batch_size", self._steps_differ("alone"), SAME_STRUCTURE),
            self._small("batch_order", self._steps_differ("reversed"), SAME_STRUCTURE),
            self._small("permutation", self._variants_differ("permuted"), SAME_STRUCTURE),
            self._small("translation", self._variants_differ("translated"), SAME_STRUCTURE),
            self._small("rotation", self._variants_differ("rotated", invariant), SAME_STRUCTURE, self._free),
            self._small("equivariance", self._variants_differ("rotated", equivariant), SAME_STRUCTURE, self._free),
            self._small("supercell", self._variants_differ("repeated"), SAME_STRUCTURE),
            self._sensitivity(),
            self._distinct(),
            self._geometry(),
            self._energies(),
        ]

    @property
    def _free(self) -> bool:
        return self.symmetry == "unconstrained"

    def _dimensions(self) -> ConformanceCheck:
        described = ", ".join(f"{name} {layer.dimension}" for name, layer in sorted(self.model.layers.items()))
        return ConformanceCheck(id="dimensions", status="passed", detail=f"finite and as declared: {described}")

    def _steps_differ(self, step: str) -> Iterator[Difference]:
        """Differences between a step and the first, same structures."""
        for name in self.model.layers:
            before, after = self.measured.parts["together"].rows(name), self.measured.parts[step].rows(name)
            for index in range(self.probes.count):
                yield self._difference(name, index, before[index], after[index])

    def _variants_differ(self, kind: str, layers: Sequence[str] | None = None) -> Iterator[Difference]:
        """Differences between what a transformed copy should give and what it gives."""
        copies = self.probes.variants.get(kind, {})
        for name in (self.model.layers if layers is None else layers) if copies else ():
            layer = self.model.layers[name]
            before, after = self.measured.parts["together"].rows(name), self.measured.parts["transformed"].rows(name)
            for index, copy in copies.items():
                expected = before[index].astype(np.float64)
                if kind == "rotated":
                    expected = rotate_features(expected, layer.irreps, self.probes.rotation)
                elif kind == "permuted" and layer.level == "atom":
                    expected = expected[self.probes.permutations[index]]
                elif kind == "repeated" and layer.level == "atom":
                    expected = np.tile(expected, (2, 1))
                yield self._difference(name, index, expected, after[copy])

    def _difference(self, layer: str, index: int, before: NDArray[Any], after: NDArray[Any]) -> Difference:
        largest = float(np.abs(before.astype(np.float64) - after).max()) / self.scales[layer]
        return largest, f"layer {layer}, {self.probes.structures.ids[index]}"

    def _small(
        self, id: str, differences: Iterator[Difference], tolerance: float, only_reported: bool = False
    ) -> ConformanceCheck:
        """A check that passes when the largest difference is within `tolerance`."""
        largest = max(differences, default=None)
        if largest is None:
            return ConformanceCheck(id=id, status="skipped", detail="nothing to compare")
        status: Status = "passed" if largest[0] <= tolerance else "reported" if only_reported else "failed"
        detail = f"largest difference {largest[0]:.2g} of the spread ({largest[1]})"
        return ConformanceCheck(id=id, status=status, measured=largest[0], tolerance=tolerance, detail=detail)

    def _sensitivity(self) -> ConformanceCheck:
        """Perturbing the weights must change every layer: the features come from the network."""
        if not self.measured.perturbed:
            weightless = not self.model.parameters
            detail = "the model has no weights" if weightless else "perturb_weights found no weights to perturb"
            return ConformanceCheck(id="sensitivity", status="skipped" if weightless else "failed", detail=detail)
        changes = []
        for name in self.model.layers:
            before = self.measured.parts["together"].layers[name].values
            after = self.measured.parts["perturbed"].layers[name].values
            changes.append((float(np.abs(before - after).max()) / self.scales[name], f"layer {name}"))
        return self._large("sensitivity", changes, f"smallest change with weights perturbed by {PERTURBATION:.0%}")

    def _distinct(self) -> ConformanceCheck:
        """Structures of different composition must not embed alike."""
        pooled, ids = self._pooled("together"), self.probes.structures.ids
        pairs = [(a, b) for a in range(self.probes.count) for b in range(a)]
        changes = [(self._distance(pooled[a], pooled[b]), f"{ids[b]} and {ids[a]}") for a, b in pairs]
        return self._large("distinct", changes, "smallest difference between two structures")

    def _geometry(self) -> ConformanceCheck:
        """Strain must change the features of at least one structure; a control may be blind to geometry."""
        copies = self.probes.variants.get("strained", {})
        if not copies:
            return ConformanceCheck(id="geometry", status="skipped", detail="nothing to compare")
        before, after = self._pooled("together"), self._pooled("transformed")
        ids = self.probes.structures.ids
        changes = [(self._distance(before[index], after[copy]), ids[index]) for index, copy in copies.items()]
        return self._large("geometry", [max(changes)], "largest change under strain", self.model.control is not None)

    def _large(
        self, id: str, changes: Sequence[Difference], what: str, only_reported: bool = False
    ) -> ConformanceCheck:
        """A check that passes when the smallest of `changes` exceeds DIFFERENT."""
        smallest = min(changes)
        status: Status = "passed" if smallest[0] > DIFFERENT else "reported" if only_reported else "failed"
        detail = f"{what} {smallest[0]:.2g} of the spread ({smallest[1]})"
        return ConformanceCheck(id=id, status=status, measured=smallest[0], tolerance=DIFFERENT, detail=detail)

    def _pooled(self, step: str) -> dict[int, NDArray[np.float64]]:
        rows = self.measured.parts[step].rows("backbone")
        return {index: values.astype(np.float64).mean(axis=0) for index, values in rows.items()}

    def _distance(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
        return float(np.abs(first - second).max()) / self.scales["backbone"]

    def _energies(self) -> ConformanceCheck:
        """Energies must be those of the package's own calculator."""
        given, reference = self.measured.parts["together"].energies, self.measured.reference
        if given is None or reference is None:
            missing = "energies" if given is None else "reference_energies"
            return ConformanceCheck(id="energies", status="skipped", detail=f"the adapter gives no {missing}")
        if reference.shape != given.shape or not np.isfinite(reference).all():
            return ConformanceCheck(id="energies", status="failed", detail="reference energies are not finite numbers")
        atoms = np.diff(self.probes.structures.offsets)[: self.probes.count]
        differences = np.abs(given - reference) / atoms
        worst = int(differences.argmax())
        return ConformanceCheck(
            id="energies",
            status="passed" if differences[worst] <= ENERGY_TOLERANCE else "failed",
            measured=float(differences[worst]),
            tolerance=ENERGY_TOLERANCE,
            detail=f"largest deviation from the package's calculator {differences[worst]:.2g} eV/atom "
            f"({self.probes.structures.ids[worst]})",
        )


def _spread(values: NDArray[np.float32]) -> float:
    """Root mean square over columns of the standard deviation over rows; 1 for constant features."""
    spread = float(np.sqrt(values.astype(np.float64).var(axis=0).mean()))
    return spread if spread > 0 else 1.0
