import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.embedding.sandbox.backends import Bubblewrap, find_bubblewrap
from tests.end_to_end.toy_board import toy_model, write_board, write_family
from tests.publishing.hub import NAME
from tests.workflows.hub import TrustingHubServer, trusting_hub
from tests.workflows.runner import Machines, git

REPOSITORY = Path(__file__).resolve().parents[2]
BUBBLEWRAP = find_bubblewrap()
needs_bubblewrap = pytest.mark.skipif(not isinstance(BUBBLEWRAP, Bubblewrap), reason=str(BUBBLEWRAP))


def commit(repository: Path, message: str) -> str:
    """Commit everything; return the hash."""
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", message)
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """This project's files as they are now, with the toy board's submissions, as a repository with the branch main."""
    root = tmp_path / "repository"
    for name in git(REPOSITORY, "ls-files", "-co", "--exclude-standard", "-z").split("\0"):
        source = REPOSITORY / name
        if source.is_file() and not name.startswith("submissions/"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, root / name)
    write_board(tmp_path / "board", REPOSITORY / "submissions")
    shutil.copytree(tmp_path / "board" / "submissions", root / "submissions")
    shutil.copy(tmp_path / "board" / "toy.yaml", root)
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "uploadpack.allowAnySHA1InWant", "true")
    commit(root, "The project")
    return root


@pytest.fixture
def machines(repository: Path, tmp_path: Path) -> Machines:
    """The project's machines. The data sets lie on them, as those that may not be shared do."""
    environment = {"LATENT_MATTER_DATASETS": str(tmp_path / "board" / "datasets"), "HF_HUB_DISABLE_XET": "1"}
    variables = {"SUITE": "toy.yaml", "ACCELERATOR": "cpu", "DATASET": NAME}
    return Machines(repository, tmp_path / "machines", variables, environment)


@pytest.fixture
def hub(machines: Machines) -> Iterator[TrustingHubServer]:
    with trusting_hub(machines.identities) as server:
        machines.environment["HF_ENDPOINT"] = server.address
        machines.identity_address = f"{server.address}/id-token"
        yield server


@pytest.fixture
def newcomer(repository: Path) -> str:
    """A branch `contribution` with a new family; its commit."""
    git(repository, "switch", "-q", "-c", "contribution")
    write_family(repository / "submissions", "newcomer", [toy_model("newcomer-1", 11)])
    added = commit(repository, "Add a family")
    git(repository, "switch", "-q", "main")
    return added
