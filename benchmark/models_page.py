"""docs/models.md: every family and checkpoint as declared, and what was really run.

Rendered by `scripts/make_models_page` from the submissions and the observations of `latent-matter check --save`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement

from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.header import read_header
from benchmark.observations import Observation
from benchmark.submission import (
    Entry,
    Family,
    HuggingFaceCheckpoint,
    LayerDeclaration,
    LocalCheckpoint,
    Model,
    NoCheckpoint,
    PackageCheckpoint,
)

# What every environment holds; the rest tells environments apart.
COMMON_PACKAGES = ("ase", "numpy", "safetensors")
HEAD = ["model", "checkpoint", "parameters", "backbone", "last_layer", "equivariant", "run with", "seen"]
NEVER = "never run"


def render(entries: Mapping[str, Entry], observations: Mapping[str, Observation]) -> str:
    """The page, in Markdown; ends in a line break."""
    families = {entry.family.folder.name: entry.family for entry in entries.values()}
    sections = [_introduction(entries, observations), _overview(families, entries, observations)]
    for name, family in sorted(families.items()):
        members = [entry for entry in entries.values() if entry.family.folder.name == name]
        sections.append(_family(family, members, observations))
    return "\n\n".join(sections) + "\n"


def _introduction(entries: Mapping[str, Entry], observations: Mapping[str, Observation]) -> str:
    ran = {name: run_with(entry, observations.get(name)) for name, entry in entries.items()}
    never = sum(text == NEVER for text in ran.values())
    untrained = sum(text in (UNTRAINED, NO_WEIGHTS) for text in ran.values())
    return f"""# Models

Written by `scripts/make_models_page` from `submissions/*/submission.yaml` and `docs/models_observed.json`, which
`latent-matter check FAMILY --save docs/models_observed.json` writes; neither is edited by hand.

{len(entries)} models: {len(entries) - never - untrained} have run with trained weights, {untrained} without any
(freshly initialised networks and descriptors), {never} never. "Run" means that every conformance check was carried out
on the network; "seen" says what came of it, when it was first seen so, and the largest deviation of its energies from
the package's own calculator in eV/atom where it gives energies."""


def _overview(
    families: Mapping[str, Family], entries: Mapping[str, Entry], observations: Mapping[str, Observation]
) -> str:
    rows = []
    for name, family in sorted(families.items()):
        ran = [
            run_with(entry, observations.get(id)) for id, entry in entries.items() if entry.family.folder.name == name
        ]
        trained = sum(text not in (NEVER, UNTRAINED, NO_WEIGHTS) for text in ran)
        untrained = sum(text in (UNTRAINED, NO_WEIGHTS) for text in ran)
        rows.append(
            [
                f"[{name}](#{name})",
                family.submission.title,
                *map(str, (len(ran), trained, untrained)),
                str(ran.count(NEVER)),
            ]
        )
    return _table(["family", "title", "models", "run trained", "run untrained", "never run"], rows)


def _family(family: Family, members: Sequence[Entry], observations: Mapping[str, Observation]) -> str:
    submission = family.submission
    weights = f"; weights {submission.licence.weights}" if submission.licence.weights else ""
    facts = [
        f"## {family.folder.name}",
        f"{submission.title}. Symmetry {submission.symmetry}, reads {submission.modality}. "
        f"Licence: code {submission.licence.code}{weights}.",
        f"Environment: {environment_of(family)}.",
        _table(HEAD, [_row(entry, observations.get(entry.model.id)) for entry in members]),
    ]
    return "\n\n".join(facts)


def _row(entry: Entry, seen: Observation | None) -> list[str]:
    model = entry.model
    layers = [_layer(model.layers.get(name)) for name in ("backbone", "last_layer", "equivariant")]
    parameters = "" if model.parameters is None else f"{model.parameters:,}"
    return [model.id, checkpoint_of(model), parameters, *layers, run_with(entry, seen), _seen(entry, seen)]


UNTRAINED = "untrained weights"
NO_WEIGHTS = "no weights"


def run_with(entry: Entry, seen: Observation | None) -> str:
    """Which weights the model ran with."""
    checkpoint = entry.model.checkpoint
    if seen is None:
        return NEVER
    if entry.model.control == "random":
        return UNTRAINED  # whatever it loads: some take the shape of the network from a checkpoint
    if seen.weights_sha256 is None:
        return UNTRAINED if entry.model.parameters else NO_WEIGHTS
    if isinstance(checkpoint, NoCheckpoint):
        return f"weights {seen.weights_sha256[:12]}, no longer declared"
    if checkpoint.sha256 is None:
        return f"weights {seen.weights_sha256[:12]}, SHA-256 not declared"
    return (
        "declared weights" if checkpoint.sha256 == seen.weights_sha256 else f"other weights {seen.weights_sha256[:12]}"
    )


def _seen(entry: Entry, seen: Observation | None) -> str:
    if seen is None:
        return ""
    parts = [f"{seen.outcome} {seen.date}"]
    if seen.energy_deviation is not None:
        parts.append(f"{seen.energy_deviation:.1e} eV/atom")
    if seen.reason is not None:
        parts.append(seen.reason)
    if seen.adapter != entry.family.tree_hash():
        parts.append("by an earlier adapter")
    return ", ".join(parts)


def checkpoint_of(model: Model) -> str:
    """Where the checkpoint comes from, in a few words."""
    checkpoint = model.checkpoint
    if isinstance(checkpoint, NoCheckpoint):
        return "none"
    if isinstance(checkpoint, PackageCheckpoint):
        return f"in the package: {checkpoint.file}"
    if isinstance(checkpoint, HuggingFaceCheckpoint):
        names = checkpoint.file or f"{len(checkpoint.files or [])} files"
        revision = "" if checkpoint.revision is None else f" at {checkpoint.revision[:8]}"
        return f"Hugging Face {checkpoint.repository}{revision}: {names}" + (" (gated)" if checkpoint.gated else "")
    if isinstance(checkpoint, LocalCheckpoint):
        return f"a file of one's own: {checkpoint.file}"
    return f"[{checkpoint.file}]({checkpoint.url})"


def environment_of(family: Family) -> str:
    """Python and the pinned packages that set the environment apart."""
    try:
        header = read_header(family.adapter)
    except EmbeddingError as error:
        return f"not readable: {error.message}"
    pins = [Requirement(text) for text in header.dependencies]
    shown = sorted(
        {f"{pin.name} {next(iter(pin.specifier)).version}" for pin in pins if pin.name not in COMMON_PACKAGES}
    )
    return ", ".join([f"Python {header.requires_python}", *shown])


def _layer(layer: LayerDeclaration | None) -> str:
    if layer is None:
        return ""
    shape = str(layer.dimension) if layer.irreps is None else layer.irreps
    return shape if layer.level == "atom" else f"{shape} a structure"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def page_files(root: Path) -> tuple[Path, Path]:
    """The page and the observations, below the repository's root."""
    return root / "docs" / "models.md", root / "docs" / "models_observed.json"
