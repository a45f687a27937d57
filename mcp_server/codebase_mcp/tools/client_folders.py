"""Finds out where a client is: by the roots that it names, else by the folder that its bridge was started in."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import mcp_types as types
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError, NoBackChannelError
from pydantic import ValidationError

from codebase_index.api.caller_folder import FOLDER_KEY, MAX_FOLDER_LENGTH
from codebase_mcp.selection.folders import Folders

log = logging.getLogger(__name__)

ROOTS_SECONDS: Final = 1.0
"""How long a client may take to tell its roots; then it is taken to have none."""

MAX_ROOTS: Final = 8

ROOTS_VALID_SECONDS: Final = 60.0
"""How long they are believed: a person may open another folder."""


class ClientFolders:
    """Where the client of one connection is. Many come over HTTP, where a server can ask none of them back.

    The protocol of 2026-07-28 has no roots: there the bridge alone tells.
    """

    def __init__(self) -> None:
        self._roots: Folders = ()
        self._valid_until = float("-inf")

    async def of(self, ctx: ServerRequestContext[Any, Any]) -> Folders:
        """Return the folders of the client that sent a request."""
        return await self._current_roots(ctx) or _folder_in(ctx.meta or {})

    async def _current_roots(self, ctx: ServerRequestContext[Any, Any]) -> Folders:
        capabilities = ctx.session.client_capabilities
        if capabilities is None or capabilities.roots is None:
            return ()
        if self._valid_until < time.monotonic():
            try:
                async with asyncio.timeout(ROOTS_SECONDS):
                    listed = await ctx.session.send_request(types.ListRootsRequest(), types.ListRootsResult)
            except NoBackChannelError:
                return ()
            except (TimeoutError, MCPError, ValidationError) as error:
                log.debug("the client tells no roots: %s", error)
                self._roots = ()
            else:
                paths = (path_of(str(root.uri)) for root in listed.roots[:MAX_ROOTS])
                self._roots = tuple(path for path in paths if path is not None)
            self._valid_until = time.monotonic() + ROOTS_VALID_SECONDS
        return self._roots


@asynccontextmanager
async def one_for_each_connection(_: Server[ClientFolders]) -> AsyncIterator[ClientFolders]:
    """Be the lifespan of a server: entered for each connection over standard streams or a socket."""
    yield ClientFolders()


def path_of(uri: str) -> str | None:
    """Return the path of a file URI of this machine; None: it is none, or another machine's."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return None
    return _usable(unquote(parts.path))


def _folder_in(meta: Mapping[str, Any]) -> Folders:
    folder = meta.get(FOLDER_KEY)
    usable = _usable(folder) if isinstance(folder, str) else None
    return (usable,) if usable else ()


def _usable(path: str) -> str | None:
    return path if path.startswith("/") and "\0" not in path and len(path) <= MAX_FOLDER_LENGTH else None
