"""Which jobs get a token of the hub, asked with the hub's own client."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.publishing.hub import TOKEN
from tests.workflows.hub import RESOURCE, trusting_hub

ASK = "from huggingface_hub import get_token; print(get_token())"


@pytest.mark.parametrize(
    ("environment", "resource", "granted"),
    [
        ("publish", RESOURCE, True),
        ("github-pages", RESOURCE, False),
        ("", RESOURCE, False),
        ("publish", "datasets/group/other", False),
    ],
)
def test_only_the_environment_publish_may_write_and_only_to_its_data_set(
    environment: str, resource: str, granted: bool, tmp_path: Path
) -> None:
    with trusting_hub({"request": {"environment": environment}}) as server:
        given = {
            "PATH": os.environ["PATH"],
            "HF_HOME": str(tmp_path),
            "HF_ENDPOINT": server.address,
            "HF_OIDC_RESOURCE": resource,
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{server.address}/id-token",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request",
        }
        done = subprocess.run([sys.executable, "-c", ASK], env=given, capture_output=True, text=True, check=False)
        assert (done.returncode == 0, TOKEN in done.stdout) == (granted, granted), done.stderr
        assert len(server.refused) == (0 if granted else 1)
