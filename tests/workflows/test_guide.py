"""docs/operating.md names only what there is."""

import re
from collections.abc import Iterator

import pytest
import typer
import yaml
from typer.core import TyperGroup

from benchmark.cli import app
from tests.workflows.conftest import REPOSITORY

GUIDE = (REPOSITORY / "docs" / "operating.md").read_text()
WORKFLOWS = {path.stem: path.read_text() for path in (REPOSITORY / ".github" / "workflows").glob("*.yml")}


def commands() -> Iterator[str]:
    """The `latent-matter` command lines of the guide, each on one line and without what is said beside it."""
    for line in re.findall(r"latent-matter [a-z][^`\n]*", GUIDE.replace("\\\n", " ")):
        yield line.split("#")[0].strip()


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_a_command_of_the_guide_exists_with_its_options(line: str) -> None:
    command = typer.main.get_command(app)
    words = line.split()[1:]
    while isinstance(command, TyperGroup):
        word = words.pop(0)
        assert word in command.commands, line
        command = command.commands[word]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known, line


def test_every_variable_of_the_workflows_is_in_the_guide_and_no_other() -> None:
    used = {name for content in WORKFLOWS.values() for name in re.findall(r"\bvars\.(\w+)", content)}
    table = GUIDE.split("### Variables")[1].split("###")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == used


def test_every_environment_of_the_workflows_is_in_the_guide_and_no_other() -> None:
    used = set()
    for content in WORKFLOWS.values():
        for job in yaml.safe_load(content)["jobs"].values():
            given = job.get("environment")
            used |= {given["name"] if isinstance(given, dict) else given} if given else set()
    table = GUIDE.split("### Environments")[1].split("###")[0]
    assert set(re.findall(r"^\| `([\w-]+)`", table, re.MULTILINE)) == used


def test_scripts_of_the_guide_exist() -> None:
    for name in set(re.findall(r"\./scripts/(\w+)", GUIDE)):
        assert (REPOSITORY / "scripts" / name).is_file(), name
