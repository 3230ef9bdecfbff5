"""Runs ended by signals: nothing of them runs on, and the next run gives the tables of an undisturbed one."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.end_to_end.disturbed import Copy, assert_next_run_is_undisturbed, processes_of, start

pytestmark = pytest.mark.slow


CHECKING, EMBEDDING = "work/conformance-*/first/output/*", "work/*/output/shard-*"
STORING, SCORING = "features/*/*.json", "products/*/*/*.json"


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        *((moment, signal.SIGKILL) for moment in (CHECKING, EMBEDDING, STORING, SCORING)),
        *((moment, signal.SIGTERM) for moment in (EMBEDDING, SCORING)),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else value.partition("/")[0],
)
def test_a_run_that_is_ended_leaves_no_process_and_nothing_half_done(
    fresh_board: Copy, finished_board: Path, moment: str, number: signal.Signals
) -> None:
    folder = fresh_board()
    run = start(folder)
    run.wait_for(moment)
    run.process.send_signal(number)
    run.finish()
    for _ in range(100):
        if not processes_of(folder):
            break
        time.sleep(0.1)
    assert not processes_of(folder)
    for path in (folder / "results").rglob("*.json"):
        json.loads(path.read_text())  # whatever is there is whole
    assert_next_run_is_undisturbed(folder, finished_board)
