"""Identity by OpenID Connect: the server is a resource server of OAuth 2.1 and takes access tokens that are JWTs.

The issuer's keys are fetched and kept; a token with a key that is not known has them fetched again, since issuers
rotate their keys. Tokens go nowhere else.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import httpx
import jwt
from jwt import PyJWK, PyJWKSet

from codebase_mcp.identity.authenticator import AuthenticationUnavailable, Authenticator, Unauthenticated
from codebase_mcp.identity.oidc_settings import OidcSettings, is_safe
from codebase_mcp.identity.principal import Method, Principal

log = logging.getLogger(__name__)

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a key pair. With a shared secret, whoever can check a token could make one."""

SKEW_SECONDS: Final = 60
"""How far the clocks of issuer and server may be apart."""

KEYS_SECONDS: Final = 600.0
"""How long keys are used before they are fetched again: one that an issuer withdraws ends after that."""

STALE_SECONDS: Final = 3600.0
"""How long they are used when they cannot be fetched again."""

RETRY_SECONDS: Final = 10.0
"""Between two fetches, however many tokens name keys that are not known."""

TIMEOUT_SECONDS: Final = 5.0

MAX_BYTES: Final = 512 * 1024
"""The largest answer of an issuer that is read."""

MAX_GROUPS: Final = 1000


class OidcTokens(Authenticator):
    """Checks access tokens by the issuer's keys."""

    def __init__(self, settings: OidcSettings, keys: "IssuerKeys") -> None:
        self._settings = settings
        self._keys = keys
        self.advice = f"{settings.issuer} issues them, for the resource {settings.audience}"

    async def authenticate(self, token: str) -> Principal:
        """Return whose it is. Raises Unauthenticated and AuthenticationUnavailable."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise Unauthenticated("the token is not signed in a way that is accepted")
            key = await self._keys.find(header.get("kid"))
            claims = jwt.decode(
                token, key, algorithms=list(ALGORITHMS), audience=self._settings.audience,
                issuer=self._settings.issuer, leeway=SKEW_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )  # fmt: skip
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise Unauthenticated(_PROBLEMS.get(type(error), "the token is no valid JWT")) from None
        return self._principal(claims)

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        name = claims.get(self._settings.name_claim)
        if not isinstance(name, str) or not name:
            raise Unauthenticated(f"the token has no text as {self._settings.name_claim}")
        groups = _texts(claims.get(self._settings.groups_claim))
        grants = tuple(grant for group in groups for grant in self._settings.grants.get(group, ()))
        return Principal(name, Method.OIDC, groups, grants)


_PROBLEMS: Final[Mapping[type[Exception], str]] = {
    jwt.ExpiredSignatureError: "the token has expired",
    jwt.ImmatureSignatureError: "the token is not valid yet",
    jwt.InvalidAudienceError: "the token is for another server",
    jwt.InvalidIssuerError: "the token is another issuer's",
    jwt.InvalidSignatureError: "the token's signature is wrong",
    jwt.MissingRequiredClaimError: "the token lacks one of exp, iss, aud and sub",
}
"""Why a token is refused, where a caller can do something about it. The library's texts repeat claims."""


class IssuerKeys:
    """The public keys of an issuer."""

    def __init__(self, issuer: str, http: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._http = http
        self._clock = clock
        self._keys: Sequence[PyJWK] = ()
        self._fetched_at = self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: object) -> PyJWK:
        """Return the key with this id, or the only one. Raises Unauthenticated and AuthenticationUnavailable."""
        if self._clock() - self._fetched_at < KEYS_SECONDS and (key := self._known(key_id)):
            return key
        async with self._lock:  # those who wait share one fetch
            if self._clock() - self._tried_at >= RETRY_SECONDS:
                self._tried_at = self._clock()
                await self._fetch()
        if self._clock() - self._fetched_at >= STALE_SECONDS:
            raise AuthenticationUnavailable(f"the keys of {self._issuer} cannot be had")
        if key := self._known(key_id):
            return key
        raise Unauthenticated("the token is signed with a key that its issuer does not have")

    def _known(self, key_id: object) -> PyJWK | None:
        if key_id is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.key_id == key_id), None)

    async def _fetch(self) -> None:
        """Fetch the keys; those before stay in use where that fails."""
        try:
            about = await self._json(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if about.get("issuer") != self._issuer:
                raise ValueError("its configuration is another issuer's")
            location = str(about.get("jwks_uri"))
            if not is_safe(location):
                raise ValueError("its keys do not lie at an https address")
            keys = [key for key in PyJWKSet.from_dict(await self._json(location)).keys if _signs(key)]
        except (httpx.HTTPError, jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            log.warning("the keys of %s cannot be had: %s", self._issuer, error or type(error).__name__)
            return
        self._keys, self._fetched_at = keys, self._clock()

    async def _json(self, url: str) -> dict[str, Any]:
        async with self._http.stream("GET", url, timeout=TIMEOUT_SECONDS) as response:
            response.raise_for_status()
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_BYTES:
                    raise ValueError(f"its answer is larger than {MAX_BYTES} bytes")
        answer = json.loads(body)
        if not isinstance(answer, dict):
            raise TypeError("its answer is no JSON object")
        return answer


def _signs(key: PyJWK) -> bool:
    return key.key_type in ("RSA", "EC", "OKP") and key.public_key_use in ("sig", None)


def _texts(value: object) -> tuple[str, ...]:
    """Return a claim of texts: a list, or one alone."""
    values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(text for text in values[:MAX_GROUPS] if isinstance(text, str))
