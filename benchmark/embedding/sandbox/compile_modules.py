"""Compile all modules below a folder, each content once for all environments. A program, not imported.

  PYTHON -I -S -B -X pycache_prefix=TO compile_modules.py FOLDER SHARED SKIPPED

An environment's own interpreter runs it; it needs nothing but the standard library. Environments have most of their
packages in common: SHARED keeps the compiled modules by content, and below TO there are links to them. They are
checked against the content of their source when they are imported (PEP 552), so no time of a file matters.
SKIPPED: a regular expression of paths to leave out. Modules that do not compile are left out too.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import hashlib
import importlib.util
import os
import py_compile
import re
import shutil
import sys
from pathlib import Path

MAGIC = importlib.util.MAGIC_NUMBER.hex()
AT_ONCE = 64


def main() -> None:
    """Compile with a process a core."""
    folder, shared, skipped = Path(sys.argv[1]), Path(sys.argv[2]), re.compile(sys.argv[3])
    shared.mkdir(parents=True, exist_ok=True)
    modules = sorted(str(path) for path in folder.rglob("*.py") if not skipped.search(str(path)))
    with concurrent.futures.ProcessPoolExecutor() as processes:
        for _ in processes.map(functools.partial(compile_module, shared), modules, chunksize=AT_ONCE):
            pass


def compile_module(shared: Path, path: str) -> None:
    """Compile one module, or link what was compiled from the same content."""
    try:
        content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        kept = shared / f"{content}-{MAGIC}.pyc"
        if not kept.is_file():
            partial = Path(f"{kept}.{os.getpid()}")
            mode = py_compile.PycInvalidationMode.CHECKED_HASH
            py_compile.compile(path, cfile=str(partial), doraise=True, invalidation_mode=mode)
            partial.replace(kept)
        link(kept, Path(importlib.util.cache_from_source(path)))
    except (OSError, ValueError, MemoryError, RecursionError, py_compile.PyCompileError):
        return  # some packages ship modules for other Pythons; what is not here is compiled when it is imported


def link(kept: Path, target: Path) -> None:
    """`target` becomes another name of `kept`, or a copy where links are not to be had."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        target.unlink()
    try:
        os.link(kept, target)
    except OSError:  # another file system, or as many links as a file may have
        partial = Path(f"{target}.{os.getpid()}")
        shutil.copyfile(kept, partial)
        partial.replace(target)  # half a module would be imported


if __name__ == "__main__":
    main()
