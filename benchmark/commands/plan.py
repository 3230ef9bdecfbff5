"""`latent-matter plan`: what a run will cost, or what a change touches and has to be computed for it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmark import pipeline
from benchmark.commands.common import (
    SUBMISSIONS,
    WORK,
    AcceleratorOption,
    JsonFlag,
    LimitOption,
    ModelsOption,
    SubmissionsOption,
    WorkOption,
    print_table,
    say,
    submissions_in,
    suite_called,
    wanted_models,
    wrong_use,
)
from benchmark.datasets.store import find_dataset
from benchmark.embedding.machine import find_device, hardware
from benchmark.embedding.tasks import size_of
from benchmark.planning import Plan, plan_change
from benchmark.pricing import Price, price


def plan(
    changed_since: Annotated[
        str | None, typer.Option("--changed-since", help="Commit, branch or tag to compare with.")
    ] = None,
    root: Annotated[Path, typer.Option("--root", help="The repository.")] = Path(),
    contribution: Annotated[
        bool, typer.Option("--contribution", help="Fail when the change is more than one family's own folder.")
    ] = False,
    suite: Annotated[str | None, typer.Option("--suite", help="Id of a suite whose run to price.")] = None,
    limit: LimitOption = None,
    models: ModelsOption = None,
    submissions: SubmissionsOption = SUBMISSIONS,
    work: WorkOption = WORK,
    accelerator: AcceleratorOption = "auto",
    machine: Annotated[
        str | None,
        typer.Option("--hardware", help="Price for this hardware, as sidecars name it; by default this machine's."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Price a run before it starts, or say which models a change asks to compute.

    Hours are those of what the work folder has measured; what was never measured is named and left out:

        latent-matter plan --suite quick
        latent-matter plan --suite quick --models chgnet-0.3.0 --json

    In a GitHub workflow the second answer also becomes the step's outputs `families`, `models` and `matrix`:

        latent-matter plan --changed-since origin/main --contribution
    """
    if (suite is None) == (changed_since is None):
        wrong_use("plan: accepted is one of --suite ID and --changed-since REVISION")
    if changed_since is not None:
        _plan_change(changed_since, root, contribution, as_json)
    assert suite is not None
    chosen = suite_called(suite, limit)
    entries, broken = submissions_in(submissions)
    selected = pipeline.select_models(chosen, entries, wanted_models(models, entries, broken))
    device = find_device(accelerator)  # type: ignore[arg-type]
    sizes = {name: size_of(find_dataset(name)) for name in chosen.datasets()}
    found = price(chosen, entries, selected, sizes, work, device, machine or hardware(device))
    if as_json:
        print(json.dumps(found.model_dump(), indent=2))
    else:
        _show(found)


def _show(found: Price) -> None:
    columns = ["model", "data set", "structures", "atoms", "MB", "atoms/s", "hours"]
    rows = [
        [
            each.model,
            each.dataset,
            each.structures,
            each.atoms,
            each.bytes / 1e6,
            each.atoms_per_second,
            "embedded" if each.found else _hours(each.hours),
        ]
        for each in found.embedding
    ]
    print_table(columns, rows)
    print_table(
        ["scoring", "tasks", "hours"],
        [[each.kind, each.tasks, _hours(each.hours)] for each in found.scoring],
    )
    print(f"{found.suite} on {found.hardware} ({found.device}): {found.models} models, {found.tasks} tasks")
    print(
        f"to embed: {found.structures} structures, {found.atoms} atoms, {found.bytes / 1e9:.3g} GB; while comparing "
        f"{found.temporary_bytes / 1e9:.3g} GB more"
    )
    left_out = f", without {len(found.unmeasured)} unmeasured parts" if found.unmeasured else ""
    print(f"hours, one task after another: {found.hours:.3g}{left_out}")


def _hours(hours: float | None) -> str | float:
    return "unmeasured" if hours is None else hours


def _plan_change(changed_since: str, root: Path, contribution: bool, as_json: bool) -> None:
    found = plan_change(root, changed_since)
    if as_json:
        print(json.dumps(asdict(found), indent=2))
    else:
        print(f"families: {', '.join(found.families) or 'none'}")
        print(f"models: {', '.join(found.models) or 'none'}")
    _write_outputs(found)
    for line in found.problems if contribution else found.broken:
        say(line)
    raise SystemExit(1 if found.broken or (contribution and found.problems) else 0)


def _write_outputs(found: Plan) -> None:
    """Outputs of a workflow's step. Ids are lower-case letters, digits and hyphens, so no line can be forged."""
    path = os.environ.get("GITHUB_OUTPUT")
    if path:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(f"families={','.join(found.families)}\nmodels={','.join(found.models)}\n")
            # Once more as JSON, because that is what a workflow can make a job of each of.
            stream.write(f"matrix={json.dumps(found.families)}\n")
