"""`latent-matter weights`: fetch the declared weights before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from benchmark.commands.common import (
    SUBMISSIONS,
    WORK,
    OfflineFlag,
    SubmissionsOption,
    WorkOption,
    say,
    submissions_in,
    wrong_use,
)
from benchmark.embedding.environment import ensure_environment
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.weights import Weights, resolve_weights
from benchmark.submission import Entry, PackageCheckpoint


def weights(
    models: Annotated[list[str] | None, typer.Argument(help="Model ids or families.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The weights of every model.")] = False,
    submissions: SubmissionsOption = SUBMISSIONS,
    work: WorkOption = WORK,
    offline: OfflineFlag = False,
) -> None:
    """Fetch and verify the weights that models declare, without running anything of theirs.

    Downloads resume, and what is here is not fetched again. Gated weights need HF_TOKEN:

        latent-matter weights uma-s-1p2-omat
        latent-matter weights mace nequix
    """
    entries, _ = submissions_in(submissions)
    chosen = sorted(entries) if everything else _chosen(models or [], entries)
    failed = 0
    for name in chosen:
        try:
            print(f"{name}: {_described(_fetch(entries[name], work, offline))}")
        except EmbeddingError as error:
            failed += 1
            say(str(error))
    raise SystemExit(1 if failed else 0)


def _chosen(names: list[str], entries: dict[str, Entry]) -> list[str]:
    if not names:
        wrong_use("weights: name models or families, or give --all")
    found = []
    for name in names:
        of_family = [model for model, entry in entries.items() if entry.family.submission.family == name]
        if name not in entries and not of_family:
            wrong_use(f"weights: {name}: unknown; known: {', '.join(sorted(entries))}")
        found += [name] if name in entries else sorted(of_family)
    return list(dict.fromkeys(found))


def _fetch(entry: Entry, work: Path, offline: bool) -> Weights:
    # Weights inside a package come with its environment.
    packaged = isinstance(entry.model.checkpoint, PackageCheckpoint)
    environment = ensure_environment(entry.family.adapter, work, "auto") if packaged else None
    with Progress(transient=True) as bars:
        bar = bars.add_task(entry.model.id, total=1.0)
        return resolve_weights(
            entry, environment, work, offline=offline, progress=lambda share: bars.update(bar, completed=share)
        )


def _described(found: Weights) -> str:
    if found.path is None:
        return "loads no weights"
    line = f"{found.path} sha256 {found.sha256}"
    if found.pinned:
        return line
    revision = f"revision: {found.revision}, " if found.revision else ""
    return f"{line}; submission.yaml does not pin it, add {revision}sha256: {found.sha256}"
