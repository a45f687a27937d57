"""The server's tools, called as an agent calls them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx2

from codebase_cli.exits import CommandFailed
from codebase_cli.output.console import remark
from codebase_cli.servers import messages
from codebase_cli.servers.endpoint import Endpoint
from codebase_index.api.caller_folder import FOLDER_KEY
from codebase_index.version import VERSION

FINAL = frozenset({"completed", "failed", "cancelled"})
"""States in which a job stays."""

_LOOK_EVERY = 0.3
"""Seconds between two looks at a job that is waited for: as often as a person sees a difference."""
_PATIENCE = 60.0
"""Seconds that a server may be away while a job is waited for: the job goes on without it."""

_ENVELOPE = {
    messages.VERSION_KEY: messages.VERSION,
    messages.CLIENT_KEY: {"name": "codebase-mcp", "version": VERSION},
    messages.CAPABILITIES_KEY: {},
}


_PAGE: Final = 100
"""Jobs that are asked for at once; the server cuts a page that would be too long."""
_PAGES: Final = 100
"""Pages among which a job is looked for."""


class Fields(dict[str, Any]):
    """An object of an answer. A field that is not there is null: servers leave such fields out."""

    def __missing__(self, _: str) -> None:
        return None


class ToolRefused(CommandFailed):
    """The server answered with an error; the message is what an agent would read."""


class Tools:
    """The tools of one server."""

    def __init__(self, http: httpx2.AsyncClient, endpoint: Endpoint) -> None:
        self._http = http
        self.endpoint = endpoint
        self._ids = count(1)

    async def call(self, tool: str, **arguments: Any) -> Fields:
        """Call a tool without those arguments that are None; return its structured answer. Raises ToolRefused.

        What the answer notes is shown.
        """
        answer = await self._call(tool, arguments)
        if answer["note"]:
            remark(answer["note"])
        return answer

    async def jobs(self, **only: str) -> AsyncIterator[Fields]:
        """Yield the jobs that a filter lets pass, newest first; of very many, those of the first pages."""
        offset = 0
        for _ in range(_PAGES):
            page = await self._call("list_indexing_jobs", {"limit": _PAGE, "offset": offset, **only})
            for job in page["jobs"]:
                yield job
            offset += len(page["jobs"])
            if not page["jobs"] or offset >= page["total_count"]:
                return

    async def _call(self, tool: str, arguments: dict[str, Any]) -> Fields:
        given = {name: value for name, value in arguments.items() if value is not None}
        result = await self._request("tools/call", name=tool, arguments=given)
        if result.get("isError"):
            raise ToolRefused(" ".join(part.get("text", "") for part in result.get("content", ())))
        return Fields(_with_nulls(result.get("structuredContent") or {}))

    async def names(self) -> list[str]:
        """Return the names of the tools that it has."""
        return [tool["name"] for tool in (await self._request("tools/list"))["tools"]]

    async def follow(self, job_id: str) -> AsyncIterator[Fields]:
        """Yield the job's status again and again, until it is final; the server may be away for a while."""
        seen = time.monotonic()
        while True:
            try:
                status = await self.call("get_indexing_status", job_id=job_id)
            except (ToolRefused, httpx2.HTTPError) as error:
                if not _may_pass(error) or time.monotonic() - seen > _PATIENCE:
                    raise
            else:
                seen = time.monotonic()
                yield status
                if status["status"] in FINAL:
                    return
            await asyncio.sleep(_LOOK_EVERY)

    async def _request(self, method: str, **params: Any) -> dict[str, Any]:
        message = {
            "jsonrpc": "2.0", "id": next(self._ids), "method": method,
            "params": {**params, "_meta": {**_ENVELOPE, **self._folder()}},
        }  # fmt: skip
        async for answer in messages.exchange(self._http, self.endpoint, message):
            if "error" in answer:
                raise ToolRefused(str(answer["error"].get("message")))
            if "result" in answer:
                return dict(answer["result"])
        raise CommandFailed(
            f"{self.endpoint.name} gave no answer to {method}; is {self.endpoint.url} an MCP server?"
        )

    def _folder(self) -> dict[str, str]:
        """Return where this command was called, for a server of the same machine."""
        if self.endpoint.database_url_file is None:
            return {}
        try:
            return {FOLDER_KEY: str(Path.cwd())}
        except OSError:  # it was removed
            return {}


def _may_pass(error: Exception) -> bool:
    """Whether the same request may be answered soon: the server, or its database, is just starting again."""
    return isinstance(error, httpx2.TransportError) or "try again in" in str(error)


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return Fields({name: _with_nulls(inner) for name, inner in value.items()})
    return [_with_nulls(inner) for inner in value] if isinstance(value, list) else value


@asynccontextmanager
async def connected(endpoint: Endpoint) -> AsyncIterator[Tools]:
    """Yield the server's tools. Raises NoServer where nobody answers, also in the block."""
    try:
        async with endpoint.http_client() as http:
            yield Tools(http, endpoint)
    except httpx2.HTTPError as error:
        raise endpoint.unreachable(error) from error
    except ValueError as error:
        raise CommandFailed(f"{endpoint.url} does not speak MCP: its answer is no JSON ({error})") from error
