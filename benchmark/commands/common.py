"""What the commands share: options, what they mean, and how results are printed."""

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
from benchmark.datasets.store import find_datasets
from benchmark.embedding.machine import Accelerator, find_device
from benchmark.embedding.sandbox import SANDBOX_MODES, SandboxMode, choose_sandbox, why_no_sandbox
from benchmark.execution import available_cores
from benchmark.limiting import limited_suite
from benchmark.schema import InvalidFileError
from benchmark.submission import BrokenSubmission, Entry, load_submissions
from benchmark.suite import Suite, find_suite

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SubmissionsOption = Annotated[Path, typer.Option("--submissions", help="Folder of the submissions.")]
WorkOption = Annotated[Path, typer.Option("--work", help="Folder for environments, features and other products.")]
ResultsOption = Annotated[Path, typer.Option("--results", help="Folder for records and tables.")]
SuiteOption = Annotated[str, typer.Option("--suite", help="Id of a suite.")]
LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, help="A trial run on at most so many structures of each data set; its results have no ranks."
    ),
]
ModelsOption = Annotated[
    str | None, typer.Option("--models", help="Comma-separated model ids; the suite's own selection where not given.")
]
AcceleratorOption = Annotated[str, typer.Option("--accelerator", help="auto, cpu or cuda.")]
JobsOption = Annotated[int | None, typer.Option("--jobs", min=1, help="Tasks at once; the number of cores by default.")]
SandboxOption = Annotated[
    str,
    typer.Option(
        "--sandbox",
        help="What holds models: auto (the strongest that works here), required (a container or bubblewrap, or "
        "nothing runs), none (a plain process with limits).",
    ),
]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=1, help="Seconds that a model may make no progress.")]
CheckpointOption = Annotated[
    list[str] | None,
    typer.Option("--checkpoint", help="MODEL=PATH: use a local file or folder for a model's checkpoint."),
]
OfflineFlag = Annotated[bool, typer.Option("--offline", help="Fetch no weights; use those that are here.")]

SUBMISSIONS = Path("submissions")
WORK = Path(".latent-matter")
RESULTS = Path("results")


def print_rows(rows: Sequence[Mapping[str, object]], as_json: bool) -> None:
    """Rows as a table for people or as JSON for programs."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
        return
    print_table(list(rows[0]) if rows else ["nothing found"], [list(row.values()) for row in rows])


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
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


def suite_called(name: str, limit: int | None = None) -> Suite:
    """The suite called `name`, or a trial run of it on `limit` structures a data set; an unknown one is wrong use.

    Raises DatasetError, which says how to get them, when data sets of the suite are not prepared.
    """
    try:
        suite = find_suite(name)
    except InvalidFileError as error:
        wrong_use(str(error))
    if limit is not None:
        return limited_suite(suite, limit)
    find_datasets(suite.datasets())
    return suite


def submissions_in(root: Path, report: bool = True) -> tuple[dict[str, Entry], list[BrokenSubmission]]:
    """The models below `root` and the folders that could not be read, which are named on stderr."""
    if not root.is_dir():
        wrong_use(f"{root}: no such folder of submissions; run this in the repository or give --submissions")
    entries, broken = load_submissions(root)
    if report:
        for submission in broken:
            say(submission.message)
    return entries, broken


def wanted_models(
    models: str | None, entries: dict[str, Entry], broken: Sequence[BrokenSubmission]
) -> list[str] | None:
    """The models that `--models` names; an unknown one is wrong use."""
    if models is None:
        return None
    wanted = [name.strip() for name in models.split(",") if name.strip()]
    for submission in broken:
        if set(submission.models) & set(wanted):
            raise InvalidFileError(submission.message)
    unknown = sorted(set(wanted) - set(entries))
    if unknown or not wanted:
        wrong_use(f"--models: {', '.join(unknown) or 'empty'}: unknown; known: {', '.join(sorted(entries))}")
    return wanted


def settings_of(
    work: Path,
    results: Path,
    accelerator: str,
    jobs: int | None,
    timeout: float,
    checkpoint: Sequence[str] | None,
    offline: bool,
    entries: dict[str, Entry],
    sandbox: str | None = None,
) -> pipeline.Settings:
    """The settings that the options give. sandbox: None for commands that start no model."""
    if accelerator not in Accelerator.__args__:  # type: ignore[attr-defined]
        wrong_use(f"--accelerator: found {accelerator!r}, accepted are auto, cpu, cuda")
    checkpoints = {}
    for given in checkpoint or []:
        model, separator, file = given.partition("=")
        if not separator or model not in entries:
            wrong_use(f"--checkpoint: found {given!r}, accepted is MODEL=PATH with a known model")
        if not Path(file).exists():
            wrong_use(f"--checkpoint: {file}: no such file or folder")
        checkpoints[model] = Path(file).absolute()
    return pipeline.Settings(
        work=work,
        results=results,
        accelerator=accelerator,  # type: ignore[arg-type]
        jobs=jobs or available_cores(),
        timeout=timeout,
        checkpoints=checkpoints,
        offline=offline,
        sandbox=_sandbox(sandbox, accelerator),
    )


def _sandbox(given: str | None, accelerator: str) -> SandboxMode:
    """The mode that `given` names. Says in one line when `auto` finds no sandbox.

    Raises NoSandboxError when `required` finds none.
    """
    if given not in (*SANDBOX_MODES, None):
        wrong_use(f"--sandbox: found {given!r}, accepted are {', '.join(SANDBOX_MODES)}")
    mode = given or "auto"
    cuda = given is not None and find_device(accelerator) == "cuda"  # type: ignore[arg-type]
    if given == "required":
        choose_sandbox("required", cuda)
    elif given == "auto" and (reason := why_no_sandbox(cuda)) is not None:
        say(reason)
    return mode


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def say(line: str) -> None:
    """Print a line to stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(line, markup=False)


def wrong_use(line: str) -> NoReturn:
    """Print a line to stderr and end with the exit code of wrong use."""
    say(line)
    raise SystemExit(2)
