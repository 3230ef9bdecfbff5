"""Runs a piece of Python inside a family's own environment, beside its adapter, and returns what it found.

The test process has none of the models' packages, so whatever compares an adapter with its package
runs over there and reports plain numbers; the assertions stay here.
"""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from pathlib import Path
from typing import Any

from benchmark.embedding.environment import ensure_environment

ROOT = Path(__file__).parents[2]
# What every script finds defined: its arguments, and the family's adapter.py as the module `adapter`.
PREAMBLE = """
import json, sys
import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from pathlib import Path
arguments = sys.argv[2:]
def report(found):
    Path(sys.argv[1]).write_text(json.dumps(found, default=float))
import adapter
"""


def run_inside(family: str, work: Path, script: str, *arguments: str) -> Any:
    """What `script` hands to `report`, as JSON. work: cache in which the environment lies or is built.

    Raises AssertionError with the script's output when it fails.
    """
    folder = ROOT / "submissions" / family
    environment = ensure_environment(folder / "adapter.py", work, "cpu")
    answer = work / f"{family}-report.json"
    answer.unlink(missing_ok=True)
    command = [str(environment.python), "-s", "-c", PREAMBLE + textwrap.dedent(script), str(answer), *arguments]
    variables = {"PATH": os.environ["PATH"], "HOME": str(work), "OMP_NUM_THREADS": "1"}
    variables["PYTHONPATH"] = f"{ROOT}{os.pathsep}{folder}"
    done = subprocess.run(command, env=variables, cwd=work, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(answer.read_text())
