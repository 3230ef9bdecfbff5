"""Figures: their data, their trees, their colours, what they say when a table is missing."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from leaderboard_site.build import build_site
from leaderboard_site.clustering import Joined, neighbour_joining
from leaderboard_site.figures import style
from leaderboard_site.text import defused
from tests.leaderboard_site.synthetic_board import CRYSTALS, SUITE, write_table

QUARTET = np.array([[0, 3, 8, 9], [3, 0, 9, 10], [8, 9, 0, 9], [9, 10, 9, 0]], dtype=float)


def path_lengths(tree: Joined) -> dict[str, float]:
    return {name: x for name, x, _ in tree.leaves}


def test_neighbour_joining_finds_the_branches_of_an_additive_tree() -> None:
    # a and b are 1 and 2 from their join, which is 2 from the join of c (4 + ...) and d.
    tree = neighbour_joining(["a", "b", "c", "d"], QUARTET)
    assert sorted(path_lengths(tree)) == ["a", "b", "c", "d"]
    horizontal = sum(x2 - x for x, y, x2, y2 in tree.lines if y == y2)
    assert horizontal == pytest.approx(1 + 2 + 3 + 4 + 5)
    order = [name for name, _, _ in tree.leaves]
    assert abs(order.index("a") - order.index("b")) == 1


def test_the_root_lies_halfway_between_the_two_farthest_leaves() -> None:
    depths = sorted(path_lengths(neighbour_joining(["a", "b", "c", "d"], QUARTET)).values())
    assert depths[-1] == depths[-2] == pytest.approx(QUARTET.max() / 2)


def test_two_leaves_are_a_tree_and_one_is_not() -> None:
    tree = neighbour_joining(["a", "b"], np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert path_lengths(tree) == {"a": 0.5, "b": 0.5}
    with pytest.raises(ValueError, match="two leaves"):
        neighbour_joining(["a"], np.zeros((1, 1)))


def test_a_tree_of_many_leaves_at_one_distance_ends() -> None:
    distance = 1 - np.eye(40)
    assert len(neighbour_joining([str(i) for i in range(40)], distance).leaves) == 40


def test_every_colour_is_used_once_and_has_a_shade_in_the_dark() -> None:
    colours = [*style.FAMILIES, *style.HEAT, *style.PARTS.values(), style.INK, style.MUTED, style.AXIS, style.GRID,
               style.CONTROL, style.NULL, style.IN, style.OUT]  # fmt: skip
    assert len(set(colours)) == len(colours)
    assert set(style.DARK) == set(colours)


def test_a_drawing_has_no_colour_that_stays_as_it_is_in_the_dark(site: Path) -> None:
    for path in (site / "figures").glob("*.svg"):
        drawn = path.read_text(encoding="utf-8").partition("</style>")[2]
        painted = set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]{3,8})"', drawn))
        assert painted <= set(style.DARK), path


def test_the_data_of_a_figure_are_the_values_of_the_tables(site: Path) -> None:
    with (site / "figures" / "imbalance.csv").open(encoding="utf-8", newline="") as stream:
        drawn = {(row["model"], row["dataset"]): row for row in csv.DictReader(stream)}
    with (site / "data" / "pairs.csv").open(encoding="utf-8", newline="") as stream:
        pairs = {
            (row["a"], row["b"], row["dataset"]): row["value"]
            for row in csv.DictReader(stream)
            if row["metric"] == "information_imbalance"
        }
    assert len(drawn) == 24
    for (model, dataset), row in drawn.items():
        assert float(row["to_reference"]) == float(pairs[model, "aster-large", dataset])
        assert float(row["from_reference"]) == float(pairs["aster-large", model, dataset])


def test_every_drawn_figure_can_be_downloaded_as_drawing_data_and_chart(site: Path) -> None:
    drawings = sorted(path.stem for path in (site / "figures").glob("*.svg"))
    assert {"heat-map-in", "heat-map-out", "tree", "imbalance", "learning", "fine-tuning"} - {"fine-tuning"} <= set(
        drawings
    )
    for name in drawings:
        spec = json.loads((site / "figures" / f"{name}.json").read_text(encoding="utf-8"))
        assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/v6")
        assert (site / "figures" / f"{name}.csv").read_text(encoding="utf-8").count("\n") > 1


def test_a_figure_without_its_table_says_which_one_it_needs(site: Path) -> None:
    assert "needs a table coordinates" in (site / "figures" / "structures.html").read_text(encoding="utf-8")


def test_a_table_of_coordinates_makes_maps_of_structures(results: Path, tmp_path: Path) -> None:
    columns = ["suite", "suite_version", "model", "dataset", "structure", "x", "y", "error"]
    rows = [
        {**SUITE, "model": "cobalt-s", "dataset": CRYSTALS, "structure": f"s{i}", "x": i, "y": -i, "error": 0.01 * i}
        for i in range(30)
    ]
    write_table(results / "tables" / "coordinates.csv", columns, rows)
    site = build_site(results, tmp_path / "out").parent
    assert (site / "figures" / "structures.svg").read_text(encoding="utf-8").count("<path") > 60


def test_a_map_of_many_structures_draws_a_part_of_them_and_keeps_all_in_its_data(results: Path, tmp_path: Path) -> None:
    columns = ["suite", "suite_version", "model", "dataset", "structure", "x", "y", "error"]
    rows = [
        {**SUITE, "model": "cobalt-s", "dataset": CRYSTALS, "structure": f"s{i}", "x": i % 50, "y": i // 50}
        for i in range(3000)
    ]
    write_table(results / "tables" / "coordinates.csv", columns, rows)
    figures = build_site(results, tmp_path / "out").parent / "figures"
    assert 500 < (figures / "structures.svg").read_text(encoding="utf-8").count("<path") < 2500
    assert len((figures / "structures.csv").read_text(encoding="utf-8").splitlines()) == 3001


@pytest.mark.parametrize(
    ("cell", "written"),
    [("=1+1", "'=1+1"), ("+x", "'+x"), ("@x", "'@x"), ("-x", "'-x"), ("-1.5", "-1.5"), (-1.5, -1.5), ("a=b", "a=b")],
)
def test_only_text_that_a_spreadsheet_would_run_is_quoted(cell: object, written: object) -> None:
    assert defused(cell) == written
