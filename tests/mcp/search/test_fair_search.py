"""Searches of several callers at once: one with a hundred costs the others a few turns, counted, not timed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from codebase_index.embedding.static import StaticEmbedder
from codebase_index.store.database import Database
from codebase_mcp.errors import UserError
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.limits import fair_semaphore
from codebase_mcp.search import service
from codebase_mcp.search.request import Mode, SearchRequest
from codebase_mcp.search.service import MAX_CONCURRENT_RANKINGS, SearchService
from tests.mcp.http_server import run_server

MANY = 100
FILES = {f"src/f{n:02}.py": f"def total_{n}(basket):\n    return sum(basket) * {n}\n" for n in range(30)}

A_FEW = 4 * (MAX_CONCURRENT_RANKINGS + 1)
"""Searches that may be answered before a newcomer's: those under way, one more, and what is done beside it."""


@pytest.fixture
async def search(
    database: Database, embedder: StaticEmbedder, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SearchService]:
    """The service; nobody waits too long for it, however slow the machine."""
    monkeypatch.setattr(fair_semaphore, "MAX_WAIT_SECONDS", 600.0)
    monkeypatch.setattr(service, "SEARCH_TIMEOUT_SECONDS", 600.0)
    monkeypatch.setattr("codebase_mcp.search.modes.text.TEXT_TIMEOUT_SECONDS", 600.0)
    await shop.completed(FILES)
    search = SearchService.from_database(database, lambda _: embedder, VisibleIndexes.every(database))
    await search.search(SearchRequest("total", limit=1))  # the model is open
    yield search
    search.close()


@pytest.mark.parametrize("mode", ["auto", "symbol", "text", "regex"])
async def test_a_caller_with_a_hundred_searches_costs_another_one_a_few_turns(
    mode: Mode, search: SearchService
) -> None:
    done, begun = list[str](), asyncio.Event()

    async def ask(caller: str, number: int) -> None:
        answer = await search.search(SearchRequest(f"total_{number % 30}", mode=mode), caller)
        assert answer.results
        done.append(caller)
        if len(done) > 3:
            begun.set()

    many = [asyncio.create_task(ask("many", number)) for number in range(MANY)]
    await begun.wait()
    before = len(done)
    await asyncio.gather(*(ask(f"other {number}", number) for number in range(3)))
    assert done.count("many") - before <= A_FEW
    await asyncio.gather(*many)
    assert done.count("many") == MANY


async def test_too_many_searches_are_refused_at_once_with_a_time_to_come_back(
    search: SearchService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_semaphore, "MAX_WAITING", 5)
    request = SearchRequest("total_1")
    many = [asyncio.create_task(search.search(request, "many")) for _ in range(20)]
    answer = await search.search(request, "one")
    assert answer.results
    ended = await asyncio.gather(*many, return_exceptions=True)
    refused = [str(one) for one in ended if isinstance(one, UserError)]
    assert 10 <= len(refused) < 20
    for text in refused:
        assert text.startswith("busy: more searches wait than this server can answer in time, ")
        assert "try again in 1 s, with fewer at once" in text


async def test_over_http_each_client_address_has_its_share(environment: dict[str, str], shop: Any) -> None:
    await shop.completed(FILES)
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
    done, begun = list[str](), asyncio.Event()

    async def ask(http: httpx.AsyncClient, caller: str) -> None:
        body = {
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "search_code", "arguments": {"query": f"total of the basket {len(done)}"}},
        }  # fmt: skip
        answer = (await http.post("/mcp", json=body, headers=headers)).json()
        if answer["result"].get("isError"):  # a slow machine cannot answer all of them in time, and says so
            assert caller == "many" and answer["result"]["content"][0]["text"].startswith("busy: "), answer
        done.append(caller)
        if len(done) > 3:
            begun.set()

    def client(url: str, address: str) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(local_address=address, limits=httpx.Limits(max_connections=100))
        return httpx.AsyncClient(base_url=url, transport=transport, timeout=60)

    async with (
        run_server(environment) as (url, _),
        client(url, "127.0.0.2") as many,
        client(url, "127.0.0.3") as one,
    ):
        await ask(one, "one")  # the model is open
        asked = [asyncio.create_task(ask(many, "many")) for _ in range(MANY)]
        await begun.wait()
        await ask(one, "one")
        assert done.count("many") < MANY / 2  # first come, first served: nearly all
        await asyncio.gather(*asked)
