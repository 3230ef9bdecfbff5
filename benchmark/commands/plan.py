"""`latent-matter plan`: what a change touches and what has to be computed for it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.common import JsonFlag, say
from benchmark.planning import Plan, plan_change


def plan(
    changed_since: Annotated[str, typer.Option("--changed-since", help="Commit, branch or tag to compare with.")],
    root: Annotated[Path, typer.Option("--root", help="The repository.")] = Path(),
    contribution: Annotated[
        bool, typer.Option("--contribution", help="Fail when the change is more than one family's own folder.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say which submissions a change touches and which models have to be computed.

    In a GitHub workflow the answer also becomes the step's outputs `families`, `models` and `matrix`:

        latent-matter plan --changed-since origin/main --contribution
    """
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
