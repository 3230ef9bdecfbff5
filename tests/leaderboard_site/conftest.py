"""A synthetic results folder and the site built from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaderboard_site.build import build_site
from tests.leaderboard_site.synthetic_board import write_results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A fresh results folder that a test may damage."""
    return write_results(tmp_path / "results")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the undamaged board; not to be written to."""
    folder = tmp_path_factory.mktemp("site")
    return build_site(write_results(folder / "results"), folder / "out").parent
