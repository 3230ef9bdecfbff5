"""The page of a benchmark: tables in Markdown and one picture beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from .calls import REVERSE, UNREGULARISED
from .cells import Measured
from .curve import Panel, draw
from .environments import HERE, PEERS
from .plan import CALLS, Call, Results


def write_report(results: Results, out: Path) -> None:
    """Write the page and its picture, which has the page's name and ends in .svg."""
    picture = out.with_suffix(".svg")
    out.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(draw(_panels(results)))
    sections = [_head(results), _all_pairs(results), _pass(results), _curve(results, picture.name), _peers(results)]
    sections += [_dimensions(results), _how(results)]
    out.write_text("\n\n".join(section.strip() for section in sections if section) + "\n")


def pair_seconds(results: Results, n: int, environments: Iterable[str]) -> tuple[float, list[Call]]:
    """Seconds a pair, summed over the calls of these environments that gave a value at n; and those calls."""
    chosen = set(environments)
    calls = [
        call for call in CALLS if call.pair and call.environment in chosen and _seconds(results.peers.get((call.id, n)))
    ]
    return sum(results.peers[call.id, n].mean_seconds for call in calls), calls


def largest_difference(results: Results, call: Call, n: int, ending: str = "") -> float | None:
    """Largest absolute difference between a peer's values and ours at n; None where one of them is missing.

    With `ending`, only of the values whose names end so.
    """
    measured = results.peers.get((call.id, n))
    if measured is None or not measured.values:
        return None
    if not call.pair:
        if ending:
            return None
        ours = results.own_dimensions.get((f"ours_{call.metric}", n))
        return abs(ours.values[0][call.metric] - measured.values[0][call.metric]) if ours and ours.values else None
    table = _own_values(results, n)
    differences = []
    for (a, b), values in zip(results.plan.pairs_at(n), measured.values, strict=False):
        for name, first, second in ((call.metric, a, b), (call.metric + REVERSE, b, a), (call.metric + ending, a, b)):
            own = table.get(f"{call.metric}|{first}|{second}")
            if own is not None and name in values and name.endswith(ending):
                differences.append(abs(own - values[name]))
    return max(differences, default=None)


def _own_values(results: Results, n: int) -> dict[str, float]:
    """Our values of the most models at n."""
    cells = [cell for (size, _), cell in sorted(results.ours.items()) if size == n and cell.values]
    return cells[-1].values[0] if cells else {}


def _head(results: Results) -> str:
    plan = results.plan
    dates = sorted({cell.date for cell in results.cells})
    lines = [
        "# Performance of the metrics",
        "",
        f"Written by `scripts/benchmark_metrics`; measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))}.",
        f"Features are synthetic: {plan.d} channels, models that share a clustered 12-dimensional latent; float64; "
        f"k={plan.k}. This project's metrics: device `{results.device}`.",
        "",
        "| machine | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in results.machine.items()),
        *(f"| {name} | {_versions(found)} |" for name, found in sorted(results.versions.items())),
        *(f"| {name} | not measured: {why} |" for name, why in sorted(results.missing.items())),
    ]
    return "\n".join(lines).replace(f"| {HERE} |", "| this project's environment |")


def _versions(found: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in found.items())


def _all_pairs(results: Results) -> str:
    rows = []
    for (n, count), ours in sorted(results.ours.items()):
        if n not in results.plan.sizes or count not in results.plan.models:
            continue
        pairs = count * (count - 1) // 2
        everyone, calls = pair_seconds(results, n, [HERE, *PEERS])
        packages, package_calls = pair_seconds(results, n, PEERS)
        rows.append(
            [
                f"{n:,}",
                str(count),
                str(pairs),
                _time(_seconds(ours), ours.ended),
                _memory(ours.peak),
                _time(everyone * pairs) if calls else "-",
                _ratio(everyone * pairs, ours),
                _ratio(packages * pairs, ours) if package_calls else "-",
            ]
        )
    head = ["n", "models", "pairs", "ours, all pairs", "peak memory", "peers' sum", "ratio", "ratio, packages only"]
    left_out = _left_out(results)
    return f"""## All pairs of models

CKNNA, mutual kNN, linear CKA, distance correlation, information imbalance both ways and GFRE both ways: ours in one
call of `compare_all`. The peers' is the sum of their mean times a pair, measured on a few pairs (see below) and
multiplied by the number of pairs. "Packages only" leaves the dense formulation of CKNNA, mutual kNN and CKA out of
the sum, while ours still computes them.{left_out}

{_table(head, rows)}"""


def _left_out(results: Results) -> str:
    """What is missing from the sums, which makes the ratios smaller than they are."""
    said = [
        f"{call.title} at n={n:,} ({measured.ended})"
        for (call_id, n), measured in results.peers.items()
        for call in CALLS
        if call.id == call_id and call.pair and not measured.seconds
    ]
    if not said:
        return ""
    return f"\n\nNothing is extrapolated in n. These gave no value and count as 0: {'; '.join(said)}."


def _pass(results: Results) -> str:
    rows = []
    for (n, count), cell in sorted(results.passes.items()):
        values = cell.values[0]
        bare = (values["bare_before"] + values["bare_after"]) / 2
        rate = 2e-9 * n * n * count * (results.plan.d + count) / bare
        ratio = f"{values['pass'] / bare:.2f}"
        rows.append([f"{n:,}", str(count), _time(bare), f"{rate:.0f}", _time(values["pass"]), ratio])
    head = ["n", "models", "bare products", "GFLOP/s", "pass", "pass / bare"]
    return f"""## The pass against its matrix products

The pass finds distances, neighbours, ranks and sums of all models. Bare: the matrix products that it contains and
nothing else (a tile of each model's rows with all its rows; the models' tiles with each other), in tiles of up to 512
rows, float64, same number of threads, in the same process: the mean of a run before and a run after the pass.

{_table(head, rows)}"""


def _curve(results: Results, picture: str) -> str:
    count = results.plan.curve_models
    rows = [
        [f"{n:,}", _time(_seconds(cell), cell.ended), _memory(cell.peak)]
        for n in results.plan.curve_sizes
        if (cell := results.ours.get((n, count)))
    ]
    return f"""## Cost against n

{count} models, {count * (count - 1) // 2} pairs, all metrics above.

![Time and peak memory against the number of structures]({picture})

{_table(["n", "time", "peak memory"], rows)}"""


def _panels(results: Results) -> list[Panel]:
    count = results.plan.curve_models
    pairs = count * (count - 1) // 2
    ours = [(n, results.ours[n, count]) for n in results.plan.curve_sizes if (n, count) in results.ours]
    passes = [(n, results.passes[n, count]) for n in results.plan.curve_sizes if (n, count) in results.passes]
    time: dict[str, list[tuple[float, float]]] = {
        f"ours: all metrics, {count} models": [(n, c.mean_seconds) for n, c in ours if c.seconds],
        "bare matrix products of the pass": [(n, c.values[0]["bare_before"]) for n, c in passes if c.values],
    }
    memory: dict[str, list[tuple[float, float]]] = {
        f"ours: all metrics, {count} models": [(n, c.peak / 2**30) for n, c in ours if c.seconds]
    }
    for call in CALLS:
        cells = [(n, cell) for (call_id, n), cell in results.peers.items() if call_id == call.id and cell.seconds]
        if call.pair and cells:
            name = call.title.replace("`", "")
            time[name] = [(n, pairs * cell.mean_seconds) for n, cell in cells]
            memory[name] = [(n, cell.peak / 2**30) for n, cell in cells]
    return [Panel(f"time of {pairs} pairs", "s", time), Panel("peak memory", "GiB", memory)]


def _peers(results: Results) -> str:
    rows = []
    for call in CALLS:
        for n in results.plan.sizes:
            cell = results.peers.get((call.id, n))
            if cell is None or not call.pair:
                continue
            rows.append(
                [
                    call.title,
                    f"{n:,}",
                    str(len(cell.seconds)),
                    _time(_seconds(cell), cell.ended),
                    _memory(cell.peak),
                    _difference(results, call, n),
                ]
            )
    if not rows:
        return ""
    return f"""## Peers, one pair at a time

Time of the call alone; peak memory of its process with libraries and features; largest absolute difference from our
values on the same pairs. The dense formulation stands in for the CKNNA authors' code: n x n kernels and masks, a
matrix product of two of them in each of three HSICs, 1e-6 added to the denominator. That is not free
of scale and makes the difference, which is therefore given without it too.

{_table(["call", "n", "pairs", "time a pair", "peak memory", "largest difference"], rows)}"""


def _dimensions(results: Results) -> str:
    rows = []
    for n in results.plan.sizes:
        for (call_id, size), cell in results.own_dimensions.items():
            if size == n:
                name = f"ours, `intrinsic_dimension` {call_id.removeprefix('ours_')}"
                value = f"{next(iter(cell.values[0].values())):.3f}" if cell.values else "-"
                rows.append([name, f"{n:,}", _time(_seconds(cell), cell.ended), _memory(cell.peak), value, ""])
        for call in CALLS:
            peer = results.peers.get((call.id, n))
            if peer is not None and not call.pair:
                value = f"{peer.values[0][call.metric]:.3f}" if peer.values else "-"
                shown = _difference(results, call, n)
                rows.append([call.title, f"{n:,}", _time(_seconds(peer), peer.ended), _memory(peer.peak), value, shown])
    return f"""## Intrinsic dimension of one model

MLE over {results.plan.k_dimension} neighbours.

{_table(["call", "n", "time", "peak memory", "value", "difference from ours"], rows)}"""


def _how(results: Results) -> str:
    peers, own = results.plan.peer_limits, results.plan.own_limits
    return f"""## How it was measured

Every cell is one fresh process, one at a time, with all of the machine's cores. Libraries are loaded, features read
and the call made once on 200 rows before the clock starts, so compilation is not counted. Peak memory is the largest
resident set of the whole process. A process is ended after {peers.seconds:.0f} s (ours {own.seconds:.0f} s) or above
{peers.bytes / 2**30:.0f} GiB; pairs finished before that count."""


def _difference(results: Results, call: Call, n: int) -> str:
    difference = largest_difference(results, call, n)
    if difference is None:
        return "-"
    without = largest_difference(results, call, n, UNREGULARISED)
    return f"{difference:.1e}" + ("" if without is None else f" (without the 1e-6: {without:.1e})")


def _seconds(cell: Measured | None) -> float | None:
    return cell.mean_seconds if cell is not None and cell.seconds else None


def _ratio(peers: float, ours: Measured) -> str:
    seconds = _seconds(ours)
    return f"{peers / seconds:,.{0 if peers > 10 * seconds else 1}f}" if seconds and peers else "-"


def _time(seconds: float | None, otherwise: str = "") -> str:
    if seconds is None:
        return otherwise or "-"
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"


def _memory(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
