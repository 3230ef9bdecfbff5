"""What this machine is: accelerator, processor, cores. Recorded with every product."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Literal

Accelerator = Literal["auto", "cpu", "cuda"]
Device = Literal["cpu", "cuda"]


def find_device(accelerator: Accelerator) -> Device:
    """The device that `accelerator` means here: `auto` is cuda where there is an NVIDIA GPU."""
    if accelerator != "auto":
        return accelerator
    return "cuda" if Path("/dev/nvidia0").exists() or gpu_name() is not None else "cpu"


@functools.cache
def gpu_name() -> str | None:
    """Name of the first NVIDIA GPU, or None."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = result.stdout.strip().splitlines()
    return lines[0].strip() if result.returncode == 0 and lines else None


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def hardware(device: Device) -> str:
    """One line for the record, for example "AMD EPYC 7B13, 2 cores, Linux x86_64"."""
    parts = [_processor(), f"{available_cores()} cores", f"{platform.system()} {platform.machine()}"]
    return ", ".join(parts if device == "cpu" else [gpu_name() or "NVIDIA GPU", *parts])


@functools.cache
def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def code_commit() -> str:
    """The commit of the checkout that this code runs from, marked where files differ from it; "no commit" elsewhere."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return "no commit"
    head = _git(root, "rev-parse", "HEAD")
    if head is None:
        return "no commit"
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "benchmark")
    return f"commit {head}" + (", changed since" if changed else "")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
