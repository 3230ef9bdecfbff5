"""Fine-tuning bias: how much of its parent a fine-tuned model still is (PROTOCOL section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.metrics import global_reconstruction_error, local_reconstruction_error
from benchmark.results.records import Score
from benchmark.scoring.comparisons import Comparisons
from benchmark.scoring.data import FloatArray, IntArray, Lineage, ModelFeatures, array_of, number
from benchmark.scoring.measured import measured, missing, null_of
from benchmark.suite import Suite

LOCAL_TEST_ATOMS = 200
"""The local error fits a map of its own to every test atom: it is measured on an even choice of them."""
NOT_PER_ATOM = "needs features per atom of the model, its parent and the strangers"
NOT_FINE_TUNED = "not fine-tuned from another model"


def strangers(suite: Suite, lineage: Lineage, model: str) -> list[str]:
    """The models that a fine-tuned model is compared with.

    Unrelated, non-control members of the suite's panel: those of the model's family, or all where the family has none.
    The panel is frozen, so a new submission never changes who they are.
    """
    unrelated = [p for p in suite.panel if not lineage.related(p, model) and p not in lineage.controls]
    family = lineage.families.get(model)
    same_family = [p for p in unrelated if family is not None and lineage.families.get(p) == family]
    return same_family or unrelated


def fine_tuning_scores(
    comparisons: Comparisons,
    child: ModelFeatures,
    parent: ModelFeatures,
    others: Sequence[ModelFeatures],
    *,
    intervals: bool,
) -> list[Score]:
    """`fine_tuning_bias` of one model on one data set and what is shown beside it; `others` are the strangers.

    intervals: with subsamples, and with a null: each stranger on each subsample in the parent's place.
    """
    fields: dict[str, Any] = {"dataset": child.data.id, "versus": parent.model, "layer": child.layer, "d": child.d}
    atoms: dict[str, Any] = {**fields, "n": int(child.data.offsets[-1])}
    from_parent = comparisons.reconstruction(parent, child)
    from_others = [comparisons.reconstruction(other, child) for other in others]
    agreement = comparisons.agreement("cknna", parent, child)
    scores = [
        measured(
            "cknna_parent",
            None if agreement is None else agreement.value,
            null=None if agreement is None else agreement.null,
            n=child.n,
            k=comparisons.suite.k,
            **fields,
        )
    ]
    known = [value for value in from_others if value is not None]
    if from_parent is None or len(known) < len(others) or not known:
        reason = NOT_PER_ATOM if others else "the suite's panel has no model that is not related to it"
        return [missing("fine_tuning_bias", reason, **atoms), *scores]
    stranger = float(np.mean(known))
    bias = 1.0 - from_parent / stranger
    subsamples, null = np.empty(0), None
    if intervals:
        parents = _resampled_reconstruction(comparisons, parent, child)
        draws = np.array([_resampled_reconstruction(comparisons, other, child) for other in others])
        subsamples = 1.0 - parents / draws.mean(axis=0)
        null = null_of("fine_tuning_bias", bias, (1.0 - draws / draws.mean()).ravel(), upper=True)
    return [
        measured("fine_tuning_bias", bias, subsamples=subsamples, null=null, **atoms),
        _local_bias(comparisons, child, parent, others, atoms),
        measured("gfre_from_parent", from_parent, **atoms),
        measured("gfre_from_strangers", stranger, **atoms),
        *scores,
    ]


def _resampled_reconstruction(comparisons: Comparisons, a: ModelFeatures, b: ModelFeatures) -> FloatArray:
    suite = comparisons.suite
    inputs = {"a": a.key, "b": b.key, "subsamples": suite.subsamples, "seed": suite.seed}
    inputs |= suite.subsample_limit
    atoms_a, atoms_b, structure = a.atoms, b.atoms, a.data.structure_of_atom

    def on(subset: IntArray) -> float:
        if atoms_a is None or atoms_b is None:
            return float("nan")
        rows = np.flatnonzero(np.isin(structure, subset))
        return global_reconstruction_error(atoms_a[rows], atoms_b[rows], groups=structure[rows])

    def compute() -> list[float | None]:
        drawn = a.data.subsamples(suite)
        return drawn.numbers([on(rows) for rows in drawn.rows])

    return array_of(comparisons.cache("gfre_resampled", inputs, compute))


def _local_bias(
    comparisons: Comparisons,
    child: ModelFeatures,
    parent: ModelFeatures,
    others: Sequence[ModelFeatures],
    fields: dict[str, Any],
) -> Score:
    def error(a: ModelFeatures) -> float:
        atoms_a, atoms_b = a.atoms, child.atoms
        if atoms_a is None or atoms_b is None:
            return float("nan")
        inputs = {"a": a.key, "b": child.key, "test_atoms": LOCAL_TEST_ATOMS}

        def compute() -> float | None:
            groups = child.data.structure_of_atom
            return number(local_reconstruction_error(atoms_a, atoms_b, groups=groups, max_test_rows=LOCAL_TEST_ATOMS))

        return float(array_of([comparisons.cache("lfre", inputs, compute)])[0])

    errors = [error(other) for other in others]
    stranger = float(np.mean(errors))
    bias = 1.0 - error(parent) / stranger if stranger > 0 else float("nan")
    return measured("fine_tuning_bias_local", bias, **fields)
