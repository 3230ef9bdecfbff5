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

PROGRAM = Path(__file__).with_name("compile_modules.py")
COMPILE_SECONDS = 1800.0
# What no model imports makes up a good part of the standard library and of some packages.
SKIPPED = r"/(tests?|idlelib|lib2to3|ensurepip|turtledemo)/"
SKIPPED_IN_LIBRARY = SKIPPED + r"|/(site|dist)-packages/"


def compiled_modules(cache: Path, environment: Environment) -> Path:
    """A folder for PYTHONPYCACHEPREFIX with the modules of `environment`; compiled on the first call.

    No code of a package runs: the modules are only compiled, by an interpreter without site packages. What several
    environments have in common is compiled and kept once, below `<cache>/compiled/modules`.
    """
    identity = content_key([environment.key, str(environment.python), str(environment.site_packages)])
    folder = Path(cache).absolute() / "compiled" / identity[:12]
    whole = folder / "whole"
    if whole.is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not whole.is_file():
            shared = folder.parent / "modules"
            library = interpreter_facts(environment.python)[0]
            compile_below(environment.python, folder, library, shared, SKIPPED_IN_LIBRARY)
            compile_below(environment.python, folder, str(environment.site_packages), shared, SKIPPED)
            write_text(whole, "")
    return folder


def compile_below(python: Path, folder: Path, source: str, shared: Path, skipped: str) -> None:
    """Compile the modules below `source` into `folder`, whose content may be kept in `shared` already."""
    command = [str(python), "-I", "-S", "-B", "-W", "ignore", "-X", f"pycache_prefix={folder}"]
    command += [str(PROGRAM), source, str(shared), skipped]
    # What could not be compiled is compiled by each process that imports it.
    subprocess.run(command, stdin=subprocess.DEVNULL, timeout=COMPILE_SECONDS, check=False)
