"""The tests' hub with trusted publishing: a job's identity, and a token for the one that may publish."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.publishing.hub import NAME, TOKEN, Handler, HubServer, running_hub

RESOURCE = f"datasets/{NAME}"


class TrustingHubServer(HubServer):
    """identities: request token -> claims of a job; id_tokens: what was made of them; refused: claims turned away."""

    identities: dict[str, dict[str, str]]
    id_tokens: dict[str, dict[str, str]]
    refused: list[dict[str, str]]


class TrustingHandler(Handler):
    server: TrustingHubServer

    def _answer(self, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        if path == "/id-token":
            return self._identity()
        if path == "/oauth/token":
            return self._exchange(json.loads(body))
        return super()._answer(path, body)

    def _identity(self) -> tuple[int, Any, dict[str, str]]:
        """What GitHub does: an identity token for the job that shows its request token."""
        shown = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if shown not in self.server.identities:
            return 401, {"error": "no such job"}, {}
        (audience,) = parse_qs(urlsplit(self.path).query)["audience"]
        token = secrets.token_hex(8)
        self.server.id_tokens[token] = {**self.server.identities[shown], "aud": audience}
        return 200, {"value": token}, {}

    def _exchange(self, asked: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        """What the hub does: a token that writes, for the environment `publish` and this data set only."""
        claims = self.server.id_tokens.get(asked["subject_token"], {})
        wanted = {"environment": "publish", "aud": self.server.address}
        if asked["resource"] != RESOURCE or not wanted.items() <= claims.items():
            self.server.refused.append(claims)
            return 400, {"error": "invalid_grant"}, {}
        return 200, {"access_token": TOKEN, "token_type": "bearer", "expires_in": 3600}, {}


@contextmanager
def trusting_hub(identities: dict[str, dict[str, str]]) -> Iterator[TrustingHubServer]:
    """The hub while the block runs; `identities` may grow meanwhile."""
    with running_hub() as server:
        server.RequestHandlerClass = TrustingHandler
        server.__class__ = TrustingHubServer
        assert isinstance(server, TrustingHubServer)
        server.identities, server.id_tokens, server.refused = identities, {}, []
        yield server
