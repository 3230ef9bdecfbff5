"""Runs ended by signals: nothing of them runs on, and the next run gives the tables of an undisturbed one."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.end_to_end.disturbed import Copy, assert_next_run_is_undisturbed, processes_of, start

pytestmark = pytest.mark.slow


# In the order of a run, so that each run gets further than the one before.
MOMENTS = (
    "work/conformance-*/first/output/*",  # adapters are checked
    "work/*/output/shard-*",  # models embed
    "features/*/*.json",  # features are stored
    "products/*/*/*.json",  # scores are computed
)


@pytest.mark.parametrize("first", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_runs_that_are_ended_leave_no_process_and_nothing_half_done(
    fresh_board: Copy, finished_board: Path, first: signal.Signals
) -> None:
    folder = fresh_board()
    second = ({signal.SIGKILL, signal.SIGTERM} - {first}).pop()
    for moment, number in zip(MOMENTS, (first, second) * 2, strict=True):
        run = start(folder)
        run.wait_for(moment)
        run.process.send_signal(number)
        code, said = run.finish()
        assert code != 0, said
        for _ in range(100):
            if not processes_of(folder):
                break
            time.sleep(0.1)
        assert not processes_of(folder), moment
        for path in (folder / "results").rglob("*.json"):
            json.loads(path.read_text())  # whatever is there is whole
    assert_next_run_is_undisturbed(folder, finished_board)
