"""`latent-matter data`: make data sets from files that the user holds, prove that they are whole, describe them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from ase.data import chemical_symbols

from benchmark.commands.common import JsonFlag, say
from benchmark.datasets.prepare import is_current, prepare_dataset, refuse_changed_files
from benchmark.datasets.sources import SOURCES_VARIABLE, MissingSourceError, find_sources
from benchmark.datasets.spec import DatasetSpec, find_spec, known_specs
from benchmark.datasets.store import Dataset, DatasetCard, DatasetError, find_dataset, known_datasets
from benchmark.datasets.structures import Structures
from benchmark.schema import InvalidFileError
from benchmark.suite import find_suite

data = typer.Typer(no_args_is_help=True, help="Prepare data sets from files of your own, verify and describe them.")


SourceOption = Annotated[
    Path | None, typer.Option("--source", help=f"File or folder to read instead of the folders of ${SOURCES_VARIABLE}.")
]


@data.command()
def prepare(
    names: Annotated[list[str] | None, typer.Argument(help="Ids of specs, or paths to spec files.")] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="All data sets of this suite that have a spec.")] = None,
    source: SourceOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to keep it; by default $LATENT_MATTER_DATASETS or the cache.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch no file; use those that are here.")] = False,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out what cannot be read, and say so on the card.")
    ] = False,
) -> None:
    """Make data sets from their source files; what is made already is left alone.

    Files that are not below the folders given are fetched, where the spec says from where. Interrupted work goes on
    at the next shard, and a broken download where it stopped:

        latent-matter data prepare qm9
        latent-matter data prepare --suite local-real --source ~/downloads --offline
    """
    for spec in _specs(names or [], suite):
        dataset = prepare_dataset(spec, out, source, offline=offline, skip_damaged=skip_damaged, report=say)
        print(f"{spec.id}: {dataset.card.structures} structures in {dataset.folder}")
        for part, reason in dataset.card.damaged.items():
            say(f"{spec.id}: not read: {part}: {reason}")


@data.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Ids of data sets; all that are here by default.")] = None,
    source: SourceOption = None,
) -> None:
    """Compare data sets on disk with their cards, specs and, where these are at hand, source files.

    latent-matter data verify qm9-sample
    """
    specs = known_specs()
    failed = False
    for name in names or sorted(known_datasets()):
        try:
            dataset = find_dataset(name)
            print(f"{name}: {verify_dataset(dataset, specs.get(name), source)}")
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


def verify_dataset(dataset: Dataset, spec: DatasetSpec | None, source: Path | None = None) -> str:
    """One line on a data set that is whole. Raises DatasetError when it is not what its card, spec or source says."""
    structures, labels, card = dataset.structures(), dataset.labels(), dataset.card
    if len(structures) != card.structures:
        raise DatasetError(f"{dataset.folder}: {len(structures)} structures, dataset.yaml says {card.structures}")
    refuse_changed_files(dataset)
    if spec is not None and not is_current(dataset, spec):
        raise DatasetError(
            f"{dataset.folder}: not made from the present spec; run `latent-matter data prepare {card.id}`"
        )
    missing = {name: int(labels[name].isna().sum()) for name in labels.columns if labels[name].isna().any()}
    note = f", missing: {missing}" if missing else ""
    damaged = f", source damaged in {len(card.damaged)} places" if card.damaged else ""
    origin = "" if spec is None else f"; {_verify_source(card, spec, source)}"
    return f"{len(structures)} structures and {len(labels.columns)} labels as the card says{note}{damaged}{origin}"


def _verify_source(card: DatasetCard, spec: DatasetSpec, source: Path | None) -> str:
    """Whether the source files are those that were read. Raises DatasetError when one is another one now."""
    try:
        found = find_sources(spec, source, None)
    except MissingSourceError:
        return "source files are not at hand"
    for each in found:
        known = card.source.files.get(each.file.file)
        if known is not None and each.sha256 and each.sha256 != known:
            raise DatasetError(f"{each.path}: SHA-256 is {each.sha256}, the card of {card.id} says {known}")
    return f"{len(found)} source files as the card says"


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Card, sizes, elements and the spread of every label, as JSON values."""
    structures, labels = dataset.structures(), dataset.labels()
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
        **_sizes(structures),
        "reduced_formulas": len(set(structures.reduced_formulas())),
        "ranges": ranges,
    }


def _sizes(structures: Structures) -> dict[str, Any]:
    """How large structures are and what they consist of: atoms of elements, or residues."""
    residues = len(structures.numbers) == 0 and structures.sequences is not None
    sizes = np.array([len(each) for each in structures.sequences or ()]) if residues else np.diff(structures.offsets)
    spread = {"min": int(sizes.min()), "median": float(np.median(sizes)), "max": int(sizes.max())}
    if residues:
        return {"residues": spread}
    present = np.unique(structures.numbers)
    return {
        "atoms": spread,
        "elements": len(present),
        "symbols": " ".join(chemical_symbols[number] for number in present),
        "charged": None if structures.charges is None else int((structures.charges != 0).sum()),
        "open_shell": None if structures.spins is None else int((structures.spins > 1).sum()),
    }


def _specs(names: list[str], suite: str | None) -> list[DatasetSpec]:
    if bool(names) == (suite is not None):
        raise InvalidFileError("data prepare: accepted are names of data sets, or --suite")
    if suite is None:
        return [find_spec(name) for name in names]
    known = known_specs()
    return [known[name] for name in find_suite(suite).datasets() if name in known]
