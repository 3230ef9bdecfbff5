"""Enumeration of small organic molecules, and the choice of isomer groups among them.

A random walk over molecular graphs: from a few seeds, each step adds an atom, changes a bond
order, closes or opens a ring, exchanges an element or removes an end atom. What is new (by
canonical SMILES) and passes the stability filters joins the pool. The pool is a sample of
chemical space, not all of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdMolDescriptors

ELEMENTS = (6, 7, 8, 9)
MAX_HEAVY = 9

# What makes the plan of molecules-mini; a change here is a new version of the data set.
SEED = 20240
STEPS = 200_000
HEAVY = (6, 8)  # least and most heavy atoms
SHARES = {6: 0.46, 7: 0.43, 8: 0.11}  # of the groups, by heavy atoms
GROUPS, MEMBERS, LEAST = 46, 30, 34
MAX_FUNCTIONS = 155  # def2-SVP functions of a molecule: the cost grows with their third power
SEEDS = ("CCO", "CCN", "CCF", "CC=O", "CC#N", "C1CC1", "c1ccccc1", "c1ccoc1", "c1cc[nH]c1", "c1cnc[nH]1", "c1ccncc1")

# Bonding patterns that do not survive as isolated neutral molecules, or that GFN2-xTB and the
# force field describe badly. Aromatic atoms are exempt where a heteroaromatic ring stabilises them.
UNSTABLE = {
    "peroxide": "[#8]-[#8]",
    "fluorine not on carbon": "[F;!$(F-[#6])]",
    "acyl fluoride": "F-[CX3]=O",
    "fluorine beside a heteroatom": "F-[CX4]-[#7,#8]",
    "three nitrogens or oxygens in a row, not aromatic": "[#7,#8]~[#7;!a]~[#7,#8]",
    "four heteroatoms in a row": "[#7,#8]~[#7,#8]~[#7,#8]~[#7,#8]",
    "azo": "[#7;!a]=[#7;!a]",
    "nitroso": "N=O",
    "cumulated double bonds": "*=*=*",
    "triple bond in a ring": "[*;R]#[*;R]",
    "double bond in a three-ring": "[r3]=,:@[r3]",
    "double bond on a three-ring": "[r3]=!@*",
    "two double bonds in a four-ring": "[r4]1=[r4][r4]=[r4]1",
    "enol": "[OX2H]-[CX3;!a]=[#6]",
    "enamine": "[NX3;!H0]-[CX3;!a]=[#6;!$(C-C=O);!$(C-C#N)]",
    "ynol or ynamine": "[#7,#8,#9]-C#C",
    "geminal hydroxyl": "[OX2H]-[CX4]-[#7,#8,#9]",
    "geminal amine": "[NX3;!H0]-[CX4]-[NX3,OX2]",
    "imine with hydrogen on nitrogen": "[NX2H]=C",
    "carbonic or carbamic acid": "[OX2H]-C(=O)-[#7,#8]",
    "imidic acid": "[OX2H]-C=[NX2]",
    "oxaziridine or diaziridine": "[#7,#8;r3]-[#7,#8;r3]",
    "two pyrrole nitrogens side by side": "[nX3]:[nX3]",
    "amine oxygen ester": "[#7;!a]-[#8]-C=O",
}


@cache
def _patterns() -> tuple[tuple[str, Any], ...]:
    return tuple((name, Chem.MolFromSmarts(smarts)) for name, smarts in UNSTABLE.items())


def rejection(molecule: Any) -> str | None:
    """Why the RDKit molecule is not taken for stable, or None."""
    for name, pattern in _patterns():
        if molecule.HasSubstructMatch(pattern):
            return name
    rings = [set(ring) for ring in molecule.GetRingInfo().AtomRings()]
    if len(rings) > 3 or any(len(ring) > 7 for ring in rings):
        return "too many or too large rings"
    small = [ring for ring in rings if len(ring) <= 4]
    if any(a & b for index, a in enumerate(small) for b in small[index + 1 :]):
        return "small rings that share an atom"
    bridgeheads: Any = []  # filled by the call
    rdMolDescriptors.CalcNumBridgeheadAtoms(molecule, atoms=bridgeheads)
    if bridgeheads and small:
        return "small ring in a bridged system"
    if any(
        bond.GetBondType() != Chem.BondType.SINGLE
        for index in bridgeheads
        for bond in molecule.GetAtomWithIdx(index).GetBonds()
    ):
        return "double bond at a bridgehead"
    if any(atom.GetFormalCharge() or atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()):
        return "charge or radical"
    carbons = sum(atom.GetAtomicNum() == 6 for atom in molecule.GetAtoms())
    return "more heteroatoms than carbons" if 2 * carbons < molecule.GetNumAtoms() else None


def mutate(molecule: Any, random: np.random.Generator) -> str | None:
    """Canonical SMILES of one random edit of `molecule`, or None where the edit makes no valid molecule."""
    edited = Chem.RWMol(molecule)
    Chem.Kekulize(edited, clearAromaticFlags=True)
    edits = (_add_atom, _add_atom, _close_ring, _raise_bond, _lower_bond, _exchange_element, _remove_end)
    edits[random.integers(len(edits))](edited, random)
    try:
        Chem.SanitizeMol(edited)
    except (Chem.AtomValenceException, Chem.KekulizeException):
        return None
    smiles = Chem.MolToSmiles(edited)
    return smiles if "." not in smiles and 3 <= edited.GetNumAtoms() <= MAX_HEAVY else None


def _pick(options: Iterable[Any], random: np.random.Generator) -> Any:
    listed = list(options)
    return listed[random.integers(len(listed))] if listed else None


def _open_atoms(molecule: Any) -> list[int]:
    return [atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetTotalNumHs() > 0]


def _free_hydrogens(molecule: Any, atoms: Iterable[int]) -> None:
    """Let sanitisation count hydrogens anew: an explicit one ([nH]) would block the edit."""
    for index in atoms:
        molecule.GetAtomWithIdx(index).SetNumExplicitHs(0)
        molecule.GetAtomWithIdx(index).SetNoImplicit(False)


def _add_atom(molecule: Any, random: np.random.Generator) -> None:
    host = _pick(_open_atoms(molecule), random)
    if host is not None:
        element = int(random.choice(ELEMENTS, p=(0.5, 0.2, 0.2, 0.1)))
        _free_hydrogens(molecule, [host])
        molecule.AddBond(host, molecule.AddAtom(Chem.Atom(element)), Chem.BondType.SINGLE)


def _close_ring(molecule: Any, random: np.random.Generator) -> None:
    open_atoms, distances = _open_atoms(molecule), Chem.GetDistanceMatrix(molecule)
    pairs = [(a, b) for a in open_atoms for b in open_atoms if a < b and 2 <= distances[a, b] <= 5]
    pair = _pick(pairs, random)
    if pair is not None:
        _free_hydrogens(molecule, pair)
        molecule.AddBond(*pair, Chem.BondType.SINGLE)


def _raise_bond(molecule: Any, random: np.random.Generator) -> None:
    bond = _pick(molecule.GetBonds(), random)
    higher = {Chem.BondType.SINGLE: Chem.BondType.DOUBLE, Chem.BondType.DOUBLE: Chem.BondType.TRIPLE}
    if bond is not None and bond.GetBondType() in higher:
        _free_hydrogens(molecule, (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))
        bond.SetBondType(higher[bond.GetBondType()])


def _lower_bond(molecule: Any, random: np.random.Generator) -> None:
    """Lower a bond order; a single bond in a ring is opened."""
    bond = _pick(molecule.GetBonds(), random)
    if bond is None:
        return
    lower = {Chem.BondType.TRIPLE: Chem.BondType.DOUBLE, Chem.BondType.DOUBLE: Chem.BondType.SINGLE}
    if bond.GetBondType() in lower:
        bond.SetBondType(lower[bond.GetBondType()])
    elif bond.IsInRing():
        molecule.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())


def _exchange_element(molecule: Any, random: np.random.Generator) -> None:
    atom = molecule.GetAtomWithIdx(int(random.integers(molecule.GetNumAtoms())))
    _free_hydrogens(molecule, [atom.GetIdx()])
    atom.SetAtomicNum(int(random.choice(ELEMENTS, p=(0.4, 0.25, 0.25, 0.1))))


def _remove_end(molecule: Any, random: np.random.Generator) -> None:
    end = _pick((atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetDegree() == 1), random)
    if end is not None:
        molecule.RemoveAtom(end)


def make_plan() -> list[dict[str, Any]]:
    """The molecules to label: `{"formula": ..., "smiles": [...]}` a group of isomers, in random order."""
    pool = enumerate_pool(STEPS, HEAVY, SEED)
    groups = choose_groups(pool, GROUPS, MEMBERS, LEAST, SHARES, MAX_FUNCTIONS, SEED)
    return [{"formula": formula, "smiles": members} for formula, members in groups.items()]


def bond_graph(smiles: str) -> str:
    """Canonical form of the atoms, hydrogens included, and who is bonded to whom, without bond orders.

    Two closed-shell SMILES of one bond graph are two drawings of one molecule.
    """
    drawing = Chem.RWMol(Chem.AddHs(Chem.MolFromSmiles(smiles)))
    for bond in drawing.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
        bond.SetIsAromatic(False)
    for atom in drawing.GetAtoms():
        atom.SetIsAromatic(False)
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(0)
    return str(Chem.MolToSmiles(drawing, allHsExplicit=True))


def enumerate_pool(steps: int, heavy: tuple[int, int], seed: int) -> dict[str, list[str]]:
    """Walk `steps` edits and return the molecules found with `heavy` = (least, most) heavy atoms, by Hill formula.

    A walker starts at a seed and makes 60 edits; edits into unstable molecules are not taken.
    """
    rdBase.DisableLog("rdApp.*")
    random = np.random.default_rng(seed)
    verdicts: dict[str, str | None] = {}
    pool: dict[str, set[str]] = defaultdict(set)
    current = Chem.MolFromSmiles(SEEDS[0])
    for step in range(steps):
        if step % 60 == 0:
            current = Chem.MolFromSmiles(SEEDS[random.integers(len(SEEDS))])
        smiles = mutate(current, random)
        if smiles is None:
            continue
        candidate = Chem.MolFromSmiles(smiles)
        if candidate is None:
            continue
        if smiles not in verdicts:
            verdicts[smiles] = rejection(candidate)
        if verdicts[smiles] is not None:
            continue
        current = candidate
        if heavy[0] <= candidate.GetNumAtoms() <= heavy[1]:
            pool[rdMolDescriptors.CalcMolFormula(candidate)].add(smiles)
    return {formula: sorted(members) for formula, members in sorted(pool.items())}


def basis_functions(counts: dict[str, int]) -> int:
    """Number of def2-SVP functions of a molecule with these element counts."""
    return sum(count * (5 if element == "H" else 14) for element, count in counts.items())


def counts_of(formula: str) -> dict[str, int]:
    """Element counts of a Hill formula such as C4H7NO."""
    from ase.formula import Formula

    return dict(Formula(formula).count())


def choose_groups(
    pool: dict[str, list[str]],
    groups: int,
    members: int,
    least: int,
    shares: dict[int, float],
    max_functions: int,
    seed: int,
) -> dict[str, list[str]]:
    """Choose `groups` formulas with at least `least` isomers in the pool, and `members` isomers of each.

    `shares` gives the share of groups by number of heavy atoms. Within a size the formulas are taken
    in turn from classes of equal heteroatom kinds (fluorine or not, nitrogen or not, oxygen or not), so
    that no kind crowds the others out; pure hydrocarbons are one class. Groups come in random order.
    """
    random = np.random.default_rng(seed)
    chosen: list[str] = []
    for size, share in sorted(shares.items()):
        classes: dict[frozenset[str], list[str]] = defaultdict(list)
        for formula, found in pool.items():
            counts = counts_of(formula)
            heavy = sum(count for element, count in counts.items() if element != "H")
            if heavy == size and len(found) >= least and basis_functions(counts) <= max_functions:
                classes[frozenset(counts) - {"C", "H"}].append(formula)
        queues = [
            list(random.permutation(queue)) for _, queue in sorted(classes.items(), key=lambda item: sorted(item[0]))
        ]
        queues = [queues[index] for index in random.permutation(len(queues))]
        wanted = round(groups * share)
        taken: list[str] = []
        while len(taken) < wanted and any(queues):
            taken += [str(queue.pop()) for queue in queues if queue][: wanted - len(taken)]
        chosen += taken
    order = [chosen[index] for index in random.permutation(len(chosen))]
    return {formula: [str(smiles) for smiles in random.permutation(pool[formula])[:members]] for formula in order}
