"""Boards of any size: large ones stay quick and small, tiny and empty ones stay sensible."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from leaderboard_site.build import build_site
from tests.leaderboard_site.large_board import write_large_results

INDEX_LIMIT = 300_000  # bytes
CHART_SCRIPT = "charts.js"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A site of 60 models x 3 suites, and the processor time that its building took."""
    folder = tmp_path_factory.mktemp("large")
    results = write_large_results(folder / "results", models=60, suites=3)
    start = time.process_time()
    return build_site(results, folder / "out").parent, time.process_time() - start


@pytest.mark.slow
def test_sixty_models_in_three_suites_are_built_quickly(large: tuple[Path, float]) -> None:
    # Seconds of one processor; half of that where nothing else runs. A step that grows too fast takes minutes.
    assert large[1] < 40


@pytest.mark.slow
def test_the_index_of_sixty_models_is_small_and_needs_no_chart_script(large: tuple[Path, float]) -> None:
    for index in (large[0] / "index.html", large[0] / "suite-2" / "index.html"):
        assert index.stat().st_size < INDEX_LIMIT
        assert CHART_SCRIPT not in index.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.browser
def test_the_index_of_sixty_models_is_usable_within_a_second_from_disk(page: Any, large: tuple[Path, float]) -> None:
    times = []
    for _ in range(3):
        page.goto((large[0] / "index.html").as_uri())
        page.wait_for_selector("th button.sort")
        times.append(page.evaluate("performance.now()"))
        page.goto("about:blank")
    assert min(times) < 1000  # milliseconds


@pytest.mark.slow
def test_two_hundred_models_make_a_site(tmp_path: Path) -> None:
    results = write_large_results(tmp_path / "results", models=200, suites=1)
    for name in ("pairs", "scores", "learning_curves", "pooling"):  # a table of 200 models has to work without them
        (results / "tables" / f"{name}.csv").unlink()
    index = build_site(results, tmp_path / "out")
    assert index.read_text(encoding="utf-8").count('<tr role="row" data-model=') == 206


@pytest.mark.parametrize(("models", "controls"), [(1, 0), (1, 2), (0, 0)])
def test_one_lone_model_or_none_still_makes_a_site(tmp_path: Path, models: int, controls: int) -> None:
    results = write_large_results(tmp_path / "results", models=max(models, 1), suites=1, controls=controls)
    if not models:
        for name in ("leaderboard", "scores", "pairs", "layers", "pooling", "learning_curves", "models", "conformance"):
            path = results / "tables" / f"{name}.csv"
            path.write_text(path.read_text().splitlines()[0] + "\n")
    site = build_site(results, tmp_path / "out").parent
    text = (site / "index.html").read_text(encoding="utf-8")
    assert ("No model has been scored in this suite yet." in text) == (not models)
    assert (site / "compare.html").is_file()
    assert (site / "map.html").is_file()
