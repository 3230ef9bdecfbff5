"""The file of measured numbers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from benchmark.embedding.machine import code_commit, hardware
from benchmark.files import write_json


def keep(path: Path, part: str, found: dict[str, Any]) -> None:
    """Put the numbers of one part into the file, and print them."""
    known = json.loads(path.read_text()) if path.is_file() else {}
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    known[part] = {"measured": when, "machine": hardware("cpu"), "code": code_commit(), **found}
    write_json(path, known)
    print(json.dumps({part: known[part]}, indent=2), flush=True)


def load() -> float:
    """Mean number of processes that wanted a core in the last minute, this measurement's own included."""
    return round(os.getloadavg()[0], 1)
