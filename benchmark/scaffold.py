"""`latent-matter new <family>`: a submission that passes `check` once its blanks are filled in."""

from __future__ import annotations

import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from benchmark.files import write_text
from benchmark.schema import Identifier, InvalidFileError

SUBMISSION = """\
# What the fields mean: CONTRIBUTING.md. Lines that say FILL IN are refused by `latent-matter check {family}`.
family: {family}
title: FILL IN the family's name as readers know it
description: FILL IN one sentence on the architecture
modality: atoms # atoms | smiles | sequence
symmetry: invariant # invariant | equivariant | unconstrained
authors:
  - FILL IN the authors of the model
links:
  code: https://example.org/FILL-IN
  paper: https://example.org/FILL-IN
licence:
  code: FILL IN an SPDX identifier
  weights: FILL IN an SPDX identifier, or null where there are no weights
models:
  - id: {family}
    title: FILL IN the checkpoint's name
    # Weights are fetched and verified by the benchmark and handed to the adapter as a local file:
    #   {{kind: package, file: path/below/site-packages, sha256: ...}}
    #   {{kind: url, url: https://..., file: name, sha256: ...}}
    #   {{kind: huggingface, repository: org/name, revision: 40 hex digits, file: name, sha256: ...}}
    checkpoint: {{kind: none}}
    options: {{}} # handed to the adapter as they stand
    layers:
      backbone: {{dimension: 3}} # last hidden per-atom features before the readout, invariant part
    parameters: null # trainable weights
    training_data: []
    training_targets: []
    released: {today}
    # fine_tuned_from: id of the parent, for a fine-tuned checkpoint
"""

ADAPTER = '''\
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ase==3.29.0",
#     "numpy==2.4.6",
#     "safetensors==0.8.0",
# ]
#
# [tool.uv]
# exclude-newer = "{today}T00:00:00Z"
# ///
"""{family}: say here where the features are taken from.

The header pins the environment that this file runs in: every dependency with `==`. Add your
model's package (and `torch==...`) to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from benchmark.adapter import Adapter, Features, Layer, Options


class {name}(Adapter):
    """A working example: replace the arithmetic in `embed` by your network's hidden features."""

    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        # Load the network from `checkpoint` here, move it to `device`, switch it to evaluation.
        self.cutoff = float(options.get("cutoff", 5.0))

    def embed(self, inputs: Sequence[Atoms] | Sequence[str]) -> Features:
        # Return one row an atom, structure after structure. This example: atomic number, number
        # of neighbours and mean neighbour distance within the cutoff.
        from ase.neighborlist import neighbor_list

        rows = []
        for atoms in inputs:
            centres, distances = neighbor_list("id", atoms, self.cutoff)
            counts = np.bincount(centres, minlength=len(atoms))
            sums = np.bincount(centres, weights=distances, minlength=len(atoms))
            rows.append(np.column_stack([atoms.numbers, counts, sums / np.maximum(counts, 1)]))
        return Features(layers={{"backbone": Layer(np.concatenate(rows).astype(np.float32))}})

    # With weights: `perturb_weights` (see perturb_torch_module) lets the checks see that the features
    # come from the network; with energies: return them in `embed` and give `reference_energies`.
'''


def new_submission(root: Path, family: str) -> list[Path]:
    """Write `root`/`family`/{submission.yaml,adapter.py}. Raises InvalidFileError for a bad or a taken name."""
    try:
        TypeAdapter(Identifier).validate_python(family)
    except ValidationError:
        raise InvalidFileError(
            f"family {family!r}: a name is made of lower-case letters, digits, '.', '_' and '-'"
        ) from None
    folder = root / family
    if folder.exists():
        raise InvalidFileError(f"{folder}: exists already; nothing was written")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    name = "".join(part.capitalize() for part in family.replace(".", "-").replace("_", "-").split("-"))
    values = {"family": family, "today": today, "name": f"{name}Adapter" if name[0].isalpha() else f"M{name}Adapter"}
    write_text(folder / "submission.yaml", SUBMISSION.format(**values))
    write_text(folder / "adapter.py", ADAPTER.format(**values))
    return [folder / "submission.yaml", folder / "adapter.py"]
