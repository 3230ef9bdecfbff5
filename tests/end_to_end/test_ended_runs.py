"""Runs ended by signals: nothing of them runs on, and the next run gives the tables of an undisturbed one."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.end_to_end.disturbed import Copy, assert_next_run_is_undisturbed, processes_of, start

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("moment", ["work/conformance-*/first/output/*", "work/*/output/shard-*", "features/*/*.json"])
def test_a_run_that_is_ended_leaves_no_process_and_nothing_half_done(
    fresh_board: Copy, finished_board: Path, number: signal.Signals, moment: str
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
    assert_next_run_is_undisturbed(folder, finished_board)
