import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmark.embedding.batching import pack, shards


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 100))
def test_every_structure_is_in_one_batch_and_no_batch_is_too_large(sizes: list[int], limit: int) -> None:
    atoms = np.array(sizes, dtype=np.int64)
    batches = pack(range(len(sizes)), atoms, limit)
    assert sorted(index for batch in batches for index in batch) == list(range(len(sizes)))
    assert all(len(batch) == 1 or atoms[batch].sum() <= limit for batch in batches)
    assert batches == pack(list(reversed(range(len(sizes)))), atoms, limit)


def test_similar_sizes_go_together() -> None:
    assert pack(range(5), np.array([1, 9, 2, 9, 1]), 10) == [[1], [3], [2, 0, 4]]


def test_shards_cover_everything_in_order() -> None:
    assert shards(5, 2) == [range(2), range(2, 4), range(4, 5)]
    assert shards(0, 2) == []
