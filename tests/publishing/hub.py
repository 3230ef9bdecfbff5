"""A small hub on localhost that speaks what publishing needs: revisions, trees, files, LFS uploads and commits.

It keeps every commit, so that a test can tell the old state from the new one and both from a mixture. `faults` are
taken in turn by the requests that they fit.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

NAME = "group/board"
TOKEN = "hf_writer"


@dataclass
class Fault:
    """What happens to the next request whose "METHOD path" contains `request`.

    status: answer with this code; cut: close the connection before the answer; late: do it, then answer with `status`.
    """

    request: str
    status: int | None = None
    cut: bool = False
    late: bool = False
    before: Callable[[], None] | None = None


@dataclass
class State:
    """One commit: its number as 40 hex digits and all files."""

    sha: str
    files: dict[str, bytes] = field(default_factory=dict)


class HubServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.states = [State("0" * 40)]
        self.objects: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.log: list[str] = []
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def files(self) -> dict[str, bytes]:
        return self.states[-1].files

    def commit(self, changed: dict[str, bytes]) -> State:
        """A new commit with `changed` on top of the last."""
        state = State(f"{len(self.states):040x}", {**self.files, **changed})
        self.states.append(state)
        return state

    def at(self, revision: str) -> State | None:
        return self.states[-1] if revision == "main" else next((s for s in self.states if s.sha == revision), None)

    def fault(self, request: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.request in request:
                    self.faults.remove(fault)
                    return fault
        return None


class Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        del arguments

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def _handle(self) -> None:
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}"
        self.server.log.append(request)
        length = int(self.headers.get("Content-Length") or 0)
        body = self._chunked() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
        fault = self.server.fault(request)
        if fault is not None and fault.before is not None:
            fault.before()
        if fault is not None and not fault.late and (fault.cut or fault.status):
            return self._fail(fault)
        answer = self._answer(path, body)
        if fault is not None and fault.late:
            return self._fail(fault)
        return self._send(*answer)

    def _chunked(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _fail(self, fault: Fault) -> None:
        if fault.cut:
            self.close_connection = True
            self.connection.close()
            return
        self._send(int(fault.status or 500), {"error": "made to fail"}, {})

    def _send(self, status: int, content: Any, headers: dict[str, str]) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _answer(self, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        api, files = f"/api/datasets/{NAME}", f"/datasets/{NAME}"
        if path.startswith(f"{api}/revision/"):
            state = self.server.at(path.removeprefix(f"{api}/revision/"))
            assert state is not None
            siblings = [{"rfilename": name} for name in sorted(state.files)]
            return 200, {"id": NAME, "sha": state.sha, "siblings": siblings, "private": False, "tags": []}, {}
        if path.startswith(f"{api}/tree/"):
            state = self.server.at(path.removeprefix(f"{api}/tree/").split("/")[0])
            assert state is not None
            return 200, [self._entry(name, content) for name, content in sorted(state.files.items())], {}
        if path.startswith(f"{files}/resolve/"):
            return self._file(*path.removeprefix(f"{files}/resolve/").split("/", 1))
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if path.startswith(f"{api}/preupload/"):
            return self._preupload(json.loads(body))
        if path == f"{files}.git/info/lfs/objects/batch":
            return self._batch(json.loads(body))
        if path.startswith("/lfs/"):
            self.server.objects[path.removeprefix("/lfs/")] = body
            return 200, b"", {}
        if path.startswith(f"{api}/commit/"):
            return self._commit(body)
        return 404, {"error": f"no {self.command} {path}"}, {"X-Error-Code": "RepoNotFound"}

    def _entry(self, name: str, content: bytes) -> dict[str, Any]:
        entry = {"type": "file", "path": name, "size": len(content), "oid": git_oid(content)}
        if is_lfs(name):
            entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
        return entry

    def _file(self, revision: str, name: str) -> tuple[int, Any, dict[str, str]]:
        state = self.server.at(revision)
        if state is None or name not in state.files:
            return 404, b"", {"X-Error-Code": "EntryNotFound"}
        content = state.files[name]
        tag = sha256(content) if is_lfs(name) else git_oid(content)
        return 200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": state.sha, "Accept-Ranges": "none"}

    def _preupload(self, asked: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        answers = []
        for file in asked["files"]:
            known = self.server.files.get(file["path"])
            mode = "lfs" if is_lfs(file["path"]) else "regular"
            oid = None if known is None else sha256(known) if mode == "lfs" else git_oid(known)
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return 200, {"files": answers}, {}

    def _batch(self, asked: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        objects = []
        for each in asked["objects"]:
            answer = {"oid": each["oid"], "size": each["size"], "authenticated": True}
            if each["oid"] not in self.server.objects:
                answer["actions"] = {"upload": {"href": f"{self.server.address}/lfs/{each['oid']}", "header": {}}}
            objects.append(answer)
        return 200, {"transfer": "basic", "objects": objects}, {"Content-Type": "application/vnd.git-lfs+json"}

    def _commit(self, body: bytes) -> tuple[int, Any, dict[str, str]]:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 403, {"error": "You don't have the rights"}, {}
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        header = lines[0]["value"]
        with self.server.lock:
            if header.get("parentCommit") not in (None, self.server.states[-1].sha):
                return 412, {"error": "A commit has happened since. Please refresh and try again."}, {}
            changed = {}
            for line in lines[1:]:
                value = line["value"]
                if line["key"] == "file":
                    changed[value["path"]] = base64.b64decode(value["content"])
                else:
                    changed[value["path"]] = self.server.objects[value["oid"]]
            state = self.server.commit(changed)
        url = f"{self.server.address}/datasets/{NAME}/commit/{state.sha}"
        return 200, {"success": True, "commitOid": state.sha, "commitUrl": url, "hookOutput": ""}, {}


def is_lfs(name: str) -> bool:
    return name.endswith(".parquet")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def running_hub() -> Iterator[HubServer]:
    """The server while the block runs."""
    server = HubServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
