from pathlib import Path

import pytest

from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.header import Header, read_header

LINES = [
    "# /// script",
    '# requires-python = ">=3.11"',
    '# dependencies = ["Torch==2.13.0", "chgnet==0.4.2"]',
    "# [tool.uv]",
    '# exclude-newer = "2026-11-15T00:00:00Z"',
    "# ///",
]


def header(folder: Path, lines: list[str]) -> Header:
    path = folder / "adapter.py"
    path.write_text("\n".join([*lines, "import numpy", ""]))
    return read_header(path)


def replaced(number: int, line: str) -> list[str]:
    return [line if index == number else old for index, old in enumerate(LINES)]


def test_reads_names_pins_and_time(tmp_path: Path) -> None:
    found = header(tmp_path, LINES)
    assert found.dependencies == ("chgnet==0.4.2", "torch==2.13.0")
    assert found.exclude_newer == "2026-11-15T00:00:00Z"
    assert found.pinned("torch") == "2.13.0"
    assert found.pinned("mace-torch") is None


def test_layout_and_order_do_not_change_the_hash(tmp_path: Path) -> None:
    spread = replaced(2, '# dependencies = [\n#     "chgnet == 0.4.2",\n#\n#     "torch==2.13.0",\n# ]')
    assert header(tmp_path, spread).hash == header(tmp_path, LINES).hash


def test_another_pin_changes_the_hash(tmp_path: Path) -> None:
    other = replaced(2, '# dependencies = ["torch==2.13.0", "chgnet==0.4.1"]')
    assert header(tmp_path, other).hash != header(tmp_path, LINES).hash


def test_overrides_are_read_and_change_the_hash(tmp_path: Path) -> None:
    overrides = """# override-dependencies = ["torchdata; python_version < '0'", "Torch == 2.13.0"]"""
    found = header(tmp_path, [*LINES[:5], overrides, LINES[5]])
    assert found.overrides == ("torch==2.13.0", 'torchdata; python_version < "0"')
    assert found.hash != header(tmp_path, LINES).hash


@pytest.mark.parametrize("override", ["torch>=2", "torch", "torch @ https://example.org/torch.whl"])
def test_an_override_is_a_pin_or_leaves_a_package_out(tmp_path: Path, override: str) -> None:
    lines = [*LINES[:5], f'# override-dependencies = ["{override}"]', LINES[5]]
    with pytest.raises(EmbeddingError, match=r"tool\.uv\.override-dependencies: .* is neither pinned"):
        header(tmp_path, lines)


def test_a_bare_date_means_the_end_of_that_day(tmp_path: Path) -> None:
    assert header(tmp_path, replaced(4, '# exclude-newer = "2026-11-14"')).exclude_newer == "2026-11-15T00:00:00Z"


@pytest.mark.parametrize(
    ("number", "line", "message"),
    [
        (0, "# nothing", "found 0 `# /// script` blocks"),
        (2, '# dependencies = ["numpy>=2"]', "'numpy>=2' is not pinned"),
        (2, '# dependencies = ["numpy==2.*"]', "'numpy==2.*' is not pinned"),
        (2, '# dependencies = ["numpy"]', "'numpy' is not pinned"),
        (2, '# dependencies = ["x @ https://example.org/x.whl"]', "is not pinned"),
        (2, '# dependencies = ["!!"]', "'!!' is no requirement"),
        (2, '# dependencies = "numpy==2.0.0"', "field dependencies: is 'numpy==2.0.0'; a list is needed"),
        (2, "# other = 1", "field other: not supported"),
        (1, "#", "field requires-python: is missing"),
        (1, '# requires-python = "three"', "field requires-python"),
        (4, '# index-url = "https://example.org"', "field tool.uv.index-url: not supported"),
        (4, "#", "field tool.uv.exclude-newer: is missing"),
        (4, '# exclude-newer = "soon"', "'soon' is no time"),
        (4, "# exclude-newer = ", "not TOML"),
    ],
)
def test_an_invalid_header_is_refused_naming_file_and_field(
    tmp_path: Path, number: int, line: str, message: str
) -> None:
    with pytest.raises(EmbeddingError) as caught:
        header(tmp_path, replaced(number, line))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'adapter.py'}: script header: ")
    assert "\n" not in str(caught.value)
