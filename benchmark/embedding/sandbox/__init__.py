"""Holding a model's process: the strongest sandbox that this machine offers, and limits in every one.

`required` runs a model in a container or in bubblewrap or not at all; `auto` takes a plain process with
limits as its last choice; `none` takes that at once.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from benchmark.embedding.sandbox.backends import (
    PlainProcess,
    Running,
    Sandbox,
    find_bubblewrap,
    find_container,
)
from benchmark.embedding.sandbox.plan import Limits, Plan
from benchmark.embedding.sandbox.watch import LimitExceededError
from benchmark.schema import InvalidFileError

__all__ = [
    "SANDBOX_MODES",
    "LimitExceededError",
    "Limits",
    "NoSandboxError",
    "Plan",
    "Running",
    "Sandbox",
    "SandboxMode",
    "choose_sandbox",
]

SandboxMode = Literal["auto", "required", "none"]
SANDBOX_MODES: tuple[SandboxMode, ...] = ("auto", "required", "none")
PROBE_SECONDS = 120.0


class NoSandboxError(InvalidFileError):
    """A sandbox is required and this machine has none."""


def choose_sandbox(mode: SandboxMode, cuda: bool = False) -> Sandbox:
    """The sandbox that `mode` means on this machine. Raises NoSandboxError where `required` finds none.

    cuda: the worker is to use this machine's GPUs.
    """
    if mode == "none":
        return PlainProcess()
    found = _strongest(cuda)
    if isinstance(found, Sandbox):
        return found
    if mode == "required":
        raise NoSandboxError(f"--sandbox required: no sandbox works here: {found}")
    return PlainProcess()


def why_no_sandbox(cuda: bool = False) -> str | None:
    """One line for the user when `auto` can only take a plain process; None when there is a sandbox."""
    found = _strongest(cuda)
    if isinstance(found, Sandbox):
        return None
    return f"no sandbox works here, so models run as plain processes with your rights: {found}"


@functools.cache
def _strongest(cuda: bool) -> Sandbox | str:
    """The first sandbox that really runs something here, or why none does."""
    reasons = []
    for find in (lambda: find_container("docker"), lambda: find_container("podman"), find_bubblewrap):
        sandbox = find()
        if isinstance(sandbox, Sandbox):
            trouble = _try(sandbox, cuda)
            if trouble is None:
                return sandbox
            reasons.append(f"{sandbox.name} fails: {trouble}")
        else:
            reasons.append(sandbox)
    return "; ".join(reasons)


def _try(sandbox: Sandbox, cuda: bool) -> str | None:
    """Run Python's own interpreter in `sandbox`; None when it works, else one line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        output, scratch = folder / "output", folder / "scratch"
        for each in (output, scratch):
            each.mkdir()
        script = f"import sys; open({str(output / 'here')!r}, 'w').close(); sys.exit(0)"
        python = Path(sys.executable)
        command = (str(python), "-I", "-S", "-c", script)
        plan = Plan(command, python, (), output, scratch, folder, {}, Limits(), cuda)
        running = sandbox.start(plan)
        try:
            printed, _ = running.process.communicate(timeout=PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            return "no answer"
        finally:
            running.stop()
        if running.process.returncode == 0 and (output / "here").is_file():
            return None
        lines = printed.decode(errors="replace").strip().splitlines()
        return " ".join(lines[-1].split())[:200] if lines else f"exit code {running.process.returncode}"
