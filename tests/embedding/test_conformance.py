"""Each check is shown an adapter that passes it and one that breaks exactly it."""

import dataclasses
from pathlib import Path

import pytest

from benchmark.embedding.conformance import find_conformance, run_conformance
from benchmark.embedding.environment import Environment
from benchmark.embedding.extraction import EmbeddingSettings, prepare
from benchmark.results.records import ConformanceCheck
from benchmark.submission import Entry, LayerDeclaration
from tests.embedding.families import write_family

# A descriptor with one weight, a layer of scalars and one with l=0, 1 and 2, and an energy.
FULL = """
class Toy(Adapter):
    calls = 0

    def load(self, checkpoint, options, device):
        self.weight = np.array([1.3, 0.7, 2.1])

    def embed(self, inputs):
        self.calls += 1
        values = np.concatenate([self.invariant(atoms) for atoms in inputs])
        covariant = np.concatenate(
            [np.hstack([scalars(atoms)[:, 1:2], vectors(atoms), tensors(atoms)]) for atoms in inputs]
        )
        energies = np.array([self.energy(atoms) for atoms in inputs])
        # CHANGE
        return Features(
            {"backbone": Layer(values), "equivariant": Layer(covariant, irreps="1x0e+1x1o+1x2e")}, energies
        )

    def invariant(self, atoms):
        values = scalars(atoms) / [40, 1, 1, 1]
        values[:, 1:] = np.tanh(values[:, 1:] * self.weight / 40)
        return values

    def energy(self, atoms):
        return float(self.invariant(atoms).sum())

    def perturb_weights(self, scale, seed):
        self.weight *= 1 + scale * np.random.default_rng(seed).normal(size=3)
        return True

    def reference_energies(self, inputs):
        return np.array([self.energy(atoms) for atoms in inputs])
"""
LAYERS = {
    "backbone": LayerDeclaration(dimension=4),
    "equivariant": LayerDeclaration(dimension=9, irreps="1x0e+1x1o+1x2e"),
}
INVARIANT = {"backbone": LayerDeclaration(dimension=4)}


@pytest.fixture
def check(tmp_path: Path, settings: EmbeddingSettings, environment: Environment) -> "Check":
    return Check(tmp_path, settings, environment)


class Check:
    """Outcomes by id for `FULL` with a line put in where it says CHANGE (or with text replaced)."""

    def __init__(self, folder: Path, settings: EmbeddingSettings, environment: Environment) -> None:
        self.folder, self.settings, self.environment = folder, settings, environment

    def entry(self, change: str = "pass", old: str = "# CHANGE", **family: object) -> Entry:
        assert old in FULL
        adapter = FULL.replace(old, change)
        # The l=1 and l=2 parts hold no weight that could be perturbed.
        adapter = adapter.replace("covariant = ", "covariant = self.weight[0] * ")
        return write_family(self.folder / "toy", adapter, **{"layers": LAYERS, "parameters": 3, **family})  # type: ignore[arg-type]

    def __call__(self, change: str = "pass", old: str = "# CHANGE", **family: object) -> dict[str, ConformanceCheck]:
        found = run_conformance(self.entry(change, old, **family), self.settings, environment=self.environment)
        return {outcome.id: outcome for outcome in found}


def failed(outcomes: dict[str, ConformanceCheck]) -> list[str]:
    return [name for name, outcome in outcomes.items() if outcome.status == "failed"]


def test_a_correct_adapter_passes_every_check(check: Check) -> None:
    outcomes = check()
    assert {name: outcome.status for name, outcome in outcomes.items()} == dict.fromkeys(
        "dimensions determinism batch_size batch_order permutation translation rotation equivariance supercell "
        "sensitivity distinct geometry energies".split(),
        "passed",
    )
    assert outcomes["equivariance"].measured is not None and outcomes["equivariance"].measured < 1e-5


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ("values = values + 1e-2 * self.calls", {"determinism"}),
        ("values = values + np.random.normal(size=values.shape)", {"determinism"}),
        ("values = values + 0.1 * len(inputs)", {"batch_size"}),
        ("values = values + 0.1 * inputs[0].numbers[0]", {"batch_size", "batch_order"}),
        ("values = values + 0.1 * np.arange(len(values))[:, None]", {"batch_size", "batch_order", "permutation"}),
        ("values = values + np.concatenate([atoms.positions[:, :1] for atoms in inputs])", {"translation", "rotation"}),
        ("values = values + np.concatenate([vectors(atoms)[:, :1] for atoms in inputs])", {"rotation"}),
        ("covariant = covariant[:, [0, 2, 1, 3, 4, 5, 6, 7, 8]]", {"equivariance"}),
        ("covariant = covariant[:, [0, 1, 2, 3, 5, 4, 6, 7, 8]]", {"equivariance"}),
        ("covariant = covariant * [1, 1, 1, 1, 1, 1, 1.1, 1, 1]", {"equivariance"}),
        ("values = values + np.repeat([[len(atoms)] for atoms in inputs], [len(a) for a in inputs], 0)", {"supercell"}),
        ("values = 0 * values + 1", {"sensitivity", "distinct", "geometry"}),
        ("values[:, 1:] = 0", {"sensitivity", "geometry"}),
        ("energies = energies + 1e-2", {"energies"}),
    ],
)
def test_each_fault_fails_its_checks(check: Check, change: str, broken: set[str]) -> None:
    outcomes = check(change)
    assert broken <= set(failed(outcomes))
    # A fault may spoil checks that build on others; it must not spoil these.
    assert "dimensions" not in failed(outcomes)
    if len(broken) == 1:
        spoilt = {"determinism": {"batch_size", "batch_order", "permutation", "translation", "rotation", "supercell"}}
        allowed = broken | spoilt.get(min(broken), {"permutation", "translation", "rotation", "supercell", "geometry"})
        assert set(failed(outcomes)) <= allowed


def test_rotation_is_reported_for_a_model_that_claims_no_symmetry(check: Check) -> None:
    change = "values = values + np.concatenate([vectors(atoms)[:, :1] for atoms in inputs])"
    outcomes = check(change, symmetry="unconstrained")
    assert outcomes["rotation"].status == "reported"
    assert failed(outcomes) == []


def test_a_network_that_hides_its_weights_fails(check: Check) -> None:
    outcomes = check("return False", old="return True")
    assert failed(outcomes) == ["sensitivity"]
    assert outcomes["sensitivity"].detail == "perturb_weights found no weights to perturb"


def test_a_descriptor_without_weights_skips_sensitivity(check: Check) -> None:
    outcomes = check("return False", old="return True", parameters=None)
    assert outcomes["sensitivity"].status == "skipped"
    assert failed(outcomes) == []


def test_an_adapter_that_cannot_run_gives_one_failed_check(check: Check) -> None:
    outcomes = check('raise ValueError("no idea")')
    assert failed(outcomes) == list(outcomes) == ["embed"]
    assert outcomes["embed"].detail.endswith("raised ValueError: no idea (structures Cl4Na4, Ti2, O3SrTi and 3 more)")
    assert outcomes["embed"].detail.startswith("adapter.py: ")


def test_undeclared_columns_fail_by_name(check: Check) -> None:
    outcomes = check(layers={**LAYERS, "backbone": LayerDeclaration(dimension=5)})
    assert failed(outcomes) == ["layer backbone"]


def test_outcomes_are_kept_and_found_without_a_worker(check: Check) -> None:
    entry = check.entry()
    broken = dataclasses.replace(check.environment, python=Path("/nowhere/python"))
    assert find_conformance(prepare(entry, check.settings, broken), check.settings) is None
    first = run_conformance(entry, check.settings, environment=check.environment)
    assert run_conformance(entry, check.settings, environment=broken) == first
    assert find_conformance(prepare(entry, check.settings, broken), check.settings) == first


def test_a_model_of_strings_is_tried_on_strings(tmp_path: Path, check: Check) -> None:
    adapter = """
    class Letters(Adapter):
        def load(self, checkpoint, options, device):
            pass

        def embed(self, inputs):
            rows = [[text.count(letter) for letter in "CNOc#"] for text in inputs]
            return Features({"backbone": Layer(np.array(rows, dtype=float), level="structure")})
    """
    layers = {"backbone": LayerDeclaration(dimension=5, level="structure")}
    entry = write_family(tmp_path / "toy", adapter, layers=layers, modality="smiles")
    outcomes = {each.id: each for each in run_conformance(entry, check.settings, environment=check.environment)}
    assert failed(outcomes) == []
    assert outcomes["determinism"].status == outcomes["distinct"].status == "passed"
    assert outcomes["rotation"].status == outcomes["geometry"].status == "skipped"


def test_a_model_of_sequences_is_tried_on_proteins(tmp_path: Path, check: Check) -> None:
    adapter = """
    class Residues(Adapter):
        def load(self, checkpoint, options, device):
            pass

        def embed(self, inputs):
            assert all(set(text) <= set("ACDEFGHIKLMNPQRSTVWY") for text in inputs)
            rows = [[text.count(letter) / len(text) for letter in "ACDEFG"] for text in inputs]
            return Features({"backbone": Layer(np.array(rows, dtype=float), level="structure")})
    """
    layers = {"backbone": LayerDeclaration(dimension=6, level="structure")}
    entry = write_family(tmp_path / "toy", adapter, layers=layers, modality="sequence")
    outcomes = {each.id: each for each in run_conformance(entry, check.settings, environment=check.environment)}
    assert failed(outcomes) == []
