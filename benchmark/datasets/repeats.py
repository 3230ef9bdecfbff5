"""Structures that occur twice: in another place, orientation, cell or order of the atoms, or relaxed twice.

Two structures repeat each other when each atom of one has a counterpart in the other, of its element and with the same
distances to its neighbours up to TOLERANCE. Mirror images are repeats too: no distance tells them apart. Repeats would
be known neighbours in every model, stand in training and test data at once, and lower intrinsic dimensions.

What is compared is at most NEAREST neighbours of each element, in crystals within CUTOFF. There is a gap for TOLERANCE
to lie in: of 50,000 molecules of QM9, 21 pairs differ by less than 0.004 Angstrom and all others by more than 0.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.geometry.cell import complete_cell
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

TOLERANCE = 0.01  # Angstrom
CUTOFF = 6.0  # Angstrom
NEAREST = 32
FAR = 1e3  # Angstrom; stands for a neighbour that a molecule does not have

Array = NDArray[np.float64]


def repeats(images: Sequence[Atoms]) -> NDArray[np.bool_]:
    """Which of structures with one reduced formula repeat an earlier one that repeats none itself; (structures,)."""
    found = np.zeros(len(images), dtype=bool)
    kinds = np.array([image.pbc @ (1, 2, 4) for image in images])
    for kind in np.unique(kinds):
        alike = _with_company(np.flatnonzero(kinds == kind), images)
        if not alike.size:
            continue
        outlines = np.array([_outline(images[index]) for index in alike.tolist()])
        tree = KDTree(outlines)
        # From one that stays to all like it, rather than pair by pair: many copies have very many pairs.
        for earlier, first in enumerate(alike.tolist()):
            if found[first]:
                continue
            for later in tree.query_ball_point(outlines[earlier], TOLERANCE, p=np.inf):
                second = alike[later]
                if second > first and not found[second]:
                    found[second] = _same(images[first], images[second])
    return found


def periodic_cell(atoms: Atoms) -> Array:
    """The cell (3, 3), Angstrom, with unit vectors across its periodic ones in place of the others."""
    vectors = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
    return np.asarray(complete_cell(vectors))  # type: ignore[no-untyped-call]


def _with_company(indices: NDArray[np.int64], images: Sequence[Atoms]) -> NDArray[np.int64]:
    """Those of `indices` whose structures have the size of another one: what is cheap to see comes first."""
    if len(indices) < 2:
        return indices[:0]
    sizes = np.array([_size(images[index]) for index in indices.tolist()])
    distances, _ = KDTree(sizes).query(sizes, k=2, p=np.inf)
    return indices[np.flatnonzero(distances[:, 1] <= TOLERANCE)]


def _size(atoms: Atoms) -> Array:
    """Lengths (Angstrom) that change by no more than distances do: of the volume an atom, of a molecule's extent."""
    if atoms.pbc.all():
        return np.array([(atoms.cell.volume / len(atoms)) ** (1 / 3)])
    if atoms.pbc.any():
        return np.zeros(1)
    # Root mean square distance of two atoms, over all pairs.
    return np.array([np.sqrt(2 * atoms.positions.var(axis=0).sum())])


def _environments(atoms: Atoms, nearest: int = NEAREST) -> Array:
    """(atoms, elements * nearest): sorted distances (Angstrom) to the nearest neighbours, element by element."""
    far = CUTOFF if atoms.pbc.any() else FAR
    places, shifts = _images(atoms)
    blocks = []
    for element in np.unique(atoms.numbers):
        own = atoms.numbers == element
        copies = (places[own] + shifts[:, None]).reshape(-1, 3)
        found, _ = KDTree(copies).query(places, k=nearest + 1, distance_upper_bound=far)
        # An atom of the element finds itself first.
        blocks.append(np.where(own[:, None], found[:, 1:], found[:, :-1]))
    environments: Array = np.minimum(np.concatenate(blocks, axis=1), far)
    return environments


def _images(atoms: Atoms) -> tuple[Array, Array]:
    """Places in the cell (atoms, 3), and the shifts (images, 3) to all images that can lie within CUTOFF, Angstrom."""
    if not atoms.pbc.any():
        return atoms.positions, np.zeros((1, 3))
    cell = periodic_cell(atoms)
    inverse = np.linalg.inv(cell)
    fractions = atoms.positions @ inverse
    places = (fractions - np.floor(fractions) * atoms.pbc) @ cell
    # Columns of the inverse are as long as one over the distance of two faces.
    reach = np.ceil(CUTOFF * np.linalg.norm(inverse, axis=0)).astype(int) * atoms.pbc
    steps = np.meshgrid(*[np.arange(-count, count + 1) for count in reach], indexing="ij")
    return places, np.stack(steps, axis=-1).reshape(-1, 3) @ cell


def _outline(atoms: Atoms) -> Array:
    """What repeats share within TOLERANCE: size, least and largest distance of an element's atoms to the nearest."""
    elements = np.unique(atoms.numbers)
    first = _environments(atoms, nearest=1)
    rows = [first[atoms.numbers == element] for element in elements]
    return np.concatenate([_size(atoms), *[row.min(axis=0) for row in rows], *[row.max(axis=0) for row in rows]])


def _same(first: Atoms, second: Atoms) -> bool:
    """Whether each atom has a counterpart; where cells hold different numbers of formula units, of all copies."""
    rows, columns = _environments(first), _environments(second)
    copies = int(np.lcm(len(first), len(second)))
    for element in np.unique(first.numbers):
        one, two = rows[first.numbers == element], columns[second.numbers == element]
        alike = cdist(one, two, "chebyshev") <= TOLERANCE
        if not (alike.any(axis=0).all() and alike.any(axis=1).all()):
            return False
        alike = np.repeat(np.repeat(alike, copies // len(first), axis=0), copies // len(second), axis=1)
        if (maximum_bipartite_matching(csr_array(alike)) < 0).any():
            return False
    return True
