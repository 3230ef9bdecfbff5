"""From the records on disk to tables: the only way a table is made.

The results folder has the layout of the published data set:

    changelog.yaml                 optional: dated changes, models withdrawn
    README.md                      data set card; its configs make `load_dataset` work
    tables/<table>.csv, .parquet   derived, never edited
    <suite>@<version>/suite.yaml   the frozen settings, beside the cards of the data sets used
    <suite>@<version>/records/     one JSON a model
    <suite>@<version>/pairs.json   pairwise values
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml
from pydantic import ValidationError

from benchmark.datasets.store import DatasetCard, find_dataset
from benchmark.files import write_text
from benchmark.results import tables
from benchmark.results.card import dataset_card
from benchmark.results.changelog import changelog_table, read_changelog
from benchmark.results.records import PairValue, Record, read_record
from benchmark.results.writing import write_tables
from benchmark.schema import InvalidFileError, Strict, describe_validation_error, read_yaml
from benchmark.scoring import ranks as ranking
from benchmark.scoring.catalogue import SCORES
from benchmark.submission import Entry
from benchmark.suite import Suite


class Pairs(Strict):
    """pairs.json: the digest of what the values depend on (none while some are missing), and the values."""

    key: str | None
    values: list[PairValue]


def export_results(results: Path, entries: Mapping[str, Entry]) -> list[Path]:
    """Write all tables and the data set card from the records below `results`; return the CSV paths.

    Raises InvalidFileError when there is no record, or when a record is damaged: a table that
    silently lacked a model would be worse than none.
    """
    records = read_records(results)
    if not records:
        raise InvalidFileError(f"{results}: holds no records (<suite>@<version>/records/<model>.json)")
    keys = sorted({f"{record.suite}@{record.suite_version}" for record in records})
    known = {key: read_yaml(results / key / "suite.yaml", Suite) for key in keys}
    cards = [read_yaml(path, DatasetCard) for key in keys for path in sorted((results / key / "datasets").glob("*"))]
    by_id = {card.id: card for card in cards}
    frames = make_tables(records, read_pairs(results, keys), entries, known, by_id)
    if changes := read_changelog(results):
        frames["changelog"] = changelog_table(changes)
    written = write_tables(results / "tables", frames)
    write_text(results / "README.md", dataset_card(frames))
    return written


def write_settings(results: Path, suite: Suite) -> None:
    """Keep the suite and the cards of its data sets beside its records."""
    folder = results / suite.key
    write_text(folder / "suite.yaml", yaml.safe_dump(suite.model_dump(mode="json"), sort_keys=False))
    for name in suite.datasets():
        card = find_dataset(name).card
        write_text(
            folder / "datasets" / f"{name}.yaml",
            yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        )


def make_tables(
    records: Sequence[Record],
    pairs: Mapping[str, Sequence[PairValue]],
    entries: Mapping[str, Entry],
    known: Mapping[str, Suite],
    cards: Mapping[str, DatasetCard],
) -> dict[str, pd.DataFrame]:
    """All tables by name, as pure functions of what is given."""
    by_suite = {key: [record for record in records if f"{record.suite}@{record.suite_version}" == key] for key in known}
    # A trial run has no ranks: with other structures they would say something else.
    ranked = {key: group for key, group in by_suite.items() if known[key].limit is None}
    ranks = {key: rank_table(group, known[key].reference) for key, group in ranked.items()}
    return {
        "leaderboard": tables.leaderboard_table(records, entries, ranks, cards, known),
        "scores": tables.score_table(records),
        "pairs": tables.pair_table({key: pairs.get(key, []) for key in known}, known),
        "layers": tables.layer_table(records),
        "pooling": tables.pooling_table(records),
        "learning_curves": tables.learning_table(records),
        "coordinates": tables.coordinate_table(records),
        "models": tables.model_table(records, entries),
        "conformance": tables.conformance_table(records),
        "quality": tables.quality_table(records),
        "suites": tables.suite_table(known.values()),
        "datasets": tables.dataset_table(cards.values()),
        "metrics": metric_table(),
        "costs": tables.cost_table(records),
    }


def rank_table(records: Sequence[Record], reference: str) -> pd.DataFrame:
    """Rank ranges and Borda points of one suite's models, indexed by model; controls have none.

    The reference is ranked in the scores that it has, but takes no overall place: without an alignment of its own
    it would lose the points of a whole table for being the yardstick.
    """
    by_model = {record.model: record for record in records}
    columns: dict[str, dict[str, object]] = {record.model: {} for record in records}
    for headline, ranked in ranking.tables(by_model, tables.HEADLINES).items():
        count = sum(rank.low is not None for rank in ranked.values())
        for model, rank in ranked.items():
            columns[model] |= {f"{headline}_rank_low": rank.low, f"{headline}_rank_high": rank.high}
            columns[model][f"{headline}_ranked"] = count if rank.low is not None else None
    placed = [r.model for r in records if r.status != "failed" and r.control is None and r.model != reference]
    for model, place in ranking.borda(ranking.tables(by_model), placed).items():
        columns[model] |= {"rank_low": place.low, "rank_high": place.high, "borda": place.total}
        columns[model]["borda_missing"] = "; ".join(f"{score}: {why}" for score, why in place.missing.items())
    return pd.DataFrame.from_dict(columns, orient="index").astype(object)


def metric_table() -> pd.DataFrame:
    """metrics: what each score means, from the catalogue."""
    columns = "id title group headline direction unit formula reading pitfalls source null".split()
    return pd.DataFrame([{name: getattr(score, name) for name in columns} for score in SCORES.values()])


def read_records(results: Path) -> list[Record]:
    """All records below `results`, sorted by suite and model."""
    found = [read_record(path) for path in sorted(results.glob("*@*/records/*.json"))]
    return sorted(found, key=lambda record: (record.suite, record.suite_version, record.model))


def read_pairs(results: Path, keys: Sequence[str]) -> dict[str, list[PairValue]]:
    """Pairwise values by suite key."""
    pairs = {}
    for key in keys:
        path = results / key / "pairs.json"
        if path.is_file():
            try:
                pairs[key] = Pairs.model_validate_json(path.read_text(encoding="utf-8")).values
            except ValidationError as error:
                raise InvalidFileError(f"{path}: {describe_validation_error(error)}") from error
    return pairs
