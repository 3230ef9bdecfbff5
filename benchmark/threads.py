"""How many threads linear algebra takes: the number decides the last bits of a matrix product."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for every linear-algebra library within, and as many as before afterwards.

    Also for what changes the number of another library: UMAP leaves OpenMP, and so torch, with one a core.
    """
    # here, because a scheduler imports this module and needs neither
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)
