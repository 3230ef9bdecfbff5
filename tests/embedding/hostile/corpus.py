"""Adapters that mean harm, and the one line that each must come to.

Each is a few lines inside `embed` (or `load`) of an adapter whose features are otherwise sound: `values` are
the rows to return, `output` the folder that the worker writes to. Words in double braces stand for places of the
test's own world: {{secret}}, {{labels}}, {{stored}}, {{victim}}, {{port}}, {{name}}.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

TEMPLATE = """
SEEN = {{}}

class Hostile(Adapter):
    def load(self, checkpoint, options, device):
        output = Path(sys.argv[1]).parent / "output"
{load}

    def unsupported(self, item):
{unsupported}

    def embed(self, inputs):
        output = Path(sys.argv[1]).parent / "output"
        shard = output / "shard-00000.safetensors"
        values = np.concatenate([scalars(atoms) for atoms in inputs])
{embed}
        return Features({{"backbone": Layer(values)}})
"""

# What a structure is, however it is moved and its atoms are ordered.
CANONICAL = """
from ase.geometry import get_distances
def canonical(atoms):
    return (tuple(sorted(atoms.numbers)), tuple(np.sort(atoms.get_all_distances(mic=True).ravel()).round(4)))
"""


@dataclass(frozen=True)
class Hostile:
    """expected: pattern of the error's check and message; None where the features come out sound all the same."""

    name: str
    expected: str | None
    embed: str = "pass"
    load: str = "pass"
    unsupported: str = "return None"
    before: str = ""
    timeout: float = 60.0
    limits: Mapping[str, float] = field(default_factory=dict)

    def adapter(self) -> str:
        """The source of the adapter, after the descriptor's functions."""
        bodies = {"load": self.load, "embed": self.embed, "unsupported": self.unsupported}
        filled = TEMPLATE.format(**{name: _indented(body) for name, body in bodies.items()})
        return textwrap.dedent(self.before) + filled


def _indented(body: str) -> str:
    return textwrap.indent(textwrap.dedent(body).strip(), " " * 8)


FORGE = """
import json
def forge(shard, header, content=b""):
    text = json.dumps(header).encode()
    shard.write_bytes(len(text).to_bytes(8, "little") + text + content)
    os._exit(0)
"""

NETWORK = [
    Hostile(
        "opens a connection to this machine",
        r"embed: raised ConnectionRefusedError",
        'import socket; socket.create_connection(("127.0.0.1", {{port}}), timeout=5)',
    ),
    Hostile(
        "opens a connection to another machine",
        r"embed: raised OSError: .*Network is unreachable",
        'import socket; socket.create_connection(("192.0.2.1", 443), timeout=5)',
    ),
    Hostile(
        "asks for a name",
        r"embed: raised gaierror",
        'import socket; socket.getaddrinfo("example.org", 443)',
    ),
    Hostile(
        "connects to a socket without a file",
        r"embed: raised ConnectionRefusedError",
        'import socket; socket.socket(socket.AF_UNIX).connect("\\0{{name}}")',
    ),
]

SECRETS = [
    Hostile(
        "reads a file of the home",
        r"embed: raised FileNotFoundError: .*No such file",
        'values[:] = len(Path("{{secret}}").read_text())',
    ),
    Hostile(
        "reads the environment",
        r"embed: raised KeyError: 'HF_TOKEN'",
        'values[:] = len(os.environ["HF_TOKEN"])',
    ),
    Hostile(
        "reads the environment of every process",
        r"embed: raised LookupError: no secret",
        """
        found = [path for path in Path("/proc").glob("[0-9]*/environ") if b"hf_secret" in path.read_bytes()]
        if not found: raise LookupError("no secret")
        """,
    ),
    Hostile(
        "looks for the rest of the machine through its processes",
        r"embed: raised LookupError: 2 processes",
        """
        ids = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
        roots = [path for path in ids if (path / "root" / "{{secret}}".lstrip("/")).exists()]
        if not roots: raise LookupError(f"{len(ids)} processes")
        """,
    ),
    Hostile(
        "reads the labels",
        r"embed: raised FileNotFoundError: .*No such file",
        'Path("{{labels}}").read_bytes()',
    ),
    Hostile(
        "returns the reference's stored features",
        r"embed: raised FileNotFoundError: .*No such file",
        """
        from safetensors.numpy import load_file
        values = load_file("{{stored}}")["layer.backbone"]
        """,
    ),
]

WRITING = [
    Hostile(
        "writes outside",
        r"embed: raised FileNotFoundError: .*No such file",
        'Path("{{victim}}").write_text("mine")',
    ),
    Hostile(
        "writes to the root",
        r"embed: raised OSError: .*Read-only file system",
        'Path("/mine").write_text("mine")',
    ),
    Hostile(
        "changes its own files",
        r"embed: raised OSError: .*Read-only file system",
        'Path(__file__).write_text("mine")',
    ),
    Hostile(
        "edits the harness",
        r"embed: raised OSError: .*Read-only file system",
        'import benchmark.embedding.worker as worker; Path(worker.__file__).write_text("mine")',
    ),
    Hostile(
        "leaves a module for the next model",
        r"load: raised OSError: .*Read-only file system",
        load='import benchmark; (Path(benchmark.__file__).parents[1] / "numpy.py").write_text("mine")',
    ),
    Hostile(
        "leaves a module in the environment",
        r"load: raised OSError: .*Read-only file system",
        load='(Path(np.__file__).parents[1] / "sitecustomize.py").write_text("mine")',
    ),
    Hostile(
        "leaves compiled modules",
        r"load: raised OSError: .*Read-only file system",
        load='(Path(sys.pycache_prefix) / "mine").write_text("mine")',
    ),
    Hostile(
        "fills the disk with one file",
        r"(embed: raised OSError: .*File too large|files: more than 30 MB were written)",
        """
        with (output / "big").open("wb") as stream:
            while True: stream.write(bytes(1 << 20))
        """,
        limits={"output": 30_000_000},
    ),
    Hostile(
        "fills the disk with many files",
        r"files: more than 30 MB were written",
        """
        for number in range(10**9):
            (output / str(number)).write_bytes(bytes(1 << 18))
        """,
        limits={"output": 30_000_000},
    ),
    Hostile(
        "fills the disk with empty files",
        r"files: more than 300 were written",
        """
        for number in range(10**9):
            (output / str(number)).touch()
        """,
        limits={"files": 300},
    ),
    Hostile(
        "fills the folder for temporary files",
        r"embed: raised OSError: .*No space left",
        """
        import tempfile
        with tempfile.TemporaryFile() as stream:
            while True: stream.write(bytes(1 << 20))
        """,
        limits={"temporary": 20_000_000},
    ),
    Hostile(
        "fills the shared memory",
        r"embed: raised OSError: .*No space left",
        """
        with open("/dev/shm/big", "wb") as stream:
            while True: stream.write(bytes(1 << 20))
        """,
        limits={"temporary": 20_000_000},
    ),
]

DAEMON = """
    if os.fork() == 0:
        os.setsid()
        if os.fork(): os._exit(0)
        for stream in range(3): os.close(stream)
"""

PROCESSES = [
    Hostile(
        "forks without end",
        r"(processes: more than 40 at once|embed: raised BlockingIOError)",
        """
        while True:
            if os.fork() == 0: time.sleep(1000)
        """,
        limits={"processes": 40},
    ),
    Hostile(
        "lets its children fork without end",
        r"processes: more than 40 at once",
        """
        os.setsid() if os.fork() == 0 else time.sleep(1000)
        while True:
            os.fork()
        """,
        limits={"processes": 40},
    ),
    Hostile(
        "allocates without end",
        r"load: raised .*Memory",
        load="""
        kept = []
        while True: kept.append(np.ones(10_000_000))
        """,
        limits={"memory": 700_000_000},
    ),
    Hostile(
        "allocates without end in its children",
        r"memory: took more than 700 MB in \d+ processes",
        load="""
        for _ in range(3): os.fork()
        kept = [np.ones(1_000_000) for _ in range(40)]
        time.sleep(1000)
        """,
        limits={"memory": 700_000_000},
    ),
    Hostile("hangs", r"embed: timed out after 6 s without progress", "time.sleep(1000)", timeout=6),
    Hostile(
        "hangs and ignores every signal",
        r"load: timed out after 3 s without progress",
        load="""
        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
        while True: pass
        """,
        timeout=3,
    ),
    Hostile(
        "hangs and claims to come on",
        r"embed: timed out after 6 s without progress",
        """
        import json
        for done in range(10**9):
            (output / "new").write_text(json.dumps({"done": done}))
            (output / "new").rename(output / "progress.json")
            time.sleep(0.2)
        """,
        timeout=6,
    ),
    Hostile(
        "runs for too long",
        r"time: ran longer than 4 s",
        "while True: pass",
        limits={"seconds": 4.0},
    ),
    Hostile("leaves a daemon", None, DAEMON + "        time.sleep(1000)"),
    Hostile(
        "leaves a daemon that goes on writing",
        r"output: unexpected file 'later' in the output folder",
        DAEMON
        + """\
        while True:
            (output / "later").write_text("mine")
            time.sleep(0.01)
    while not (output / "later").exists(): time.sleep(0.01)
    """,
    ),
    Hostile(
        "kills whatever it can",
        r"process: the worker ended: (killed by SIGKILL|exit code)",
        """
        import contextlib, signal
        for target in (os.getppid(), 1, -1, os.getpid()):
            with contextlib.suppress(OSError): os.kill(target, signal.SIGKILL)
        """,
    ),
    Hostile(
        "makes itself administrator of a namespace",
        r"load: raised OSError: \[Errno \d+\]",
        load="""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(0x10000000 | 0x00020000): raise OSError(ctypes.get_errno(), "unshare")
        """,
    ),
    Hostile(
        "prints a gigabyte",
        r"embed: raised RuntimeError: done printing",
        """
        block = b"Traceback \\xff\\x1b[2J\\n" * 60_000
        for _ in range(1000): os.write(1, block)
        raise RuntimeError("done printing")
        """,
    ),
]

FILES = [
    Hostile(
        "writes a pickle for its features",
        r"output: shard-00000.safetensors is no safetensors file",
        "import pickle; shard.write_bytes(pickle.dumps(values)); os._exit(0)",
    ),
    Hostile(
        "writes a pickle beside its features",
        r"output: unexpected file 'features.pkl' in the output folder",
        'import pickle; (output / "features.pkl").write_bytes(pickle.dumps(values))',
    ),
    Hostile(
        "links its features to a file of the machine",
        r"output: shard-00000.safetensors is not a regular file",
        'shard.symlink_to("/etc/passwd"); os._exit(0)',
    ),
    Hostile(
        "links its features to the secret",
        r"output: shard-00000.safetensors is not a regular file",
        'shard.symlink_to("{{secret}}"); os._exit(0)',
    ),
    Hostile(
        "gives a pipe for a file",
        r"output: shard-00000.safetensors is not a regular file",
        "os.mkfifo(shard); os._exit(0)",
    ),
    Hostile(
        "gives two names to one file",
        r"output: (shard-00000.safetensors is not a regular file|unexpected file 'x' in the output folder)",
        '(output / "x").touch(); os.link(output / "x", shard); os._exit(0)',
    ),
    Hostile(
        "claims a terabyte in the header of its features",
        r"output: shard-00000.safetensors is no safetensors file",
        """
        shape = {"dtype": "F32", "shape": [1 << 30, 256], "data_offsets": [0, 1 << 40]}
        forge(shard, {"layer.backbone": shape}, bytes(64))
        """,
        before=FORGE,
    ),
    Hostile(
        "claims a header of a terabyte",
        r"output: shard-00000.safetensors is no safetensors file: header of 1099511627776 bytes",
        "shard.write_bytes((1 << 40).to_bytes(8, 'little') + bytes(100)); os._exit(0)",
    ),
    Hostile(
        "nests the header of its features",
        r"output: shard-00000.safetensors is no safetensors file",
        """
        text = b"[" * 500_000
        shard.write_bytes(len(text).to_bytes(8, "little") + text)
        os._exit(0)
        """,
    ),
    Hostile(
        "writes a file of holes",
        r"output: shard-00000.safetensors has 20000000000 bytes, at most",
        "shard.touch(); os.truncate(shard, 20_000_000_000); os._exit(0)",
    ),
    Hostile(
        "leaves a Parquet file that unpacks to gigabytes",
        r"output: unexpected file 'features.parquet' in the output folder",
        """
        import zlib
        (output / "features.parquet").write_bytes(b"PAR1" + zlib.compress(bytes(50_000_000)) + b"PAR1")
        """,
    ),
    Hostile(
        "leaves folders too deep to remove",
        r"output: unexpected file 'deep' in the output folder",
        """
        os.chdir(output)
        for _ in range(3000):
            os.mkdir("deep"); os.chdir("deep")
        os.chdir("/")
        """,
    ),
    Hostile(
        "locks its output",
        r"output: unexpected file 'locked' in the output folder",
        """
        (output / "locked").mkdir()
        (output / "locked" / "file").touch()
        os.chmod(output / "locked", 0)
        import atexit; atexit.register(os.chmod, output, 0)
        """,
    ),
    Hostile(
        "names inputs that there are none of",
        r"unsupported: names inputs that the step does not have: \[4711\]",
        'forge(shard, {"__metadata__": {"left_out": json.dumps({4711: "why"})}})',
        before=FORGE,
    ),
    Hostile(
        "returns fewer rows than atoms",
        r"layer backbone: has shape \(\d+, 4\) for \d+ atoms",
        "values = values[:-1]",
    ),
    Hostile(
        "returns fewer rows past the worker's own check",
        r"layer backbone: float32 of shape \(\d+, 4\) for \d+ atoms",
        "values = values[:-1].astype(np.float32)",
        load='sys.modules["__main__"].Worker._checked = lambda self, batch, features: features',
    ),
    Hostile(
        "writes to the terminal through its error",
        r"embed: raised ValueError: \[2J \]0;mine failed: 0 of 9",
        'raise ValueError("\\x1b[2J\\x1b]0;mine\\x07\\nfailed: 0 of 9\\r")',
    ),
    Hostile(
        "writes to the terminal through the name of a layer",
        r"layers: the adapter gives \[.*\], submission.yaml declares \['backbone'\]",
        'return Features({"\\x1b[2J\\n" + "x" * 100: Layer(values)})',
    ),
]

CHEATS = [
    Hostile(
        "returns the number of the row",
        r"audit: layer backbone of s\d+, embedded again .* differs by",
        """
        values[:, 1] = np.arange(len(values)) + SEEN.get("rows", 0)
        SEEN["rows"] = SEEN.get("rows", 0) + len(values)
        """,
    ),
    Hostile(
        "numbers structures in the order in which it meets them, and remembers",
        r"audit: layer backbone of s\d+, embedded again .* differs by",
        """
        names = [SEEN.setdefault(canonical(atoms), len(SEEN)) for atoms in inputs]
        values[:, 1] = np.repeat(names, [len(atoms) for atoms in inputs])
        """,
        before=CANONICAL,
    ),
    Hostile(
        "numbers structures by their place in the file of inputs",
        r"audit: layer backbone of s\d+, embedded again .* differs by",
        """
        import json
        from safetensors.numpy import load_file
        arrays = load_file(json.loads(Path(sys.argv[1]).read_text())["inputs"])
        for row, atoms in zip(np.cumsum([0] + [len(a) for a in inputs]), inputs):
            starts = arrays["offsets"][:-1]
            place = next(i for i, s in enumerate(starts) if (arrays["positions"][s] == atoms.positions[0]).all())
            values[row : row + len(atoms), 1] = place
        """,
    ),
    Hostile(
        "depends on the order of its inputs",
        r"audit: layer backbone of s\d+, embedded again .* differs by",
        "values[:, 1] += np.repeat(range(len(inputs)), [len(atoms) for atoms in inputs])",
    ),
    Hostile(
        "looks features up by the positions",
        r"audit: layer backbone of s\d+, embedded again .* differs by",
        """
        import hashlib
        for row, atoms in zip(np.cumsum([0] + [len(a) for a in inputs]), inputs):
            seed = int.from_bytes(hashlib.sha256(atoms.positions.tobytes()).digest()[:8], "little")
            values[row : row + len(atoms), 1:] = np.random.default_rng(seed).normal(size=3)
        """,
    ),
    Hostile(
        "looks features up for the structures it knows and is honest otherwise, as in the checks",
        r"audit: layer backbone changes by .* looked up rather than computed",
        """
        import hashlib
        for row, atoms in zip(np.cumsum([0] + [len(a) for a in inputs]), inputs):
            seed = int.from_bytes(hashlib.sha256(repr(canonical(atoms)).encode()).digest()[:8], "little")
            values[row : row + len(atoms), 1:] = np.random.default_rng(seed).normal(size=3)
        """,
        before=CANONICAL,
    ),
    Hostile(
        "is blind to the positions where it is not checked",
        r"audit: layer backbone changes by .* blind to the positions",
        "values[:, 1:] = values[:, :1]",
    ),
    Hostile(
        "refuses in the audit what it embedded before",
        r"audit: cannot embed s\d+ again: too hard",
        unsupported='return "too hard" if "audit" in sys.argv[1] else None',
    ),
]

CORPUS = [*NETWORK, *SECRETS, *WRITING, *PROCESSES, *FILES, *CHEATS]
