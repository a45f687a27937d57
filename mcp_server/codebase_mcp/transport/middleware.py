"""The guard before the MCP endpoint: it passes on complete requests from allowed origins, and not too many."""

from collections import Counter
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codebase_mcp.limits import caller
from codebase_mcp.limits.connection_limits import ConnectionLimits
from codebase_mcp.transport.allowed_hosts import AllowedHosts
from codebase_mcp.transport.envelope import refusal_of

MAX_BODY_BYTES: Final = 256 * 1024
"""The largest arguments are two paths and a query: some 20 KB."""

_MAX_READ_BYTES: Final = 1024 * 1024
"""What is read of a body that is too large before it is refused, and not kept: a client that is still sending when
the connection is closed may lose the answer."""

_IDENTITY_ENCODINGS: Final = ("", "identity")


class RequestGuard:
    """Refuses requests with the reason and what to do; the others reach the endpoint with their whole body.

    `limits` bound the requests that are being answered, which connections do not: a client may hang up at once,
    and many clients may come over a proxy's.
    """

    def __init__(self, app: ASGIApp, hosts: AllowedHosts, limits: ConnectionLimits) -> None:
        self._app = app
        self._hosts = hosts
        self._limits = limits
        self._active: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers = Headers(scope=scope)
        refusal = self._refusal(headers)
        if refusal is not None:
            return await refusal(scope, receive, send)
        if scope["method"] == "OPTIONS":
            return await _preflight(headers)(scope, receive, send)
        send = _with_origin(headers, send)
        if scope["method"] != "POST":
            why = "send messages by POST; nothing is pushed here: there is no stream to GET and no session to end"
            return await _refusal_response(405, why, {"Allow": "POST, OPTIONS"})(scope, receive, send)
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            why = "a message is JSON: send it with Content-Type: application/json"
            return await _refusal_response(415, why)(scope, receive, send)
        body = await _read_body(receive)
        if body is None:
            return  # the client went away: nobody to answer
        if isinstance(body, Response):
            return await body(scope, receive, send)
        if (refusal_of_body := refusal_of(body)) is not None:
            return await JSONResponse(refusal_of_body, 400)(scope, receive, send)
        caller_key = caller.current()
        if (busy := self._busy(caller_key)) is not None:
            return await busy(scope, receive, send)
        self._active[caller_key] += 1
        try:
            await self._app(scope, _replay(body, receive), send)
        finally:
            self._active[caller_key] -= 1
            if not self._active[caller_key]:
                del self._active[caller_key]

    def _refusal(self, headers: Headers) -> Response | None:
        names = ", ".join(self._hosts.names)
        if not all(host in self._hosts for host in headers.getlist("host") or [""]):
            return _refusal_response(421, (
                f"this server does not answer under the name in the Host header; allowed are {names}; if it is "
                "meant to, add the name to CODEBASE_ALLOWED_HOSTS (server.allowedHosts in the chart)"
            ))  # fmt: skip
        if not all(map(self._hosts.allows, headers.getlist("origin"))):
            return _refusal_response(403, (
                f"pages of this Origin may not call; allowed are http and https pages of {names}; if it is meant "
                "to, add its host to CODEBASE_ALLOWED_HOSTS (server.allowedHosts in the chart)"
            ))  # fmt: skip
        if any(value.strip().lower() not in _IDENTITY_ENCODINGS for value in headers.getlist("content-encoding")):
            return _refusal_response(
                415, "the body is compressed or encoded; send it as it is, without Content-Encoding"
            )
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy may have read it by the other one, and take the rest of it for the next request.
            why = "the request has two lengths; leave out Content-Length or Transfer-Encoding"
            return _refusal_response(400, why, {"Connection": "close"})
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > MAX_BODY_BYTES:
            return _too_large()
        return None

    def _busy(self, caller_key: str) -> Response | None:
        retry = {"Retry-After": "1"}
        if self._active[caller_key] >= self._limits.per_client:
            what = f"{self._limits.per_client} requests of this caller are being answered"
            return _refusal_response(429, f"{what}; send it again when one of them has been answered", retry)
        if self._active.total() >= self._limits.total:
            what = f"{self._limits.total} requests are being answered"
            return _refusal_response(503, f"{what}; send it again in a second", retry)
        return None


def _preflight(headers: Headers) -> Response:
    """Answer a browser that asks, for a page of an allowed origin, whether it may send a request."""
    return Response(status_code=204, headers={
        **_cross_origin(headers),
        "Access-Control-Allow-Methods": "POST, OPTIONS",
        "Access-Control-Allow-Headers": headers.get("access-control-request-headers", "content-type"),
        "Access-Control-Max-Age": "7200",
    })  # fmt: skip


def _cross_origin(headers: Headers) -> dict[str, str]:
    origin = headers.get("origin")
    if not origin:
        return {}
    return {
        "Access-Control-Allow-Origin": origin, "Vary": "Origin",
        "Access-Control-Expose-Headers": "Mcp-Session-Id, MCP-Protocol-Version, Retry-After",
    }  # fmt: skip


def _with_origin(headers: Headers, send: Send) -> Send:
    """Return a `send` that lets the page read the answer: browsers keep it from pages that are not named."""
    allowed = _cross_origin(headers)

    async def send_with_origin(message: Message) -> None:
        if message["type"] == "http.response.start" and allowed:
            message = {**message, "headers": [*message["headers"], *_raw(allowed)]}
        await send(message)

    return send_with_origin if allowed else send


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


async def _read_body(receive: Receive) -> bytes | Response | None:
    """Return the whole body; a refusal if it is too large; or None if the client has gone away."""
    body, size, more = bytearray(), 0, True
    while more and size <= _MAX_READ_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size <= MAX_BODY_BYTES:
            body += part
        more = message.get("more_body", False)
    return bytes(body) if size <= MAX_BODY_BYTES else _too_large()


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that has been read, and then what the connection gives."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return first.pop() if first else await receive()

    return give


def _too_large() -> Response:
    what = f"the body is larger than {MAX_BODY_BYTES} bytes"
    return _refusal_response(413, f"{what}; send less, such as a shorter query")


def _refusal_response(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{why}\n", status, headers)
