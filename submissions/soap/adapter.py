# /// script
# requires-python = ">=3.11"
# dependencies = ["ase==3.29.0", "dscribe==2.1.2", "numpy==2.4.6", "safetensors==0.8.0"]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Control: SOAP power spectrum of the bare geometry [Bartok, Kondor, Csanyi, Phys. Rev. B 87, 184115 (2013)].

All elements are replaced by one: the descriptor sees where atoms are and not what they are. It is
the counterpart of the composition control.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from dscribe.descriptors import SOAP

from benchmark.adapter import Adapter, Features, Layer, Options


class GeometrySOAP(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options: `r_cut` in Angstrom, `n_max`, `l_max`, `sigma` in Angstrom, as dscribe names them."""
        del checkpoint, device
        self.descriptors = {
            periodic: SOAP(species=["H"], periodic=periodic, average="off", dtype="float64", **options)
            for periodic in (True, False)
        }

    def embed(self, inputs: Sequence[Atoms]) -> Features:
        rows = [self.descriptors[bool(atoms.pbc.any())].create(without_elements(atoms)) for atoms in inputs]
        return Features({"backbone": Layer(np.concatenate(rows).astype(np.float32))})


def without_elements(atoms: Atoms) -> Atoms:
    """A copy in which every atom is hydrogen."""
    bare = atoms.copy()
    bare.numbers[:] = 1
    return bare
