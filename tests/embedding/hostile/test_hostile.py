"""Every adapter of the corpus is contained: its line is right and nothing else is harmed.

These run in bubblewrap, as on a machine without a container engine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.datasets.store import Dataset
from benchmark.embedding import process
from benchmark.embedding.environment import Environment, ensure_environment
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.extraction import EmbeddingSettings, embed, features_folder
from benchmark.embedding.features import Sidecar
from benchmark.embedding.sandbox import Limits
from benchmark.embedding.sandbox.backends import Bubblewrap, find_bubblewrap
from benchmark.files import remove_tree
from benchmark.recording import describe_failure
from tests.embedding.families import write_family, write_small_dataset
from tests.embedding.hostile.corpus import CORPUS, Hostile

FOUND = find_bubblewrap()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not isinstance(FOUND, Bubblewrap), reason=str(FOUND)),
]


@dataclasses.dataclass
class World:
    """What an adapter could harm, and what it needs to run."""

    folder: Path
    dataset: Dataset
    environment: Environment
    settings: EmbeddingSettings
    reference: Sidecar
    places: dict[str, str]
    connections: list[str]

    def state(self) -> dict[str, str]:
        """Names and contents of all that must stay as it is."""
        roots = [self.folder / name for name in ("home", "data")]
        roots += [self.settings.cache / name for name in ("runtime", "features")]
        paths = [path for root in roots for path in sorted(root.rglob("*")) if path.is_file()]
        paths += sorted(self.environment.site_packages.glob("*.p*"))
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    def processes(self) -> list[int]:
        """Living processes that have to do with this world, apart from the tests' own."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                ours = str(self.folder).encode() in (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if ours and state not in "ZX" and int(entry.name) != os.getpid():
                    found.append(int(entry.name))
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    dataset = write_small_dataset(folder / "data" / "small")
    secret = folder / "home" / ".ssh" / "id_rsa"
    secret.parent.mkdir(parents=True)
    secret.write_text("hf_secret")
    sound = write_family(folder / "families" / "sound")
    settings = EmbeddingSettings(folder / "cache", "cpu", 1, 120.0, sandbox="none")
    environment = ensure_environment(sound.family.adapter, settings.cache, "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", "hf_secret")
        patch.setenv("HOME", str(folder / "home"))
        # Compiling all of the environment takes longer than what these tests do with it.
        patch.setattr(process, "_bytecode", lambda *_: compiled)
        patch.setattr(process, "compiled_modules", lambda *_: compiled)
        reference = embed(sound, dataset, settings, environment=environment)
        with _listening(folder.name) as (port, connections):
            places = {
                "secret": str(secret),
                "labels": str(folder / "data" / "small" / "labels.parquet"),
                "stored": str(features_folder(settings.cache, reference.key) / "features.safetensors"),
                "victim": str(folder / "home" / "victim"),
                "port": str(port),
                "name": folder.name,
            }
            assert all(Path(places[name]).is_file() for name in ("secret", "labels", "stored"))
            confined = dataclasses.replace(settings, sandbox="required")
            yield World(folder, dataset, environment, confined, reference, places, connections)
    # What is left here may be too deep for pytest, which would end with an error of its own.
    remove_tree(folder)


@contextlib.contextmanager
def _listening(name: str) -> Iterator[tuple[int, list[str]]]:
    """A server on this machine's own address and one on an abstract socket, and who came."""
    connections: list[str] = []
    servers = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
    servers[1].bind(f"\0{name}")
    servers[1].listen()

    def accept(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                server.accept()
                connections.append(str(server.family))

    for server in servers:
        threading.Thread(target=accept, args=(server,), daemon=True).start()
    yield servers[0].getsockname()[1], connections
    for server in servers:
        server.close()


@pytest.mark.parametrize("hostile", CORPUS, ids=lambda hostile: hostile.name)
def test_a_hostile_adapter_is_contained_and_named(world: World, hostile: Hostile) -> None:
    source = hostile.adapter()
    for name, value in world.places.items():
        source = source.replace("{{" + name + "}}", value)
    entry = write_family(world.folder / "families" / re.sub(r"\W+", "-", hostile.name), source)
    limits = dataclasses.replace(Limits(), **hostile.limits)
    settings = dataclasses.replace(world.settings, timeout=hostile.timeout, limits=limits)
    before, tree = world.state(), entry.family.tree_hash()
    started = time.monotonic()
    if hostile.expected is None:
        sidecar = embed(entry, world.dataset, settings, environment=world.environment)
        assert sidecar.arrays_sha256 == world.reference.arrays_sha256
        assert sidecar.provenance.sandbox.startswith("bubblewrap ")
        after = {name: found for name, found in world.state().items() if sidecar.key not in name}
    else:
        with pytest.raises(EmbeddingError) as caught:
            embed(entry, world.dataset, settings, environment=world.environment)
        reason = describe_failure(caught.value)
        assert re.fullmatch(rf"families/[\w-]+/adapter\.py: {hostile.expected}.*", reason), reason
        assert reason.isprintable() and len(reason) < 2500
        after = world.state()
    assert time.monotonic() - started < 60
    assert after == before
    assert entry.family.tree_hash() == tree
    assert not world.connections
    assert not world.processes()
    assert sum(path.stat().st_size for path in world.settings.cache.glob("work/*/worker.log")) < 12_000_000


def test_after_all_of_them_a_sound_adapter_gives_the_same_bits(world: World) -> None:
    changed = write_family(world.folder / "families" / "sound-again", "# another file\n" + SOUND)
    again = embed(changed, world.dataset, world.settings, environment=world.environment)
    assert again.key != world.reference.key
    assert again.arrays_sha256 == world.reference.arrays_sha256


SOUND = Hostile("", None).adapter()
