"""delete_index: only where the server is set to allow it, one repository at a time, and to the last row."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server import Server

from codebase_index.embedding.static import StaticEmbedder
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.catalog.removal import Removal
from codebase_index.store.database import Database
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.jobs.kubernetes_cluster import KubernetesCluster
from codebase_mcp.removal import IndexRemoval
from tests.mcp.conftest import Shop, serving

FILES = {"a.py": "def a():\n    pass\n", "b/c.py": "x = 1\n"}


@pytest.fixture
async def removal(database: Database) -> AsyncIterator[IndexRemoval]:
    async with IndexRemoval.running(database, VisibleIndexes.every(database, ["default"]), ["default"]) as removal:
        yield removal


@pytest.fixture
async def server(
    database: Database, cluster: KubernetesCluster, roots: Path, embedder: StaticEmbedder, removal: IndexRemoval
) -> AsyncIterator[Server[Any]]:
    async with serving(database, cluster, roots, embedder, removal=removal) as server:
        yield server


async def left(database: Database, *tables: str) -> list[int]:
    async with database.connection() as connection:
        return [await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


async def test_a_server_that_may_not_delete_has_no_such_tool(
    database: Database, cluster: KubernetesCluster, roots: Path, embedder: StaticEmbedder
) -> None:
    async with serving(database, cluster, roots, embedder) as server, Client(server) as client:
        assert "delete_index" not in {tool.name for tool in (await client.list_tools()).tools}


async def test_an_index_is_gone_at_once_and_its_rows_in_time(
    call: Any, answered: Any, shop: Shop, database: Database, removal: IndexRemoval
) -> None:
    await shop.completed(FILES)
    await shop.completed(FILES, path="/work/other")
    answer = answered(await call("delete_index", repo="/work/shop"))
    assert (answer["repository"], answer["ref"]) == ("/work/shop", None)
    listed = answered(await call("list_repositories"))["repositories"]
    assert [repository["repository"] for repository in listed] == ["/work/other"]
    await asyncio.wait_for(removal.idle.wait(), 20)
    assert await left(database, "indexes WHERE model IS NOT NULL", "files", "chunks") == [1, 2, 2]


@pytest.mark.parametrize(
    ("repo", "said"),
    [
        ("nothing", "not indexed: "),
        ("/work/shop/b", "not indexed: "),
        ("*", "not indexed: "),
        ("/work", "not indexed: "),
        ("both", "ambiguous: "),
    ],
)
async def test_what_is_not_one_repository_is_refused(
    repo: str, said: str, call: Any, refused: Any, shop: Shop, database: Database
) -> None:
    await shop.completed(FILES, name="both")
    await shop.completed(FILES, path="/work/other", name="both")
    assert said in refused(await call("delete_index", repo=repo))
    assert await left(database, "indexes WHERE target IS NOT NULL") == [2]


async def test_an_index_that_a_job_writes_is_kept(call: Any, refused: Any, shop: Shop, database: Database) -> None:
    row, _ = await shop.indexing(FILES, more=["d.py"])
    text = refused(await call("delete_index", repo="/work/shop"))
    assert text.startswith(f"in use: job {row.id} is running") and "cancel_indexing_background" in text
    assert await left(database, "indexes WHERE target IS NOT NULL") == [1]


async def test_the_index_of_another_namespace_cannot_be_deleted(
    call: Any, refused: Any, shop: Shop, database: Database
) -> None:
    await shop.completed(FILES, namespace="other")
    assert refused(await call("delete_index", repo="/work/shop")).startswith("not indexed: ")
    assert await left(database, "indexes WHERE target IS NOT NULL") == [1]


async def test_a_removal_that_a_stop_interrupted_ends_after_the_next_start(shop: Shop, database: Database) -> None:
    await shop.completed(FILES)
    await Removal(database).detach((await Removal(database).overview())[0].id)
    assert await left(database, "files") == [2]
    async with IndexRemoval.running(database, VisibleIndexes.every(database, ["default"]), ["default"]) as removal:
        await asyncio.wait_for(removal.idle.wait(), 20)
    assert await left(database, "files", "chunks", "indexes WHERE target IS NULL") == [0, 0, 0]


async def test_that_it_was_removed_is_remembered_until_somebody_asks_to_index_it_again(
    call: Any, shop: Shop, database: Database, removal: IndexRemoval
) -> None:
    indexes = Indexes(database, ["default"])
    for _ in range(2):
        await shop.completed(FILES)
        assert not await indexes.was_removed("/work/shop")
        await call("delete_index", repo="/work/shop")
        assert await indexes.was_removed("/work/shop")
        assert await indexes.list() == []
        await asyncio.wait_for(removal.idle.wait(), 20)
        assert await Removal(database).overview() == []
        assert not await Indexes(database, ["other"]).was_removed("/work/shop")
