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
def real_work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One work folder for all tests that run real networks, so that environments and checks are made once."""
    return tmp_path_factory.getbasetemp() / "real-models"
