import json
from pathlib import Path

import pytest

from benchmark.files import atomic_path, content_key, sha256_of_tree, write_json
from benchmark.products import ProductCache


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")

    def full_disk() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half of the ne")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        full_disk()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_json_with_nan_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "record.json", {"value": float("nan")})
    assert not list(tmp_path.iterdir())


def test_content_keys_do_not_depend_on_the_order_of_fields() -> None:
    assert content_key({"a": 1, "b": [2.5, None]}) == content_key({"b": [2.5, None], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})


def test_a_tree_hash_follows_names_and_contents_but_not_caches(tmp_path: Path) -> None:
    (tmp_path / "adapter.py").write_text("x = 1")
    before = sha256_of_tree(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "adapter.pyc").write_bytes(b"1")
    (tmp_path / "notes.md").write_text("n")
    assert sha256_of_tree(tmp_path, excluded=("notes.md",)) == before
    (tmp_path / "adapter.py").rename(tmp_path / "other.py")
    assert sha256_of_tree(tmp_path, excluded=("notes.md",)) != before


def test_a_product_is_computed_once_and_again_when_damaged(tmp_path: Path) -> None:
    cache = ProductCache(tmp_path, {"protocol": 1})
    calls = []

    def compute() -> list[float]:
        calls.append(1)
        return [0.1, 1 / 3]

    first = cache("probe", {"model": "a"}, compute)
    assert cache("probe", {"model": "a"}, compute) == first == [0.1, 1 / 3]
    assert len(calls) == 1
    (product,) = tmp_path.rglob("*.json")
    product.write_text(json.dumps([[0.1]])[:-3])
    assert cache("probe", {"model": "a"}, compute) == first
    assert len(calls) == 2
    ProductCache(tmp_path, {"protocol": 2})("probe", {"model": "a"}, compute)
    assert len(calls) == 3
