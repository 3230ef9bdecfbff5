"""Geometry and labels of one molecule: ETKDG and MMFF94, then GFN2-xTB, then B3LYP/def2-SVP.

`label_molecule` takes a SMILES and returns a JSON-ready dictionary, either with a geometry and
its labels or with the reason why the molecule is left out. `label_all` drives it over a work
folder: one atomically written file a molecule, so that a killed run resumes where it stopped.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from benchmark.files import write_json

HARTREE = 27.211386245988  # eV (CODATA 2018)
LEVEL = "B3LYP/def2-SVP//GFN2-xTB"
CONFORMERS = 6
MAX_FORCE = 0.01  # eV/Angstrom
MAX_STEPS = 400
BOND_TOLERANCE = 1.2  # a bond is shorter than this many sums of covalent radii


class LeftOutError(Exception):
    """The molecule cannot be labelled; the message is the reason counted in the data card."""


def label_molecule(smiles: str) -> dict[str, Any]:
    """Relax and label one molecule.

    Returns a dictionary with `status` "ok" or "left_out" (then `reason`). With "ok": `numbers`,
    `positions` (n x 3, Angstrom, centred), `labels` (energy in eV, energy_per_atom in eV/atom,
    gap in eV, dipole_x/y/z and dipole_norm in Debye) and `seconds`.
    """
    started = time.perf_counter()
    result: dict[str, Any] = {"smiles": smiles, "level": LEVEL}
    try:
        atoms, bonds = embed(smiles)
        relax(atoms)
        if bonds_by_distance(atoms) != bonds:
            raise LeftOutError("bonds changed in relaxation")
        # The geometry is rounded before the density-functional step: the labels are those of the stored one.
        atoms.positions = np.round(atoms.positions - atoms.positions.mean(axis=0), 6)
        result |= {
            "status": "ok",
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "labels": density_functional_labels(atoms),
        }
    except LeftOutError as reason:
        result |= {"status": "left_out", "reason": str(reason)}
    except Exception as error:  # one odd molecule must not stop a run of hours
        result |= {"status": "left_out", "reason": f"program error ({type(error).__name__})", "detail": str(error)}
    result["seconds"] = round(time.perf_counter() - started, 3)
    return result


def embed(smiles: str) -> tuple[Atoms, set[tuple[int, int]]]:
    """The MMFF94-lowest of a few ETKDG conformers (Angstrom) and the molecule's bonds as index pairs."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = zlib.crc32(smiles.encode()) & 0x7FFFFFF  # fixed, and independent of the run's order
    if not rdDistGeom.EmbedMultipleConfs(molecule, CONFORMERS, parameters):
        raise LeftOutError("no conformer found")
    outcomes = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(molecule, maxIters=1000)
    energies = [energy if status >= 0 else np.inf for status, energy in outcomes]
    if not np.isfinite(min(energies)):
        raise LeftOutError("no MMFF94 parameters")
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    positions = molecule.GetConformers()[int(np.argmin(energies))].GetPositions()
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    bonds = {(min(pair), max(pair)) for pair in ends}
    return Atoms(numbers=numbers, positions=positions), bonds


def relax(atoms: Atoms) -> None:
    """Relax `atoms` in place with GFN2-xTB to `MAX_FORCE`."""
    from ase.optimize import BFGS
    from tblite.ase import TBLite

    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    optimiser: Any = BFGS(atoms, logfile=None)
    try:
        if not optimiser.run(fmax=MAX_FORCE, steps=MAX_STEPS):
            raise LeftOutError("GFN2-xTB relaxation not converged")
    finally:
        atoms.calc = None


def bonds_by_distance(atoms: Atoms) -> set[tuple[int, int]]:
    """Index pairs closer than `BOND_TOLERANCE` times the sum of their covalent radii."""
    radii = covalent_radii[atoms.numbers]
    close = distance_matrix(atoms) < BOND_TOLERANCE * (radii[:, None] + radii[None, :])
    rows, columns = np.nonzero(np.triu(close, k=1))
    return set(zip(rows.tolist(), columns.tolist(), strict=True))


def distance_matrix(atoms: Atoms) -> NDArray[np.float64]:
    """All interatomic distances (n x n, Angstrom) of a molecule."""
    positions: NDArray[np.float64] = atoms.positions
    distances: NDArray[np.float64] = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return distances


def density_functional_labels(atoms: Atoms) -> dict[str, float]:
    """B3LYP/def2-SVP labels of `atoms` as they stand (closed shell, neutral, density fitted).

    The orbitals are converged on coarse quadrature grids (PySCF level 0, then 1, the latter to
    1e-8 Hartree); energy, gap and dipole then come from one Fock build and diagonalisation on the
    level 3 grid. The energy error of that is of second order in the tiny density difference between
    the grids, and it saves more than half the time.

    Raises LeftOutError where the self-consistent field does not converge.
    """
    from pyscf import dft, gto

    molecule = gto.M(
        atom=list(zip(atoms.symbols, atoms.positions, strict=True)), basis="def2-svp", unit="Angstrom", verbose=0
    )
    field = dft.RKS(molecule, xc="b3lyp").density_fit(auxbasis="def2-universal-jkfit")
    field.max_cycle = 80
    field.conv_check = False  # the final diagonalisation below takes the place of the extra cycle
    density = None
    # The gap is of first order in what is left of the orbital gradient: hence its tight limit.
    for level, energy_limit, gradient_limit in ((0, 1e-3, 1e-2), (1, 1e-8, 3e-5)):
        field.grids = dft.gen_grid.Grids(molecule)
        field.grids.level = level
        field._numint = _orbital_keeping_integrator()
        field.conv_tol, field.conv_tol_grad = energy_limit, gradient_limit
        field.kernel(dm0=density)
        density = field.make_rdm1()
    if not field.converged:
        raise LeftOutError("self-consistent field not converged")
    field.grids = dft.gen_grid.Grids(molecule)
    field.grids.level = 3
    field._numint = dft.numint.NumInt()
    potential = field.get_veff(molecule, density)
    energy = float(field.energy_tot(density, vhf=potential)) * HARTREE
    orbitals, coefficients = field.eig(field.get_fock(dm=density, vhf=potential), field.get_ovlp())
    occupations = field.get_occ(orbitals, coefficients)
    dipole = field.dip_moment(molecule, field.make_rdm1(coefficients, occupations), unit="Debye", verbose=0)
    gap = float(orbitals[occupations == 0].min() - orbitals[occupations > 0].max()) * HARTREE
    return labels_of(energy, gap, dipole, len(atoms))


def _orbital_keeping_integrator() -> Any:
    """A PySCF integrator that evaluates the basis on one grid once, not in every cycle (a third of the time)."""
    from pyscf.dft import numint

    class Keeping(numint.NumInt):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.kept: dict[tuple[int, int, bytes], Any] = {}

        def eval_ao(self, mol: Any, coords: Any, deriv: int = 0, **options: Any) -> Any:
            key = (deriv, len(coords), coords[0].tobytes())
            if key not in self.kept:
                options.pop("out", None)  # a buffer that the caller fills anew for the next block
                self.kept[key] = numint.eval_ao(mol, coords, deriv=deriv, **options)
            return self.kept[key]

    return Keeping()


def labels_of(energy: float, gap: float, dipole: NDArray[np.float64], n_atoms: int) -> dict[str, float]:
    """The label columns from energy (eV), gap (eV) and dipole vector (Debye)."""
    return {
        "energy": energy,
        "energy_per_atom": energy / n_atoms,
        "gap": gap,
        "dipole_x": float(dipole[0]),
        "dipole_y": float(dipole[1]),
        "dipole_z": float(dipole[2]),
        "dipole_norm": float(np.linalg.norm(dipole)),
    }


def label_all(
    smiles: list[str],
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    label: Callable[[str], dict[str, Any]] = label_molecule,
) -> None:
    """Label `smiles` in order into `folder`, one JSON file a molecule; what is there already is skipped.

    `stop` is asked before each molecule, so that a run can be given a deadline.
    """
    from tqdm import tqdm

    for entry in tqdm(smiles, unit="molecule", smoothing=0.05, mininterval=5.0):
        if stop():
            return
        target = result_path(folder, entry)
        if not target.exists():
            write_json(target, label(entry))


def result_path(folder: Path, smiles: str) -> Path:
    """The result file of a molecule: SMILES hold characters that file names may not."""
    return Path(folder) / f"{smiles.encode().hex()}.json"


def read_results(smiles: list[str], folder: Path) -> dict[str, dict[str, Any]]:
    """The results present in `folder`, by SMILES, in the order of `smiles`."""
    paths = {entry: result_path(folder, entry) for entry in smiles}
    return {entry: json.loads(path.read_text()) for entry, path in paths.items() if path.exists()}
