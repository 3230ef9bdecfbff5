"""What is timed, one call at a time. Runs as a program of its own inside any peer's environment.

    python calls.py '{"call": "dcor", "inputs": [["a.npy", "b.npy"]], "k": 25}'

Prints a line of JSON a measured call: seconds, values by name, and the peak resident memory of the process so far in
bytes, with its libraries and features. Loading and a first call on few rows, which compiles what a package compiles,
come before the clock starts. It imports only NumPy and what the call needs, so it works with any package's versions.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

Arrays = list[np.ndarray]
Values = dict[str, float]
Request = dict[str, Any]
Run = Callable[[], Values]
WARM_UP_ROWS = 200
REVERSE, UNREGULARISED = "_reverse", "_unregularised"
"""Ends of the names of values: b -> a, and CKNNA without what its authors add to the denominator."""


def main() -> None:
    """Measure every input of the request."""
    request = json.loads(sys.argv[1])
    if request["call"].startswith(("ours", "dense")):  # their folders, before this file's own
        sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]
    prepare = CALLS[request["call"]]
    warm_up = [np.load(file)[:WARM_UP_ROWS] for file in request["inputs"][0]]
    prepare(warm_up, {**request, "warm_up": True})()
    for files in request["inputs"]:
        run = prepare([np.load(file) for file in files], request)
        start = time.perf_counter()
        values = run()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "values": values, "peak": peak_memory()}), flush=True)


def peak_memory() -> int:
    """Largest resident set of this process, in bytes (VmHWM: unlike ru_maxrss it knows nothing of the parent)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status: no line VmHWM")


def dense_cknna(arrays: Arrays, request: Request) -> Run:
    from metrics_benchmark import dense

    a, b = _tensors(arrays)
    return lambda: dict(zip(("cknna", "cknna" + UNREGULARISED), dense.cknna(a, b, request["k"]), strict=True))


def dense_mutual_knn(arrays: Arrays, request: Request) -> Run:
    from metrics_benchmark import dense

    a, b = _tensors(arrays)
    return lambda: {"mutual_knn": dense.mutual_knn(a, b, request["k"])}


def dense_cka(arrays: Arrays, _: Request) -> Run:
    from metrics_benchmark import dense

    a, b = _tensors(arrays)
    return lambda: {"cka": dense.cka(a, b)}


def _tensors(arrays: Arrays) -> list[Any]:
    import torch

    return [torch.from_numpy(array) for array in arrays]


def dcor(arrays: Arrays, _: Request) -> Run:
    import dcor

    a, b = arrays
    return lambda: {"dcor": float(dcor.u_distance_correlation_sqr(a, b))}


def skmatter_gfre(arrays: Arrays, _: Request) -> Run:
    from skmatter.metrics import global_reconstruction_error

    a, b = arrays
    return lambda: {
        "gfre": float(global_reconstruction_error(a, b)),
        "gfre" + REVERSE: float(global_reconstruction_error(b, a)),
    }


def dadapy_imbalance(arrays: Arrays, _: Request) -> Run:
    from dadapy import MetricComparisons

    joined = np.hstack(arrays)
    first = list(range(arrays[0].shape[1]))
    second = list(range(len(first), joined.shape[1]))

    def run() -> Values:
        forth, back = MetricComparisons(coordinates=joined, maxk=len(joined) - 1).return_inf_imb_two_selected_coords(
            first, second, k=1
        )
        return {"information_imbalance": float(forth), "information_imbalance" + REVERSE: float(back)}

    return run


def skdim_twonn(arrays: Arrays, _: Request) -> Run:
    import skdim

    return lambda: {"twonn": float(skdim.id.TwoNN().fit(arrays[0]).dimension_)}


def skdim_mle(arrays: Arrays, request: Request) -> Run:
    import skdim

    k = request["k_dimension"]
    return lambda: {"mle": float(skdim.id.MLE().fit(arrays[0], n_neighbors=k).dimension_)}


def dadapy_twonn(arrays: Arrays, _: Request) -> Run:
    from dadapy import Data

    def run() -> Values:
        data = Data(coordinates=arrays[0], maxk=2)
        return {"twonn": float(data.compute_id_2NN(algorithm="base")[0])}

    return run


def ours_twonn(arrays: Arrays, _: Request) -> Run:
    from benchmark.metrics import intrinsic_dimension

    return lambda: {"twonn": intrinsic_dimension(arrays[0], method="twonn")}


def ours_mle(arrays: Arrays, request: Request) -> Run:
    from benchmark.metrics import intrinsic_dimension

    k = request["k_dimension"]
    return lambda: {"mle": intrinsic_dimension(arrays[0], method="mle", k=k)}


def ours_all(arrays: Arrays, request: Request) -> Run:
    """Every metric of every pair; values are named metric|a|b by the models' positions."""
    from benchmark.metrics import compare_all
    from benchmark.metrics.all_pairs import PAIRWISE

    models = {str(i): array for i, array in enumerate(arrays)}

    def run() -> Values:
        table = compare_all(models, k=request["k"], metrics=PAIRWISE, device=request["device"])
        rows = zip(table["metric"], table["a"], table["b"], table["value"], strict=True)
        return {f"{metric}|{a}|{b}": float(value) for metric, a, b, value in rows}

    return run


def ours_pass(arrays: Arrays, request: Request) -> Run:
    """The pass, and before and after it the bare matrix products that it contains; their times are the values."""
    from benchmark.metrics.streaming import stream

    models = {str(i): array for i, array in enumerate(arrays)}

    def run() -> Values:
        times: Values = {}
        with clock(times, "bare_before"):
            bare_products(arrays, request)
        with clock(times, "pass"):
            stream(models, cosine=request["k"], device=request["device"])
        with clock(times, "bare_after"):
            bare_products(arrays, request)
        return times

    return run


def bare_products(arrays: Arrays, request: dict[str, Any], rows: int = 512) -> None:
    """What the pass multiplies and nothing else: each model's rows with all its rows, and the models' tiles.

    For every tile of `rows` rows: (rows, d) @ (d, n) for each model, and (models, rows * n) @ (rows * n, models)
    for the products of distances.
    """
    import torch

    from benchmark.metrics.streaming import find_device

    device = find_device(request["device"])
    features = [torch.from_numpy(array).to(device) for array in arrays]
    n = len(features[0])
    rows = min(rows, max(8, 2**28 // (8 * n * len(features))))  # at most 256 MiB of tiles
    stack = torch.empty((len(features), rows, n), dtype=features[0].dtype, device=device)
    for start in range(0, n, rows):
        stop = min(n, start + rows)
        tiles = stack[:, : stop - start]
        for tile, array in zip(tiles, features, strict=True):
            torch.mm(array[start:stop], array.T, out=tile)
        flat = tiles.reshape(len(features), -1)
        float((flat @ flat.T)[0, 0])  # waits for a GPU


@contextmanager
def clock(times: Values, name: str) -> Iterator[None]:
    """Store the seconds of the block under `name`."""
    start = time.perf_counter()
    yield
    times[name] = time.perf_counter() - start


def sleep(_: Arrays, request: Request) -> Run:
    """Takes `seconds` and `bytes`: for the tests of the limits."""

    def run() -> Values:
        held = np.ones(request.get("bytes", 0) // 8)
        time.sleep(0.0 if request.get("warm_up") else request["seconds"])
        return {"held": float(held.sum())}

    return run


CALLS: dict[str, Callable[[Arrays, Request], Run]] = {
    call.__name__: call
    for call in (
        dense_cknna,
        dense_mutual_knn,
        dense_cka,
        dcor,
        skmatter_gfre,
        dadapy_imbalance,
        skdim_twonn,
        skdim_mle,
        dadapy_twonn,
        ours_twonn,
        ours_mle,
        ours_all,
        ours_pass,
        sleep,
    )
}

if __name__ == "__main__":
    main()
