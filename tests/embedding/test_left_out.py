"""Structures that a model cannot embed: named, left out, and never the reason of a failure."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.datasets.store import Dataset
from benchmark.embedding.conformance import run_conformance
from benchmark.embedding.environment import Environment
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.extraction import EmbeddingSettings, embed, load_embedded
from benchmark.embedding.output import read_left_out
from tests.embedding.families import write_family

KNOWS_SOME = """
class Picky(Adapter):
    def load(self, checkpoint, options, device):
        self.scale = 1.0

    def unsupported(self, item):
        unknown = sorted(set(item.numbers.tolist()) - {known})
        return f"element {{unknown[0]}} is not known" if unknown else None

    def embed(self, inputs):
        assert all(self.unsupported(atoms) is None for atoms in inputs)
        values = np.concatenate([scalars(atoms, self.scale) for atoms in inputs])
        return Features({{"backbone": Layer(values)}}, np.array([float(len(atoms)) for atoms in inputs]))

    def perturb_weights(self, scale, seed):
        self.scale *= 1 + scale
        return True
"""


def picky(*known: int) -> str:
    return KNOWS_SOME.format(known=set(known))


def test_the_rest_is_embedded_and_what_is_left_out_is_named(
    tmp_path: Path, dataset: Dataset, settings: EmbeddingSettings, environment: Environment
) -> None:
    structures = dataset.structures()
    whole = load_embedded(
        settings.cache,
        embed(write_family(tmp_path / "toy"), dataset, settings, environment=environment).key,
        structures,
    )
    sidecar = embed(write_family(tmp_path / "toy", picky(1, 6, 7, 8, 22)), dataset, settings, environment=environment)
    without = {structures.ids[i] for i in range(len(structures)) if set(structures.atoms(i).numbers) & {11, 17, 38}}
    assert set(sidecar.left_out) == without != set()
    assert set(sidecar.left_out.values()) == {"element 11 is not known", "element 38 is not known"}
    assert sidecar.structures == len(structures) - len(without)
    features = load_embedded(settings.cache, sidecar.key, structures)
    assert features.positions is not None and features.energies is not None
    assert [structures.ids[place] for place in features.positions] == [i for i in structures.ids if i not in without]
    np.testing.assert_array_equal(features.energies, np.diff(structures.offsets)[features.positions])
    # The same structures of a model that embeds all of them.
    np.testing.assert_array_equal(
        whole.take(features.positions).structures("backbone"), features.structures("backbone")
    )


def test_taking_structures_keeps_rows_offsets_and_energies_together(
    tmp_path: Path, dataset: Dataset, settings: EmbeddingSettings, environment: Environment
) -> None:
    sidecar = embed(write_family(tmp_path / "toy", picky(1, 6, 7, 8, 22)), dataset, settings, environment=environment)
    features = load_embedded(settings.cache, sidecar.key, dataset.structures())
    assert features.positions is not None and features.energies is not None
    chosen = features.positions[::2]
    taken = features.take(chosen)
    np.testing.assert_array_equal(taken.structures("backbone"), features.structures("backbone")[::2])
    assert taken.energies is not None
    np.testing.assert_array_equal(taken.energies, features.energies[::2])
    assert taken.offsets[-1] == len(taken.layers["backbone"].values)


def test_a_model_that_knows_no_structure_gives_an_empty_product(
    tmp_path: Path, dataset: Dataset, settings: EmbeddingSettings, environment: Environment
) -> None:
    sidecar = embed(write_family(tmp_path / "toy", picky(92)), dataset, settings, environment=environment)
    assert (sidecar.structures, len(sidecar.left_out)) == (0, len(dataset.structures()))


def test_checks_use_the_probes_that_the_model_knows(
    tmp_path: Path, settings: EmbeddingSettings, environment: Environment
) -> None:
    entry = write_family(tmp_path / "toy", picky(1, 6, 7, 8), parameters=1)
    checks = {check.id: check for check in run_conformance(entry, settings, environment=environment)}
    assert {check.status for check in checks.values()} <= {"passed", "skipped"}, checks
    assert checks["supercell"].status == "skipped"  # every crystal among the probes has other elements


def test_checks_fall_back_on_probes_of_elements_that_the_model_knows(
    tmp_path: Path, settings: EmbeddingSettings, environment: Environment
) -> None:
    entry = write_family(tmp_path / "toy", picky(32, 51, 52), parameters=1)
    checks = {check.id: check for check in run_conformance(entry, settings, environment=environment)}
    assert {check.status for check in checks.values()} <= {"passed", "skipped"}, checks
    assert checks["supercell"].status == "passed"


def test_a_model_that_knows_nothing_is_told_so(
    tmp_path: Path, settings: EmbeddingSettings, environment: Environment
) -> None:
    (check,) = run_conformance(write_family(tmp_path / "toy", picky(119)), settings, environment=environment)
    assert check.id == "unsupported"
    assert "0 of the probes, 3 are needed" in check.detail and "not known" in check.detail


@pytest.mark.parametrize("told", ['{"7": "x"}', "[]", '{"a": "x"}', "{", "[" * 5000])
def test_a_list_of_left_out_inputs_is_not_believed_unless_it_is_one(told: str) -> None:
    with pytest.raises(EmbeddingError, match="unsupported"):
        read_left_out(Path("adapter.py"), {"left_out": told}, [0, 1])
