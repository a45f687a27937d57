"""An issuer of OpenID Connect on loopback: real discovery, real key sets, real signatures."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.web_server import served

AUDIENCE = "https://mcp.example.org/mcp"


@dataclass(frozen=True)
class Key:
    """A key pair with an id."""

    id: str
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def public(self) -> dict[str, Any]:
        """As a JSON web key."""
        document = jwt.algorithms.ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**document, "kid": self.id, "use": "sig", "alg": "ES256"}


@dataclass
class Issuer:
    """An issuer; tokens are signed with its last key."""

    keys: list[Key] = field(default_factory=lambda: [Key("first")])
    fetches: int = 0
    is_away: bool = False
    url: str = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Issuer"]:
        """Serve on a free port as long as the block."""
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._configuration)
        app.router.add_get("/keys", self._keys)
        async with served(app) as self.url:
            yield self

    def token(self, subject: str = "ann", *groups: str, key: Key | None = None, **claims: Any) -> str:
        """Return a token that is good for ten minutes; a claim of None is left out."""
        now, key = int(time.time()), key or self.keys[-1]
        all_claims = {
            "iss": self.url, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 600,
            "groups": list(groups), **claims,
        }  # fmt: skip
        given = {name: value for name, value in all_claims.items() if value is not None}
        return jwt.encode(given, key.private, "ES256", headers={"kid": key.id})

    async def _configuration(self, _: web.Request) -> web.Response:
        if self.is_away:
            raise web.HTTPServiceUnavailable
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def _keys(self, _: web.Request) -> web.Response:
        self.fetches += 1
        return web.json_response({"keys": [key.public for key in self.keys]})
