"""Safetensors files written and read in parts."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from benchmark.embedding.arrays import ArrayWriter, map_arrays

ARRAYS = {
    "layer.b": np.arange(15, dtype=np.float32).reshape(5, 3),
    "layer.a": np.linspace(0, 1, 10, dtype=np.float32).reshape(5, 2),
    "energies": np.array([-1.5, 2.25], dtype=np.float64),
}


def written(path: Path, rows: int) -> Path:
    with ArrayWriter(path, {name: (array.dtype, array.shape) for name, array in ARRAYS.items()}) as writer:
        for name, array in ARRAYS.items():
            for start in reversed(range(0, len(array), rows)):  # in any order
                writer.write(name, start, array[start : start + rows])
    return path


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_blocks_give_the_file_that_safetensors_writes(tmp_path: Path, rows: int) -> None:
    save_file(ARRAYS, tmp_path / "whole")
    assert written(tmp_path / "blocks", rows).read_bytes() == (tmp_path / "whole").read_bytes()


def test_mapped_arrays_are_those_of_safetensors_and_cannot_be_written_to(tmp_path: Path) -> None:
    path = written(tmp_path / "file", 2)
    mapped = map_arrays(path)
    assert mapped.keys() == load_file(path).keys()
    for name, array in load_file(path).items():
        np.testing.assert_array_equal(mapped[name], array)
        assert mapped[name].dtype == array.dtype and not mapped[name].flags.writeable


def test_arrays_without_rows_are_kept(tmp_path: Path) -> None:
    with ArrayWriter(tmp_path / "file", {"layer.a": (np.dtype(np.float32), (0, 7))}):
        pass
    assert map_arrays(tmp_path / "file")["layer.a"].shape == (0, 7)


@pytest.mark.parametrize(("row", "values"), [(4, np.zeros((2, 3))), (0, np.zeros((1, 2))), (0, np.zeros(3))])
def test_blocks_that_do_not_fit_are_refused(tmp_path: Path, row: int, values: np.ndarray) -> None:
    with (
        ArrayWriter(tmp_path / "file", {"a": (np.dtype(np.float32), (5, 3))}) as writer,
        pytest.raises(ValueError, match="a: block of shape"),
    ):
        writer.write("a", row, values)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(written(tmp_path / "file", 5).read_bytes()[:-1])
    with pytest.raises(SafetensorError):
        map_arrays(tmp_path / "cut")
    save_file({"a": np.zeros(3, dtype=np.int16)}, tmp_path / "integers")
    with pytest.raises(ValueError, match="array a has the type I16"):
        map_arrays(tmp_path / "integers")


LARGE = """
import resource, sys
from pathlib import Path
import numpy as np
from benchmark.embedding.arrays import ArrayWriter, map_arrays
from benchmark.embedding.features import FeatureSet, LayerArray, column_deviations
atoms, d, path = 400_000, 256, Path(sys.argv[1])
# Of what is private and can be written to; mapped files do not count. The array has 410 MB, its copy in float64 820 MB.
taken = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (int(taken.split()[1]) * 1024 + 300_000_000,) * 2)
with ArrayWriter(path, {"layer.a": (np.dtype(np.float32), (atoms, d))}) as writer:
    for start in range(0, atoms, 1000):
        writer.write("layer.a", start, np.full((1000, d), start, dtype=np.float32))
values = map_arrays(path)["layer.a"]
features = FeatureSet("m", "d", {"a": LayerArray(values, "atom", None)}, None, np.arange(0, atoms + 1, 10))
assert (features.structures("a")[:, 0] == np.arange(0, atoms, 10) // 1000 * 1000).all()
assert np.allclose(column_deviations(values), values[:, 0].astype(np.float64).std())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA does not count private mappings elsewhere")
def test_features_that_do_not_fit_in_memory_are_written_and_pooled(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LARGE, str(tmp_path / "large")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
