import json
from pathlib import Path

import pytest

from benchmark.journal import Journal, Watched, runs
from benchmark.run_report import as_markdown, read_report, write_report
from benchmark.schema import InvalidFileError


class Named:
    units = 2

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name, self.error = name, error

    def __call__(self, report) -> str:  # type: ignore[no-untyped-def]
        report(0.5)
        if self.error is not None:
            raise self.error
        return self.name

    def __str__(self) -> str:
        return self.name


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal.of_new_run(tmp_path, "toy")
    made.write("run", suite="toy@1", structures={}, executor="2 jobs", machine="a machine")
    made.write("stage", stage="Scoring", total=3)
    return made


def test_a_report_counts_tasks_failures_and_lost_attempts(journal: Journal, tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    watched = Watched("Scoring", journal, lambda *at: seen.append(at))
    assert watched(Named("a")) == "a"
    with pytest.raises(ValueError, match="wrong"):
        watched(Named("b", ValueError("wrong\nin two lines")))
    # c was given to a process that was killed, in the middle of a line, and then to this one
    lost = {"time": 1.0, "event": "started", "stage": "Scoring", "task": "c", "host": "elsewhere", "pid": 7}
    line = json.dumps({**lost, "core_seconds": 0.0, "peak_memory_mb": 9e6})
    (journal.folder / "elsewhere-7.jsonl").write_text(f"{line}\n{line[:40]}")
    watched(Named("c"))
    journal.write("ended", state="done")
    report = read_report(runs(tmp_path)[-1])
    assert (report.state, report.lost_attempts, report.machines, report.peak_memory_mb) == ("done", 1, 2, 9e6)
    (stage,) = report.stages
    assert (stage.tasks, stage.finished, stage.failed) == (3, 3, 1)
    (kind,) = report.kinds
    assert (kind.kind, kind.tasks, kind.units) == ("Named", 3, 6)
    assert [(each.task, each.reason) for each in report.failures] == [("b", "ValueError: wrong in two lines")]
    assert seen == [("a", 0.5), ("b", 0.5), ("c", 0.5)]
    write_report(tmp_path / "report", report)
    assert json.loads((tmp_path / "report" / "report.json").read_text())["lost_attempts"] == 1
    assert "b: ValueError: wrong in two lines" in (tmp_path / "report" / "report.md").read_text()


def test_a_run_under_way_shows_what_is_running(journal: Journal) -> None:
    journal.write("started", stage="Scoring", task="slow")
    journal.write("progress", stage="Scoring", task="slow", share=0.25)
    report = read_report(journal.folder)
    assert report.state == "running"
    assert [(each.task, each.share) for each in report.running] == [("slow", 0.25)]
    assert report.lost_attempts == 0


def test_a_run_whose_process_is_gone_is_lost(journal: Journal) -> None:
    (path,) = journal.folder.glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**line, "pid": 2**22 + 1}) + "\n" for line in lines))
    assert read_report(journal.folder).state == "lost"
    assert "lost after" in as_markdown(read_report(journal.folder))


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match="no journal of a run"):
        read_report(tmp_path)


def test_a_watched_function_can_be_sent_to_another_process(journal: Journal) -> None:
    import pickle

    sent = pickle.loads(pickle.dumps(Watched("Scoring", journal, lambda *_: None)))
    assert sent.update is None
    assert sent(Named("there")) == "there"
