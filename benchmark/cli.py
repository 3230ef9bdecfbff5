"""The command line: parses, calls, prints. Exit code 0: done, 1: something failed, 2: wrong use."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Annotated

import typer

from benchmark import pipeline
from benchmark.bundle import read_bundle, write_bundle
from benchmark.commands.common import (
    RESULTS,
    SUBMISSIONS,
    WORK,
    AcceleratorOption,
    CheckpointOption,
    JobsOption,
    JsonFlag,
    LimitOption,
    ModelsOption,
    OfflineFlag,
    ResultsOption,
    SandboxOption,
    SubmissionsOption,
    SuiteOption,
    TimeoutOption,
    WorkOption,
    print_table,
    say,
    settings_of,
    submissions_in,
    suite_called,
    wanted_models,
    wrong_use,
)
from benchmark.commands.data import data
from benchmark.commands.listing import listing
from benchmark.commands.operation import ExecutorOption, LogFormatOption, SchedulerOption, operated, status
from benchmark.commands.plan import plan
from benchmark.commands.publishing import publish_results, pull_results
from benchmark.commands.weights import weights
from benchmark.comparison import compare_files, compare_models, write_table
from benchmark.export import export_results
from benchmark.observations import save_observations
from benchmark.publishing.audit import audited
from benchmark.reporting import TerminalProgress
from benchmark.results.records import write_record
from benchmark.scaffold import new_submission
from benchmark.schema import InvalidFileError

# What the machine and not the benchmark is to blame for: a full or read-only disk, a quota, no right to write.
MACHINE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(listing, name="list")
app.add_typer(data, name="data")
app.command()(weights)
app.command()(plan)
app.command()(status)
app.command("publish")(publish_results)
app.command("pull")(pull_results)


def main() -> None:
    """Entry point of `latent-matter`."""
    try:
        app()
    except InvalidFileError as error:
        say(str(error))
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        raise SystemExit(1) from None
    except OSError as error:
        if error.errno not in MACHINE_ERRORS:
            raise
        place = f"{error.filename}: " if error.filename is not None else ""
        say(f"{place}{error.strerror}; run the same command again to go on")
        raise SystemExit(1) from None


@app.command()
def run(
    suite: SuiteOption = "quick",
    limit: LimitOption = None,
    models: ModelsOption = None,
    submissions: SubmissionsOption = SUBMISSIONS,
    work: WorkOption = WORK,
    results: ResultsOption = RESULTS,
    accelerator: AcceleratorOption = "auto",
    jobs: JobsOption = None,
    timeout: TimeoutOption = 900.0,
    checkpoint: CheckpointOption = None,
    offline: OfflineFlag = False,
    sandbox: SandboxOption = "auto",
    executor: ExecutorOption = "local",
    scheduler: SchedulerOption = None,
    log_format: LogFormatOption = "text",
) -> None:
    """Check, embed and score models and write the tables.

    Interrupted work resumes, finished work is not done again:

        latent-matter run --suite quick
        latent-matter run --suite quick --models chgnet-0.3.0,sevennet-0
        latent-matter run --suite qm9 --limit 500    # a trial run, whose results have no ranks
        latent-matter run --suite quick --executor dask --scheduler tcp://10.0.0.1:8786
    """
    chosen = suite_called(suite, limit)
    entries, broken = submissions_in(submissions)
    settings = settings_of(work, results, accelerator, jobs, timeout, checkpoint, offline, entries, sandbox)
    wanted = wanted_models(models, entries, broken)
    with operated(settings, chosen, submissions, executor, scheduler, log_format) as (settings, progress):
        records = pipeline.run(chosen, entries, broken, settings, progress, wanted)
    failed = [record for record in records if record.status != "ok"]
    for record in failed:
        say(f"{record.status}: {record.model}: {record.reason}")
    print(f"{len(records) - len(failed)} of {len(records)} models scored; tables in {results / 'tables'}")
    print(f"report in {results / chosen.key / 'report.md'}")
    raise SystemExit(1 if failed else 0)


@app.command()
def embed(
    suite: SuiteOption = "quick",
    limit: LimitOption = None,
    models: ModelsOption = None,
    submissions: SubmissionsOption = SUBMISSIONS,
    work: WorkOption = WORK,
    accelerator: AcceleratorOption = "auto",
    jobs: JobsOption = None,
    timeout: TimeoutOption = 900.0,
    checkpoint: CheckpointOption = None,
    offline: OfflineFlag = False,
    sandbox: SandboxOption = "auto",
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Also embed what the models are compared with; copy all here.")
    ] = None,
    executor: ExecutorOption = "local",
    scheduler: SchedulerOption = None,
    log_format: LogFormatOption = "text",
    as_json: JsonFlag = False,
) -> None:
    """Check and embed models on the data sets of a suite, without scoring them.

    latent-matter embed --suite quick --models chgnet-0.3.0
    latent-matter embed --suite quick --models my-model --bundle bundle    # to score on another machine
    """
    chosen = suite_called(suite, limit)
    entries, broken = submissions_in(submissions)
    settings = settings_of(work, RESULTS, accelerator, jobs, timeout, checkpoint, offline, entries, sandbox)
    wanted = wanted_models(models, entries, broken)
    selected = pipeline.select_models(chosen, entries, wanted)
    if wanted is not None and bundle is None:
        selected = wanted
    with operated(settings, chosen, submissions, executor, scheduler, log_format, scored=False) as (settings, progress):
        done = pipeline.embed_models(chosen, entries, selected, settings, progress)
    if bundle is not None:
        write_bundle(bundle, chosen, wanted or selected, done, work)
        # What failed is in the bundle, and becomes a failed record where it is scored.
        raise SystemExit(0)
    if as_json:
        print(json.dumps({f"{model} {name}": side.key for (model, name), side in done.sidecars.items()}, indent=2))
    for model, reason in done.failures.items():
        say(f"failed: {model}: {reason}")
    for (model, name), reason in done.missing.items():
        if model not in done.failures:
            say(f"partial: {model} has no features on {name}: {reason}")
    raise SystemExit(1 if done.failures or done.missing or (broken and wanted is None) else 0)


@app.command()
def score(
    suite: SuiteOption = "quick",
    limit: LimitOption = None,
    submissions: SubmissionsOption = SUBMISSIONS,
    work: WorkOption = WORK,
    results: ResultsOption = RESULTS,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Score the models of this bundle of features.")
    ] = None,
    accelerator: AcceleratorOption = "auto",
    jobs: JobsOption = None,
    executor: ExecutorOption = "local",
    scheduler: SchedulerOption = None,
    log_format: LogFormatOption = "text",
) -> None:
    """Score the models whose features are in the work folder or in a bundle; starts no model.

    Features that were made on a GPU are scored anywhere with --accelerator cuda.

    latent-matter score --suite quick
    latent-matter score --suite quick --bundle bundle
    """
    chosen = suite_called(suite, limit)
    entries, _ = submissions_in(submissions)
    settings = settings_of(bundle or work, results, accelerator, jobs, 900.0, None, True, entries)
    with operated(settings, chosen, submissions, executor, scheduler, log_format, models=False) as (settings, progress):
        if bundle is None:
            records = pipeline.score_embedded(chosen, entries, settings, progress)
        else:
            wanted, embedded = read_bundle(bundle, chosen)
            records = pipeline.score_bundle(chosen, entries, wanted, embedded, settings, progress)
            # Audited here, so that the records that a workflow attests are to the byte those that are published.
            for record in records:
                write_record(settings.record_path(chosen, record.model), audited(record, entries, bundle))
            export_results(results, entries)
    failed = [record for record in records if record.status == "failed"]
    for record in failed:
        say(f"failed: {record.model}: {record.reason}")
    print(f"{len(records) - len(failed)} of {len(records)} models scored; records in {results / chosen.key}")
    # Of a bundle, a model that failed is a result like another one: it is published with its reason.
    raise SystemExit(1 if failed and bundle is None else 0)


@app.command()
def export(results: ResultsOption = RESULTS, submissions: SubmissionsOption = SUBMISSIONS) -> None:
    """Derive the tables (CSV and Parquet) from the records of a results folder.

    latent-matter export --results results
    """
    entries, _ = submissions_in(submissions)
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
        say(str(error))
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
    sandbox: SandboxOption = "auto",
    as_json: JsonFlag = False,
    save: Annotated[Path | None, typer.Option("--save", help="Add what was seen to this file of observations.")] = None,
) -> None:
    """Check a submission: its YAML, its header, and every conformance check on a network that runs.

    latent-matter check chgnet
    latent-matter check chgnet --save docs/models_observed.json
    """
    entries, broken = submissions_in(submissions, report=False)
    for submission in broken:
        if submission.folder.name == family:
            say(submission.message)
            raise SystemExit(1)
    members = {name: entry for name, entry in entries.items() if entry.family.folder.name == family}
    if not members:
        known = ", ".join(sorted({entry.family.folder.name for entry in entries.values()}))
        wrong_use(f"{submissions / family / 'submission.yaml'}: no such submission; known families: {known}")
    wanted = wanted_models(models, members, []) or sorted(members)
    settings = settings_of(work, RESULTS, accelerator, jobs, timeout, checkpoint, offline, entries, sandbox)
    with TerminalProgress() as progress:
        done = pipeline.check_models(members, wanted, settings, progress)
    if save is not None:
        seen = {name: checks for name, checks in done.checks.items() if name not in done.not_at_hand}
        save_observations(save, members, seen, settings.embedding)
    if as_json:
        print(
            json.dumps({name: [each.model_dump() for each in found] for name, found in done.checks.items()}, indent=2)
        )
    else:
        for name, found in done.checks.items():
            if name in done.not_at_hand:
                continue
            columns = ["check", "status", "measured", "tolerance", "detail"]
            cells = [[each.id, each.status, each.measured, each.tolerance, each.detail] for each in found]
            print_table(columns, cells, title=name)
    for name, reason in done.failures.items():
        say(f"{'not checked' if name in done.not_at_hand else 'failed'}: {name}: {reason}")
    absent = len(done.not_at_hand)
    if not as_json:
        unseen = f", {absent} not checked because their weights are not at hand" if absent else ""
        print(f"{family}: {len(wanted) - len(done.failures)} of {len(wanted)} models passed{unseen}")
    raise SystemExit(1 if len(done.failures) > absent or absent == len(wanted) else 0)


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
        wrong_use(f"--out: found {out.name!r}, accepted is a name that ends in .csv or .parquet")
    paths = [Path(name) for name in given]
    if all(path.is_file() for path in paths):
        frame = compare_files(paths, k, permutations)
    else:
        chosen = suite_called(suite)
        entries, _ = submissions_in(submissions, report=False)
        unknown = [name for name in given if name not in entries]
        if unknown:
            wrong_use(f"{', '.join(unknown)}: neither a file nor a model; models: {', '.join(sorted(entries))}")
        if len(given) != 2:
            wrong_use(f"compare: found {len(given)} models, accepted are two models or any number of feature files")
        settings = settings_of(work, RESULTS, accelerator, None, 900.0, None, False, entries, "auto")
        with TerminalProgress() as progress:
            frame = compare_models(chosen, entries, given[0], given[1], settings, progress)
    if out is not None:
        write_table(out, frame)
    if as_json:
        print(frame.to_json(orient="records", indent=2))
        return
    cells = frame.astype(object).where(frame.notna(), None)
    print_table(list(frame.columns), cells.to_numpy().tolist())


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


if __name__ == "__main__":
    main()
