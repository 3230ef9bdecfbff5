"""The benchmark of the metrics: its measurements stop at their limits and its sums claim nothing unmeasured."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from metrics_benchmark import dense  # noqa: E402
from metrics_benchmark.cells import Limits, Measured, Store, measure  # noqa: E402
from metrics_benchmark.curve import Panel, draw  # noqa: E402
from metrics_benchmark.features import feature_file, model_features  # noqa: E402
from metrics_benchmark.plan import QUICK, Results  # noqa: E402
from metrics_benchmark.report import largest_difference, pair_seconds, write_report  # noqa: E402

from benchmark.metrics import cknna, linear_cka, mutual_knn  # noqa: E402

GIB = 2**30


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    return model_features(150, 16, 0), model_features(150, 16, 1)


def results_of(**seconds: list[float]) -> Results:
    """Quick results at n=400 whose peers took these times; a call without times ran out of memory."""
    results = Results(QUICK, "cpu", {"processor": "of the test"})
    for call, times in seconds.items():
        ended = "" if times else "ended at 9.0 GiB"
        results.peers[call, 400] = Measured(call, 400, times, [{} for _ in times], 2 * GIB, ended, "2026-01-01")
    return results


def test_models_of_the_synthetic_features_are_alike_but_not_equal(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    assert 0.1 < mutual_knn(*arrays, k=10) < 0.9
    assert np.array_equal(arrays[1], model_features(150, 16, 1))


def test_the_dense_formulation_has_the_values_of_the_metrics(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    tensors = [torch.from_numpy(array) for array in arrays]
    regularised, exact = dense.cknna(*tensors, 10)
    assert exact == pytest.approx(cknna(*arrays, k=10), abs=1e-10)
    assert 0 < exact - regularised < 1e-3
    assert dense.mutual_knn(*tensors, 10) == pytest.approx(mutual_knn(*arrays, k=10))
    assert dense.cka(*tensors) == pytest.approx(linear_cka(*arrays), abs=1e-10)


def test_a_call_is_timed_in_a_process_of_its_own_with_its_peak_memory(tmp_path: Path) -> None:
    files = [[feature_file(tmp_path, 50, 4, 0)], [feature_file(tmp_path, 50, 4, 1)]]
    options = {"seconds": 0.2, "bytes": 200 * 2**20}
    found = measure(sys.executable, "sleep", 50, files, options, Limits(60, 8 * GIB))
    assert (found.ended, len(found.seconds)) == ("", 2)
    assert 0.2 <= found.mean_seconds < 5
    assert 200 * 2**20 < found.peak < GIB


def test_a_call_over_its_time_is_ended_and_says_so(tmp_path: Path) -> None:
    files = [[feature_file(tmp_path, 50, 4, 0)]]
    found = measure(sys.executable, "sleep", 50, files, {"seconds": 60.0}, Limits(1.5, 8 * GIB))
    assert found.ended == "ended after 2 s"
    with pytest.raises(ValueError, match="nothing measured"):
        _ = found.mean_seconds


def test_a_call_over_its_memory_is_ended_and_says_so(tmp_path: Path) -> None:
    files = [[feature_file(tmp_path, 50, 4, 0)]]
    options = {"seconds": 30.0, "bytes": GIB}
    found = measure(sys.executable, "sleep", 50, files, options, Limits(60, GIB // 2))
    assert found.ended.startswith("ended at ")
    assert found.peak > GIB // 2


def test_a_call_that_fails_gives_its_last_words(tmp_path: Path) -> None:
    found = measure(sys.executable, "sleep", 50, [[tmp_path / "missing.npy"]], {}, Limits(60, GIB))
    assert found.ended.startswith("FileNotFoundError")
    assert found.broken


def test_a_measured_cell_is_found_again_under_its_key_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put({"call": "dcor", "n": 10, "version": "1"}, Measured("dcor", 10, [1.5]))
    assert store.get({"call": "dcor", "n": 10, "version": "1"}) == Measured("dcor", 10, [1.5])
    assert store.get({"call": "dcor", "n": 10, "version": "2"}) is None


def test_a_peer_that_gave_no_value_adds_nothing_to_the_sum() -> None:
    results = results_of(dense_cknna=[1.0, 3.0], skdim_twonn=[5.0], dcor=[], skmatter_gfre=[0.5])
    seconds, calls = pair_seconds(results, 400, ["here", "dcor", "skmatter", "skdim"])
    assert seconds == 2.5
    assert [call.id for call in calls] == ["dense_cknna", "skmatter_gfre"]


def test_directed_values_are_compared_with_those_of_the_same_direction() -> None:
    from metrics_benchmark.plan import CALLS

    results = results_of(skmatter_gfre=[0.5])
    results.peers["skmatter_gfre", 400].values = [{"gfre": 0.25, "gfre_reverse": 0.75}]
    ours = {"gfre|0|1": 0.25, "gfre|1|0": 0.5}
    results.ours[400, 2] = Measured("ours_all", 400, [0.01], [ours])
    call = next(call for call in CALLS if call.id == "skmatter_gfre")
    assert largest_difference(results, call, 400) == 0.25


def test_the_page_names_what_is_missing_and_the_ratio(tmp_path: Path) -> None:
    results = results_of(dense_cknna=[2.0], dcor=[])
    results.missing["skdim"] = "no such package"
    for count in QUICK.models:
        results.ours[400, count] = Measured("ours_all", 400, [0.1], [{}], GIB, "", "2026-01-01")
    write_report(results, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| 400 | 4 | 6 | 100 ms | 1.00 GiB | 12 s | 120 | - |" in page
    assert "dcor `u_distance_correlation_sqr` at n=400 (ended at 9.0 GiB)" in page
    assert "| skdim | not measured: no such package |" in page
    assert (tmp_path / "page.svg").read_text().startswith("<svg")


def test_a_panel_without_points_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one point"):
        draw([Panel("time", "s", {"ours": []})])


@pytest.mark.slow
def test_the_quick_benchmark_measures_once_and_agrees_with_the_dense_formulation(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "benchmark_metrics"), "--quick", "--work", str(tmp_path)]
    subprocess.run([*command, "--peers", "here"], check=True)
    page = (tmp_path / "performance.md").read_text()
    assert "without the 1e-6" in page
    rows = [line.split("|") for line in page.splitlines() if "dense formulation | 400 |" in line]
    last = [float(row[-2].split()[-1].rstrip(")")) for row in rows]
    assert len(last) == 3
    assert max(last) < 1e-9
    cells = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    subprocess.run([*command, "--peers", "here"], check=True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()} == cells
