"""`latent-matter publish` and `latent-matter pull`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.common import SUBMISSIONS, WORK, SubmissionsOption, submissions_in, wrong_use
from benchmark.publishing.destinations import destination
from benchmark.publishing.publish import publish, pull

TARGET = "hf://datasets/ORGANISATION/NAME or a folder"


def publish_results(
    results: Annotated[Path, typer.Argument(help="Folder of results.")],
    to: Annotated[str, typer.Option("--to", help=f"Where to publish: {TARGET}.")],
    submissions: SubmissionsOption = SUBMISSIONS,
    work: Annotated[
        Path, typer.Option("--work", help="Work folder with the features; without them records are self-reported.")
    ] = WORK,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change and write nothing.")] = False,
) -> None:
    """Audit results, merge them into the published ones and write what changed in one commit.

    Publishing twice changes nothing. A published score changes only with a new suite version or changelog entry:

        latent-matter publish results --to hf://datasets/ORGANISATION/latent-matter --dry-run
        latent-matter publish results --to ../published
    """
    if not results.is_dir():
        wrong_use(f"{results}: no such folder of results")
    entries, _ = submissions_in(submissions)
    done = publish(results, destination(to), entries, work=work if work.is_dir() else None, dry_run=dry_run)
    for note in done.notes:
        print(note)
    verb = "would change" if dry_run else "changed"
    print(f"{len(done.changed)} files {verb} in {to}" if done.changed else f"{to} has all of it already")


def pull_results(
    source: Annotated[str, typer.Argument(help=f"Where results are published: {TARGET}.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to put them into.")],
    records: Annotated[bool, typer.Option("--records", help="The records too, not only the tables.")] = False,
) -> None:
    """Get the published tables.

    latent-matter pull hf://datasets/ORGANISATION/latent-matter --out published
    """
    names = pull(destination(source), out, records)
    print(f"{len(names)} files in {out}")
