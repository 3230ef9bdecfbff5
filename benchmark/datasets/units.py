"""Conversion of label units, by ase's constants."""

from __future__ import annotations

from ase import units

# Unit -> (dimension, its size in ase's units). What is not listed cannot be converted, only kept.
UNITS: dict[str, tuple[str, float]] = {
    "eV": ("energy", 1.0),
    "meV": ("energy", 1e-3),
    "Hartree": ("energy", units.Hartree),
    "Rydberg": ("energy", units.Rydberg),
    "kcal/mol": ("energy", units.kcal / units.mol),
    "kJ/mol": ("energy", units.kJ / units.mol),
    "Debye": ("dipole", units.Debye),
    "e*Angstrom": ("dipole", 1.0),
    "e*Bohr": ("dipole", units.Bohr),
    "Angstrom^2": ("area", 1.0),
    "Bohr^2": ("area", units.Bohr**2),
    "Angstrom^3": ("volume", 1.0),
    "Bohr^3": ("volume", units.Bohr**3),
    "cal/mol/K": ("heat capacity", units.kcal / 1000 / units.mol),
    "J/mol/K": ("heat capacity", units.kJ / 1000 / units.mol),
    "eV/Angstrom^3": ("pressure", 1.0),
    "GPa": ("pressure", units.GPa),
}


def conversion(found: str, wanted: str) -> float:
    """What a value in the unit `found` is multiplied by to be in `wanted`.

    >>> round(conversion("Hartree", "eV"), 4)
    27.2114

    Raises ValueError naming both units when one cannot become the other.
    """
    if found == wanted:
        return 1.0
    unknown = [unit for unit in (found, wanted) if unit not in UNITS]
    if unknown:
        raise ValueError(f"unit {unknown[0]!r} is unknown; accepted: {', '.join(sorted(UNITS))}")
    (dimension, size), (other, other_size) = UNITS[found], UNITS[wanted]
    if dimension != other:
        raise ValueError(f"{found} ({dimension}) cannot be converted to {wanted} ({other})")
    return size / other_size
