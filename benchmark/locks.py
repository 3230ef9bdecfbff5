"""One computation at a time, as long as the one that computes is alive.

A file lock alone would let a process that was stopped, or that a network file system still believes in, hold up all
others for ever. So a holder touches its lock file now and then, and whoever waits for a lock that has not been
touched for a while goes on without it. All products are named by their content and written at once, so what is
computed twice is the same product.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

TOUCH_SECONDS = 5.0
"""How often a holder touches its locks."""
LOST_SECONDS = 60.0
"""A holder that has not touched its lock for so long counts as lost; network file systems show times late."""
LOOK_SECONDS = 1.0

_held: set[Path] = set()
_changed = threading.Lock()
_toucher: tuple[int, threading.Thread] | None = None


@contextlib.contextmanager
def computing_alone(path: Path) -> Iterator[bool]:
    """Hold the lock file `path`, or go on without it when its holder is lost. Yields whether it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    held = _acquire(lock, path)
    if held:
        _touch_from_now_on(path)
    try:
        yield held
    finally:
        if held:
            with _changed:
                _held.discard(path)
            lock.release()


def _acquire(lock: FileLock, path: Path) -> bool:
    # The times that the file system gives are compared with each other only: clocks of machines differ.
    seen, since = -1.0, time.monotonic()
    while True:
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=LOOK_SECONDS)
            return True
        touched = _touched(path)
        if touched != seen:
            seen, since = touched, time.monotonic()
        elif time.monotonic() - since > LOST_SECONDS:
            return False


def _touched(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _touch_from_now_on(path: Path) -> None:
    global _toucher
    with _changed:
        _held.add(path)
        # A forked process has no threads of its parent.
        if _toucher is None or _toucher[0] != os.getpid() or not _toucher[1].is_alive():
            thread = threading.Thread(target=_touch, name="touch locks", daemon=True)
            _toucher = (os.getpid(), thread)
            thread.start()


def _touch() -> None:
    while True:
        time.sleep(TOUCH_SECONDS)
        with _changed:
            paths = list(_held)
        for path in paths:
            with contextlib.suppress(OSError):
                os.utime(path)
