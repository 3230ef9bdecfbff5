"""Tables derived from records: what is published and what the site reads.

Every table is written as CSV and Parquet with the same stem. Tables are pure functions of the
records, submissions, suites and data sets; `costs` (wall time, memory) is the one table that two
equal runs may disagree on, which is why nothing else holds such numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark.datasets.store import DatasetCard
from benchmark.results.records import PairValue, Record
from benchmark.submission import Checkpoint, Entry
from benchmark.suite import Suite

HEADLINES = ("alignment", "collapse_information", "cpd", "fine_tuning_bias")

SCORE_COLUMNS = (
    "id dataset target versus layer value low high standard_error null_mean null_quantile95 p_value permutations "
    "n d k reason beaten_by"
).split()
PAIR_COLUMNS = (
    "dataset metric a b value null_mean null_quantile95 p_value calibrated standard_error n k reason"
).split()


def joined(values: Iterable[object]) -> str:
    """Values of a list in one cell."""
    return ";".join(str(value) for value in values)


def score_table(records: Sequence[Record]) -> pd.DataFrame:
    """scores: one row a score of a model, long form."""
    rows = []
    for record in records:
        for score in record.scores:
            null = score.null
            rows.append(
                {
                    **_suite_of(record),
                    "model": record.model,
                    **{name: getattr(score, name) for name in SCORE_COLUMNS if hasattr(score, name)},
                    "null_mean": null.mean if null else None,
                    "null_quantile95": null.quantile95 if null else None,
                    "p_value": null.p_value if null else None,
                    "permutations": null.permutations if null else None,
                    "beaten_by": joined(score.beaten_by),
                }
            )
    columns = ["suite", "suite_version", "model", *SCORE_COLUMNS]
    return _frame(rows, columns).rename(columns={"id": "score"})


def pair_table(pairs: Mapping[str, Sequence[PairValue]], suites: Mapping[str, Suite]) -> pd.DataFrame:
    """pairs: one row a metric of a pair of models on a data set. `pairs` and `suites` are by suite key."""
    rows = [
        {"suite": suites[key].id, "suite_version": suites[key].version, **value.model_dump()}
        for key, values in pairs.items()
        for value in values
    ]
    return _frame(rows, ["suite", "suite_version", *PAIR_COLUMNS])


def layer_table(records: Sequence[Record]) -> pd.DataFrame:
    """layers: one row a stored layer of a model on a data set."""
    rows = [
        {**_suite_of(record), "model": record.model, **layer.model_dump(exclude={"measures"}), **layer.measures}
        for record in records
        for layer in record.layers
    ]
    measures = sorted({name for record in records for layer in record.layers for name in layer.measures})
    columns = ["suite", "suite_version", "model", "dataset", "layer", "level", "dimension", "irreps", *measures]
    return _frame(rows, columns)


def pooling_table(records: Sequence[Record]) -> pd.DataFrame:
    """pooling: one row a pooling of a layer of a model on a data set."""
    rows = [
        {**_suite_of(record), "model": record.model, **pooled.model_dump(exclude={"measures"}), **pooled.measures}
        for record in records
        for pooled in record.pooling
    ]
    measures = sorted({name for record in records for pooled in record.pooling for name in pooled.measures})
    return _frame(rows, ["suite", "suite_version", "model", "dataset", "layer", "pooling", "dimension", *measures])


def learning_table(records: Sequence[Record]) -> pd.DataFrame:
    """learning_curves: one row a number of training structures of a probed target of a model."""
    rows = [
        {**_suite_of(record), "model": record.model, **point.model_dump()}
        for record in records
        for point in record.learning_curves
    ]
    columns = "dataset layer target measure n_train mean standard_error draws".split()
    return _frame(rows, ["suite", "suite_version", "model", *columns])


def coordinate_table(records: Sequence[Record]) -> pd.DataFrame:
    """coordinates: one row a structure of a data set on a model's map."""
    columns = ["suite", "suite_version", "model", "dataset", "structure", "x", "y", "error"]
    rows = [
        (record.suite, record.suite_version, record.model, part.dataset, *place)
        for record in records
        for part in record.coordinates
        for place in zip(part.structures, part.x, part.y, part.error, strict=True)
    ]
    return _frame([dict(zip(columns, row, strict=True)) for row in rows], columns)


def conformance_table(records: Sequence[Record]) -> pd.DataFrame:
    """conformance: one row a check of a model."""
    rows = [
        {**_suite_of(record), "model": record.model, "check": check.id, **check.model_dump(exclude={"id"})}
        for record in records
        for check in record.conformance
    ]
    columns = ["suite", "suite_version", "model", "check", "status", "measured", "tolerance", "detail"]
    return _frame(rows, columns)


def quality_table(records: Sequence[Record]) -> pd.DataFrame:
    """quality: lines worth a reader's eye."""
    rows = [{**_suite_of(record), "model": record.model, "line": line} for record in records for line in record.quality]
    return _frame(rows, ["suite", "suite_version", "model", "line"])


def cost_table(records: Sequence[Record]) -> pd.DataFrame:
    """costs: wall time and memory of each embedding, on the hardware that made it."""
    rows = [
        {
            **_suite_of(record),
            "model": record.model,
            "dataset": dataset,
            "wall_seconds": made.wall_seconds,
            "peak_memory_mb": made.peak_memory_mb,
            "device": made.device,
            "hardware": made.hardware,
        }
        for record in records
        for dataset, made in record.provenance.items()
    ]
    columns = ["suite", "suite_version", "model", "dataset", "wall_seconds", "peak_memory_mb", "device", "hardware"]
    return _frame(rows, columns)


def model_table(records: Sequence[Record], entries: Mapping[str, Entry]) -> pd.DataFrame:
    """models: what each model is, where its weights come from, and how its rows are reproduced."""
    rows = []
    for record in _one_a_model(records):
        entry = entries.get(record.model)
        row: dict[str, object] = {"model": record.model, "title": record.model, "family": record.family}
        if entry is not None:
            row |= _describe(entry)
        made = next(iter(record.provenance.values()), None)
        if made is not None:
            row |= {
                "checkpoint_sha256": made.checkpoint_sha256,
                "adapter_tree": made.adapter_tree,
                "environment": made.environment,
                "python": made.python,
                "packages": joined(f"{name}=={version}" for name, version in sorted(made.packages.items())),
                "device": made.device,
                "hardware": made.hardware,
                "sandbox": made.sandbox,
                "code": made.code,
            }
        rows.append({**row, "control": record.control, "reproduce": record.reproduce})
    columns = (
        "model title family family_title description authors links modality symmetry control parameters "
        "training_data training_targets fine_tuned_from superseded_by released licence_code licence_weights note "
        "checkpoint checkpoint_sha256 adapter_tree environment python packages device hardware sandbox code reproduce"
    ).split()
    return _frame(rows, columns)


def suite_table(suites: Iterable[Suite]) -> pd.DataFrame:
    """suites: the frozen settings behind every number."""
    rows = [
        {
            "suite": suite.id,
            **suite.model_dump(include=set(_SUITE_FIELDS)),
            "further_datasets": joined(suite.further_datasets),
            "panel": joined(suite.panel),
            "controls": joined(suite.controls.ids()),
            "probe_dataset": suite.probe.dataset,
            "probe_targets": joined(suite.probe.targets),
            "changelog": " | ".join(suite.changelog),
        }
        for suite in suites
    ]
    columns = ["suite", *_SUITE_FIELDS, "panel", "controls", "probe_dataset", "probe_targets", "further_datasets"]
    columns.append("changelog")
    return _frame(rows, columns)


_SUITE_FIELDS = (
    "version title description in_distribution out_of_distribution reference k permutations subsamples folds seed"
).split()


def dataset_table(cards: Iterable[DatasetCard]) -> pd.DataFrame:
    """datasets: each card in one row."""
    rows = [
        {
            "dataset": card.id,
            **card.model_dump(include={"version", "title", "description", "structures", "periodic", "licence"}),
            "labels": " | ".join(f"{name} [{label.unit}]: {label.description}" for name, label in card.labels.items()),
            "source": card.source.description,
            "overlaps": " | ".join(f"{name}: {text}" for name, text in card.overlaps.items()),
            "left_out": " | ".join(f"{reason}: {count}" for reason, count in card.left_out.items()),
            "fingerprint": card.fingerprint,
        }
        for card in cards
    ]
    columns = (
        "dataset version title description structures periodic labels licence source overlaps left_out fingerprint"
    ).split()
    return _frame(rows, columns)


def leaderboard_table(
    records: Sequence[Record],
    entries: Mapping[str, Entry],
    ranks: Mapping[str, pd.DataFrame],
    cards: Mapping[str, DatasetCard],
    suites: Mapping[str, Suite],
) -> pd.DataFrame:
    """leaderboard: one row a model a suite, overall rank first, controls and failures after the ranked rows.

    ranks: suite key -> frame indexed by model with the columns of `benchmark.scoring.ranks`.
    """
    rows = []
    for record in records:
        key = f"{record.suite}@{record.suite_version}"
        entry = entries.get(record.model)
        row: dict[str, object] = {
            **_suite_of(record),
            "model": record.model,
            "title": record.model,
            "family": record.family,
            "control": record.control,
            "status": record.status,
            "reason": record.reason,
            "verification": record.verification,
            "doubts": joined(record.doubts),
        }
        if key in ranks and record.model in ranks[key].index:
            row |= {str(name): value for name, value in ranks[key].loc[record.model].items() if pd.notna(value)}
        for headline in HEADLINES:
            row |= _headline_cells(record, headline)
        row |= _side_cells(record, suites[key])
        if entry is not None:
            row |= {name: value for name, value in _describe(entry).items() if name in _MODEL_FACTS}
            used = [cards[name] for name in suites[key].datasets() if name in cards]
            row["overlaps"] = joined(card.id for card in used if set(card.overlaps) & set(entry.model.training_data))
        rows.append(row)
    frame = _frame(rows, _leaderboard_columns())
    order = frame.assign(
        _control=frame["control"].notna(), _failed=frame["status"].eq("failed"), _points=-frame["borda"].astype(float)
    )
    order = order.sort_values(["suite", "suite_version", "_control", "_failed", "_points", "model"], kind="stable")
    return frame.loc[order.index].reset_index(drop=True)


_MODEL_FACTS = (
    "title symmetry modality parameters training_data fine_tuned_from superseded_by released licence_code "
    "licence_weights"
).split()


def _leaderboard_columns() -> list[str]:
    columns = (
        "suite suite_version model title family control status reason verification doubts "
        "rank_low rank_high borda borda_missing"
    ).split()
    for headline in HEADLINES:
        columns.append(headline)
        columns += [
            f"{headline}_{part}"
            for part in "low high null null_q95 p rank_low rank_high ranked reason beaten_by".split()
        ]
    columns += ["alignment_residual", "collapse_convergence", "cpd_r2_geometry"]
    return columns + [name for name in _MODEL_FACTS if name != "title"] + ["overlaps"]


def _headline_cells(record: Record, headline: str) -> dict[str, object]:
    score = record.score(headline)
    if score is None:
        return {f"{headline}_reason": record.reason or "not scored"}
    null = score.null
    return {
        headline: score.value,
        f"{headline}_low": score.low,
        f"{headline}_high": score.high,
        f"{headline}_null": null.mean if null else None,
        f"{headline}_null_q95": null.quantile95 if null else None,
        f"{headline}_p": null.p_value if null else None,
        f"{headline}_reason": score.reason,
        f"{headline}_beaten_by": joined(score.beaten_by),
    }


def _side_cells(record: Record, suite: Suite) -> dict[str, object]:
    """Unranked companions of the headline scores."""
    cells: dict[str, object] = {}
    for name in ("alignment_residual", "collapse_convergence"):
        score = record.score(name)
        cells[name] = score.value if score else None
    probes = [record.score("r2_geometry", suite.probe.dataset, target) for target in suite.probe.targets]
    values = [score.value for score in probes if score is not None and score.value is not None]
    cells["cpd_r2_geometry"] = sum(values) / len(values) if len(values) == len(suite.probe.targets) else None
    return cells


def _describe(entry: Entry) -> dict[str, object]:
    submission, model = entry.family.submission, entry.model
    return {
        "title": model.title,
        "family": submission.family,
        "family_title": submission.title,
        "description": submission.description,
        "authors": joined(submission.authors),
        "links": joined(f"{name}={url}" for name, url in submission.links.items()),
        "modality": submission.modality,
        "symmetry": submission.symmetry,
        "parameters": model.parameters,
        "training_data": joined(model.training_data),
        "training_targets": joined(model.training_targets),
        "fine_tuned_from": model.fine_tuned_from,
        "superseded_by": model.superseded_by,
        "released": model.released.isoformat(),
        "licence_code": submission.licence.code,
        "licence_weights": submission.licence.weights,
        "note": model.note,
        "checkpoint": describe_checkpoint(model.checkpoint),
    }


def describe_checkpoint(checkpoint: Checkpoint) -> str:
    """Where the weights come from, in a few words."""
    if checkpoint.kind == "package":
        return f"package file {checkpoint.file}"
    if checkpoint.kind == "url":
        return str(checkpoint.url)
    if checkpoint.kind == "huggingface":
        gated = " (gated)" if checkpoint.gated else ""
        files = checkpoint.file or ("{" + ",".join(checkpoint.files or []) + "}")
        return f"hf://{checkpoint.repository}@{checkpoint.revision or 'main'}/{files}{gated}"
    if checkpoint.kind == "local":
        return f"local file {checkpoint.file}"
    return "none"


def _suite_of(record: Record) -> dict[str, object]:
    return {"suite": record.suite, "suite_version": record.suite_version}


def _one_a_model(records: Sequence[Record]) -> list[Record]:
    """The record of each model that tells most: one with provenance before one without."""
    best: dict[str, Record] = {}
    for record in records:
        if record.model not in best or (record.provenance and not best[record.model].provenance):
            best[record.model] = record
    return list(best.values())


_INTEGERS = {"suite_version", "version", "n", "d", "k", "permutations", "parameters", "structures", "dimension", "seed"}
_INTEGERS |= {"n_train", "draws"}


def _frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """A frame with exactly `columns`. Whole numbers stay whole beside missing cells; no text is the missing cell."""
    frame = pd.DataFrame([dict(row) for row in rows], columns=list(columns))
    for name in frame.columns:
        if name in _INTEGERS or name.endswith(("rank_low", "rank_high", "_ranked")):
            frame[name] = frame[name].astype("Int64")
        elif frame[name].isna().all():
            # A column that is empty today must not change its Parquet type when it fills tomorrow.
            numeric = name in _ALWAYS_NUMERIC or name.removesuffix("_low").removesuffix("_high") in _ALWAYS_NUMERIC
            frame[name] = frame[name].astype("float64" if numeric else "string")
        elif frame[name].dtype == object:
            texts = frame[name].astype("string")
            frame[name] = texts.mask(texts == "")
    return frame


_ALWAYS_NUMERIC = {
    *HEADLINES,
    *(f"{headline}_{part}" for headline in HEADLINES for part in ("null", "null_q95", "p")),
    *"alignment_residual collapse_convergence cpd_r2_geometry borda value low high standard_error null_mean".split(),
    *"mean null_quantile95 p_value calibrated measured tolerance wall_seconds peak_memory_mb x y error".split(),
}
