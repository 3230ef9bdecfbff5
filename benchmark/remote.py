"""What a Dask worker is asked to call. The scheduler imports this module too, so it imports nothing heavy itself."""

from __future__ import annotations

import pickle
from typing import Any


def attempt(content: bytes) -> tuple[Any, Exception | None]:
    """The value of a pickled (function, task), or what it raised; raises itself what another machine may not meet.

    Content is pickled apart, because a scheduler unpickles the arguments of every task, and would import torch.
    """
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        function, task = pickle.loads(content)
        # One thread, as in the processes of a local run: the number decides the last bits of a matrix product.
        with threadpool_limits(limits=1):
            return function(task), None
    except (OSError, MemoryError):
        raise
    except Exception as error:
        return None, error
    finally:
        torch.set_num_threads(before)
