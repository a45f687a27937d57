"""The guard of a server that is for one user: requests bring the token that only this user can read."""

import hmac

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_REFUSAL = (
    "this server asks for a token; send it as `Authorization: Bearer TOKEN`; it is in the file that "
    "`codebase-mcp status` names, which the owner of this server alone can read\n"
)


class BearerToken:
    """Passes on requests that bring the token, and refuses all others before it reads them."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token):
            return await self._app(scope, receive, send)
        await PlainTextResponse(_REFUSAL, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
