"""Elements that a model was not made for are named, so that the structure is left out and not the model."""

from pathlib import Path

import pytest

from tests.submissions.inside import run_inside

pytestmark = pytest.mark.slow

CHGNET = """
model = adapter.CHGNetAdapter()
model.load(None, {"seed": 0}, "cpu")
report([model.unsupported(Atoms(symbols)) for symbols in ("NaCl", "BkO", "RnF2")])
"""
SEVENNET = """
import sevenn
checkpoint = next(iter(sorted(Path(sevenn.__file__).parent.rglob("checkpoint_sevennet_0.pth"))))
model = adapter.SevenNetAdapter()
model.load(checkpoint, {}, "cpu")
report([model.unsupported(Atoms(symbols)) for symbols in ("NaCl", "BkO", "RnF2")])
"""


def test_chgnet_names_what_lies_beyond_its_last_element(real_work: Path) -> None:
    found = run_inside("chgnet", real_work, CHGNET)
    assert found == [None, "Bk beyond the model's last atomic number, 94", None]


def test_sevennet_names_what_its_type_map_lacks(real_work: Path) -> None:
    found = run_inside("sevennet", real_work, SEVENNET)
    assert found == [None, "Bk not in the model's type map", "Rn not in the model's type map"]
