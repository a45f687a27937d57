"""In which order servers are looked for."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from codebase_cli.exits import NoServer
from codebase_cli.servers import cluster, embedded
from codebase_cli.servers.endpoint import Endpoint
from codebase_cli.servers.finding import reached
from codebase_cli.servers.options import ServerOptions

OF_MACHINE = Endpoint("http://machine/mcp", "machine", "t")
OF_CLUSTER = Endpoint("http://cluster/mcp", "cluster")


class Surroundings:
    """Whether a server runs on this machine, and whether the kubeconfig leads to a release."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs = self.has_release = False
        self.asked_cluster: list[tuple[str | None, str | None]] = []
        monkeypatch.setattr(embedded, "running", lambda: SimpleNamespace() if self.runs else None)
        monkeypatch.setattr(embedded, "started", self._started)
        monkeypatch.setattr(cluster, "find_release", self._find_release)
        monkeypatch.setattr(cluster, "forwarded", self._forwarded)

    async def _started(self) -> Endpoint:
        return OF_MACHINE

    async def _find_release(self, context: str | None, namespace: str | None) -> Any:
        self.asked_cluster.append((context, namespace))
        if not self.has_release:
            raise cluster.NoRelease("no release")
        return SimpleNamespace()

    @asynccontextmanager
    async def _forwarded(self, _: Any, token: str | None, service_account: str | None) -> Any:
        yield OF_CLUSTER


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    return Surroundings(monkeypatch)


def found(options: ServerOptions) -> str:
    async def find() -> str:
        async with reached(options) as endpoint:
            return endpoint.name

    return asyncio.run(find())


def test_one_that_runs_on_this_machine_comes_before_a_cluster(surroundings: Surroundings) -> None:
    surroundings.runs = surroundings.has_release = True
    assert found(ServerOptions()) == "machine" and not surroundings.asked_cluster


def test_the_release_of_the_kubeconfig_comes_before_a_start(surroundings: Surroundings) -> None:
    surroundings.has_release = True
    assert found(ServerOptions()) == "cluster"


def test_where_nothing_is_one_is_started(surroundings: Surroundings) -> None:
    assert found(ServerOptions()) == "machine"


def test_what_was_asked_for_is_never_replaced_by_another(surroundings: Surroundings) -> None:
    surroundings.runs = True
    for options in (ServerOptions(namespace="x"), ServerOptions(context="x"), ServerOptions(cluster=True)):
        with pytest.raises(NoServer):
            found(options)
    surroundings.has_release = True
    assert found(ServerOptions(namespace="x")) == "cluster" and surroundings.asked_cluster[-1] == (None, "x")
    assert found(ServerOptions(embedded=True, namespace="x")) == "machine"


def test_an_address_needs_no_search(surroundings: Surroundings) -> None:
    assert found(ServerOptions(url="http://a/mcp", namespace="x")) == "the server at http://a/mcp"
    assert not surroundings.asked_cluster


def test_a_token_is_in_no_text() -> None:
    assert "t0ken" not in repr(ServerOptions(token="t0ken")) + repr(Endpoint("u", "n", "t0ken"))
