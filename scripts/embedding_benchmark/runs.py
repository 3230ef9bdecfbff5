"""One model's measurement: chosen, run in its own environment, kept on disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.datasets.store import Structures, find_dataset, structures_from_atoms
from benchmark.embedding.batching import pack
from benchmark.embedding.errors import EmbeddingError
from benchmark.embedding.extraction import ATOMS_PER_BATCH, EmbeddingSettings, PreparedModel, prepare, write_inputs
from benchmark.embedding.machine import available_cores, hardware
from benchmark.embedding.process import stage_runtime
from benchmark.files import content_key, sha256_of_file, write_json
from benchmark.submission import Entry

MEASURE = Path(__file__).with_name("measure.py")
SETS = {"molecules": "molecules-mini", "crystals": "crystals-mini"}
WITHOUT_NETWORK = ("composition", "noise")  # controls that compute nothing worth timing
BUSY = 0.3  # share of the cores that others keep busy, above which times are not to be trusted


@dataclass(frozen=True)
class Plan:
    """What is measured: structures a set, passes, and limits in seconds of the loop and of the whole process."""

    structures: int = 256
    repeats: int = 3
    loop_limit: float = 120.0
    process_limit: float = 1800.0
    seed: int = 0


@dataclass
class Measured:
    """One model on one machine. `failure` says why there are no numbers."""

    family: str
    model: str
    weights: str
    adapter: str
    key: str
    machine: str
    device: str
    threads: int
    date: str
    load: float
    packages: dict[str, str] = field(default_factory=dict)
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    failure: str | None = None

    @property
    def busy(self) -> bool:
        """Whether something else was running when it was measured."""
        return self.load > BUSY * self.threads


def load_of_others(seconds: float = 2.0) -> float:
    """Cores that others keep busy while we wait. The load average still holds what we measured a minute ago."""

    def busy() -> float:
        # user, nice, system, idle, iowait, irq, softirq, steal: proc(5), /proc/stat
        values = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return (sum(values) - values[3] - values[4]) / os.sysconf("SC_CLK_TCK")

    if not Path("/proc/stat").is_file():
        return os.getloadavg()[0]
    before, began = busy(), time.monotonic()
    time.sleep(seconds)
    return (busy() - before) / (time.monotonic() - began)


def choose_model(
    entries: Mapping[str, Entry], family: str, settings: EmbeddingSettings, wanted: Sequence[str] = ()
) -> tuple[PreparedModel | None, str]:
    """The first model of `family` whose weights can be had, prepared; else None and the last reason.

    Models of today come before superseded ones, trained ones before controls.
    """
    members = [entry for entry in entries.values() if entry.family.folder.name == family]
    members.sort(key=lambda entry: (entry.model.control is not None, entry.model.superseded_by is not None))
    reason = "it has no model that reads structures"
    for entry in members:
        name, model = entry.model.id, entry.model
        if entry.family.submission.modality != "atoms" or model.control in WITHOUT_NETWORK:
            continue
        if wanted and name not in wanted:
            continue
        try:
            return prepare(entry, settings), ""
        except EmbeddingError as error:
            reason = f"{name}: {error.check}: {error.message}"
    return None, reason


def measure_model(
    prepared: PreparedModel, settings: EmbeddingSettings, plan: Plan, work: Path, profile: bool = False
) -> Measured:
    """Measure a model, or read what is kept of it. What it prints goes to `work`/runs/<model>/log.txt."""
    device = prepared.environment.device
    entry = prepared.entry
    key = _key(prepared, settings, plan)
    found = read_measured(work).get(entry.model.id)
    if found is not None and found.key == key and not profile:
        return found
    folder = work / "runs" / entry.model.id
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    load = load_of_others()
    failure, sets = _run(prepared, settings, plan, folder, work, profile)
    measured = Measured(
        family=entry.family.folder.name,
        model=entry.model.id,
        weights="untrained" if prepared.weights.sha256 is None or entry.model.control == "random" else "trained",
        adapter=entry.family.tree_hash(),
        key=key,
        machine=hardware(device),
        device=device,
        threads=settings.threads,
        date=date.today().isoformat(),
        load=round(load, 2),
        packages={name: prepared.environment.packages[name] for name in _named(prepared)},
        sets=sets,
        failure=failure,
    )
    write_json(work / "measured" / f"{entry.model.id}.json", asdict(measured))
    return measured


def read_measured(work: Path) -> dict[str, Measured]:
    """What is kept, by model."""
    files = sorted((work / "measured").glob("*.json"))
    return {path.stem: Measured(**json.loads(path.read_text())) for path in files}


def _key(prepared: PreparedModel, settings: EmbeddingSettings, plan: Plan) -> str:
    data = {name: find_dataset(name).card.fingerprint for name in SETS.values()}
    machine = [hardware(prepared.environment.device), settings.threads]
    return content_key([prepared.identity(), data, machine, asdict(plan), sha256_of_file(MEASURE)])


def _named(prepared: PreparedModel) -> list[str]:
    """Packages that the table names: those that the numbers most depend on."""
    return [name for name in ("torch", "jax") if name in prepared.environment.packages]


def _run(
    prepared: PreparedModel, settings: EmbeddingSettings, plan: Plan, folder: Path, work: Path, profile: bool
) -> tuple[str | None, dict[str, dict[str, Any]]]:
    output, home = folder / "output", work / "home"
    home.mkdir(parents=True, exist_ok=True)
    job = {
        **prepared.job(folder, []),
        "output": str(output.absolute()),
        "threads": settings.threads,
        "parent": os.getpid(),
        "sets": {name: _set(prepared, name, dataset, folder, plan) for name, dataset in SETS.items()},
        "repeats": plan.repeats,
        "loop_limit": plan.loop_limit,
        "profile": profile,
    }
    write_json(folder / "job.json", job)
    log = folder / "log.txt"
    command = [str(prepared.environment.python), "-s", "-P", str(MEASURE), str((folder / "job.json").absolute())]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_variables(stage_runtime(settings.cache), home, settings.threads),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=plan.process_limit)
        except subprocess.TimeoutExpired:
            return f"ended after {plan.process_limit:.0f} s", {}
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code != 0:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return (lines[-1][:300] if lines else f"ended with {code}"), {}
    return None, json.loads((output / "result.json").read_text())["sets"]


def _set(prepared: PreparedModel, name: str, dataset: str, folder: Path, plan: Plan) -> dict[str, Any]:
    structures = draw(find_dataset(dataset).structures(), plan.structures, plan.seed)
    place = folder / name
    place.mkdir()
    lengths = np.diff(structures.offsets)
    limit = ATOMS_PER_BATCH[prepared.environment.device]
    batches = pack(range(len(structures)), lengths, limit)
    return {"inputs": str(write_inputs(place, prepared.entry, structures).absolute()), "batches": batches}


def draw(structures: Structures, count: int, seed: int) -> Structures:
    """`count` structures at random, in their order."""
    chosen = np.random.default_rng(seed).permutation(len(structures))[:count]
    indices = sorted(int(index) for index in chosen)
    return structures_from_atoms([structures.ids[i] for i in indices], [structures.atoms(i) for i in indices])


def _variables(runtime: Path, home: Path, threads: int) -> dict[str, str]:
    """As a worker has them. The home stays, so that kernels compiled by one run are there for the next."""
    inherited = {
        name: os.environ[name] for name in ("PATH", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH") if name in os.environ
    }
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {
        **inherited,
        **dict.fromkeys(counts, str(threads)),
        "PYTHONPATH": str(runtime),
        "HOME": str(home.absolute()),
        "LANG": "C.UTF-8",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "HF_HUB_OFFLINE": "1",
    }


def settings_for(cache: Path, accelerator: Any) -> EmbeddingSettings:
    """All cores for one model at a time; weights that are here, none fetched."""
    return EmbeddingSettings(cache, accelerator=accelerator, threads=available_cores(), offline=True)
