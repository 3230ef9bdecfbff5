"""A synthetic board of any size, with every table filled as the benchmark fills it: for time and size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leaderboard_site.tables import EXTRA_COLUMNS, REQUIRED_COLUMNS

FAMILIES = "mace chgnet sevennet orb uma aimnet2 ani pet nequix allegro dpa grace mattersim".split()
TARGETS = ("gap", "dipole_norm", "energy_per_atom")
DATASETS = ("crystals", "molecules")
HEADLINES = {"alignment": True, "collapse_information": False, "cpd": True, "fine_tuning_bias": False}
PLAIN = (
    "cka dcor mutual_knn id_cor gfre_to_reference gfre_from_reference information_imbalance_to_reference "
    "information_imbalance_from_reference alignment_residual"
).split()
BOTH = (
    "intrinsic_dimension intrinsic_dimension_mle effective_rank composition_share skill energy_mae_corrected "
    "convergence"
).split()
PROBES = (
    "r2_partial r2_geometry r2_composition r2_partial_mlp r2_geometry_mlp entanglement_mlp entanglement_trees "
    "selectivity isomer_order r2_partial_64 learning_area"
).split()
MAPPED = 500  # structures of a data set on a model's map, as the benchmark lays them out
UNDIRECTED = ("cknna", "mutual_knn", "cka", "dcor", "dcor_biased", "cknna_residual")
DIRECTED = ("information_imbalance", "gfre")


def write_large_results(results: Path, models: int, suites: int, controls: int = 6) -> Path:
    """Write results/tables with `models` ranked models and some controls in each of `suites` suites."""
    random = np.random.default_rng(0)
    names = [f"{FAMILIES[i % len(FAMILIES)]}-{i // len(FAMILIES)}-medium" for i in range(models)]
    names += [f"control-{i}" for i in range(controls)]
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in REQUIRED_COLUMNS | EXTRA_COLUMNS}
    for suite in range(suites):
        _fill(tables, {"suite": f"suite-{suite}", "suite_version": 1}, names, models, random)
    tables["models"] = [_model(name, index >= models) for index, name in enumerate(names)]
    tables["conformance"] = [
        {
            "model": name,
            "check": f"check-{i}",
            "status": "passed",
            "measured": 1e-6,
            "tolerance": 1e-3,
            "detail": "fine",
        }
        for name in names
        for i in range(13)
    ]
    tables["datasets"] = [_dataset(name) for name in DATASETS]
    tables["metrics"] = [_metric(name, name in HEADLINES) for name in (*HEADLINES, *PLAIN, *BOTH, *PROBES, "cknna")]
    folder = results / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in (REQUIRED_COLUMNS | EXTRA_COLUMNS).items():
        extra = [key for row in tables[name][:1] for key in row if key not in columns]
        frame = pd.DataFrame(tables[name], columns=[*columns, *extra])
        if name in REQUIRED_COLUMNS or len(frame):
            frame.to_csv(folder / f"{name}.csv", index=False)
    return results


def _fill(
    tables: dict[str, list[dict[str, Any]]], suite: dict[str, Any], names: list[str], models: int, random: Any
) -> None:
    tables["suites"].append({
        "suite": suite["suite"], "version": 1, "title": suite["suite"].title(), "description": "Synthetic.",
        "in_distribution": "crystals", "out_of_distribution": "molecules", "reference": names[0],
        "panel": ";".join(names[:4]), "controls": ";".join(names[models:]), "probe_dataset": "molecules",
        "probe_targets": "gap;dipole_norm", "k": 25, "permutations": 200, "subsamples": 50, "seed": 1,
        "changelog": "1: first version.",
    })  # fmt: skip
    for index, name in enumerate(names):
        control = "noise" if index >= models else ""
        tables["leaderboard"].append(_leaderboard_row(suite, name, control, index, models))
        rows = [("cknna", "crystals", "", k) for k in (2, 10, 25, 50, 100)]
        rows += [(score, "crystals", "", 25) for score in PLAIN]
        rows += [(score, dataset, "", None) for score in BOTH for dataset in DATASETS]
        rows += [(score, "molecules", target, None) for score in PROBES for target in TARGETS]
        for score, dataset, target, k in rows:
            value = float(random.uniform(0.05, 0.95))
            tables["scores"].append({
                **suite, "model": name, "score": score, "dataset": dataset, "target": target, "layer": "backbone",
                "value": value, "low": value - 0.05, "high": value + 0.05, "standard_error": 0.025, "null_mean": 0.01,
                "null_quantile95": 0.03, "p_value": 0.005, "permutations": 200, "n": 5000, "d": 128, "k": k,
            })  # fmt: skip
        for dataset in DATASETS:
            tables["layers"] += [
                {**suite, "model": name, "dataset": dataset, "layer": layer, "level": "atom", "dimension": 128,
                 "intrinsic_dimension": 7.1, "effective_rank": 9.3, "r2_partial_gap": float(random.uniform())}
                for layer in ("backbone", "last_layer")
            ]  # fmt: skip
            tables["pooling"] += [
                {**suite, "model": name, "dataset": dataset, "layer": "backbone", "pooling": f"cumulants:{order}",
                 "dimension": 128 * order, "r2_partial_gap": float(random.uniform())}
                for order in (1, 2, 3, 4)
            ]  # fmt: skip
        tables["learning_curves"] += [
            {**suite, "model": name, "dataset": "molecules", "layer": "backbone", "target": target,
             "measure": "r2_partial", "n_train": 32 * 2**step, "mean": float(random.uniform() * step / 5),
             "standard_error": 0.01, "draws": 10}
            for target in TARGETS
            for step in range(6)
        ]  # fmt: skip
        for dataset in DATASETS:
            laid_out = zip(random.normal(size=(MAPPED, 2)), random.gamma(2.0, size=MAPPED), strict=True)
            tables["coordinates"] += [
                {**suite, "model": name, "dataset": dataset, "structure": f"{dataset}-{index:05d}",
                 "x": float(x), "y": float(y), "error": float(error)}
                for index, ((x, y), error) in enumerate(laid_out)
            ]  # fmt: skip
    place = random.uniform(size=(len(names), 3))
    for dataset in DATASETS:
        for i, a in enumerate(names):
            for j, b in enumerate(names):
                closeness = float(np.exp(-2 * np.linalg.norm(place[i] - place[j])))
                metrics = (UNDIRECTED if i < j else ()) + (DIRECTED if i != j else ())
                tables["pairs"] += [
                    {**suite, "dataset": dataset, "metric": metric, "a": a, "b": b, "n": 5000, "k": 25,
                     "value": 1 - closeness if metric in DIRECTED else closeness}
                    for metric in metrics
                ]  # fmt: skip


def _leaderboard_row(suite: dict[str, Any], name: str, control: str, index: int, models: int) -> dict[str, Any]:
    row: dict[str, Any] = {**suite, **_facts(name), "model": name, "title": name.replace("-", " ").title(),
                           "control": control, "status": "ok", "alignment_residual": 0.31,
                           "collapse_convergence": 0.42, "cpd_r2_geometry": 0.37}  # fmt: skip
    for headline, higher in HEADLINES.items():
        if headline == "fine_tuning_bias":
            row[f"{headline}_reason"] = "not fine-tuned from another model"
            continue
        value = (models - index) / (models + 10) if higher else index / (models + 10)
        row |= {
            headline: value, f"{headline}_low": value - 0.04, f"{headline}_high": value + 0.04,
            f"{headline}_null": 0.0, f"{headline}_null_q95": 0.01, f"{headline}_p": 0.005,
        }  # fmt: skip
        if not control:
            row |= {
                f"{headline}_rank_low": max(1, index - 1), f"{headline}_rank_high": min(models, index + 3),
                f"{headline}_ranked": models, f"{headline}_beaten_by": "control-0" if index > models - 5 else "",
            }  # fmt: skip
    if not control:
        row |= {"rank_low": index + 1, "rank_high": index + 1, "borda": float(3 * (models - index))}
    return row


def _facts(name: str) -> dict[str, Any]:
    return {
        "family": name.split("-")[0], "symmetry": "equivariant", "modality": "atoms", "parameters": 1_234_567,
        "training_data": "MPtrj;OMat24", "overlaps": "crystals", "released": "2025-01-01", "licence_code": "MIT",
        "licence_weights": "MIT",
    }  # fmt: skip


def _model(name: str, is_control: bool) -> dict[str, Any]:
    return {
        **_facts(name), "model": name, "title": name.replace("-", " ").title(), "family_title": name.split("-")[0],
        "description": "A synthetic model.", "authors": "A. Author;B. Author", "links": "paper=https://example.org/p",
        "control": "noise" if is_control else "", "checkpoint": "none", "adapter_tree": "a" * 64,
        "environment": "b" * 64, "python": "3.11", "device": "cuda", "hardware": "1 x H100", "sandbox": "bubblewrap",
        "packages": ";".join(f"package-{i}==1.0" for i in range(80)), "code": "c" * 40,
        "reproduce": f"latent-matter run --models {name}",
    }  # fmt: skip


def _dataset(name: str) -> dict[str, Any]:
    return {
        "dataset": name, "version": 1, "title": name.title(), "description": "Synthetic.", "structures": 5000,
        "periodic": name == "crystals", "labels": "gap [eV]: a gap", "licence": "CC0-1.0", "source": "made up",
        "fingerprint": "f" * 64,
    }  # fmt: skip


def _metric(name: str, is_headline: bool) -> dict[str, Any]:
    return {
        "id": name, "title": name.replace("_", " ").capitalize(), "group": "alignment", "headline": is_headline,
        "direction": "lower" if HEADLINES.get(name) is False else "higher", "formula": "f(A, B)", "reading": "Read it.",
        "pitfalls": "Beware.", "source": "arXiv:2405.07987", "null": "permuted",
    }  # fmt: skip
