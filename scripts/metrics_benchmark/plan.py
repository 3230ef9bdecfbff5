"""What is measured, and the loop that measures it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .cells import CALLS_FILE, Limits, Measured, Store, measure, source_digest
from .environments import HERE, PEERS, EnvironmentFailed, machine, python_of, today, versions
from .features import feature_file

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / "benchmark" / "metrics"
PEER_LIMITS = Limits(120, 16 * 2**30)
OWN_LIMITS = Limits(900, 16 * 2**30)
PEER_MODELS = 3
"""The peers are timed on pairs of the first so many models."""


@dataclass(frozen=True)
class Call:
    """A peer's call: where it runs, what it computes, and whether its input is a pair or one model."""

    id: str
    environment: str
    title: str
    metric: str
    pair: bool = True
    """Only the times of pairs are summed."""


CALLS = (
    Call("dense_cknna", HERE, "CKNNA, dense formulation", "cknna"),
    Call("dense_mutual_knn", HERE, "mutual kNN, dense formulation", "mutual_knn"),
    Call("dense_cka", HERE, "unbiased linear CKA, dense formulation", "cka"),
    Call("dcor", "dcor", "dcor `u_distance_correlation_sqr`", "dcor"),
    Call("dadapy_imbalance", "dadapy", "DADApy information imbalance, both ways", "information_imbalance"),
    Call("skmatter_gfre", "skmatter", "scikit-matter GFRE, both ways", "gfre"),
    Call("skdim_twonn", "skdim", "scikit-dimension TwoNN", "twonn", pair=False),
    Call("dadapy_twonn", "dadapy", "DADApy TwoNN", "twonn", pair=False),
    Call("skdim_mle", "skdim", "scikit-dimension MLE", "mle", pair=False),
)


@dataclass(frozen=True)
class Plan:
    """Sizes of one benchmark."""

    sizes: tuple[int, ...]
    models: tuple[int, ...]
    d: int
    curve_sizes: tuple[int, ...]
    curve_models: int
    k: int = 25
    k_dimension: int = 50
    pairs: int = 3
    pairs_from_5000: int = 2
    peer_limits: Limits = PEER_LIMITS
    own_limits: Limits = OWN_LIMITS

    def pairs_at(self, n: int) -> list[tuple[int, int]]:
        """The pairs of models that the peers are timed on."""
        count = self.pairs if n < 5000 else self.pairs_from_5000
        return list(itertools.combinations(range(PEER_MODELS), 2))[:count]


FULL = Plan((1000, 2000, 6000), (2, 5, 20), 256, (2000, 5000, 10000, 20000, 50000), 4)
QUICK = Plan((400,), (2, 4), 32, (400, 800), 4, pairs=1, peer_limits=Limits(60, 8 * 2**30))


@dataclass
class Results:
    """Everything measured: peers by (call, n), ours and the pass by (n, models)."""

    plan: Plan
    device: str
    machine: dict[str, str]
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    peers: dict[tuple[str, int], Measured] = field(default_factory=dict)
    own_dimensions: dict[tuple[str, int], Measured] = field(default_factory=dict)
    ours: dict[tuple[int, int], Measured] = field(default_factory=dict)
    passes: dict[tuple[int, int], Measured] = field(default_factory=dict)

    @property
    def cells(self) -> Iterator[Measured]:
        """Every cell."""
        return itertools.chain(
            self.peers.values(), self.own_dimensions.values(), self.ours.values(), self.passes.values()
        )


class Benchmark:
    """Measures a plan's cells; those already in the work folder are read."""

    def __init__(self, plan: Plan, work: Path, device: str) -> None:
        self.work, self.store = work, Store(work / "cells")
        self.results = Results(plan, device, machine(device))

    def run(self, peers: Sequence[str]) -> Results:
        """Measure this project's cells and those of the named peers (environments; `here` is the dense formulation)."""
        plan, results = self.results.plan, self.results
        pythons = dict(self._environments(peers))
        for n in plan.sizes:
            for count in plan.models:
                results.ours[n, count] = self._own("ours_all", n, count)
                results.passes[n, count] = self._own("ours_pass", n, count)
            for call in CALLS:
                if call.environment in pythons:
                    results.peers[call.id, n] = self._peer(call, pythons[call.environment], n)
            for call_id in ("ours_twonn", "ours_mle"):
                results.own_dimensions[call_id, n] = self._dimension(call_id, n)
        for n in plan.curve_sizes:
            results.ours[n, plan.curve_models] = self._own("ours_all", n, plan.curve_models)
            results.passes[n, plan.curve_models] = self._own("ours_pass", n, plan.curve_models)
        return results

    def _environments(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        for name in names:
            try:
                python = python_of(name, self.work)
            except EnvironmentFailed as error:
                self.results.missing[name] = str(error)
                print(f"{name}: left out, {error}", flush=True)
                continue
            self.results.versions[name] = versions(python, ["torch"] if name == HERE else PEERS[name])
            yield name, python

    def _own(self, call: str, n: int, count: int) -> Measured:
        files = [self._features(n, model) for model in range(count)]
        return self._cell(call, HERE, n, [files], self.results.plan.own_limits)

    def _peer(self, call: Call, python: str, n: int) -> Measured:
        plan = self.results.plan
        inputs = [
            [self._features(n, model) for model in pair] if call.pair else [self._features(n, pair[0])]
            for pair in (plan.pairs_at(n) if call.pair else [(0, 0)])
        ]
        return self._cell(call.id, call.environment, n, inputs, plan.peer_limits, python)

    def _dimension(self, call: str, n: int) -> Measured:
        return self._cell(call, HERE, n, [[self._features(n, 0)]], self.results.plan.own_limits)

    def _features(self, n: int, model: int) -> Path:
        return feature_file(self.work / "features", n, self.results.plan.d, model)

    def _cell(
        self, call: str, environment: str, n: int, inputs: list[list[Path]], limits: Limits, python: str = ""
    ) -> Measured:
        plan, results = self.results.plan, self.results
        options: dict[str, Any] = {"k": plan.k, "k_dimension": plan.k_dimension}
        key: dict[str, Any] = {"call": call, "n": n, "machine": results.machine}
        if environment == HERE:
            options["device"] = results.device
        sources = [CALLS_FILE]
        if call.startswith("dense"):
            sources.append(CALLS_FILE.with_name("dense.py"))
        elif call.startswith("ours"):
            sources += sorted(OURS.glob("*.py"))
        key |= {
            "inputs": [[file.name for file in files] for files in inputs],
            "limits": [limits.seconds, limits.bytes],
            "versions": results.versions.get(environment, {}),
            "source": source_digest(sources),
        } | options
        label = f"{call} n={n}" + (f" models={len(inputs[0])}" if call.startswith("ours_") else "")
        measured = self.store.get(key)
        if measured is None:
            measured = measure(python or python_of(HERE, self.work), call, n, inputs, options, limits)
            measured.date = today()
            if call.startswith("ours") and measured.ended:
                raise RuntimeError(f"{label}: {measured.ended}")
            if not measured.broken:
                self.store.put(key, measured)
        seconds = f"{measured.mean_seconds:.3g} s" if measured.seconds else "no value"
        print(f"{label}: {seconds}, {measured.peak / 2**30:.2f} GiB {measured.ended}".rstrip(), flush=True)
        return measured
