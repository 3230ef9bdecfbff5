"""Crystal prototypes: the site tables that `crystals.py` decorates with elements.

A prototype is a small periodic cell in units of its lattice parameter a, a slot letter for each
atom and the coordination that the ideal structure is known for. Which element sits in which slot
and how large a becomes is decided in `crystals.py`. Site tables follow the Strukturbericht
descriptions; free internal coordinates and axial ratios have the value of the name-giving compound
or of the regular polyhedron.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Vector = tuple[float, float, float]
Site = tuple[str, float, float, float]


@dataclass(frozen=True)
class Contact:
    """In the ideal structure a `centre` atom touches `number` atoms of slot `ligand`."""

    centre: str
    ligand: str
    number: int


@dataclass(frozen=True)
class Prototype:
    """One structure type.

    `cell` (3 x 3, rows are vectors) and `positions` (n x 3, Cartesian) are in units of a;
    `slots` has one letter per atom; `contacts` are the ideal first coordination shells.
    """

    name: str
    cell: np.ndarray
    slots: tuple[str, ...]
    positions: np.ndarray
    contacts: tuple[Contact, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of atoms of each slot in the cell."""
        return {slot: self.slots.count(slot) for slot in sorted(set(self.slots))}

    def distances(self, centre: str, ligand: str) -> np.ndarray:
        """Sorted distances, in units of a, from the first `centre` atom to all `ligand` images."""
        origin = self.positions[self.slots.index(centre)]
        steps = np.array(np.meshgrid(*[range(-3, 4)] * 3)).reshape(3, -1).T @ self.cell
        ends = self.positions[[slot == ligand for slot in self.slots]]
        length = np.linalg.norm(ends[:, None] + steps[None] - origin, axis=2).ravel()
        return np.sort(length[length > 1e-6])


def _prototype(
    name: str,
    axes: list[Vector],
    sites: list[Site],
    contacts: list[tuple[str, str, int]],
    conventional: Vector = (1.0, 1.0, 1.0),
    hexagonal: bool = False,
) -> Prototype:
    """Build a prototype from fractions of the conventional cell.

    `axes` and `sites` are both given in fractions of the conventional cell, whose edges are
    `conventional` in units of a (orthogonal, or at 120 degrees where `hexagonal`).
    """
    basis = np.diag(conventional).astype(float)
    if hexagonal:
        basis[1] = [-0.5 * conventional[1], 0.75**0.5 * conventional[1], 0.0]
    return Prototype(
        name=name,
        cell=np.array(axes, dtype=float) @ basis,
        slots=tuple(site[0] for site in sites),
        positions=np.array([site[1:] for site in sites], dtype=float) @ basis,
        contacts=tuple(Contact(*contact) for contact in contacts),
    )


_PRIMITIVE: list[Vector] = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
_FCC: list[Vector] = [(0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
_BCC: list[Vector] = [(-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5)]
_RHOMB: list[Vector] = [(2 / 3, 1 / 3, 1 / 3), (-1 / 3, 1 / 3, 1 / 3), (-1 / 3, -2 / 3, 1 / 3)]
_T, _TT = 1 / 3, 2 / 3


def _hexagonal(name: str, ratio: float, sites: list[Site], contacts: list[tuple[str, str, int]]) -> Prototype:
    return _prototype(name, _PRIMITIVE, sites, contacts, (1, 1, ratio), hexagonal=True)


def _tetragonal(name: str, ratio: float, sites: list[Site], contacts: list[tuple[str, str, int]]) -> Prototype:
    return _prototype(name, _PRIMITIVE, sites, contacts, (1, 1, ratio))


def _body_centred(name: str, ratio: float, sites: list[Site], contacts: list[tuple[str, str, int]]) -> Prototype:
    return _prototype(name, _BCC, sites, contacts, (1, 1, ratio))


def _face_centred(
    name: str,
    diagonal: dict[str, float] | list[tuple[str, float]],
    contacts: list[tuple[str, str, int]],
) -> Prototype:
    """Face-centred cubic with atoms along the body diagonal, the family of Heusler and fluorite."""
    pairs = diagonal.items() if isinstance(diagonal, dict) else diagonal
    return _prototype(name, _FCC, [(slot, x, x, x) for slot, x in pairs], contacts)


_ALL = [
    # Elements.
    _face_centred("fcc", {"A": 0}, [("A", "A", 12)]),
    _body_centred("bcc", 1, [("A", 0, 0, 0)], [("A", "A", 8)]),
    _hexagonal("hcp", (8 / 3) ** 0.5, [("A", _T, _TT, 0.25), ("A", _TT, _T, 0.75)], [("A", "A", 12)]),
    _face_centred("diamond", [("A", 0), ("A", 0.25)], [("A", "A", 4)]),
    _tetragonal("simple-cubic", 1, [("A", 0, 0, 0)], [("A", "A", 6)]),
    # AX: A the cation, X the anion.
    _face_centred("rocksalt", {"A": 0, "X": 0.5}, [("A", "X", 6)]),
    _face_centred("zincblende", {"A": 0, "X": 0.25}, [("A", "X", 4)]),
    _tetragonal("caesium-chloride", 1, [("A", 0, 0, 0), ("X", 0.5, 0.5, 0.5)], [("A", "X", 8)]),
    _hexagonal(
        "wurtzite",
        (8 / 3) ** 0.5,
        [("A", _T, _TT, 0), ("A", _TT, _T, 0.5), ("X", _T, _TT, 0.375), ("X", _TT, _T, 0.875)],
        [("A", "X", 4)],
    ),
    _hexagonal(
        "nickel-arsenide",
        (8 / 3) ** 0.5,
        [("A", 0, 0, 0), ("A", 0, 0, 0.5), ("X", _T, _TT, 0.25), ("X", _TT, _T, 0.75)],
        [("A", "X", 6)],
    ),
    _tetragonal(
        "litharge",
        1.26,
        [("X", 0, 0, 0), ("X", 0.5, 0.5, 0), ("A", 0, 0.5, 0.238), ("A", 0.5, 0, -0.238)],
        [("A", "X", 4)],
    ),
    # AX2 and A2X.
    _face_centred("fluorite", [("A", 0), ("X", 0.25), ("X", 0.75)], [("A", "X", 8)]),
    _tetragonal(
        "rutile",
        0.65,
        [
            ("A", 0, 0, 0),
            ("A", 0.5, 0.5, 0.5),
            ("X", 0.305, 0.305, 0),
            ("X", -0.305, -0.305, 0),
            ("X", 0.805, 0.195, 0.5),
            ("X", 0.195, 0.805, 0.5),
        ],
        [("A", "X", 6)],
    ),
    _body_centred(
        "anatase",
        2.51,
        [
            ("A", 0, 0, 0),
            ("A", 0, 0.5, 0.25),
            ("X", 0, 0, 0.208),
            ("X", 0, 0, -0.208),
            ("X", 0, 0.5, 0.458),
            ("X", 0, 0.5, 0.042),
        ],
        [("A", "X", 6)],
    ),
    _hexagonal(
        "cadmium-iodide",
        1.6,
        [("A", 0, 0, 0), ("X", _T, _TT, 0.255), ("X", _TT, _T, -0.255)],
        [("A", "X", 6)],
    ),
    _hexagonal(
        "molybdenite-1h",
        1.95,
        [("A", 0, 0, 0), ("X", _T, _TT, 0.256), ("X", _T, _TT, -0.256)],
        [("A", "X", 6)],
    ),
    _face_centred("antifluorite", [("X", 0), ("A", 0.25), ("A", 0.75)], [("A", "X", 4)]),
    _hexagonal(
        "anti-cadmium-iodide",
        1.6,
        [("X", 0, 0, 0), ("A", _T, _TT, 0.255), ("A", _TT, _T, -0.255)],
        [("A", "X", 3)],
    ),
    _tetragonal(
        "cuprite",
        1,
        [
            ("X", 0, 0, 0),
            ("X", 0.5, 0.5, 0.5),
            ("A", 0.25, 0.25, 0.25),
            ("A", 0.75, 0.75, 0.25),
            ("A", 0.75, 0.25, 0.75),
            ("A", 0.25, 0.75, 0.75),
        ],
        [("A", "X", 2)],
    ),
    # AX3.
    _tetragonal(
        "rhenium-trioxide",
        1,
        [("A", 0, 0, 0), ("X", 0.5, 0, 0), ("X", 0, 0.5, 0), ("X", 0, 0, 0.5)],
        [("A", "X", 6)],
    ),
    _face_centred("bismuth-fluoride", [("A", 0), ("X", 0.25), ("X", 0.5), ("X", 0.75)], [("A", "X", 8)]),
    # ABX3 and its inverse A3XY, X in the octahedra.
    _tetragonal(
        "perovskite",
        1,
        [("A", 0.5, 0.5, 0.5), ("B", 0, 0, 0), ("X", 0.5, 0, 0), ("X", 0, 0.5, 0), ("X", 0, 0, 0.5)],
        [("B", "X", 6), ("A", "X", 12)],
    ),
    _tetragonal(
        "antiperovskite",
        1,
        [("Y", 0.5, 0.5, 0.5), ("X", 0, 0, 0), ("A", 0.5, 0, 0), ("A", 0, 0.5, 0), ("A", 0, 0, 0.5)],
        [("X", "A", 6), ("Y", "A", 12)],
    ),
    # ABX2.
    _prototype(
        "alpha-sodium-ferrite",
        _RHOMB,
        [("B", 0, 0, 0), ("A", 0, 0, 0.5), ("X", 0, 0, 0.26), ("X", 0, 0, -0.26)],
        [("B", "X", 6), ("A", "X", 6)],
        (1, 1, 5.0),
        hexagonal=True,
    ),
    _prototype(
        "delafossite",
        _RHOMB,
        [("A", 0, 0, 0), ("B", 0, 0, 0.5), ("X", 0, 0, 0.11), ("X", 0, 0, -0.11)],
        [("B", "X", 6), ("A", "X", 2)],
        (1, 1, 5.93),
        hexagonal=True,
    ),
    _tetragonal(
        "ordered-rocksalt",
        2**0.5,
        [("A", 0, 0, 0), ("B", 0.5, 0.5, 0.5), ("X", 0.5, 0.5, 0), ("X", 0, 0, 0.5)],
        [("A", "X", 6), ("B", "X", 6)],
    ),
    _tetragonal(
        "ordered-zincblende",
        2**0.5,
        [("A", 0, 0, 0), ("B", 0.5, 0.5, 0.5), ("X", 0.5, 0, 0.25), ("X", 0, 0.5, 0.75)],
        [("A", "X", 4), ("B", "X", 4)],
    ),
    # AXY with two anions, and half-Heusler, whose middle slot C has eight neighbours.
    _tetragonal(
        "matlockite",
        1.75,
        [
            ("X", 0, 0, 0),
            ("X", 0.5, 0.5, 0),
            ("A", 0, 0.5, 0.205),
            ("A", 0.5, 0, -0.205),
            ("Y", 0, 0.5, 0.65),
            ("Y", 0.5, 0, 0.35),
        ],
        [("X", "A", 4)],
    ),
    _face_centred("half-heusler", {"A": 0, "C": 0.25, "B": 0.5}, [("C", "A", 4), ("C", "B", 4), ("A", "B", 6)]),
    # Metals.
    _face_centred("heusler", [("A", 0), ("C", 0.25), ("B", 0.5), ("C", 0.75)], [("A", "C", 8), ("B", "C", 8)]),
    _face_centred("inverse-heusler", [("C", 0), ("C", 0.25), ("A", 0.5), ("B", 0.75)], [("B", "A", 4), ("B", "C", 4)]),
    _tetragonal("B2", 1, [("A", 0, 0, 0), ("B", 0.5, 0.5, 0.5)], [("A", "B", 8)]),
    _tetragonal("L1_0", 2**0.5, [("A", 0, 0, 0), ("B", 0.5, 0.5, 0.5)], [("A", "B", 8)]),
    _prototype(
        "L1_1", [(1, 0.5, 0.5), (0.5, 1, 0.5), (0.5, 0.5, 1)], [("A", 0, 0, 0), ("B", 1, 1, 1)], [("A", "B", 6)]
    ),
    _hexagonal("B_h", 1.0, [("A", 0, 0, 0), ("B", _T, _TT, 0.5)], [("A", "B", 6)]),
    _face_centred("B32", [("A", 0), ("A", 0.25), ("B", 0.5), ("B", 0.75)], [("A", "B", 4)]),
    _tetragonal(
        "L1_2",
        1,
        [("B", 0, 0, 0), ("A", 0.5, 0.5, 0), ("A", 0.5, 0, 0.5), ("A", 0, 0.5, 0.5)],
        [("B", "A", 12)],
    ),
    _body_centred(
        "D0_22",
        2.0,
        [("B", 0, 0, 0), ("A", 0, 0, 0.5), ("A", 0, 0.5, 0.25), ("A", 0.5, 0, 0.25)],
        [("B", "A", 12)],
    ),
    _face_centred("D0_3", [("B", 0), ("A", 0.25), ("A", 0.5), ("A", 0.75)], [("B", "A", 8)]),
    _body_centred("C11_b", 6**0.5, [("A", 0, 0, 0), ("B", 0, 0, _T), ("B", 0, 0, -_T)], [("A", "B", 10)]),
    _hexagonal(
        "aluminium-diboride", 1.05, [("A", 0, 0, 0), ("B", _T, _TT, 0.5), ("B", _TT, _T, 0.5)], [("A", "B", 12)]
    ),
    _prototype(
        "C15",
        _FCC,
        [
            ("A", 0.125, 0.125, 0.125),
            ("A", -0.125, -0.125, -0.125),
            ("B", 0.5, 0.5, 0.5),
            ("B", 0.5, 0.25, 0.25),
            ("B", 0.25, 0.5, 0.25),
            ("B", 0.25, 0.25, 0.5),
        ],
        [("A", "B", 12)],
    ),
    _body_centred(
        "thorium-chromium-silicide",
        2.6,
        [("A", 0, 0, 0), ("B", 0.5, 0, 0.25), ("B", 0, 0.5, 0.25), ("C", 0, 0, 0.37), ("C", 0, 0, -0.37)],
        [("B", "C", 4)],
    ),
]

PROTOTYPES: dict[str, Prototype] = {prototype.name: prototype for prototype in _ALL}
