"""The structures on which adapters are tried: a few crystals and molecules, and what becomes of them.

They need no data set and are the same everywhere. Each is rattled, so that nothing is zero by symmetry.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import covalent_radii
from numpy.typing import NDArray

from benchmark.datasets.store import Structures, structures_from_atoms
from benchmark.embedding.rotations import random_rotation

SEED = 7
RATTLE = 0.08  # Angstrom
STRAIN = np.diag([1.04, 0.97, 1.02])
TRANSLATION = np.array([0.731, -0.417, 1.293])  # Angstrom
STRINGS = {
    "smiles": ("CCO", "c1ccccc1O", "CC(=O)N", "C1CC1F", "N#CC=O"),
    # Crambin, the B chain of insulin, a trp-cage, magainin 2.
    "sequence": (
        "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN",
        "FVNQHLCGSHLVEALYLVCGERGFFYTPKT",
        "NLYIQWLKDGGPSSGRPPPS",
        "GIGKFLHSAKKFGKAFVGEIMNS",
    ),
}


@dataclass(frozen=True)
class Probes:
    """Structures and their transformed copies in one list. `variants[kind][i]` is the copy of structure i.

    permutations[i]: atom j of the permuted copy is atom permutations[i][j] of structure i.
    """

    structures: Structures
    count: int
    variants: dict[str, dict[int, int]]
    permutations: list[NDArray[np.int64]]
    rotation: NDArray[np.float64]


# ase fills its collection of molecules on first use, and a second thread would find it half full.
_MOLECULES = threading.Lock()


def default_probes() -> list[Atoms]:
    """Three crystals and three molecules, built by ase and rattled."""
    perovskite = Atoms(
        "SrTiO3",
        scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)],
        cell=[3.905] * 3,
        pbc=True,
    )
    crystals = [bulk("NaCl", "rocksalt", a=5.64, cubic=True), bulk("Ti", "hcp", a=2.95, c=4.68), perovskite]
    with _MOLECULES:
        molecules = [molecule(name) for name in ("CH3CH2OH", "H2O", "CH3CONH2")]  # type: ignore[no-untyped-call]
    built = [*crystals, *molecules]
    for number, atoms in enumerate(built):
        atoms.rattle(RATTLE, seed=SEED + number)
    return built


def with_variants(originals: Sequence[Atoms]) -> Probes:
    """The originals followed by a permuted, translated, rotated, strained and repeated copy of each."""
    generator = np.random.default_rng(SEED)
    rotation = random_rotation(SEED)
    images, names = list(originals), [_name(atoms) for atoms in originals]
    variants: dict[str, dict[int, int]] = {}
    permutations = [generator.permutation(len(atoms)) for atoms in originals]
    for index, atoms in enumerate(originals):
        copies = {
            "permuted": atoms[permutations[index]],
            "translated": _moved(atoms, atoms.positions + TRANSLATION, atoms.cell.array),
            "rotated": _moved(atoms, atoms.positions @ rotation.T, atoms.cell.array @ rotation.T),
            "strained": _moved(atoms, atoms.positions @ STRAIN, atoms.cell.array @ STRAIN),
        }
        if atoms.pbc[0]:
            copies["repeated"] = atoms * (2, 1, 1)
        for kind, copy in copies.items():
            variants.setdefault(kind, {})[index] = len(images)
            images.append(copy)
            names.append(f"{_name(atoms)} {kind}")
    structures = structures_from_atoms(names, images)
    return Probes(structures, len(originals), variants, permutations, rotation)


def in_other_elements(originals: Sequence[Atoms], known: Sequence[int]) -> list[Atoms]:
    """The probes with every element replaced by one of the `known` atomic numbers, different ones by different ones.

    Replacements keep the order of the atomic numbers; cells and positions grow with the covalent radii.
    """
    replaced = []
    for atoms in originals:
        elements = sorted(set(atoms.numbers.tolist()))
        step = max(1, len(known) // len(elements))
        chosen = {old: known[(place * step) % len(known)] for place, old in enumerate(elements)}
        growth = np.mean([covalent_radii[new] / covalent_radii[old] for old, new in chosen.items()])
        copy = _moved(atoms, atoms.positions * growth, atoms.cell.array * growth)
        copy.numbers = np.array([chosen[number] for number in atoms.numbers.tolist()])
        replaced.append(copy)
    return replaced


def single_elements() -> list[Atoms]:
    """A dimer and a simple cubic crystal of each of the first 94 elements: to ask a model which it knows."""
    found = []
    for number in range(1, 95):
        length = 2.2 * covalent_radii[number]
        found.append(Atoms([number, number], positions=[(0, 0, 0), (0, 0, length)]))
        found.append(Atoms([number], cell=[length] * 3, pbc=True))
    return found


def of_strings(modality: str) -> Probes:
    """Molecules as SMILES or proteins as sequences, for models that read those; strings have no transformed copies."""
    strings = STRINGS[modality]
    blanks = structures_from_atoms(list(strings), [Atoms("H") for _ in strings])
    if modality == "smiles":
        blanks = dataclasses.replace(blanks, smiles=strings)
    else:
        blanks = dataclasses.replace(blanks, sequences=strings)
    return Probes(blanks, len(strings), {}, [], np.eye(3))


def _moved(atoms: Atoms, positions: NDArray[np.float64], cell: NDArray[np.float64]) -> Atoms:
    return Atoms(numbers=atoms.numbers, positions=positions, cell=cell, pbc=atoms.pbc)


def _name(atoms: Atoms) -> str:
    return str(atoms.symbols.formula.format("hill"))
