from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.schema import InvalidFileError
from benchmark.submission import irreps_dimension, load_family, load_submissions

MODEL: dict[str, Any] = {
    "id": "one",
    "title": "One",
    "checkpoint": {"kind": "none"},
    "layers": {"backbone": {"dimension": 4}},
    "parameters": 3,
    "training_data": [],
    "training_targets": [],
    "released": "2026-01-01",
}


def write(root: Path, family: str = "fam", models: list[dict[str, Any]] | None = None, **fields: Any) -> Path:
    folder = root / family
    folder.mkdir(parents=True)
    submission = {
        "family": family,
        "title": "Family",
        "description": "A family.",
        "modality": "atoms",
        "symmetry": "invariant",
        "authors": ["A. Author"],
        "links": {"code": "https://example.org"},
        "licence": {"code": "MIT"},
        "models": models or [MODEL],
        **fields,
    }
    (folder / "submission.yaml").write_text(yaml.safe_dump(submission))
    (folder / "adapter.py").write_text("")
    return folder


@pytest.mark.parametrize(
    ("change", "clue"),
    [
        ({"colour": "blue"}, "field models.0.colour"),
        ({"id": "Has Space"}, "field models.0.id"),
        ({"checkpoint": {"kind": "pickle"}}, "field models.0.checkpoint"),
        ({"checkpoint": {"kind": "package", "file": "../../etc/passwd", "sha256": "0" * 64}}, "relative path"),
        ({"checkpoint": {"kind": "package", "file": "/etc/passwd", "sha256": "0" * 64}}, "relative path"),
        ({"checkpoint": {"kind": "package", "file": "a.pt", "sha256": "short"}}, "sha256"),
        ({"checkpoint": {"kind": "huggingface", "repository": "a/b", "revision": "main", "file": "x"}}, "revision"),
        ({"layers": {"last_layer": {"dimension": 3}}}, "must declare `backbone`"),
        ({"layers": {"backbone": {"dimension": 0}}}, "dimension"),
        ({"layers": {"backbone": {"dimension": 4}, "l1": {"dimension": 5, "irreps": "2x1o"}}}, "6 components"),
        ({"title": "FILL IN the name"}, "still a blank"),
        ({"parameters": float("nan")}, "parameters"),
        ({"released": "soon"}, "released"),
    ],
)
def test_what_the_schema_does_not_accept_is_refused_with_file_and_field(
    tmp_path: Path, change: dict[str, Any], clue: str
) -> None:
    folder = write(tmp_path, models=[{**MODEL, **change}])
    with pytest.raises(InvalidFileError) as caught:
        load_family(folder)
    message = str(caught.value)
    assert message.startswith(str(folder / "submission.yaml"))
    assert clue in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "text", ["{", "- 1", "", "a: &a [*a, *a]", "\x00", "family: !!python/object/apply:os.system [ls]"]
)
def test_text_that_is_no_submission_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path)
    (folder / "submission.yaml").write_text(text)
    with pytest.raises(InvalidFileError, match=r"submission\.yaml: "):
        load_family(folder)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "clue"),
    [(BOMB, "more than 50000 values"), ("a: &a [*a]", "more than 50000 values"), ("released: 2026-13-45", "month")],
)
def test_aliases_that_explode_and_impossible_dates_are_refused(tmp_path: Path, text: str, clue: str) -> None:
    folder = write(tmp_path)
    (folder / "submission.yaml").write_text(text)
    with pytest.raises(InvalidFileError, match=clue):
        load_family(folder)


def test_a_directory_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fam" / "submission.yaml").mkdir(parents=True)
    entries, broken = load_submissions(tmp_path)
    assert not entries
    assert "not readable" in broken[0].message


def test_a_broken_folder_hides_nobody_and_names_the_models_it_seems_to_declare(tmp_path: Path) -> None:
    write(tmp_path, "good")
    write(tmp_path, "bad", models=[{**MODEL, "id": "two", "colour": "blue"}])
    entries, broken = load_submissions(tmp_path)
    assert set(entries) == {"one"}
    assert [(item.folder.name, item.models) for item in broken] == [("bad", ("two",))]


def test_an_id_belongs_to_the_first_family_that_declares_it(tmp_path: Path) -> None:
    write(tmp_path, "alpha")
    write(tmp_path, "beta")
    entries, broken = load_submissions(tmp_path)
    assert entries["one"].family.folder.name == "alpha"
    assert "taken by family 'alpha'" in broken[0].message
    assert broken[0].models == ("beta",)


def test_an_unknown_parent_is_refused(tmp_path: Path) -> None:
    write(tmp_path, models=[{**MODEL, "fine_tuned_from": "nobody"}])
    entries, broken = load_submissions(tmp_path)
    assert not entries
    assert "fine_tuned_from" in broken[0].message


def test_the_folder_name_must_be_the_family(tmp_path: Path) -> None:
    folder = write(tmp_path, "fam")
    folder.rename(tmp_path / "other")
    with pytest.raises(InvalidFileError, match="the folder is 'other'"):
        load_family(tmp_path / "other")


def test_the_features_do_not_depend_on_what_submission_yaml_says(tmp_path: Path) -> None:
    folder = write(tmp_path)
    before = load_family(folder).tree_hash()
    (folder / "submission.yaml").write_text((folder / "submission.yaml").read_text().replace("A family", "Another"))
    assert load_family(folder).tree_hash() == before
    (folder / "adapter.py").write_text("x = 1")
    assert load_family(folder).tree_hash() != before


def test_irreps_have_the_dimension_of_their_components() -> None:
    assert irreps_dimension("8x0e+4x1o+2x2e") == 8 + 12 + 10
