"""What a process without a sandbox is still kept from."""

import dataclasses
from pathlib import Path

import pytest

from benchmark.datasets.store import Dataset
from benchmark.embedding.environment import Environment
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.extraction import EmbeddingSettings, embed
from benchmark.embedding.sandbox import Limits
from tests.embedding.families import write_family

FREE = """
class Free(Adapter):
    def load(self, checkpoint, options, device): pass
    def embed(self, inputs):
        output = Path(sys.argv[1]).parent / "output"
        values = np.concatenate([scalars(atoms) for atoms in inputs])
        BODY
        return Features({"backbone": Layer(values)})
"""


@pytest.mark.parametrize(
    ("body", "limits", "expected"),
    [
        ("[os.fork() for _ in range(6)]; time.sleep(100)", {"processes": 20}, "processes: more than 20 at once"),
        (
            "os.fork(); kept = np.ones(50_000_000); time.sleep(100)",
            {"memory": 600_000_000},
            "memory: took more than 600 MB in 2 processes",
        ),
        ("kept = np.ones(500_000_000)", {"memory": 1_000_000_000}, "memory: one structure alone does not fit"),
        (
            "[(output / str(n)).write_bytes(bytes(10**6)) for n in range(10**9)]",
            {"output": 10_000_000},
            "files: more than 10 MB were written",
        ),
        (
            "[Path(os.environ['HOME'], str(n)).write_bytes(bytes(10**6)) for n in range(10**9)]",
            {"output": 10_000_000},
            "files: more than 10 MB were written",
        ),
        ("time.sleep(100)", {"seconds": 3.0}, "time: ran longer than 3 s"),
    ],
)
def test_limits_hold_for_a_plain_process_too(
    body: str,
    limits: dict[str, float],
    expected: str,
    tmp_path: Path,
    dataset: Dataset,
    settings: EmbeddingSettings,
    environment: Environment,
) -> None:
    entry = write_family(tmp_path / "toy", FREE.replace("BODY", body))
    limited = dataclasses.replace(settings, limits=dataclasses.replace(Limits(), **limits))
    with pytest.raises(EmbeddingError) as caught:
        embed(entry, dataset, limited, environment=environment)
    assert str(caught.value).startswith(f"{entry.family.adapter}: {expected}")


def test_a_daemon_of_a_plain_process_is_ended(
    tmp_path: Path, dataset: Dataset, settings: EmbeddingSettings, environment: Environment
) -> None:
    note = tmp_path / "note"
    body = f"""
        if os.fork() == 0:
            os.setsid()
            if os.fork(): os._exit(0)
            Path({str(note)!r}).write_text(str(os.getpid()))
            time.sleep(1000)
        while not Path({str(note)!r}).exists(): time.sleep(0.01)"""
    embed(write_family(tmp_path / "toy", FREE.replace("BODY", body)), dataset, settings, environment=environment)
    try:
        state = Path(f"/proc/{int(note.read_text())}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return
    assert state in "ZX"  # nobody has asked for its end yet
