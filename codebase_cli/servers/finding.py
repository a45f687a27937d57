"""Which server is meant: what was asked for, else the first of those that a person is likely to mean."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from codebase_cli.output.console import remark
from codebase_cli.servers import embedded
from codebase_cli.servers.endpoint import Endpoint
from codebase_cli.servers.options import ServerOptions
from codebase_cli.servers.tools import Tools, connected


@asynccontextmanager
async def reached(options: ServerOptions) -> AsyncIterator[Endpoint]:
    """Yield where the server answers; a way through the API server stays open as long as the block.

    In this order: the URL that was given; the embedded one that was asked for; the cluster that was asked for; an
    embedded one that runs; the release in the cluster of the kubeconfig's current context; an embedded one, which
    is started. Raises NoServer.
    """
    if options.url:
        yield Endpoint(_with_path(options.url), f"the server at {options.url}", options.token)
        return
    if options.embedded or (options.means_any and embedded.running()):
        yield await embedded.started()
        return
    # The Kubernetes client takes a second to import: only for those who need it.
    from codebase_cli.servers.cluster import NoRelease, find_release, forwarded

    try:
        release = await find_release(options.context, options.namespace)
    except NoRelease as error:
        if not options.means_any:
            raise
        if error.worth_telling:
            remark(f"{error}; using the server of this machine")
        yield await embedded.started()
        return
    async with forwarded(release, options.token, options.service_account) as endpoint:
        yield endpoint


def _with_path(url: str) -> str:
    """Return an address with the path of our MCP endpoint, unless it has one."""
    return urlsplit(url)._replace(path="/mcp").geturl() if urlsplit(url).path in ("", "/") else url


@asynccontextmanager
async def tools_of(options: ServerOptions) -> AsyncIterator[Tools]:
    """Yield the tools of the server that is meant. Raises NoServer."""
    async with reached(options) as endpoint, connected(endpoint) as tools:
        yield tools
