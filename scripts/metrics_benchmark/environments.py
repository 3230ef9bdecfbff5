"""An environment of its own for every peer, made with uv from the package registry."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

PEERS = {"dcor": ["dcor"], "skmatter": ["skmatter"], "skdim": ["scikit-dimension"], "dadapy": ["dadapy"]}
"""Environment -> the packages asked for. DADApy needs a NumPy older than this project's."""
HERE = "here"
"""The environment that runs this program: this project's metrics, and the dense formulation."""


class EnvironmentFailed(RuntimeError):
    """An environment could not be made; the message is the last line of uv's."""


def python_of(name: str, work: Path) -> str:
    """The Python of an environment, which is made if it is not there. EnvironmentFailed: packages cannot be had."""
    if name == HERE:
        return sys.executable
    folder = work / "environments" / name
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"making the environment of {', '.join(PEERS[name])}", flush=True)
        _uv("venv", "--clear", "--python", sys.executable, str(folder))
        _uv("pip", "install", "--python", str(python), *PEERS[name])
        (folder / "complete").touch()
    return str(python)


def versions(python: str, packages: list[str]) -> dict[str, str]:
    """Installed versions of packages in an environment, and of NumPy."""
    code = "import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
    found = subprocess.run([python, "-c", code, *packages, "numpy"], check=True, capture_output=True, text=True)
    return dict(json.loads(found.stdout))


def machine(device: str) -> dict[str, str]:
    """What the measurements depend on beside the packages: processor, cores, memory, PyTorch and its BLAS."""
    import torch

    facts = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "PyTorch": f"{torch.__version__}, {torch.get_num_threads()} threads, BLAS: {_blas(torch.__config__.show())}",
    }
    if device != "cpu" and torch.cuda.is_available():
        facts["GPU"] = torch.cuda.get_device_name()
    return facts


def today() -> str:
    """The date of a measurement."""
    return date.today().isoformat()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _blas(configuration: str) -> str:
    for part in configuration.replace("\n", ",").split(","):
        if "BLAS_INFO=" in part:
            return part.split("=", 1)[1].strip()
    return "unknown"


def _uv(*arguments: str) -> None:
    from uv import find_uv_bin

    done = subprocess.run([find_uv_bin(), *arguments, "--quiet"], capture_output=True, text=True)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise EnvironmentFailed(lines[-1] if lines else f"uv {arguments[0]} ended with {done.returncode}")
