"""Features on their way from the machine that embeds to the machine that scores.

A bundle is a folder: the features of the models to score and of those that their scores depend on, and bundle.json,
which says what belongs to whom, what the checks found and what failed. It needs no environment and no weights, so a
fresh machine that never runs a model can score it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from benchmark.embedding.extraction import features_folder, find_features
from benchmark.files import write_text
from benchmark.recording import Embedded
from benchmark.results.records import ConformanceCheck
from benchmark.schema import Identifier, InvalidFileError, Sha256, Strict, describe_validation_error
from benchmark.suite import Suite

FILE = "bundle.json"
Line = Annotated[str, Field(max_length=5000)]


class BundleFile(Strict):
    """bundle.json. `wanted`: the models to score; `features`: model -> data set -> key."""

    format: int = 1
    suite: str
    wanted: list[Identifier]
    features: dict[Identifier, dict[Identifier, Sha256]] = {}
    checks: dict[Identifier, list[ConformanceCheck]] = {}
    missing: dict[Identifier, dict[Identifier, Line]] = {}
    failures: dict[Identifier, Line] = {}


def write_bundle(folder: Path, suite: Suite, wanted: Sequence[str], embedded: Embedded, work: Path) -> None:
    """Copy what scoring `wanted` needs from the work folder into `folder`; bundle.json is written last."""
    features: dict[str, dict[str, str]] = {}
    missing: dict[str, dict[str, str]] = {}
    for (model, dataset), sidecar in sorted(embedded.sidecars.items()):
        features.setdefault(model, {})[dataset] = sidecar.key
        target = features_folder(folder, sidecar.key)
        if find_features(folder, sidecar.key) is None:
            shutil.copytree(features_folder(work, sidecar.key), target, dirs_exist_ok=True)
    for (model, dataset), reason in sorted(embedded.missing.items()):
        missing.setdefault(model, {})[dataset] = reason
    described = BundleFile(
        suite=suite.key,
        wanted=list(wanted),
        features=features,
        checks=embedded.checks,
        missing=missing,
        failures=embedded.failures,
    )
    write_text(folder / FILE, described.model_dump_json(indent=1) + "\n")


def read_bundle(folder: Path, suite: Suite) -> tuple[list[str], Embedded]:
    """The models to score and what there is of them and of those beside them.

    Raises InvalidFileError naming the file and field when the bundle is damaged, of another suite, or incomplete.
    """
    path = folder / FILE
    try:
        bundle = BundleFile.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidFileError(f"{path}: no such file; `latent-matter embed --bundle` writes one") from None
    except (UnicodeDecodeError, ValidationError) as error:
        described = describe_validation_error(error) if isinstance(error, ValidationError) else str(error)
        raise InvalidFileError(f"{path}: {described}") from error
    if bundle.suite != suite.key:
        raise InvalidFileError(f"{path}: field suite: is {bundle.suite!r}, {suite.key!r} is to be scored")
    done = Embedded(checks=bundle.checks, failures=dict(bundle.failures))
    done.missing = {(model, name): why for model, each in bundle.missing.items() for name, why in each.items()}
    for model, keys in bundle.features.items():
        for dataset, key in keys.items():
            sidecar = find_features(folder, key)
            if sidecar is None or (sidecar.model, sidecar.dataset, sidecar.key) != (model, dataset, key):
                raise InvalidFileError(f"{path}: field features.{model}.{dataset}: the folder lacks these features")
            done.add((model, dataset), sidecar)
    return bundle.wanted, done
