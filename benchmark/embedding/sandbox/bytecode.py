"""Compiled modules of an environment, made by the trusted side and never written by a model.

A folder that a model could write to would let it change its own later runs, or another model's.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from filelock import FileLock

from benchmark.embedding.environment import Environment
from benchmark.embedding.sandbox.plan import interpreter_facts
from benchmark.files import content_key, write_text

COMPILE_SECONDS = 1800.0
# What no model imports makes up a good part of the standard library and of some packages.
SKIPPED = r"/(tests?|idlelib|lib2to3|ensurepip|turtledemo)/"
SKIPPED_IN_LIBRARY = SKIPPED + r"|/(site|dist)-packages/"


def compiled_modules(cache: Path, environment: Environment) -> Path:
    """A folder for PYTHONPYCACHEPREFIX with the modules of `environment`; compiled on the first call.

    No code of a package runs: the modules are only compiled, by an interpreter without site packages.
    """
    identity = content_key([environment.key, str(environment.python), str(environment.site_packages)])
    folder = Path(cache).absolute() / "compiled" / identity[:12]
    whole = folder / "whole"
    if whole.is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not whole.is_file():
            _compile(environment.python, folder, interpreter_facts(environment.python)[0], SKIPPED_IN_LIBRARY)
            _compile(environment.python, folder, str(environment.site_packages), SKIPPED)
            write_text(whole, "")
    return folder


def _compile(python: Path, folder: Path, source: str, skipped: str) -> None:
    command = [str(python), "-I", "-S", "-X", f"pycache_prefix={folder}", "-m", "compileall"]
    command += ["-q", "-q", "-j", "0", "-x", skipped, source]
    # Some packages ship modules for other Pythons, so the exit code says nothing.
    subprocess.run(command, stdin=subprocess.DEVNULL, timeout=COMPILE_SECONDS, check=False)
