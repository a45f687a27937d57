"""Where a server answers, and an HTTP client for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from codebase_cli.exits import CommandFailed, NoServer
from codebase_index import untrusted_text

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0
"""Above the longest answer of a tool, which says by itself when it takes too long."""

_MAX_REASON = 500  # characters


@dataclass(frozen=True)
class Endpoint:
    """An MCP endpoint over streamable HTTP."""

    url: str
    name: str
    """Which server it is, for a person."""

    token: str | None = field(default=None, repr=False)
    """Bearer token."""

    auth: httpx2.Auth | None = None
    """What brings a token that is renewed, where there is no `token`."""

    socket: Path | None = None
    """Unix socket that leads there, whatever host `url` names."""

    database_url_file: Path | None = None
    """File with the address of its database, where this user owns that."""

    def http_client(self, headers: Mapping[str, str] | None = None) -> httpx2.AsyncClient:
        """Return a client, to be used as a context manager. Its calls raise NoServer for refusals of the HTTP
        layer, with the server's reason, and httpx2.HTTPError where nobody answers.
        """
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(uds=str(self.socket)) if self.socket else None,
            # A proxy knows nothing of a socket or of this machine; of other hosts it may.
            trust_env=not self.socket,
            headers={**authorization, **(headers or {})},
            auth=self.auth,
            timeout=httpx2.Timeout(CONNECT_SECONDS, read=READ_SECONDS),
            event_hooks={"response": [self._raise_refusal]},
        )

    async def _raise_refusal(self, response: httpx2.Response) -> None:
        """Raise what a refusal says in plain text. JSON is an answer of the MCP layer."""
        is_json = response.headers.get("content-type", "").lower().startswith("application/json")
        if response.status_code < 400 or (is_json and response.status_code not in (401, 403)):
            return
        await response.aread()
        why = untrusted_text.line(response.text.strip()[:_MAX_REASON])
        if response.status_code in (401, 403):
            raise NoServer(
                f"{self.name} refuses this caller ({response.status_code}{f': {why}' if why else ''}); give the "
                "token in CODEBASE_TOKEN; of one in a cluster, name a service account in CODEBASE_SERVICE_ACCOUNT"
            )
        if response.status_code == httpx2.codes.BAD_GATEWAY:
            raise NoServer(f"{self.name} cannot be reached{f': {why}' if why else ''}")
        raise CommandFailed(f"{self.name} answered {response.status_code}{f': {why}' if why else ''}")

    def unreachable(self, error: Exception) -> NoServer:
        """Return the error for a person to whom nobody answered."""
        reason = untrusted_text.line(str(error)) or type(error).__name__
        return NoServer(f"{self.name} does not answer at {self.url} ({reason}); see `codebase-mcp doctor`")
