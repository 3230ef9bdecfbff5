"""`latent-matter data`: make data sets from files that the user holds, prove that they are whole, describe them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml

from benchmark.commands.common import JsonFlag, say
from benchmark.datasets.prepare import is_current, prepare_dataset
from benchmark.datasets.sources import SOURCES_VARIABLE
from benchmark.datasets.spec import DatasetSpec, find_spec, known_specs
from benchmark.datasets.store import Dataset, DatasetError, find_dataset, known_datasets
from benchmark.schema import InvalidFileError
from benchmark.suite import find_suite

data = typer.Typer(no_args_is_help=True, help="Prepare data sets from files of your own, verify and describe them.")


@data.command()
def prepare(
    names: Annotated[list[str] | None, typer.Argument(help="Ids of specs, or paths to spec files.")] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="All data sets of this suite that have a spec.")] = None,
    source: Annotated[
        Path | None,
        typer.Option("--source", help=f"File or folder to read instead of the folders of ${SOURCES_VARIABLE}."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to keep it; by default $LATENT_MATTER_DATASETS or the cache.")
    ] = None,
) -> None:
    """Make data sets from their source files; what is made already is left alone.

    latent-matter data prepare --suite local-real --source ~/downloads
    latent-matter data prepare qm9-sample
    """
    for spec in _specs(names or [], suite):
        dataset = prepare_dataset(spec, out, source)
        print(f"{spec.id}: {dataset.card.structures} structures in {dataset.folder}")


@data.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Ids of data sets; all that are here by default.")] = None,
) -> None:
    """Compare data sets on disk with their cards and specs: fingerprints, labels, versions.

    latent-matter data verify qm9-sample
    """
    specs = known_specs()
    failed = False
    for name in names or sorted(known_datasets()):
        try:
            dataset = find_dataset(name)
            print(f"{name}: {verify_dataset(dataset, specs.get(name))}")
        except InvalidFileError as error:
            failed = True
            say(f"{name}: {error}")
    raise SystemExit(1 if failed else 0)


@data.command()
def info(
    name: Annotated[str, typer.Argument(help="Id of a data set.")],
    as_json: JsonFlag = False,
) -> None:
    """Print a data set's card and the range of its labels, or its spec while it is not prepared.

    latent-matter data info crystals-mini
    """
    known = known_datasets()
    described = describe_dataset(known[name]) if name in known else find_spec(name).model_dump(mode="json")
    if as_json:
        print(json.dumps(described, indent=2))
        return
    if name not in known:
        print(f"# not prepared; its spec, for `latent-matter data prepare {name}`")
    print(yaml.safe_dump(described, sort_keys=False, allow_unicode=True), end="")


def verify_dataset(dataset: Dataset, spec: DatasetSpec | None) -> str:
    """One line on a data set that is whole. Raises DatasetError when it is not what its card or spec says."""
    structures, labels, card = dataset.structures(), dataset.labels(), dataset.card
    if len(structures) != card.structures:
        raise DatasetError(f"{dataset.folder}: {len(structures)} structures, dataset.yaml says {card.structures}")
    if spec is not None and not is_current(dataset, spec):
        raise DatasetError(
            f"{dataset.folder}: not made from the present spec; run `latent-matter data prepare {card.id}`"
        )
    missing = {name: int(labels[name].isna().sum()) for name in labels.columns if labels[name].isna().any()}
    note = f", missing: {missing}" if missing else ""
    return f"{len(structures)} structures and {len(labels.columns)} labels as the card says{note}"


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Card, sizes, elements and the spread of every label, as JSON values."""
    structures, labels = dataset.structures(), dataset.labels()
    atoms = np.diff(structures.offsets)
    ranges: dict[str, Mapping[str, float | str]] = {}
    for name, label in dataset.card.labels.items():
        values = labels[name].to_numpy()
        known = values[np.isfinite(values)]
        if len(known):
            spread = {"mean": known.mean(), "std": known.std(), "min": known.min(), "max": known.max()}
            ranges[name] = {"unit": label.unit, **{key: float(f"{value:.6g}") for key, value in spread.items()}}
    return {
        **dataset.card.model_dump(mode="json"),
        "folder": str(dataset.folder),
        "atoms": {"min": int(atoms.min()), "median": float(np.median(atoms)), "max": int(atoms.max())},
        "elements": len(np.unique(structures.numbers)),
        "reduced_formulas": len(set(structures.reduced_formulas())),
        "ranges": ranges,
    }


def _specs(names: list[str], suite: str | None) -> list[DatasetSpec]:
    if bool(names) == (suite is not None):
        raise InvalidFileError("data prepare: accepted are names of data sets, or --suite")
    if suite is None:
        return [find_spec(name) for name in names]
    known = known_specs()
    return [known[name] for name in find_suite(suite).datasets() if name in known]
