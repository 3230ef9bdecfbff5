import platform
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.embedding.environment import (
    choose_python,
    ensure_environment,
    environment_key,
    replaced_requirements,
    torch_arguments,
)
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.header import Header, read_header
from tests.embedding.families import HEADER

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}.0"
TAG = f"cp{sys.version_info.major}{sys.version_info.minor}"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="wheel names of Linux")


def needing(*dependencies: str, python: str = ">=3.11") -> Header:
    return Header(python, dependencies, "2026-11-15T00:00:00Z")


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip, and not uv, was told to find wheels in."""
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path / 'absent'} {tmp_path}")
    return tmp_path


def test_the_key_depends_on_header_device_and_python() -> None:
    header = needing("numpy==2.0.0")
    keys = {
        environment_key(header, "cpu", "3.11"),
        environment_key(header, "cuda", "3.11"),
        environment_key(header, "cpu", "3.12"),
        environment_key(needing("numpy==2.0.1"), "cpu", "3.11"),
    }
    assert len(keys) == 4
    assert environment_key(needing("numpy==2.0.0"), "cpu", "3.11") in keys


def test_the_running_interpreter_is_preferred() -> None:
    assert choose_python(needing(python=">=3.11")) == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert choose_python(needing(python="<3.8")) == "<3.8"


@LINUX
@pytest.mark.parametrize(
    ("wheel", "device", "taken"),
    [
        (f"torch-2.13.0+cpu-{TAG}-{TAG}-manylinux_2_28_x86_64.whl", "cpu", True),
        (f"torch-2.13.0+cpu-{TAG}-{TAG}-manylinux_2_28_x86_64.whl", "cuda", False),
        (f"torch-2.13.0+cu128-{TAG}-{TAG}-manylinux_2_28_x86_64.whl", "cuda", True),
        (f"torch-2.12.0+cpu-{TAG}-{TAG}-manylinux_2_28_x86_64.whl", "cpu", False),
        ("torch-2.13.0+cpu-cp38-cp38-manylinux_2_28_x86_64.whl", "cpu", False),
        (f"torch-2.13.0+cpu-{TAG}-{TAG}-win_amd64.whl", "cpu", False),
        ("torch-nonsense.whl", "cpu", False),
    ],
)
def test_an_offered_torch_wheel_is_taken_when_it_fits(offered: Path, wheel: str, device: str, taken: bool) -> None:
    if "x86_64" in wheel and platform.machine() != "x86_64":
        pytest.skip("wheel of another architecture")
    (offered / wheel).touch()
    arguments = torch_arguments(needing("torch==2.13.0"), device, PYTHON)  # type: ignore[arg-type]
    assert arguments == ([] if taken else ["--torch-backend", "cpu" if device == "cpu" else "auto"])


def test_a_cpu_environment_leaves_out_the_cuda_plugins_of_jax() -> None:
    assert any(line.startswith("jax-cuda12-plugin;") for line in replaced_requirements(needing("jax==0.10.2"), "cpu"))
    assert replaced_requirements(needing("jax==0.10.2"), "cuda") == []


def test_dependencies_that_cannot_be_installed_are_named(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter.py"
    adapter.write_text(HEADER.replace("numpy==2.4.6", "numpy==2.4.6+nowhere"))
    with pytest.raises(EmbeddingError, match=r"adapter\.py: environment: uv pip install failed: .*numpy") as caught:
        ensure_environment(adapter, tmp_path / "cache", "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_environment_is_built_once_shared_and_rebuilt_when_interrupted(tmp_path: Path) -> None:
    adapter, twin = tmp_path / "adapter.py", tmp_path / "twin.py"
    adapter.write_text(HEADER)
    twin.write_text("# another file\n" + HEADER)
    built = ensure_environment(adapter, tmp_path / "cache", "cpu")
    assert built.packages["numpy"] == read_header(adapter).pinned("numpy")
    assert {"ase", "safetensors", "scipy"} <= set(built.packages)
    assert (built.site_packages / "numpy").is_dir()
    code = "import ase, numpy, safetensors.numpy, sys; print(sys.prefix, numpy.__version__)"
    said = subprocess.run([built.python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said == [str(built.python.parent.parent), "2.4.6"]
    assert ensure_environment(twin, tmp_path / "cache", "cpu") == built

    leftover = built.site_packages / "left_by_the_interrupted_build.py"
    leftover.touch()
    (built.python.parent.parent / "environment.json").unlink()
    again = ensure_environment(adapter, tmp_path / "cache", "cpu")
    assert again.packages == built.packages
    assert not leftover.exists()
