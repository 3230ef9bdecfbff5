"""What a Dask worker is asked to call. The scheduler imports this module too, so it imports nothing heavy itself."""

from __future__ import annotations

import pickle
from typing import Any

from benchmark.threads import one_thread


def attempt(content: bytes) -> tuple[Any, Exception | None]:
    """The value of a pickled (function, task), or what it raised; raises itself what another machine may not meet.

    Content is pickled apart, because a scheduler unpickles the arguments of every task, and would import torch.
    """
    try:
        function, task = pickle.loads(content)
        with one_thread():  # as in the processes of a local run
            return function(task), None
    except (OSError, MemoryError):
        raise
    except Exception as error:
        return None, error
