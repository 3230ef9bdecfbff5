"""PBE labels of crystals with GPAW: one calculation, and a driver that survives bad ones.

Runs under a Python that has gpaw, ase and numpy (Debian's `gpaw` and `gpaw-data` packages, for
example), so nothing else is imported here. Every crystal is computed in a process of its own with a
limit on processor time, and its outcome, good or bad, is written atomically to `<folder>/<id>.json`; a crystal
whose file exists is not computed again.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
import sys
import time
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from ase import Atoms

from benchmark.datasets.generate.crystals import KPOINT_DENSITY
from benchmark.files import write_json

CUTOFF = 350.0  # eV
SMEARING = 0.1  # eV, Fermi-Dirac
CONVERGENCE = {"energy": 3e-4, "density": 3e-3, "eigenstates": 1e-3}  # per valence electron
MAX_ITERATIONS = 80
CPU_LIMIT = 45  # s of processor time for one crystal
WALL_LIMIT = 600.0  # s for one crystal, in case it hangs

Label = dict[str, Any]


def label(atoms: Atoms) -> Label:
    """Total energy (eV per cell), Kohn-Sham gap (eV, 0 for a metal) and the run's size.

    Spin-paired PBE, plane waves. The energy is extrapolated to zero smearing, relative to GPAW's
    reference atoms. The gap is taken on the k-points of the self-consistent run.
    """
    from gpaw import GPAW, PW, FermiDirac, Mixer

    calculator = GPAW(
        mode=PW(CUTOFF),
        xc="PBE",
        kpts={"density": KPOINT_DENSITY},
        occupations=FermiDirac(SMEARING),
        spinpol=False,
        eigensolver="dav",
        mixer=Mixer(0.25, 8, 20),
        convergence=CONVERGENCE,
        maxiter=MAX_ITERATIONS,
        txt=None,
    )
    energy = float(calculator.get_potential_energy(Atoms(atoms)))
    return {
        "energy": energy,
        "gap": _gap(calculator),
        "iterations": int(calculator.get_number_of_iterations()),
        "kpoints": len(calculator.get_ibz_k_points()),
        "bands": int(calculator.get_number_of_bands()),
    }


def _gap(calculator: Any) -> float:
    """Fundamental Kohn-Sham gap in eV; 0 where bands overlap or one is half filled (odd electrons)."""
    if round(calculator.get_number_of_electrons()) % 2:
        return 0.0
    homo, lumo = calculator.get_homo_lumo()
    return max(0.0, float(lumo - homo))


def _label_to_file(atoms: Atoms, target: Path) -> None:
    """Body of the child process: a failure is a result too."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT + 5))
    try:
        outcome: Label = {"status": "ok", **label(atoms)}
    except (Exception, SystemExit) as error:
        unconverged = type(error).__name__ == "KohnShamConvergenceError"
        outcome = {
            "status": "unconverged" if unconverged else "failed",
            "reason": f"{type(error).__name__}: {error}".splitlines()[0][:200],
        }
    write_json(target, {**outcome, "seconds": round(time.process_time(), 2)})


def label_all(crystals: list[tuple[str, Atoms]], folder: Path, workers: int, until: float | None = None) -> None:
    """Label each (id, atoms) whose file is missing in `folder`; print progress to stderr.

    `until` is a time stamp after which no further crystal is started.
    """
    import gpaw  # noqa: F401  imported once here and inherited by every fork

    folder.mkdir(parents=True, exist_ok=True)
    todo = [(name, atoms) for name, atoms in crystals if not (folder / f"{name}.json").exists()]
    queue = list(reversed(todo))
    running: dict[str, tuple[ForkProcess, float]] = {}
    fork = multiprocessing.get_context("fork")
    started, done = time.monotonic(), 0
    while queue or running:
        while queue and len(running) < workers and (until is None or time.time() < until):
            name, atoms = queue.pop()
            process = fork.Process(target=_label_to_file, args=(atoms, folder / f"{name}.json"))
            process.start()
            running[name] = (process, time.monotonic())
        if not running:
            break
        time.sleep(0.1)
        for name, (process, begun) in list(running.items()):
            seconds = time.monotonic() - begun
            if process.is_alive() and seconds < WALL_LIMIT:
                continue
            process.kill()
            process.join()
            del running[name]
            target = folder / f"{name}.json"
            if not target.exists():
                late = seconds >= WALL_LIMIT or process.exitcode == -signal.SIGXCPU
                reason = f"over {CPU_LIMIT} s of processor time" if late else f"exit code {process.exitcode}"
                status = "timeout" if late else "failed"
                write_json(target, {"status": status, "reason": reason, "seconds": round(seconds, 2)})
            done += 1
            mean = (time.monotonic() - started) / done
            eta = mean * (len(todo) - done) / 60
            print(f"{done}/{len(todo)} {name} {seconds:5.1f} s, ETA {eta:.0f} min", file=sys.stderr)
