"""What a representation keeps for its other pairs, and what would take too much memory."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.metrics import calibration, representation
from benchmark.metrics.representation import Representation


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(5)
    first = generator.normal(size=(60, 4))
    return first, np.tanh(first @ generator.normal(size=(4, 6)))


def test_neighbour_lists_are_searched_once_and_shorter_ones_are_their_beginnings(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    found = Representation(pair[0])
    longest = found.neighbours(9)
    assert found.neighbours(9) is longest
    np.testing.assert_array_equal(found.neighbours(4).indices, longest.indices[:, :4])
    rows = np.arange(0, 60, 2)
    assert found.neighbours(9, rows=rows) is found.neighbours(9, rows=rows)


def test_edges_of_large_subsamples_are_not_kept(
    pair: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(representation, "KEPT_EDGES_ROWS", 20)
    found, rows = Representation(pair[0]), np.arange(0, 60, 2)
    once, again = found.neighbours(9, rows=rows), found.neighbours(9, rows=rows)
    assert once is not again and "edges" not in vars(again)
    assert np.shares_memory(once.indices, again.indices), "searched once all the same"
    assert found.neighbours(9) is found.neighbours(9), "those of all rows serve hundreds of permutations"


@pytest.mark.parametrize("metric", ["cknna", "mutual_knn"])
def test_scores_are_the_same_whether_edges_are_kept_or_not(
    metric: calibration.Resampled, pair: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    subsets = [np.arange(0, 60, 2), np.arange(30)]
    kept = calibration.subsample_values(metric, *pair, subsets, k=5)
    monkeypatch.setattr(representation, "KEPT_EDGES_ROWS", 10)
    np.testing.assert_array_equal(calibration.subsample_values(metric, *pair, subsets, k=5), kept)
