"""Intermediate products on disk, named by the hash of everything they depend on.

`ProductCache` memoises JSON values: a product whose key exists is read, not computed again. A
lock a key lets several processes share a folder without computing anything twice, as long as they live.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmark.files import content_key, write_text
from benchmark.locks import computing_alone

counts: Counter[str] = Counter()
"""Products that this process found on disk, and that it made: `found`, `made`."""


class ProductCache:
    """JSON products below `folder`, one file a key. Values may hold None and finite numbers only."""

    def __init__(self, folder: Path, common: Mapping[str, Any]) -> None:
        """`common` enters every key: protocol and code version, say."""
        self.folder = folder
        self.common = dict(common)

    def __call__(self, kind: str, inputs: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
        """The product `kind` of `inputs`: read if it exists, else computed and kept."""
        key = content_key({"kind": kind, "inputs": dict(inputs), "common": self.common})
        path = self.folder / kind / key[:2] / f"{key}.json"
        found = self._read(path)
        if found is not None:
            counts["found"] += 1
            return found[0]
        with computing_alone(path.with_suffix(".lock")):
            found = self._read(path)
            if found is not None:
                counts["found"] += 1
                return found[0]
            counts["made"] += 1
            # Through JSON and back, so that the first run returns the very values of a later one.
            text = json.dumps([compute()], allow_nan=False)
            write_text(path, text)
            return json.loads(text)[0]

    @staticmethod
    def _read(path: Path) -> list[Any] | None:
        """The product in a one-element list, or None. A damaged file counts as absent."""
        try:
            value = json.loads(path.read_text())
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
            return None
        return value if isinstance(value, list) and len(value) == 1 else None
