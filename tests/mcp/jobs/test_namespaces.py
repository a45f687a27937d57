"""Two releases on one database: for the callers of each, the jobs and indexes of the other do not exist."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server import Server

from codebase_index.api.job import JobState
from codebase_index.embedding.static import StaticEmbedder
from codebase_index.store.database import Database
from codebase_index.store.jobs.jobs import Jobs
from codebase_mcp.jobs.kubernetes_cluster import KubernetesCluster
from tests.mcp.conftest import Shop, serving

Answered = Callable[[Any], dict[str, Any]]


@pytest.fixture
async def other(
    database: Database, cluster: KubernetesCluster, roots: Path, embedder: StaticEmbedder
) -> AsyncIterator[Server[Any]]:
    """The server of another namespace on the same database."""
    async with serving(database, cluster, roots, embedder, "other") as server:
        yield server


async def ask(server: Server[Any], tool: str, **arguments: Any) -> Any:
    async with Client(server) as client:
        return await client.call_tool(tool, arguments)


async def test_each_lists_its_own_jobs_alone(
    server: Server[Any], other: Server[Any], shop: Shop, answered: Answered
) -> None:
    mine, theirs = (
        await shop.completed({"a.py": "x = 1"}),
        await shop.completed({"a.py": "x = 1"}, namespace="other"),
    )
    for asked, job_id in ((server, mine), (other, theirs)):
        listed = answered(await ask(asked, "list_indexing_jobs"))
        assert ([job["job_id"] for job in listed["jobs"]], listed["total_count"]) == ([str(job_id)], 1)
        behind = answered(await ask(asked, "list_indexing_jobs", offset=50))
        assert (behind["jobs"], behind["total_count"]) == ([], 1)


@pytest.mark.parametrize("tool", ["get_indexing_status", "cancel_indexing_background"])
async def test_a_job_of_another_namespace_is_answered_like_one_that_never_was(
    tool: str, other: Server[Any], shop: Shop, refused: Callable[[Any], str], database: Database
) -> None:
    job_id = await shop.running()
    text = refused(await ask(other, tool, job_id=str(job_id)))
    nobody = "00000000-0000-0000-0000-000000000000"
    assert text == refused(await ask(other, tool, job_id=nobody)).replace(nobody, str(job_id))
    assert (await Jobs(database).get(job_id)).state is JobState.RUNNING


@pytest.mark.parametrize("arguments", [{"mode": mode} for mode in ("auto", "symbol", "text", "regex")], ids=str)
async def test_each_finds_its_own_code_alone(
    arguments: dict[str, str], server: Server[Any], other: Server[Any], shop: Shop, answered: Answered
) -> None:
    await shop.completed({"mine.py": "def needle():\n    pass"})
    await shop.completed({"theirs.py": "def needle():\n    pass"}, namespace="other")
    for asked, path in ((server, "mine.py"), (other, "theirs.py")):
        found = answered(await ask(asked, "search_code", query="needle", **arguments))
        assert {result["path"] for result in found["results"]} == {path}
        assert found["indexes_searched"] == 1


async def test_a_repository_of_another_namespace_is_not_named_to_those_who_ask_for_one(
    other: Server[Any], shop: Shop, refused: Callable[[Any], str]
) -> None:
    await shop.completed({"a.py": "x = 1"}, path="/work/secret-project")
    await shop.completed({"a.py": "x = 1"}, path="/work/shop", namespace="other")
    text = refused(await ask(other, "search_code", query="x", repo="secret-project"))
    assert "not indexed" in text and "/work/secret-project" not in text


async def test_each_reads_and_lists_its_own_files_alone(
    server: Server[Any], other: Server[Any], shop: Shop, answered: Answered, refused: Callable[[Any], str]
) -> None:
    await shop.completed({"mine.py": "mine = 1"})
    await shop.completed({"theirs.py": "theirs = 1"}, namespace="other")
    for asked, own, foreign in ((server, "mine.py", "theirs.py"), (other, "theirs.py", "mine.py")):
        assert answered(await ask(asked, "read_code", path=own))["parts"][0]["path"] == own
        assert refused(await ask(asked, "read_code", path=foreign)).startswith("not found: ")
        assert [file["path"] for file in answered(await ask(asked, "list_files"))["files"]] == [own]
        assert answered(await ask(asked, "list_files", tree=True))["tree"] == own
        assert answered(await ask(asked, "list_repositories"))["total_count"] == 1
