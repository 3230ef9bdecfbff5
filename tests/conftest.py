import os
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--heavy", action="store_true", help="also run tests that build environments of gigabytes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--heavy"):
        return
    skipped = pytest.mark.skip(reason="builds an environment of gigabytes: give --heavy")
    for item in items:
        if "heavy" in item.keywords:
            item.add_marker(skipped)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is expensive to make; the same one for all processes of a run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def real_work(shared_folder: Path) -> Path:
    """One work folder for all tests that run real networks, so that environments and checks are made once."""
    return shared_folder / "real-models"
