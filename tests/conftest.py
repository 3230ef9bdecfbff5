from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One work folder for all tests that run real networks, so that environments and checks are made once."""
    return tmp_path_factory.getbasetemp() / "real-models"
