"""Candidate crystals of `crystals-mini`: prototypes decorated with elements, strained and rattled.

A *family* is a stoichiometry with a rule for the elements (ionic ones in charge balance) and the
prototypes that it may take. A formula is drawn at random for a family and built in several of these
prototypes; the data set keeps one structure a formula (see `one_a_formula`), the others are spares for
calculations that fail. The order of the candidates is random, so that any labelled prefix is a fair
sample. Everything follows from one seed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from benchmark.datasets.generate.elements import (
    IONIC,
    METALLIC,
    VALENCE_ELECTRONS,
    ionic_radius,
)
from benchmark.datasets.generate.prototypes import PROTOTYPES, Prototype
from benchmark.files import write_json

SEED = 20260731
STRAIN_SIGMA = 0.035  # each of the six strain components, dimensionless
RATTLE_SIGMA = (0.05, 0.15)  # Angstrom; one value in this range for each crystal
MINIMAL_DISTANCE = 0.75  # in units of the sum of the covalent radii
DUPLICATE_TOLERANCE = 0.02  # relative, on sorted distances per element pair
MAX_ATOMS = 8
KPOINT_DENSITY = 2.0  # k-points per 1/Angstrom of the labelling calculation
MAX_COST = 45_000.0  # k-points x bands x Angstrom^3, see `calculation_cost`

HALOGENS = ("F", "Cl", "Br", "I", "H")
CHALCOGENS = ("O", "S", "Se", "Te")
PNICTOGENS = ("N", "P", "As", "Sb")
ALKALI = ("Li", "Na", "K", "Rb", "Cs")
METALLOIDS = ("Si", "Ge", "Sn", "Sb", "Al", "Ga", "In", "Bi", "Pb", "P", "As")
TRANSITION = tuple("Sc Ti V Cr Mn Fe Co Ni Cu Zn Y Zr Nb Mo Ru Rh Pd Ag Cd Hf Ta W Re Os Ir Pt Au Hg".split())
METALS = tuple(
    "Li Be Na Mg Al K Ca Rb Sr Cs Ba Ga In Sn Tl Pb Bi".split()
) + TRANSITION  # fmt: skip
# An open packing has more volume per atom than a close-packed one of the same element.
OPENNESS = {"diamond": 1.4, "simple-cubic": 1.12}


@dataclass(frozen=True)
class Candidate:
    """A crystal before labelling: its structure, the prototype's name and the ions, if ionic."""

    atoms: Atoms
    prototype: str
    charges: dict[str, int] | None


@dataclass(frozen=True)
class Family:
    """`weight`: expected share of formulas. `polymorphs`: structures per formula, at most."""

    name: str
    prototypes: tuple[str, ...]
    weight: float
    polymorphs: int


FAMILIES = (
    Family("element", ("fcc", "bcc", "hcp", "diamond", "simple-cubic"), 0.10, 2),
    Family("AX", ("rocksalt", "zincblende", "caesium-chloride", "wurtzite", "nickel-arsenide",
                  "litharge"), 0.19, 4),
    Family("AX2", ("fluorite", "cadmium-iodide", "molybdenite-1h", "rutile", "anatase"), 0.12, 3),
    Family("A2X", ("antifluorite", "anti-cadmium-iodide", "cuprite"), 0.04, 3),
    Family("AX3", ("rhenium-trioxide", "bismuth-fluoride"), 0.05, 2),
    Family("ABX3", ("perovskite", "perovskite"), 0.09, 2),
    Family("A3XY", ("antiperovskite", "antiperovskite"), 0.02, 2),
    Family("ABX2", ("alpha-sodium-ferrite", "delafossite", "ordered-rocksalt",
                    "ordered-zincblende"), 0.07, 3),
    Family("AXY", ("matlockite",), 0.02, 1),
    Family("half-heusler", ("half-heusler", "half-heusler", "half-heusler"), 0.05, 3),
    Family("heusler", ("heusler", "inverse-heusler"), 0.06, 2),
    Family("AB", ("B2", "L1_0", "L1_1", "B_h", "B32"), 0.09, 3),
    Family("A3B", ("L1_2", "D0_22", "D0_3"), 0.06, 3),
    Family("AB2", ("C11_b", "aluminium-diboride", "C15"), 0.03, 2),
    Family("AB2C2", ("thorium-chromium-silicide",), 0.01, 1),
)  # fmt: skip

Ions = dict[str, tuple[str, int]]


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return str(choices[int(rng.integers(len(choices)))])


def _cation(rng: np.random.Generator, charge: int, exclude: Sequence[str] = ()) -> tuple[str, int]:
    names = [name for name, radii in IONIC.items() if charge in radii and name not in exclude]
    return _pick(rng, names), charge


def _anion(rng: np.random.Generator, charges: Sequence[int]) -> tuple[str, int]:
    names = {-1: HALOGENS, -2: CHALCOGENS, -3: PNICTOGENS, -4: ("C",)}
    charge = int(rng.choice(charges))
    return _pick(rng, names[charge]), charge


def draw_ions(rng: np.random.Generator, family: str) -> Ions | None:
    """Elements and charges by slot for an ionic family; None where the draw has no solution."""
    if family == "AX":
        anion = _anion(rng, [-1, -1, -1, -2, -2, -2, -2, -3, -3, -3, -4])
        return {"X": anion, "A": _cation(rng, -anion[1], [anion[0]])}
    if family == "AX2":
        anion = _anion(rng, [-1, -1, -2, -2])
        return {"X": anion, "A": _cation(rng, -2 * anion[1], [anion[0]])}
    if family == "A2X":
        anion = _anion(rng, [-2])
        return {"X": anion, "A": _cation(rng, 1)}
    if family == "AX3":
        anion = _anion(rng, [-1, -1, -1, -2])
        return {"X": anion, "A": _cation(rng, -3 * anion[1], [anion[0]])}
    if family == "ABX3":
        anion = _anion(rng, [-1, -2, -2])
        splits = ((1, 2),) if anion[1] == -1 else ((1, 5), (2, 4), (2, 4), (3, 3))
        split = splits[int(rng.integers(len(splits)))]
        large = _cation(rng, split[0], [anion[0]])
        small = _cation(rng, split[1], [anion[0], large[0]])
        ions = {"A": large, "B": small, "X": anion}
        return ions if 0.78 < tolerance_factor(ions) < 1.12 else None
    if family == "A3XY":
        cation = _cation(rng, int(rng.choice([1, 2])))
        inner, outer = (-2, -1) if cation[1] == 1 else (-3, -3)
        x, y = _anion(rng, [inner]), _anion(rng, [outer])
        return {"A": cation, "X": x, "Y": y} if IONIC[x[0]][x[1]] < IONIC[y[0]][y[1]] else None
    if family == "ABX2":
        anion = _anion(rng, [-2, -2, -2, -3])
        one = 1 if anion[1] == -2 else 2
        first = _cation(rng, one)
        return {"A": first, "B": _cation(rng, -2 * anion[1] - one, [first[0], anion[0]]), "X": anion}
    if family == "AXY":
        return {"A": _cation(rng, 3), "X": _anion(rng, [-2]), "Y": _anion(rng, [-1])}
    raise ValueError(f"{family!r} is not an ionic family")


def draw_metals(rng: np.random.Generator, family: str) -> dict[str, str] | None:
    """Elements by slot for a metallic family or for the elements themselves."""
    if family == "element":
        return {"A": _pick(rng, list(METALLIC))}
    if family == "half-heusler":
        first = _pick(rng, [*METALS])
        return _distinct({"A": first, "B": _pick(rng, METALLOIDS), "C": _pick(rng, TRANSITION)})
    if family == "heusler":
        return _distinct({"A": _pick(rng, METALS), "B": _pick(rng, METALLOIDS), "C": _pick(rng, TRANSITION)})
    if family == "AB2C2":
        large = ("Ca", "Sr", "Ba", "Y", "K")
        return _distinct(
            {"A": _pick(rng, large), "B": _pick(rng, TRANSITION), "C": _pick(rng, ("Si", "Ge", "P", "As"))}
        )
    return _distinct({"A": _pick(rng, METALS), "B": _pick(rng, METALS)})


def _distinct(elements: dict[str, str]) -> dict[str, str] | None:
    """Refuse a repeated element and a size ratio that no compound shows."""
    radii = [METALLIC[symbol] for symbol in elements.values()]
    compatible = max(radii) / min(radii) < 1.6
    return elements if len(set(elements.values())) == len(elements) and compatible else None


def tolerance_factor(ions: Ions) -> float:
    """Goldschmidt's tolerance factor of a perovskite A, B, X."""
    a, b, x = (ionic_radius(*ions[slot], n) for slot, n in (("A", 12), ("B", 6), ("X", 6)))
    return (a + x) / (2**0.5 * (b + x))


def ionic_scale(prototype: Prototype, ions: Ions) -> float:
    """Lattice parameter a in Angstrom at which no cation is nearer an anion than their radii."""
    scales = []
    for contact in prototype.contacts:
        centre, ligand = ions[contact.centre], ions[contact.ligand]
        around = contact.number if centre[1] > 0 else 6
        length = ionic_radius(*centre, around) + ionic_radius(*ligand, 6)
        scales.append(length / prototype.distances(contact.centre, contact.ligand)[0])
    return float(max(scales))


def metallic_scale(prototype: Prototype, elements: dict[str, str]) -> float:
    """Lattice parameter a in Angstrom at which each atom has its close-packed volume (Vegard)."""
    volume = sum(4 * 2**0.5 * METALLIC[elements[slot]] ** 3 for slot in prototype.slots)
    volume *= OPENNESS.get(prototype.name, 1.0)
    return float((volume / abs(np.linalg.det(prototype.cell))) ** (1 / 3))


def build(prototype: Prototype, elements: dict[str, str], scale: float) -> Atoms:
    """The ideal crystal: `elements` by slot, lattice parameter `scale` in Angstrom."""
    return Atoms(
        [elements[slot] for slot in prototype.slots],
        positions=prototype.positions * scale,
        cell=prototype.cell * scale,
        pbc=True,
    )


def perturb(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Strain the cell by a random symmetric tensor, then rattle the atoms; a new object."""
    strain = rng.normal(0.0, STRAIN_SIGMA, (3, 3))
    strain = np.triu(strain) + np.triu(strain, 1).T
    fractions = atoms.positions @ np.linalg.inv(atoms.cell.array)
    cell = atoms.cell.array @ (np.eye(3) + strain)
    sigma = rng.uniform(*RATTLE_SIGMA)
    positions = fractions @ cell + rng.normal(0.0, sigma, fractions.shape)
    fractions = positions @ np.linalg.inv(cell)
    positions = (fractions - np.floor(fractions + 1e-7)) @ cell
    # The stored precision is the labelled precision.
    return Atoms(atoms.numbers, positions=np.round(positions, 6), cell=np.round(cell, 6), pbc=True)


def distance_matrix(atoms: Atoms, reach: int = 1) -> np.ndarray:
    """Distances in Angstrom, shape (images, n, n), over images up to `reach` cells away."""
    steps = np.array(np.meshgrid(*[range(-reach, reach + 1)] * 3)).reshape(3, -1).T
    offsets = atoms.positions[None] - atoms.positions[:, None]
    vectors = offsets[None] + (steps @ atoms.cell.array)[:, None, None]
    return np.asarray(np.linalg.norm(vectors, axis=-1))


def closest_contact(atoms: Atoms) -> float:
    """Smallest interatomic distance in units of the sum of the two covalent radii."""
    radii = covalent_radii[atoms.numbers]
    ratio = distance_matrix(atoms, 2) / (radii[:, None] + radii[None])
    return float(ratio[ratio > 1e-6].min())


def calculation_cost(atoms: Atoms) -> float:
    """k-points (halved by time reversal) x bands x volume: what a plane-wave run's time grows with."""
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(atoms.cell.array).T, axis=1)
    kpoints = np.prod(np.maximum(1, np.ceil(reciprocal * KPOINT_DENSITY))) / 2
    electrons = sum(VALENCE_ELECTRONS[symbol] for symbol in atoms.symbols)
    return float(kpoints * (electrons / 2 + 3) * atoms.cell.volume)


def fingerprint(atoms: Atoms, nearest: int = 24) -> np.ndarray:
    """The `nearest` shortest distances (Angstrom) from each atom, sorted, by element pair."""
    distances = distance_matrix(atoms, 2)
    rows = []
    for first in sorted(set(atoms.numbers.tolist())):
        for second in sorted(set(atoms.numbers.tolist())):
            block = distances[:, atoms.numbers == first][:, :, atoms.numbers == second]
            block = np.sort(block[block > 1e-6])
            rows.append(block[: nearest * int((atoms.numbers == first).sum())])
    return np.concatenate(rows)


def near_duplicates(first: Atoms, second: Atoms) -> bool:
    """Same formula and nearly the same distances, as they are or after scaling to one volume."""
    if sorted(first.numbers) != sorted(second.numbers):
        return False
    one, two = fingerprint(first), fingerprint(second)
    scale = (first.cell.volume / second.cell.volume) ** (1 / 3)
    return any(bool(np.abs(one / (two * factor) - 1).max() < DUPLICATE_TOLERANCE) for factor in (1.0, scale))


def _elements_and_scale(
    prototype: Prototype, drawn: Ions | dict[str, str]
) -> tuple[dict[str, str], float, dict[str, int] | None]:
    ions = {slot: value for slot, value in drawn.items() if isinstance(value, tuple)}
    if ions:
        elements = {slot: symbol for slot, (symbol, _) in ions.items()}
        charges = {slot: charge for slot, (_, charge) in ions.items()}
        return elements, ionic_scale(prototype, ions), charges
    elements = {slot: str(symbol) for slot, symbol in drawn.items()}
    return elements, metallic_scale(prototype, elements), None


def _draw(rng: np.random.Generator, family: str) -> Ions | dict[str, str]:
    metallic = family in {"element", "half-heusler", "heusler", "AB", "A3B", "AB2", "AB2C2"}
    for _ in range(1000):
        drawn = draw_metals(rng, family) if metallic else draw_ions(rng, family)
        if drawn is not None:
            return drawn
    raise RuntimeError(f"no composition found for family {family!r} in 1000 draws")


def generate(count: int, seed: int = SEED) -> list[Candidate]:
    """`count` distinct candidates in random order; the same list for the same seed."""
    rng = np.random.default_rng(seed)
    weights = np.array([family.weight for family in FAMILIES])
    seen: set[tuple[str, str]] = set()
    candidates: list[Candidate] = []
    while len(candidates) < count:
        family = FAMILIES[int(rng.choice(len(FAMILIES), p=weights / weights.sum()))]
        drawn = _draw(rng, family.name)
        key = (family.name, str(sorted(drawn.items())))
        if key in seen:
            continue
        seen.add(key)
        names = [family.prototypes[i] for i in rng.permutation(len(family.prototypes))]
        taken = 0
        for name in names:
            if taken == family.polymorphs:
                break
            prototype = PROTOTYPES[name]
            if name == "half-heusler":  # three site orders of one formula
                drawn = {"A": drawn["B"], "B": drawn["C"], "C": drawn["A"]}  # type: ignore[assignment]
            elements, scale, charges = _elements_and_scale(prototype, drawn)
            atoms = perturb(build(prototype, elements, scale), rng)
            if calculation_cost(atoms) > MAX_COST or closest_contact(atoms) < MINIMAL_DISTANCE:
                continue
            if any(near_duplicates(atoms, other.atoms) for other in candidates):
                continue
            candidates.append(Candidate(atoms, name, charges))
            taken += 1
    return [candidates[i] for i in rng.permutation(len(candidates))][:count]


def write_candidates(candidates: list[Candidate], work: Path) -> None:
    """Write `<work>/candidates.json`; the ids cry-0001, cry-0002, ... follow the order."""
    rows = [
        {
            "id": f"cry-{number:04d}",
            "prototype": candidate.prototype,
            "charges": candidate.charges,
            "numbers": candidate.atoms.numbers.tolist(),
            "positions": candidate.atoms.positions.tolist(),
            "cell": candidate.atoms.cell.array.tolist(),
        }
        for number, candidate in enumerate(candidates, start=1)
    ]
    write_json(work / "candidates.json", rows)


def read_candidates(work: Path) -> list[tuple[str, Candidate]]:
    """(id, candidate) of each row of `<work>/candidates.json`, in order."""
    rows = json.loads((work / "candidates.json").read_text())
    return [
        (
            row["id"],
            Candidate(
                Atoms(row["numbers"], positions=row["positions"], cell=row["cell"], pbc=True),
                row["prototype"],
                row["charges"],
            ),
        )
        for row in rows
    ]


def reduced_formula(candidate: Candidate) -> str:
    """The formula in smallest whole numbers, whatever the order of the atoms."""
    return str(candidate.atoms.symbols.formula.convert("hill").reduce()[0])


def one_a_formula(candidates: list[tuple[str, Candidate]]) -> list[tuple[str, Candidate]]:
    """The first candidate of each reduced formula.

    Structures of one formula are each other's nearest neighbours in the features of every model. With two to four of
    them a formula, TwoNN finds a dimension of 1.7 for networks where it finds 7 otherwise, and the information
    imbalance only says that each model has found the pair.
    """
    first: dict[str, tuple[str, Candidate]] = {}
    for name, candidate in candidates:
        first.setdefault(reduced_formula(candidate), (name, candidate))
    return list(first.values())
