"""Assemble `crystals-mini` from candidates and their label files: structures, labels, card, README."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.datasets.generate import crystal_labels as settings
from benchmark.datasets.generate import crystals
from benchmark.datasets.generate.crystals import (
    Candidate,
    closest_contact,
    one_a_formula,
    read_candidates,
    reduced_formula,
)
from benchmark.datasets.store import Dataset, structures_from_atoms, write_dataset
from benchmark.files import atomic_path, write_text

LABELS = {
    "energy": {"unit": "eV", "description": "PBE total energy of the cell, relative to GPAW's reference atoms"},
    "energy_per_atom": {"unit": "eV/atom", "description": "energy divided by the number of atoms"},
    "gap": {"unit": "eV", "description": "Kohn-Sham gap on the k-points of the self-consistent run; 0 for metals"},
    "volume_per_atom": {"unit": "Angstrom^3/atom", "description": "cell volume divided by the number of atoms"},
}
TEMPLATE = Path(__file__).with_name("crystals_readme.md")
REASONS = {
    "unconverged": f"not self-consistent after {settings.MAX_ITERATIONS} iterations",
    "timeout": f"over {settings.CPU_LIMIT} s of processor time",
    "failed": "calculation stopped with an error",
    "unlabelled": "not computed",
    "companion": "another structure of the formula is in the set",
}
OVERLAP = (
    "the unstrained prototypes of many of these compositions are Materials Project entries; "
    "the strained and rattled cells are not"
)


def read_outcomes(work: Path) -> dict[str, dict[str, float | str]]:
    """id -> outcome of every label file below `work`."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((work / "labels").glob("*.json"))}


def build_dataset(work: Path, target: Path) -> Dataset:
    """Write the data set at `target` from all that is labelled below `work`.

    One structure a formula is kept, the first that is labelled (see `one_a_formula`).
    """
    candidates = read_candidates(work)
    outcomes = read_outcomes(work)
    status = {name: str(outcomes.get(name, {"status": "unlabelled"})["status"]) for name, _ in candidates}
    labelled = one_a_formula([(name, candidate) for name, candidate in candidates if status[name] == "ok"])
    present, chosen = {reduced_formula(candidate) for _, candidate in labelled}, {name for name, _ in labelled}
    for name, candidate in candidates:
        if name not in chosen and reduced_formula(candidate) in present:
            status[name] = "companion"
    kept = [labelled[index] for index in np.random.default_rng(crystals.SEED).permutation(len(labelled))]
    left_out = Counter(REASONS[value] for value in status.values() if value != "ok")

    names = [name for name, _ in kept]
    images = [candidate.atoms for _, candidate in kept]
    labels = pd.DataFrame(
        {
            "energy": [float(outcomes[name]["energy"]) for name in names],
            "energy_per_atom": [
                float(outcomes[name]["energy"]) / len(atoms) for name, atoms in zip(names, images, strict=True)
            ],
            "gap": [float(outcomes[name]["gap"]) for name in names],
            "volume_per_atom": [atoms.cell.volume / len(atoms) for atoms in images],
        },
        index=names,
    )
    card = {
        "id": "crystals-mini",
        "version": 1,
        "title": "Strained and rattled crystals with PBE energies",
        "description": (
            "Common structure types decorated over most of the periodic table, ionic ones in charge balance, then "
            "randomly strained and rattled; one structure a formula. Spin-paired PBE labels."
        ),
        "source": {
            "description": (
                f"generated (seed {crystals.SEED}) and labelled with GPAW for this benchmark; see README.md and "
                "scripts/make_crystals_mini"
            )
        },
        "licence": "CC-BY-4.0",
        "periodic": True,
        "labels": LABELS,
        "composition_basis": "fractions",
        "overlaps": {"MPtrj": OVERLAP, "Materials Project": OVERLAP},
        "left_out": dict(left_out),
    }
    dataset = write_dataset(target, card, structures_from_atoms(names, images), labels)
    with atomic_path(target / "origin.parquet") as temporary:
        origin = pd.DataFrame({"id": names, "prototype": [candidate.prototype for _, candidate in kept]})
        origin.to_parquet(temporary, index=False, compression="zstd")
    write_text(target / "README.md", readme(kept, labels, left_out, outcomes))
    return dataset


def readme(
    kept: list[tuple[str, Candidate]],
    labels: pd.DataFrame,
    left_out: Counter[str],
    outcomes: dict[str, dict[str, float | str]],
) -> str:
    """The data card as Markdown; every number in it is counted here."""
    images = [candidate.atoms for _, candidate in kept]
    sizes = Counter(len(atoms) for atoms in images)
    prototypes = Counter(candidate.prototype for _, candidate in kept)
    elements = sorted({symbol for atoms in images for symbol in atoms.symbols})
    seconds = np.mean([float(outcomes[name]["seconds"]) for name, _ in kept])
    nearest = min(closest_contact(atoms) for atoms in images)
    rows = {
        "structures, each of a reduced formula of its own": len(kept),
        "elements": len(elements),
        "structures without a gap": int((labels["gap"] == 0).sum()),
    }
    energy = labels["energy_per_atom"]
    return TEMPLATE.read_text().format(
        counts="\n".join(f"| {name} | {value} |" for name, value in rows.items()),
        sizes=", ".join(f"{count} of {size}" for size, count in sorted(sizes.items())),
        left_out="\n".join(f"| {reason} | {count} |" for reason, count in left_out.most_common()) or "| none | 0 |",
        prototypes=", ".join(f"{name} {count}" for name, count in prototypes.most_common()),
        elements=" ".join(elements),
        energies=f"{energy.min():.2f} to {energy.max():.2f}, median {energy.median():.2f}",
        volumes=f"{labels['volume_per_atom'].min():.1f} to {labels['volume_per_atom'].max():.1f}",
        nearest=f"{nearest:.2f}",
        seconds=f"{seconds:.1f}",
        strain=crystals.STRAIN_SIGMA,
        rattle="{} to {}".format(*crystals.RATTLE_SIGMA),
        minimal=crystals.MINIMAL_DISTANCE,
        tolerance=f"{100 * crystals.DUPLICATE_TOLERANCE:.0f} %",
        seed=crystals.SEED,
        max_cost=f"{crystals.MAX_COST:.0f}",
        cutoff=f"{settings.CUTOFF:.0f}",
        density=crystals.KPOINT_DENSITY,
        smearing=settings.SMEARING,
        convergence=", ".join(f"{name} {value:g}" for name, value in settings.CONVERGENCE.items()),
        iterations=settings.MAX_ITERATIONS,
        cpu=settings.CPU_LIMIT,
        overlap=OVERLAP,
    )
