"""Tables of the elements: radii in Angstrom that set a first lattice parameter, and valences.

`IONIC` holds effective ionic radii for six neighbours (R. D. Shannon, Acta Cryst. A32, 751, 1976;
high spin where both are tabulated). The pnictide, carbide and hydride radii, which Shannon does not
give, are the bond lengths of common binary compounds less the cation's radius. `METALLIC` holds
radii for twelve neighbours; metalloids and light elements have the radius that they show in
intermetallic compounds. An error of a few per cent is harmless: every cell is strained anyway.
"""

from __future__ import annotations

# element -> {oxidation state: radius}
IONIC: dict[str, dict[int, float]] = {
    "H": {-1: 1.40}, "F": {-1: 1.33}, "Cl": {-1: 1.81}, "Br": {-1: 1.96}, "I": {-1: 2.20},
    "O": {-2: 1.40}, "S": {-2: 1.84}, "Se": {-2: 1.98}, "Te": {-2: 2.21, 4: 0.97, 6: 0.56},
    "N": {-3: 1.46}, "P": {-3: 1.90, 5: 0.38}, "As": {-3: 2.02, 3: 0.58, 5: 0.46},
    "Sb": {-3: 2.22, 3: 0.76, 5: 0.60}, "C": {-4: 1.60},
    "Li": {1: 0.76}, "Na": {1: 1.02}, "K": {1: 1.38}, "Rb": {1: 1.52}, "Cs": {1: 1.67},
    "Cu": {1: 0.77, 2: 0.73}, "Ag": {1: 1.15}, "Au": {1: 1.37, 3: 0.85}, "Tl": {1: 1.50, 3: 0.885},
    "Be": {2: 0.45}, "Mg": {2: 0.72}, "Ca": {2: 1.00}, "Sr": {2: 1.18}, "Ba": {2: 1.35},
    "Zn": {2: 0.74}, "Cd": {2: 0.95}, "Hg": {2: 1.02}, "B": {3: 0.27}, "Al": {3: 0.535},
    "Ga": {3: 0.62}, "In": {3: 0.80}, "Sc": {3: 0.745}, "Y": {3: 0.90},
    "Ti": {2: 0.86, 3: 0.67, 4: 0.605}, "V": {2: 0.79, 3: 0.64, 4: 0.58, 5: 0.54},
    "Cr": {2: 0.80, 3: 0.615, 4: 0.55}, "Mn": {2: 0.83, 3: 0.645, 4: 0.53},
    "Fe": {2: 0.78, 3: 0.645}, "Co": {2: 0.745, 3: 0.545}, "Ni": {2: 0.69, 3: 0.56},
    "Pd": {2: 0.86, 4: 0.615}, "Pt": {2: 0.80, 4: 0.625}, "Rh": {3: 0.665, 4: 0.60},
    "Ir": {3: 0.68, 4: 0.625}, "Ru": {3: 0.68, 4: 0.62}, "Os": {4: 0.63}, "Re": {4: 0.63, 6: 0.55},
    "Zr": {4: 0.72}, "Hf": {4: 0.71}, "Nb": {3: 0.72, 4: 0.68, 5: 0.64},
    "Ta": {3: 0.72, 4: 0.68, 5: 0.64}, "Mo": {4: 0.65, 6: 0.59}, "W": {4: 0.66, 6: 0.60},
    "Si": {4: 0.40}, "Ge": {2: 0.73, 4: 0.53}, "Sn": {2: 1.18, 4: 0.69}, "Pb": {2: 1.19, 4: 0.775},
    "Bi": {3: 1.03},
}  # fmt: skip

METALLIC: dict[str, float] = {
    "H": 0.78, "Li": 1.57, "Be": 1.12, "B": 0.98, "C": 0.92, "N": 0.88, "Na": 1.91, "Mg": 1.60,
    "Al": 1.43, "Si": 1.34, "P": 1.28, "S": 1.27, "K": 2.35, "Ca": 1.97, "Sc": 1.64, "Ti": 1.47,
    "V": 1.35, "Cr": 1.29, "Mn": 1.37, "Fe": 1.26, "Co": 1.25, "Ni": 1.25, "Cu": 1.28, "Zn": 1.37,
    "Ga": 1.41, "Ge": 1.39, "As": 1.48, "Se": 1.40, "Rb": 2.50, "Sr": 2.15, "Y": 1.82, "Zr": 1.60,
    "Nb": 1.47, "Mo": 1.40, "Ru": 1.34, "Rh": 1.34, "Pd": 1.37, "Ag": 1.44, "Cd": 1.52, "In": 1.67,
    "Sn": 1.58, "Sb": 1.59, "Te": 1.60, "Cs": 2.72, "Ba": 2.24, "Hf": 1.59, "Ta": 1.47, "W": 1.41,
    "Re": 1.37, "Os": 1.35, "Ir": 1.36, "Pt": 1.39, "Au": 1.44, "Hg": 1.55, "Tl": 1.71, "Pb": 1.75,
    "Bi": 1.82,
}  # fmt: skip


# Electrons that GPAW's default PBE data sets treat as valence: the size of a calculation.
VALENCE_ELECTRONS: dict[str, int] = {
    "Ag": 17, "Al": 3, "As": 5, "Au": 11, "B": 3, "Ba": 10, "Be": 2, "Bi": 15, "Br": 7, "C":
    4, "Ca": 10, "Cd": 12, "Cl": 7, "Co": 9, "Cr": 6, "Cs": 9, "Cu": 11, "F": 7, "Fe": 8,
    "Ga": 3, "Ge": 4, "H": 1, "Hf": 12, "Hg": 18, "I": 7, "In": 13, "Ir": 15, "K": 9, "Li": 1,
    "Mg": 10, "Mn": 15, "Mo": 14, "N": 5, "Na": 7, "Nb": 13, "Ni": 16, "O": 6, "Os": 14, "P":
    5, "Pb": 14, "Pd": 16, "Pt": 16, "Rb": 9, "Re": 13, "Rh": 15, "Ru": 16, "S": 6, "Sb": 15,
    "Sc": 11, "Se": 6, "Si": 4, "Sn": 14, "Sr": 10, "Ta": 13, "Te": 6, "Ti": 12, "Tl": 13,
    "V": 13, "W": 14, "Y": 11, "Zn": 12, "Zr": 12,
}  # fmt: skip


def ionic_radius(symbol: str, charge: int, neighbours: int) -> float:
    """Shannon's radius in Angstrom, moved from six to `neighbours` neighbours.

    The shift is the mean over Shannon's tables: fewer neighbours make an ion smaller.
    """
    shift = {2: -0.30, 3: -0.20, 4: -0.14, 6: 0.0, 8: 0.13, 12: 0.25}[neighbours]
    return max(0.10, IONIC[symbol][charge] + (shift if charge > 0 else 0.0))
