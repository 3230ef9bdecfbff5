"""From labelled molecules to the embedded data set `molecules-mini`: selection, ids, card.

A molecule keeps its id from build to build, since the id is its place in a fixed shuffle of the
plan; rows are in the order of ids, so that the order says nothing about formulas.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from numpy.typing import NDArray

from benchmark.datasets.generate.molecule_labels import distance_matrix, read_results
from benchmark.datasets.generate.molecules import SEED, bond_graph
from benchmark.datasets.store import Dataset, structures_from_atoms, write_dataset
from benchmark.files import write_text

LEAST_ISOMERS = 20
FIRST_SHARE = 24  # some more than the least: a few may be left out
SAME_GEOMETRY = 0.03  # Angstrom, largest difference between the sorted distances of two molecules
TOO_FEW = f"in a formula with fewer than {LEAST_ISOMERS} molecules"

CARD: dict[str, object] = {
    "id": "molecules-mini",
    "version": 1,
    "title": "Small organic molecules in groups of isomers",
    "description": (
        "Neutral closed-shell molecules of C, H, N, O, F with 6 to 8 heavy atoms, enumerated as graphs, relaxed "
        f"with GFN2-xTB and labelled with B3LYP/def2-SVP; at least {LEAST_ISOMERS} structural isomers a formula."
    ),
    "source": {
        "description": "Made for this benchmark by scripts/make_molecules_mini; nothing is taken from a database."
    },
    "licence": "CC-BY-4.0",
    "periodic": False,
    # Features are means over atoms and the labels are intensive or per atom: fractions are what composition is to them.
    "composition_basis": "fractions",
    "labels": {
        "energy": {"unit": "eV", "description": "total electronic energy, B3LYP/def2-SVP"},
        "energy_per_atom": {"unit": "eV/atom", "description": "energy over the number of atoms"},
        "gap": {"unit": "eV", "description": "Kohn-Sham HOMO-LUMO gap"},
        "dipole_x": {"unit": "Debye", "description": "dipole moment along x of the stored structure"},
        "dipole_y": {"unit": "Debye", "description": "dipole moment along y of the stored structure"},
        "dipole_z": {"unit": "Debye", "description": "dipole moment along z of the stored structure"},
        "dipole_norm": {"unit": "Debye", "description": "length of the dipole moment"},
    },
}


@dataclass
class Selection:
    """What goes into the data set, and why the rest does not."""

    formulas: dict[str, str] = field(default_factory=dict)  # SMILES -> Hill formula
    left_out: Counter[str] = field(default_factory=Counter)
    planned: int = 0
    labelled: int = 0


def read_plan(work: Path) -> list[dict[str, Any]]:
    """The groups to label, as `molecules.make_plan` made them."""
    plan: list[dict[str, Any]] = json.loads((Path(work) / "plan.json").read_text())
    return plan


def planned_smiles(plan: list[dict[str, Any]]) -> list[str]:
    """All SMILES of the plan, group after group."""
    return [smiles for group in plan for smiles in group["smiles"]]


def labelling_order(plan: list[dict[str, Any]]) -> list[str]:
    """A first share of every group, then the rest: a run that stops early has more formulas, not larger groups."""
    first = [smiles for group in plan for smiles in group["smiles"][:FIRST_SHARE]]
    return first + [smiles for group in plan for smiles in group["smiles"][FIRST_SHARE:]]


def stable_ids(plan: list[dict[str, Any]]) -> dict[str, str]:
    """SMILES -> id. Depends on the plan only, not on what is labelled by now."""
    smiles = planned_smiles(plan)
    places = np.random.default_rng(SEED).permutation(len(smiles))
    return {entry: f"mol-{place + 1:04d}" for entry, place in zip(smiles, places, strict=True)}


def distance_vector(atoms: Atoms) -> NDArray[np.float64]:
    """Interatomic distances (Angstrom), sorted within each pair of elements: equal for mirror images."""
    first, second = np.triu_indices(len(atoms), k=1)
    pairs = np.sort(np.stack([atoms.numbers[first], atoms.numbers[second]]), axis=0)
    distances = distance_matrix(atoms)[first, second]
    ordered: NDArray[np.float64] = distances[np.lexsort((distances, pairs[1], pairs[0]))]
    return ordered


def select(plan: list[dict[str, Any]], results: dict[str, dict[str, Any]]) -> Selection:
    """Sort the results into kept and left out; of two molecules that are one, the first of the plan stays."""
    chosen = Selection(planned=len(planned_smiles(plan)), labelled=len(results))
    for group in plan:
        kept: dict[str, NDArray[np.float64]] = {}
        graphs: set[str] = set()
        for smiles in group["smiles"]:
            if smiles not in results:
                continue
            result = results[smiles]
            if result["status"] != "ok":
                chosen.left_out[result["reason"]] += 1
                continue
            vector = distance_vector(atoms_of(result))
            graph = bond_graph(smiles)
            if graph in graphs or any(np.abs(vector - other).max() < SAME_GEOMETRY for other in kept.values()):
                chosen.left_out["same molecule as another"] += 1
                continue
            graphs.add(graph)
            kept[smiles] = vector
        if len(kept) >= LEAST_ISOMERS:
            chosen.formulas |= dict.fromkeys(kept, group["formula"])
        elif kept:
            chosen.left_out[TOO_FEW] += len(kept)
    return chosen


def atoms_of(result: dict[str, Any]) -> Atoms:
    """The labelled geometry."""
    return Atoms(numbers=result["numbers"], positions=result["positions"], pbc=False)


def build(work: Path, target: Path) -> tuple[Dataset, Selection]:
    """Write the data set and its README from what is labelled in `work` to the folder `target`."""
    plan = read_plan(work)
    results = read_results(planned_smiles(plan), Path(work) / "results")
    chosen = select(plan, results)
    ids = stable_ids(plan)
    smiles = sorted(chosen.formulas, key=ids.__getitem__)
    names = [ids[entry] for entry in smiles]
    structures = structures_from_atoms(names, [atoms_of(results[entry]) for entry in smiles], smiles)
    labels = pd.DataFrame([results[entry]["labels"] for entry in smiles], index=names)
    card = {**CARD, "left_out": dict(sorted(chosen.left_out.items()))}
    dataset = write_dataset(target, card, structures, labels)
    write_text(Path(target) / "README.md", readme(dataset, chosen))
    return dataset, chosen


def readme(dataset: Dataset, chosen: Selection) -> str:
    """The data card for readers: the template beside this module, filled with what was counted."""
    labels = dataset.labels()
    card = dataset.card
    left_out = [f"| {reason} | {count} |" for reason, count in card.left_out.items()] or ["| none | 0 |"]
    columns = [
        f"| `{name}` | {label.unit} | {label.description} | {labels[name].min():.3f} to {labels[name].max():.3f} |"
        for name, label in card.labels.items()
    ]
    groups = Counter(chosen.formulas.values())
    formulas = ", ".join(f"{formula} {count}" for formula, count in sorted(groups.items()))
    template = Path(__file__).with_name("molecules_readme.md").read_text(encoding="utf-8")
    return template.format(
        structures=card.structures,
        groups=len(groups),
        least=min(groups.values()),
        most=max(groups.values()),
        planned=chosen.planned,
        labelled=chosen.labelled,
        left_out="\n".join(left_out),
        labels="\n".join(columns),
        formulas=formulas,
    )
