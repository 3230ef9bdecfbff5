"""A synthetic board in the exported tables' layout: invented models, seeded numbers, hostile metadata."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leaderboard_site.tables import REQUIRED_COLUMNS

MODELS = [
    # id, title, family, control, position in an invented latent space, skill, parent
    ("aster-large", "Aster large", "aster", "", (0.10, 0.05), 0.84, ""),
    ("aster-base", "Aster base", "aster", "", (0.15, 0.02), 0.78, ""),
    ("aster-tuned", "Aster tuned", "aster", "", (0.16, 0.06), 0.77, "aster-base"),
    ("borealis-1", "Borealis 1", "borealis", "", (0.60, 0.30), 0.66, ""),
    ("borealis-2", "Borealis 2", "borealis", "", (0.55, 0.33), 0.71, ""),
    ("borealis-2-tuned", "Borealis 2 tuned", "borealis", "", (0.50, 0.40), 0.65, "borealis-2"),
    ("cobalt-s", "Cobalt S", "cobalt", "", (0.85, 0.80), 0.35, ""),
    ("hostile", '<script>alert("title")</script>', "hostile", "", (0.40, 0.60), 0.52, ""),
    ("composition", "Composition only", "controls", "composition", (1.40, 0.10), 0.0, ""),
    ("noise", "Gaussian noise", "controls", "noise", (2.50, 2.50), 0.0, ""),
    ("soap", "SOAP", "controls", "descriptor", (0.95, 0.90), 0.45, ""),
    ("aster-random", "Aster, random weights", "aster", "random", (1.10, 0.70), 0.20, ""),
    ("borealis-random", "Borealis, random weights", "borealis", "random", (1.20, 0.80), 0.18, ""),
]
REFERENCE = "aster-large"
FAILED = "dysprosium"
SELF_REPORTED = "cobalt-s"
CRYSTALS, MOLECULES = "crystals-mini", "molecules-mini"
SUITE = {"suite": "quick", "suite_version": 1}
HOSTILE_LINKS = "site=javascript:alert(1);data=data:text/html,x;paper=https://example.org/?a=1&b=2"
HEADLINES = {"alignment": True, "collapse_information": False, "cpd": True, "fine_tuning_bias": False}


def write_results(results: Path) -> Path:
    """Write results/tables/*.{csv,parquet}; equal bytes on every call."""
    folder = results / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    leaderboard = _leaderboard()
    tables = {
        "suites": [_suite()],
        "leaderboard": leaderboard,
        "scores": _scores(leaderboard),
        "pairs": _pairs(),
        "layers": [
            {
                **SUITE,
                "model": name,
                "dataset": dataset,
                "layer": "backbone",
                "level": "atom",
                "dimension": 64,
                "intrinsic_dimension": 6.5,
                "effective_rank": 12.25,
                "r2_partial": 0.5,
            }
            for name, *_ in MODELS
            for dataset in (CRYSTALS, MOLECULES)
        ],
        "pooling": [
            {
                **SUITE,
                "model": name,
                "dataset": MOLECULES,
                "layer": "backbone",
                "pooling": "cumulants:2",
                "dimension": 128,
            }
            for name, *_ in MODELS
        ],
        "learning_curves": [
            {
                **SUITE,
                "model": name,
                "dataset": MOLECULES,
                "layer": "backbone",
                "target": "gap",
                "measure": "r2_partial",
                "n_train": n_train,
                "mean": 0.1 * step,
                "standard_error": 0.02,
                "draws": 10,
            }
            for name, *_ in MODELS
            for step, n_train in enumerate((32, 64, 128))
        ],
        "models": [_model(*entry) for entry in MODELS]
        + [_model(FAILED, "Dysprosium", "dysprosium", "", (0, 0), 0, "")],
        "conformance": [
            {
                "model": name,
                "check": check,
                "status": "passed",
                "measured": 1e-7,
                "tolerance": 1e-4,
                "detail": "largest relative change",
            }
            for name, *_ in MODELS
            for check in ("determinism", "rotation", "permutation")
        ],
        "quality": [{**SUITE, "model": "cobalt-s", "line": "crystals-mini: 3 of 64 columns are constant"}],
        "costs": [
            {
                **SUITE,
                "model": name,
                "dataset": CRYSTALS,
                "wall_seconds": 41.5,
                "peak_memory_mb": 1310.4,
                "device": "cpu",
                "hardware": "2 cores",
            }
            for name, *_ in MODELS
        ],
        "datasets": [_dataset(CRYSTALS, True), _dataset(MOLECULES, False)],
        "metrics": _metrics(),
    }
    for name, rows in tables.items():
        columns = list(dict.fromkeys([*REQUIRED_COLUMNS[name], *(key for row in rows for key in row)]))
        write_table(folder / f"{name}.csv", columns, rows)
        pd.read_csv(folder / f"{name}.csv", keep_default_na=False, dtype=str).to_parquet(folder / f"{name}.parquet")
    return results


def write_table(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in rows)


def edit_cell(results: Path, table: str, row: int, column: str, value: str) -> None:
    """Change one cell of one CSV."""
    path = results / "tables" / f"{table}.csv"
    frame = pd.read_csv(path, keep_default_na=False, dtype=str)
    frame.loc[row, column] = value
    frame.to_csv(path, index=False)


def _suite() -> dict[str, Any]:
    return {
        "suite": "quick", "version": 1, "title": "Quick suite",
        "description": "Two embedded data sets of about a thousand structures each.",
        "in_distribution": CRYSTALS, "out_of_distribution": MOLECULES, "reference": REFERENCE,
        "panel": "aster-base;borealis-1;borealis-2;cobalt-s",
        "controls": ";".join(name for name, _, _, control, *_ in MODELS if control),
        "probe_dataset": MOLECULES, "probe_targets": "gap;dipole_norm", "k": 25, "permutations": 200,
        "subsamples": 50, "seed": 7, "changelog": "1: first version.",
    }  # fmt: skip


def _similarity(a: tuple[float, float], b: tuple[float, float]) -> float:
    return float(np.exp(-1.5 * np.hypot(a[0] - b[0], a[1] - b[1])))


def _headline_values(index: int) -> dict[str, tuple[float | None, str]]:
    name, _, _, control, place, skill, parent = MODELS[index]
    reference = next(entry[4] for entry in MODELS if entry[0] == REFERENCE)
    wobble = float(np.random.default_rng(index).normal(0, 0.01))
    is_noise = control == "noise"
    return {
        "alignment": (None, "is the reference model") if name == REFERENCE
        else (0.001 if is_noise else _similarity(place, reference) * 0.8 + wobble, ""),
        "collapse_information": (None, "no skill to lose") if skill < 0.3 else (0.75 - skill * 0.7 + wobble, ""),
        "cpd": (skill * 0.9 + wobble, ""),
        "fine_tuning_bias": (0.81 + wobble, "") if parent else (None, "not a fine-tuned model"),
    }  # fmt: skip


def _leaderboard() -> list[dict[str, Any]]:
    rows = []
    for index, (name, title, family, control, *_, parent) in enumerate(MODELS):
        row: dict[str, Any] = {
            **SUITE, "model": name, "title": title, "family": family, "control": control, "status": "ok",
            **_facts(family, control), "fine_tuned_from": parent, "released": f"2024-0{index % 9 + 1}-15",
            "superseded_by": "borealis-2" if name == "borealis-1" else "",
            "verification": "self-reported" if name == SELF_REPORTED else "audited",
            "doubts": "<b>no sandbox</b>" if name == SELF_REPORTED else "",
            "overlaps": CRYSTALS if family == "aster" and not control else "",
        }  # fmt: skip
        for headline, (value, reason) in _headline_values(index).items():
            row[headline] = value
            row[f"{headline}_reason"] = reason
            if value is not None:
                row[f"{headline}_low"], row[f"{headline}_high"] = value - 0.05, value + 0.05
                row[f"{headline}_null"], row[f"{headline}_null_q95"] = 0.0, 0.02
                row[f"{headline}_p"] = 0.005
        row["alignment_residual"] = 0.3
        row["collapse_convergence"] = 0.4
        row["cpd_r2_geometry"] = 0.35
        rows.append(row)
    for headline, higher in HEADLINES.items():
        _rank(rows, headline, higher)
    ranked = [row for row in rows if not row["control"] and row.get("alignment") is not None]
    for row in ranked:
        row["borda"] = sum(8 - row[f"{headline}_rank_low"] for headline in HEADLINES if row.get(f"{headline}_rank_low"))
    ranked.sort(key=lambda row: -row["borda"])
    for position, row in enumerate(ranked):
        row["rank_low"], row["rank_high"] = (1, 2) if position < 2 else (position + 1, position + 1)
    failed = {
        **SUITE, "model": FAILED, "title": "Dysprosium", "family": "dysprosium", "control": "", "status": "failed",
        "reason": "conformance check determinism: a second call changed 12 of 64 columns",
        **_facts("dysprosium", ""), "released": "2025-01-01",
    }  # fmt: skip
    failed.update({f"{headline}_reason": "the adapter failed its conformance checks" for headline in HEADLINES})
    return [*rows, failed]


def _rank(rows: list[dict[str, Any]], headline: str, higher: bool) -> None:
    """Neighbours closer than 0.03 tie; controls that are better are named."""
    models = [row for row in rows if not row["control"] and row[headline] is not None]
    models.sort(key=lambda row: -row[headline] if higher else row[headline])
    for row in models:
        ties = [i + 1 for i, other in enumerate(models) if abs(other[headline] - row[headline]) < 0.03]
        row[f"{headline}_rank_low"], row[f"{headline}_rank_high"] = min(ties), max(ties)
        row[f"{headline}_ranked"] = len(models)
        better = [
            other["model"]
            for other in rows
            if other["control"] and other[headline] is not None and (other[headline] > row[headline]) is higher
        ]
        row[f"{headline}_beaten_by"] = ";".join(better)


def _facts(family: str, control: str) -> dict[str, Any]:
    equivariant = family in ("aster", "dysprosium")
    return {
        "symmetry": "equivariant" if equivariant else "invariant", "modality": "atoms",
        "parameters": None if family == "controls" else 842_440 if equivariant else 25_100_000,
        "training_data": "" if control else "Invented-1M;Crystalline" if equivariant else "Invented-1M",
        "licence_code": "MIT", "licence_weights": "MIT" if family != "cobalt" else "CC-BY-NC-4.0",
    }  # fmt: skip


def _scores(leaderboard: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for entry in leaderboard:
        for headline in HEADLINES:
            rows.append({
                **SUITE, "model": entry["model"], "score": headline, "layer": "backbone",
                "value": entry.get(headline), "low": entry.get(f"{headline}_low"),
                "high": entry.get(f"{headline}_high"),
                "null_mean": entry.get(f"{headline}_null"), "null_quantile95": entry.get(f"{headline}_null_q95"),
                "p_value": entry.get(f"{headline}_p"), "permutations": 200, "n": 1000, "d": 64, "k": 25,
                "reason": entry.get(f"{headline}_reason", ""), "beaten_by": entry.get(f"{headline}_beaten_by", ""),
            })  # fmt: skip
        for target in ("gap", "dipole_norm"):
            rows.append({
                **SUITE, "model": entry["model"], "score": "r2_partial", "dataset": MOLECULES, "target": target,
                "layer": "backbone", "value": entry.get("cpd"), "n": 1000, "d": 64, "reason":
                "" if entry.get("cpd") is not None else "the adapter failed its conformance checks",
            })  # fmt: skip
    return rows


def _pairs() -> list[dict[str, Any]]:
    rows = []
    for dataset, squeeze in ((CRYSTALS, 1.0), (MOLECULES, 0.5)):
        for i, (a, _, _, control_a, place_a, *_) in enumerate(MODELS):
            for b, _, _, control_b, place_b, *_ in MODELS[i + 1 :]:
                place = _similarity(place_a, place_b) ** squeeze
                shared = 0.02 if "noise" in (control_a, control_b) else place
                base = {**SUITE, "dataset": dataset, "n": 1000, "k": 25}
                rows.append({**base, "metric": "cknna", "a": a, "b": b, "value": shared, "null_mean": 0.01,
                             "null_quantile95": 0.03, "p_value": 0.005, "calibrated": (shared - 0.03) / 0.97,
                             "standard_error": 0.02})  # fmt: skip
                for first, second, shift in ((a, b, 0.0), (b, a, 0.05)):
                    rows.append({**base, "metric": "information_imbalance", "a": first, "b": second,
                                 "value": min(1.0, 1 - shared + shift)})  # fmt: skip
    return rows


def _model(name: str, title: str, family: str, control: str, _place: Any, _skill: float, parent: str) -> dict[str, Any]:
    hostile = name == "hostile"
    links = "paper=https://example.org/paper;code=https://example.org/code"
    return {
        "model": name, "title": title, "family": family, "family_title": family.title(),
        "description": '<img src=x onerror="alert(1)"> & more' if hostile else f"An invented family called {family}.",
        "authors": "A. Author;B. <b>Bold</b>" if hostile else "A. Author;C. Author",
        "links": HOSTILE_LINKS if hostile else links,
        "control": control, **_facts(family, control), "training_targets": "" if control else "energy;forces",
        "fine_tuned_from": parent, "superseded_by": "borealis-2" if name == "borealis-1" else "",
        "released": "2024-05-01", "note": "", "checkpoint": "none" if control else f"package: {family}/{name}.pt",
        "checkpoint_sha256": "" if control else "a" * 64, "adapter_tree": "b" * 64, "environment": "c" * 64,
        "python": "3.11.9", "packages": "ase==3.26.0;numpy==2.1.0;torch==2.5.1", "device": "cpu",
        "hardware": "2 cores", "sandbox": "bubblewrap", "code": "d" * 40,
        "reproduce": f"latent-matter run --suite quick --model {name}",
    }  # fmt: skip


def _dataset(name: str, periodic: bool) -> dict[str, Any]:
    return {
        "dataset": name, "version": 1, "title": name.replace("-", " ").title(), "structures": 1000,
        "periodic": periodic,
        "description": "An invented data set of small structures.", "licence": "CC-BY-4.0",
        "source": "made for this test", "overlaps": "Crystalline: prototypes shared",
        "labels": "energy_per_atom [eV]: total energy | gap [eV]: band gap",
        "left_out": "did not converge: 12 | near-duplicate: 7", "fingerprint": ("e" if periodic else "f") * 64,
    }  # fmt: skip


def _metrics() -> list[dict[str, Any]]:
    def metric(name: str, title: str, group: str, direction: str, headline: bool = False) -> dict[str, Any]:
        return {
            "id": name, "title": title, "group": group, "headline": headline, "direction": direction,
            "formula": f"{name}(A, B) = <A, B> / |A||B|", "reading": f"How to read {title}.",
            "pitfalls": f"Where {title} misleads.", "source": "An invented paper", "null": "rows of B permuted",
        }  # fmt: skip

    return [
        metric("alignment", "Alignment", "alignment", "higher", headline=True),
        metric("cknna", "CKNNA", "alignment", "higher"),
        metric("information_imbalance_to_reference", "Information imbalance, model → reference", "alignment", "lower"),
        metric("collapse_information", "OOD collapse", "collapse", "lower", headline=True),
        metric("cpd", "CPD", "cpd", "higher", headline=True),
        metric("r2_partial", "Partial R²", "cpd", "higher"),
        metric("fine_tuning_bias", "Fine-tuning bias", "fine_tuning", "lower", headline=True),
    ]
