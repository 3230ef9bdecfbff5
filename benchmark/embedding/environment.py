"""One isolated Python environment a distinct adapter header, built by uv and shared by equal headers.

An environment lies in `<cache>/environments/<key>/`. `environment.json` is written last: a folder
without it was interrupted and is built again. The packages of models contradict each other, so
nothing of a model is ever installed beside the benchmark itself.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import uv
from filelock import FileLock
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.header import Header, read_header
from benchmark.embedding.machine import Accelerator, Device, find_device
from benchmark.files import content_key, write_json

# What the worker itself imports; the header's pins and exclude-newer decide the versions.
WORKER_REQUIREMENTS = ("ase", "numpy", "safetensors")
BUILD_TIMEOUT = 3600.0
# Requirements of models that are published as source only. Another one is added here by hand, after a look at it.
BUILT_FROM_SOURCE = ("antlr4-python3-runtime", "bibtexparser", "nvidia-ml-py3", "python-hostlist")
# Gigabytes that a package may require on Linux in any case. Without them jax computes on the CPU.
JAX_CUDA_PLUGINS = ("jax-cuda12-plugin", "jax-cuda12-pjrt", "jax-cuda13-plugin", "jax-cuda13-pjrt")
# uv does not read pip's settings; a user who has told pip should not have to tell it twice.
PIP_SETTINGS = {"UV_FIND_LINKS": "PIP_FIND_LINKS", "UV_DEFAULT_INDEX": "PIP_INDEX_URL"}


@dataclass(frozen=True)
class Environment:
    """An interpreter with a model's packages."""

    python: Path
    site_packages: Path
    key: str  # hex SHA-256 over header, device and Python version
    packages: dict[str, str]  # name -> version, everything that was installed
    python_version: str
    device: Device
    build_seconds: float


def ensure_environment(adapter: Path, cache: Path, accelerator: Accelerator = "auto") -> Environment:
    """The environment that `adapter`'s header describes, built on first use.

    Safe to call from several threads and processes at once. Raises EmbeddingError naming the
    adapter when its header is invalid or its dependencies cannot be installed.
    """
    header = read_header(adapter)
    device = find_device(accelerator)
    python = choose_python(header)
    key = environment_key(header, device, python)
    folder = Path(cache).absolute() / "environments" / key[:12]
    folder.parent.mkdir(parents=True, exist_ok=True)
    found = _read(folder, key)
    if found is not None:
        return found
    with FileLock(f"{folder}.lock"):
        found = _read(folder, key)
        return found if found is not None else _build(adapter, header, device, python, key, folder)


def choose_python(header: Header) -> str:
    """What to ask uv for: the running interpreter's version where the header accepts it, else its own range."""
    running = platform.python_version()
    accepted = SpecifierSet(header.requires_python).contains(running, prereleases=True)
    return f"{sys.version_info.major}.{sys.version_info.minor}" if accepted else header.requires_python


def environment_key(header: Header, device: Device, python: str) -> str:
    """Identity of an environment: equal keys share one folder."""
    return content_key({"header": header.hash, "device": device, "python": python})


def _read(folder: Path, key: str) -> Environment | None:
    try:
        described = json.loads((folder / "environment.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if described["key"] != key or not _interpreter(folder).exists():
        return None
    return Environment(
        python=_interpreter(folder),
        site_packages=_site_packages(folder),
        key=key,
        packages=described["packages"],
        python_version=described["python_version"],
        device=described["device"],
        build_seconds=described["build_seconds"],
    )


def _build(adapter: Path, header: Header, device: Device, python: str, key: str, folder: Path) -> Environment:
    """Build in place; the marker comes last. A venv names its own path, so it cannot be built aside and renamed."""
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    interpreter = sys.executable if re.fullmatch(r"\d+\.\d+", python) else python
    _uv(adapter, "venv", "--quiet", "--no-project", "--python", interpreter, str(folder))
    command = ["pip", "install", "--quiet", "--python", str(_interpreter(folder))]
    command += ["--exclude-newer", header.exclude_newer]
    command += wheels_only()
    command += torch_arguments(header, device, _python_version(folder))
    overrides = folder / "overrides.txt"
    overrides.write_text("".join(f"{line}\n" for line in replaced_requirements(header, device)))
    command += ["--overrides", str(overrides)]
    _uv(adapter, *command, *header.dependencies, *WORKER_REQUIREMENTS)
    described = {
        "key": key,
        "header": {
            "requires-python": header.requires_python,
            "dependencies": list(header.dependencies),
            "override-dependencies": list(header.overrides),
        },
        "exclude_newer": header.exclude_newer,
        "packages": installed_packages(_site_packages(folder)),
        "python_version": _python_version(folder),
        "device": device,
        "build_seconds": round(time.monotonic() - started, 2),
    }
    write_json(folder / "environment.json", described)
    built = _read(folder, key)
    assert built is not None
    return built


def installed_packages(site_packages: Path) -> dict[str, str]:
    """Name -> version of every distribution in `site_packages`, read without running the environment."""
    found = metadata.distributions(path=[str(site_packages)])
    pairs = {canonicalize_name(package.metadata["Name"]): package.version for package in found}
    return dict(sorted(pairs.items()))


def replaced_requirements(header: Header, device: Device) -> list[str]:
    """Requirements that stand in for those of the packages themselves: the header's, and no CUDA for jax on a CPU."""
    left_out = JAX_CUDA_PLUGINS if device == "cpu" else ()
    return [*header.overrides, *(f"{name}; python_version < '0'" for name in left_out)]


def torch_arguments(header: Header, device: Device, python_version: str) -> list[str]:
    """How uv is to choose the torch build: a fitting wheel that the user offers wins, else the machine decides."""
    offered = any(_offered_torch_versions(header.pinned("torch"), device, python_version))
    if offered or sys.platform == "darwin":
        return []
    return ["--torch-backend", "cpu" if device == "cpu" else "auto"]


def _offered_torch_versions(pinned: str | None, device: Device, python_version: str) -> Iterator[str]:
    """Versions of torch wheels in the local find-links folders that fit pin, device and interpreter."""
    wanted = SpecifierSet(f"=={pinned}" if pinned else "")
    accepted = set(_tags(python_version))
    for location in _uv_settings().get("UV_FIND_LINKS", "").split(","):
        folder = Path(location.removeprefix("file://").strip())
        if not location.strip() or not folder.is_dir():
            continue
        for wheel in sorted(folder.glob("torch-*.whl")):
            try:
                name, version, _, tags = parse_wheel_filename(wheel.name)
            except InvalidWheelFilename:
                continue
            cpu_only = version.local == "cpu"
            fits = wanted.contains(version, prereleases=True) and bool(tags & accepted)
            if name == "torch" and fits and not (device == "cuda" and cpu_only):
                yield str(version)


def _tags(python_version: str) -> Iterator[Tag]:
    major, minor = (int(part) for part in python_version.split(".")[:2])
    yield from cpython_tags((major, minor))
    yield from compatible_tags((major, minor))


def wheels_only() -> list[str]:
    """Arguments that let uv unpack wheels and build nothing but `BUILT_FROM_SOURCE`.

    Building a source distribution runs its code with the user's rights, outside of any sandbox.
    """
    return ["--only-binary", ":all:", *(part for name in BUILT_FROM_SOURCE for part in ("--no-binary", name))]


def _uv_settings() -> dict[str, str]:
    """The process environment for uv: the user's own, without what would point it at another environment."""
    settings = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    for uv_name, pip_name in PIP_SETTINGS.items():
        if uv_name not in settings and settings.get(pip_name):
            # pip separates several locations by spaces, uv by commas.
            settings[uv_name] = ",".join(settings[pip_name].split())
    return settings


def _uv(adapter: Path, *arguments: str) -> None:
    command = [uv.find_uv_bin(), "--no-progress", *arguments]
    try:
        result = subprocess.run(
            command,
            env=_uv_settings(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EmbeddingError(adapter, "environment", f"uv took longer than {BUILD_TIMEOUT:g} s") from None
    if result.returncode != 0:
        reason = " ".join(result.stderr.split())[:1000]
        raise EmbeddingError(adapter, "environment", f"uv {' '.join(arguments[:2])} failed: {reason}")


def _interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _site_packages(folder: Path) -> Path:
    if os.name == "nt":
        return folder / "Lib" / "site-packages"
    return next(iter(sorted(folder.glob("lib/python3*/site-packages"))))


def _python_version(folder: Path) -> str:
    for line in (folder / "pyvenv.cfg").read_text().splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "version_info":
            return value.strip()
    raise RuntimeError(f"{folder / 'pyvenv.cfg'}: no version_info")
