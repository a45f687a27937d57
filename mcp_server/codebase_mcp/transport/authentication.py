"""The door of the MCP endpoint: who calls is known before anything of a request is read but its head."""

import json
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from codebase_mcp import metrics
from codebase_mcp.identity.authenticator import (
    MAX_TOKEN_LENGTH,
    Anybody,
    AuthenticationUnavailable,
    Authenticator,
    Unauthenticated,
)
from codebase_mcp.identity.oidc_settings import OidcSettings
from codebase_mcp.identity.principal import Principal, principal_context
from codebase_mcp.limits import caller

REALM: Final = "codebase-mcp"
WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
RETRY_SECONDS: Final = 10


class Authentication:
    """Passes on requests with a token that is accepted, as those of its owner, and refuses all others.

    `metadata_url` is where clients read who issues tokens (RFC 9728), if there is somebody.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator, metadata_url: str | None = None) -> None:
        self._app = app
        self._authenticator = authenticator
        self._metadata_url = metadata_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] == "OPTIONS":  # a browser asks without a token whether it may send one
            return await self._app(scope, receive, send)
        found = await self._identify(Headers(scope=scope))
        if isinstance(found, Response):
            return await found(scope, receive, send)
        with principal_context(found), caller.caller_context(found.key if found.is_known else caller.current()):
            await self._app(scope, receive, send)

    async def _identify(self, headers: Headers) -> Principal | Response:
        """Return who calls, or the refusal."""
        if isinstance(self._authenticator, Anybody):
            return self._authenticator.without_token
        token = _bearer_token(headers)
        if token is None:
            return self._challenge(None)
        try:
            if len(token) > MAX_TOKEN_LENGTH:
                raise Unauthenticated(f"the token is longer than {MAX_TOKEN_LENGTH} characters")
            principal = await self._authenticator.authenticate(token)
        except Unauthenticated as error:
            return self._challenge(str(error))
        except AuthenticationUnavailable as error:
            metrics.AUTHENTICATIONS.labels("unavailable").inc()
            why = f"unavailable: who calls cannot be found out: {error}; try again in {RETRY_SECONDS} seconds\n"
            return PlainTextResponse(why, 503, {"Retry-After": str(RETRY_SECONDS)})
        metrics.AUTHENTICATIONS.labels("ok").inc()
        return principal

    def _challenge(self, problem: str | None) -> Response:
        """Refuse a request whose token has a problem; None: it has no token."""
        metrics.AUTHENTICATIONS.labels("refused" if problem else "missing").inc()
        parts = {"realm": REALM}
        if problem:
            parts |= {"error": "invalid_token", "error_description": problem}
        if self._metadata_url:
            parts["resource_metadata"] = self._metadata_url
        challenge = "Bearer " + ", ".join(f"{name}={json.dumps(value)}" for name, value in parts.items())
        why = (
            f"{problem or 'this server asks for a token'}; send one as `Authorization: Bearer TOKEN`; "
            f"{self._authenticator.advice}\n"
        )
        return PlainTextResponse(why, 401, {"WWW-Authenticate": challenge})


def _bearer_token(headers: Headers) -> str | None:
    """Return the token of a request; None: it has none, or several."""
    given = headers.getlist("authorization")
    scheme, _, token = given[0].strip().partition(" ") if len(given) == 1 else ("", "", "")
    return token.strip() or None if scheme.lower() == "bearer" else None


def metadata_url(settings: OidcSettings) -> str:
    """Return where the metadata of the protected resource lie: RFC 9728 puts them before the resource's path."""
    path = _path_of(settings.audience)
    return settings.audience.rstrip("/").removesuffix(path) + WELL_KNOWN + path


def metadata_routes(settings: OidcSettings) -> list[Route]:
    """Return the routes of the metadata: with the resource's path, as RFC 9728 says, and without."""
    document = {
        "resource": settings.audience,
        "authorization_servers": [settings.issuer],
        "bearer_methods_supported": ["header"],
        "resource_name": REALM,
    }

    async def answer(_: object) -> Response:
        return JSONResponse(document, headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "max-age=300"})

    return [Route(path, answer) for path in dict.fromkeys((WELL_KNOWN, WELL_KNOWN + _path_of(settings.audience)))]


def _path_of(url: str) -> str:
    _, _, after = url.partition("://")
    _, slash, path = after.partition("/")
    return (slash + path).rstrip("/")
