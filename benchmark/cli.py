"""The command line: parses, calls, prints. Exit code 0: done, 1: something failed, 2: wrong use."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark import pipeline
from benchmark.comparison import compare_files, compare_models, write_table
from benchmark.datasets.store import known_datasets
from benchmark.embedding.machine import Accelerator
from benchmark.execution import available_cores
from benchmark.export import export_results
from benchmark.reporting import TerminalProgress
from benchmark.scaffold import new_submission
from benchmark.schema import InvalidFileError
from benchmark.scoring.catalogue import SCORES
from benchmark.submission import BrokenSubmission, Entry, load_submissions
from benchmark.suite import Suite, find_suite, suites

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
listing = typer.Typer(no_args_is_help=True, help="List models, suites, data sets or scores.")
app.add_typer(listing, name="list")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SubmissionsOption = Annotated[Path, typer.Option("--submissions", help="Folder of the submissions.")]
WorkOption = Annotated[Path, typer.Option("--work", help="Folder for environments, features and other products.")]
ResultsOption = Annotated[Path, typer.Option("--results", help="Folder for records and tables.")]
SuiteOption = Annotated[str, typer.Option("--suite", help="Id of a suite.")]
ModelsOption = Annotated[str | None, typer.Option("--models", help="Comma-separated model ids; all where not given.")]
AcceleratorOption = Annotated[str, typer.Option("--accelerator", help="auto, cpu or cuda.")]
JobsOption = Annotated[int | None, typer.Option("--jobs", min=1, help="Tasks at once; the number of cores by default.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=1, help="Seconds that a model may make no progress.")]
CheckpointOption = Annotated[
    list[str] | None, typer.Option("--checkpoint", help="MODEL=FILE: use a local file for a model's checkpoint.")
]
OfflineFlag = Annotated[bool, typer.Option("--offline", help="Fetch no weights; use those that are here.")]

SUBMISSIONS = Path("submissions")
WORK = Path(".latent-matter")
RESULTS = Path("results")


def main() -> None:
    """Entry point of `latent-matter`."""
    try:
        app()
    except InvalidFileError as error:
        _say(str(error))
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        _say("interrupted; run the same command again to go on")
        raise SystemExit(1) from None


@app.command()
def run(
    suite: SuiteOption = "quick",
    models: ModelsOption = None,
    submissions: SubmissionsOption = SUBMISSIONS,
    work: WorkOption = WORK,
    results: ResultsOption = RESULTS,
    accelerator: AcceleratorOption = "auto",
    jobs: JobsOption = None,
    timeout: TimeoutOption = 900.0,
    checkpoint: CheckpointOption = None,
    offline: OfflineFlag = False,
) -> None:
    """Check, embed and score models and write the tables.

    Interrupted work resumes, finished work is not done again:

        latent-matter run --suite quick
        latent-matter run --suite quick --models chgnet-0.3.0,sevennet-0
    """
    chosen = _suite(suite)
    entries, broken = _submissions(submissions)
    settings = _settings(work, results, accelerator, jobs, timeout, checkpoint, offline, entries)
    wanted = _wanted(models, entries, broken)
    with TerminalProgress() as progress:
        records = pipeline.run(chosen, entries, broken, settings, progress, wanted)
    failed = [record for record in records if record.status != "ok"]
    for record in failed:
        _say(f"{record.status}: {record.model}: {record.reason}")
    print(f"{len(records) - len(failed)} of {len(records)} models scored; tables in {results / 'tables'}")
    raise SystemExit(1 if failed else 0)


@app.command()
def embed(
    suite: SuiteOption = "quick",
    models: ModelsOption = None,
    submissions: SubmissionsOption = SUBMISSIONS,
    work: WorkOption = WORK,
    accelerator: AcceleratorOption = "auto",
    jobs: JobsOption = None,
    timeout: TimeoutOption = 900.0,
    checkpoint: CheckpointOption = None,
    offline: OfflineFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Check and embed models on the data sets of a suite, without scoring them.

    latent-matter embed --suite quick --models chgnet-0.3.0
    """
    chosen = _suite(suite)
    entries, broken = _submissions(submissions)
    settings = _settings(work, RESULTS, accelerator, jobs, timeout, checkpoint, offline, entries)
    wanted = _wanted(models, entries, broken)
    selected = pipeline.select_models(chosen, entries, wanted) if wanted is None else wanted
    with TerminalProgress() as progress:
        done = pipeline.embed_models(chosen, entries, selected, settings, progress)
    if as_json:
        print(json.dumps({f"{model} {name}": side.key for (model, name), side in done.sidecars.items()}, indent=2))
    for model, reason in done.failures.items():
        _say(f"failed: {model}: {reason}")
    for (model, name), reason in done.missing.items():
        if model not in done.failures:
            _say(f"partial: {model} has no features on {name}: {reason}")
    raise SystemExit(1 if done.failures or done.missing or (broken and wanted is None) else 0)


@app.command()
def score(
    suite: SuiteOption = "quick",
    submissions: SubmissionsOption = SUBMISSIONS,
    work: WorkOption = WORK,
    results: ResultsOption = RESULTS,
    jobs: JobsOption = None,
) -> None:
    """Score the models whose features are in the work folder; starts no model.

    latent-matter score --suite quick
    """
    chosen = _suite(suite)
    entries, _ = _submissions(submissions)
    settings = _settings(work, results, "auto", jobs, 900.0, None, True, entries)
    with TerminalProgress() as progress:
        records = pipeline.score_embedded(chosen, entries, settings, progress)
    failed = [record for record in records if record.status == "failed"]
    for record in failed:
        _say(f"failed: {record.model}: {record.reason}")
    print(f"{len(records) - len(failed)} of {len(records)} models scored; records in {results / chosen.key}")
    raise SystemExit(1 if failed else 0)


@app.command()
def export(results: ResultsOption = RESULTS, submissions: SubmissionsOption = SUBMISSIONS) -> None:
    """Derive the tables (CSV and Parquet) from the records of a results folder.

    latent-matter export --results results
    """
    entries, _ = _submissions(submissions)
    for path in export_results(results, entries):
        print(path)


@app.command()
def site(
    results: Annotated[Path, typer.Argument(help="Results folder, with its tables.")] = RESULTS,
    out: Annotated[Path, typer.Option("--out", help="Where to build the site.")] = Path("site"),
) -> None:
    """Build the static site from exported tables.

    latent-matter site results --out site
    """
    from leaderboard_site.build import build_site
    from leaderboard_site.tables import TableError

    try:
        print(build_site(results, out))
    except (TableError, FileExistsError) as error:
        _say(str(error))
        raise SystemExit(1) from None


@app.command()
def check(
    family: Annotated[str, typer.Argument(help="Name of a folder below submissions/.")],
    models: ModelsOption = None,
    submissions: SubmissionsOption = SUBMISSIONS,
    work: WorkOption = WORK,
    accelerator: AcceleratorOption = "auto",
    jobs: JobsOption = None,
    timeout: TimeoutOption = 900.0,
    checkpoint: CheckpointOption = None,
    offline: OfflineFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Check a submission: its YAML, its header, and every conformance check on a network that runs.

    latent-matter check chgnet
    """
    entries, broken = _submissions(submissions, say=False)
    for submission in broken:
        if submission.folder.name == family:
            _say(submission.message)
            raise SystemExit(1)
    members = {name: entry for name, entry in entries.items() if entry.family.folder.name == family}
    if not members:
        known = ", ".join(sorted({entry.family.folder.name for entry in entries.values()}))
        _usage(f"{submissions / family / 'submission.yaml'}: no such submission; known families: {known}")
    wanted = _wanted(models, members, []) or sorted(members)
    settings = _settings(work, RESULTS, accelerator, jobs, timeout, checkpoint, offline, entries)
    with TerminalProgress() as progress:
        done = pipeline.check_models(members, wanted, settings, progress)
    if as_json:
        print(
            json.dumps({name: [each.model_dump() for each in found] for name, found in done.checks.items()}, indent=2)
        )
    else:
        for name, found in done.checks.items():
            columns = ["check", "status", "measured", "tolerance", "detail"]
            cells = [[each.id, each.status, each.measured, each.tolerance, each.detail] for each in found]
            _print_table(columns, cells, title=name)
    for name, reason in done.failures.items():
        _say(f"failed: {name}: {reason}")
    if not as_json:
        print(f"{family}: {len(wanted) - len(done.failures)} of {len(wanted)} models passed")
    raise SystemExit(1 if done.failures else 0)


@app.command()
def compare(
    given: Annotated[
        list[str], typer.Argument(help="Two model ids, or files of features (.npy, .npz, .safetensors, .csv).")
    ],
    suite: SuiteOption = "quick",
    k: Annotated[int, typer.Option(min=1, help="Neighbours of cknna and mutual_knn.")] = 25,
    permutations: Annotated[int, typer.Option(min=0, help="Row permutations for the null of those two.")] = 200,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the table here (.csv or .parquet).")] = None,
    submissions: SubmissionsOption = SUBMISSIONS,
    work: WorkOption = WORK,
    accelerator: AcceleratorOption = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Print every metric of two models, or of any number of feature files of one's own.

    Files hold an array (structures, features) each, with the same structures in the same order:

        latent-matter compare mine.npy theirs.npz third.safetensors --k 10 --out table.csv
        latent-matter compare chgnet-0.3.0 chgnet-r2scan
    """
    if out is not None and out.suffix not in (".csv", ".parquet"):
        _usage(f"--out: found {out.name!r}, accepted is a name that ends in .csv or .parquet")
    paths = [Path(name) for name in given]
    if all(path.is_file() for path in paths):
        frame = compare_files(paths, k, permutations)
    else:
        chosen = _suite(suite)
        entries, _ = _submissions(submissions, say=False)
        unknown = [name for name in given if name not in entries]
        if unknown:
            _usage(f"{', '.join(unknown)}: neither a file nor a model; models: {', '.join(sorted(entries))}")
        if len(given) != 2:
            _usage(f"compare: found {len(given)} models, accepted are two models or any number of feature files")
        settings = _settings(work, RESULTS, accelerator, None, 900.0, None, False, entries)
        with TerminalProgress() as progress:
            frame = compare_models(chosen, entries, given[0], given[1], settings, progress)
    if out is not None:
        write_table(out, frame)
    if as_json:
        print(frame.to_json(orient="records", indent=2))
        return
    cells = frame.astype(object).where(frame.notna(), None)
    _print_table(list(frame.columns), cells.to_numpy().tolist())


@app.command()
def new(
    family: Annotated[str, typer.Argument(help="Name of the new family, for example my-model.")],
    submissions: SubmissionsOption = SUBMISSIONS,
) -> None:
    """Write a scaffold of a submission: a working adapter, and a submission.yaml with blanks.

    latent-matter new my-model
    """
    for path in new_submission(submissions, family):
        print(path)
    print(f"Fill in the blanks, then run: latent-matter check {family}")


@listing.command("models")
def list_models(submissions: SubmissionsOption = SUBMISSIONS, as_json: JsonFlag = False) -> None:
    """Every model that a submission declares."""
    entries, broken = _submissions(submissions)
    rows = [
        {
            "model": name,
            "family": entry.family.submission.family,
            "role": entry.model.control or "model",
            "title": entry.model.title,
            "parameters": entry.model.parameters,
            "fine_tuned_from": entry.model.fine_tuned_from,
        }
        for name, entry in sorted(entries.items())
    ]
    _list(rows, as_json)
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
    _list(rows, as_json)


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
    _list(rows, as_json)


@listing.command("scores")
def list_scores(as_json: JsonFlag = False) -> None:
    """Every score, with its direction and how to read it."""
    rows = [
        {"score": each.id, "headline": each.headline, "better": each.direction, "reading": each.reading}
        for each in SCORES.values()
    ]
    _list(rows, as_json)


def _list(rows: Sequence[Mapping[str, object]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(list(rows), indent=2))
        return
    _print_table(list(rows[0]) if rows else ["nothing found"], [list(row.values()) for row in rows])


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """A table whose first column, the identifier, is never cut."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for index, name in enumerate(columns):
        table.add_column(name, no_wrap=index == 0, overflow="fold")
    for row in rows:
        # As Text, because rich would take "[eV]" for markup.
        table.add_row(*[Text(_cell(cell)) for cell in row])
    console = Console()
    # A pipe has no width of its own, and what reads it wants whole lines.
    Console(width=console.width if console.is_terminal else 200).print(table)


def _suite(name: str) -> Suite:
    try:
        return find_suite(name)
    except InvalidFileError as error:
        _usage(str(error))


def _submissions(root: Path, say: bool = True) -> tuple[dict[str, Entry], list[BrokenSubmission]]:
    if not root.is_dir():
        _usage(f"{root}: no such folder of submissions; run this in the repository or give --submissions")
    entries, broken = load_submissions(root)
    if say:
        for submission in broken:
            _say(submission.message)
    return entries, broken


def _wanted(models: str | None, entries: dict[str, Entry], broken: Sequence[BrokenSubmission]) -> list[str] | None:
    if models is None:
        return None
    wanted = [name.strip() for name in models.split(",") if name.strip()]
    for submission in broken:
        if set(submission.models) & set(wanted):
            raise InvalidFileError(submission.message)
    unknown = sorted(set(wanted) - set(entries))
    if unknown or not wanted:
        _usage(f"--models: {', '.join(unknown) or 'empty'}: unknown; known: {', '.join(sorted(entries))}")
    return wanted


def _settings(
    work: Path,
    results: Path,
    accelerator: str,
    jobs: int | None,
    timeout: float,
    checkpoint: Sequence[str] | None,
    offline: bool,
    entries: dict[str, Entry],
) -> pipeline.Settings:
    if accelerator not in Accelerator.__args__:  # type: ignore[attr-defined]
        _usage(f"--accelerator: found {accelerator!r}, accepted are auto, cpu, cuda")
    checkpoints = {}
    for given in checkpoint or []:
        model, separator, file = given.partition("=")
        if not separator or model not in entries:
            _usage(f"--checkpoint: found {given!r}, accepted is MODEL=FILE with a known model")
        if not Path(file).is_file():
            _usage(f"--checkpoint: {file}: no such file")
        checkpoints[model] = Path(file).absolute()
    return pipeline.Settings(
        work=work,
        results=results,
        accelerator=accelerator,  # type: ignore[arg-type]
        jobs=jobs or available_cores(),
        timeout=timeout,
        checkpoints=checkpoints,
        offline=offline,
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _say(line: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(line, markup=False)


def _usage(line: str) -> NoReturn:
    _say(line)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
