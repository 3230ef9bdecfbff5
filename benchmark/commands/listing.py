"""`latent-matter list`: what there is."""

from __future__ import annotations

import typer

from benchmark.commands.common import SUBMISSIONS, JsonFlag, SubmissionsOption, print_rows, submissions_in
from benchmark.datasets.store import known_datasets
from benchmark.results.tables import describe_checkpoint
from benchmark.scoring.catalogue import SCORES
from benchmark.suite import suites

listing = typer.Typer(no_args_is_help=True, help="List models, suites, data sets or scores.")


@listing.command("models")
def list_models(submissions: SubmissionsOption = SUBMISSIONS, as_json: JsonFlag = False) -> None:
    """Every model that a submission declares."""
    entries, broken = submissions_in(submissions)
    rows = [
        {
            "model": name,
            "family": entry.family.submission.family,
            "role": entry.model.control or "model",
            "title": entry.model.title,
            "parameters": entry.model.parameters,
            "weights": describe_checkpoint(entry.model.checkpoint),
            "fine_tuned_from": entry.model.fine_tuned_from,
        }
        for name, entry in sorted(entries.items())
    ]
    print_rows(rows, as_json)
    raise SystemExit(1 if broken else 0)


@listing.command("suites")
def list_suites(as_json: JsonFlag = False) -> None:
    """The suites, with their data sets and reference."""
    rows = [
        {
            "suite": each.key,
            "in_distribution": each.in_distribution,
            "out_of_distribution": each.out_of_distribution,
            "reference": each.reference,
            "title": each.title,
        }
        for each in suites().values()
    ]
    print_rows(rows, as_json)


@listing.command("datasets")
def list_datasets(as_json: JsonFlag = False) -> None:
    """The data sets that suites can name."""
    cards = [dataset.card for dataset in known_datasets().values()]
    rows = [
        {
            "dataset": card.id,
            "version": card.version,
            "structures": card.structures,
            "labels": ", ".join(f"{name} [{label.unit}]" for name, label in card.labels.items()),
            "licence": card.licence,
            "title": card.title,
        }
        for card in cards
    ]
    print_rows(rows, as_json)


@listing.command("scores")
def list_scores(as_json: JsonFlag = False) -> None:
    """Every score, with its direction and how to read it."""
    rows = [
        {"score": each.id, "headline": each.headline, "better": each.direction, "reading": each.reading}
        for each in SCORES.values()
    ]
    print_rows(rows, as_json)
