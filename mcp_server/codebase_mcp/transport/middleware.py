"""What stands before the MCP endpoint: it passes on whole requests, of those who may call, and not too many."""

from collections import Counter
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codebase_mcp.limits import caller
from codebase_mcp.limits.connection_limits import Limits
from codebase_mcp.transport.allowed_hosts import AllowedHosts

MAX_BODY_BYTES: Final = 256 * 1024
"""The largest arguments are two paths and a query: some 20 KB."""

MOST_HEADERS: Final = 100
"""A browser sends twenty, a proxy adds ten."""

_UNENCODED: Final = ("", "identity")


class Door:
    """Refuses what is not to be answered, and says what would be; the rest reaches the endpoint with its body.

    `limits` bound the requests that are being answered, which connections do not: a client may hang up at once,
    and many clients may come over a proxy's.
    """

    def __init__(self, app: ASGIApp, hosts: AllowedHosts, limits: Limits) -> None:
        self._app = app
        self._hosts = hosts
        self._limits = limits
        self._answering: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        refusal = self._refusal(Headers(scope=scope))
        if refusal is not None:
            return await refusal(scope, receive, send)
        body = await _received(receive)
        if body is None:
            return  # the client went away: nobody to answer
        if isinstance(body, Response):
            return await body(scope, receive, send)
        who = caller.current()
        if (busy := self._busy(who)) is not None:
            return await busy(scope, receive, send)
        self._answering[who] += 1
        try:
            await self._app(scope, _giving(body, receive), send)
        finally:
            self._answering[who] -= 1
            if not self._answering[who]:
                del self._answering[who]

    def _refusal(self, headers: Headers) -> Response | None:
        names = ", ".join(self._hosts.names)
        if len(headers) > MOST_HEADERS:
            return _refused(431, f"the request has more than {MOST_HEADERS} headers; send fewer")
        if not all(host in self._hosts for host in headers.getlist("host") or [""]):
            return _refused(421, (
                f"this server does not answer under the name in the Host header; allowed are {names}; if it is "
                "meant to, add the name to CODEBASE_ALLOWED_HOSTS (server.allowedHosts in the chart)"
            ))  # fmt: skip
        if not all(map(self._hosts.allows, headers.getlist("origin"))):
            return _refused(403, (
                f"pages of this Origin may not call; allowed are http and https pages of {names}; if it is meant "
                "to, add its host to CODEBASE_ALLOWED_HOSTS (server.allowedHosts in the chart)"
            ))  # fmt: skip
        if any(value.strip().lower() not in _UNENCODED for value in headers.getlist("content-encoding")):
            return _refused(415, "the body is compressed or encoded; send it as it is, without Content-Encoding")
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy may have read it by the other one, and take the rest of it for the next request.
            why = "the request has two lengths; leave out Content-Length or Transfer-Encoding"
            return _refused(400, why, {"Connection": "close"})
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > MAX_BODY_BYTES:
            return _too_large()
        return None

    def _busy(self, who: str) -> Response | None:
        retry = {"Retry-After": "1"}
        if self._answering[who] >= self._limits.of_client:
            what = f"{self._limits.of_client} requests of this address are being answered"
            return _refused(429, f"{what}; send it again when one of them has been answered", retry)
        if self._answering.total() >= self._limits.most:
            what = f"{self._limits.most} requests are being answered"
            return _refused(503, f"{what}; send it again in a second", retry)
        return None


async def _received(receive: Receive) -> bytes | Response | None:
    """Return the whole body; what to say of one that is too large; or None when the client went away before."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return _too_large()
        if not message.get("more_body", False):
            return bytes(body)


def _giving(body: bytes, receive: Receive) -> Receive:
    """Return what gives the body first, and then what the connection gives."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return first.pop() if first else await receive()

    return give


def _too_large() -> Response:
    what = f"the body is larger than {MAX_BODY_BYTES} bytes"
    return _refused(413, f"{what}; send less, such as a shorter query")


def _refused(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{why}\n", status, headers)
