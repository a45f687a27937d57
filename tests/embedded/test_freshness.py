"""Repositories are indexed by themselves: when they are searched first, and when their files change."""

import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp_types import ListRootsResult, Root

from hack.deployment.mcp_client import Tools, finished
from tests.embedded.test_bridge import stdio
from tests.support.embedded import EmbeddedRuntime

FOUND_SECONDS = 180  # a bound for what never comes; how fast it is, bench/first_contact measures


@pytest.fixture
def project(repositories: Path) -> Iterator[Path]:
    """A repository of git that nobody has indexed."""
    folder = repositories / f"project-{time.monotonic_ns()}"
    (folder / "app").mkdir(parents=True)
    (folder / "app/orders.py").write_text("def place_order(cart):\n    return cart.total()\n")
    git = ("git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], check=True)
    yield folder


async def is_found(tools: Tools, name: str, place: str, **more: str) -> bool:
    """Whether a definition is found at one place alone, searched for as often as an agent may have to."""
    deadline = time.monotonic() + FOUND_SECONDS
    while time.monotonic() < deadline:
        answer = await tools.call("search_code", query=name, mode="symbol", **more)
        found = [f"{hit.get('repository') or answer['repository']}/{hit['path']}" for hit in answer["results"]]
        if found == [place]:
            return True
    return False


async def test_an_agent_finds_a_function_that_it_has_just_written(
    embedded_runtime: EmbeddedRuntime, project: Path
) -> None:
    async with stdio(embedded_runtime, cwd=project / "app") as tools:
        assert await is_found(tools, "place_order", f"{project}/app/orders.py")
        (project / "app/orders.py").write_text("def cancel_order_at_once(order):\n    return order.void()\n")
        assert await is_found(tools, "cancel_order_at_once", f"{project}/app/orders.py")
        (project / "app/returns.py").write_text("def send_back_unopened(order):\n    return order.refund()\n")
        assert await is_found(tools, "send_back_unopened", f"{project}/app/returns.py")
        jobs = await tools.call("list_indexing_jobs", repo_path=str(project))
    assert {job["status"] for job in jobs["jobs"]} == {"completed"} and jobs["total_count"] <= 4


async def test_what_the_callers_own_repository_lacks_is_looked_for_in_the_others(
    embedded_runtime: EmbeddedRuntime, project: Path, repositories: Path
) -> None:
    other = repositories / f"other-{time.monotonic_ns()}"
    other.mkdir()
    (other / "stock.py").write_text("def place_order(): ...\ndef count_the_stock(): ...\n")
    async with stdio(embedded_runtime, cwd=project) as tools:
        job = await tools.call("start_indexing_background", repo_path=str(other))
        await finished(tools, job["job_id"], timeout=FOUND_SECONDS)
        assert await is_found(tools, "place_order", f"{project}/app/orders.py")
        assert await is_found(tools, "count_the_stock", f"{other}/stock.py")
        assert await is_found(tools, "place_order", f"{other}/stock.py", repo=str(other))
        lines = await tools.call("read_code", symbol="count_the_stock")
    assert str(other) in str(lines)


async def test_a_job_that_was_cancelled_is_not_started_again_by_the_next_search(
    embedded_runtime: EmbeddedRuntime, project: Path
) -> None:
    async with stdio(embedded_runtime) as tools:
        assert await is_found(tools, "place_order", f"{project}/app/orders.py", repo=str(project))
        (project / "app/orders.py").write_text("def renamed_since(cart): ...\n")
        job = await tools.call("start_indexing_background", repo_path=str(project), force_reindex=True)
        await tools.call("cancel_indexing_background", job_id=job["job_id"])
        answer = await tools.call("search_code", query="renamed_since", mode="symbol", repo=str(project))
        jobs = await tools.call("list_indexing_jobs", repo_path=str(project))
    assert answer["results"] == [] and "its last job was cancelled" in answer["message"]
    assert jobs["total_count"] == 2


@asynccontextmanager
async def with_root(runtime: EmbeddedRuntime, folder: Path) -> AsyncIterator[Tools]:
    """A client of the protocol that had roots, as an editor starts it somewhere else."""

    async def list_roots(_: object) -> ListRootsResult:
        return ListRootsResult(roots=[Root.model_validate({"uri": folder.as_uri()})])

    async with stdio(runtime, "legacy", list_roots_callback=list_roots) as tools:
        yield tools


async def test_the_root_that_a_client_names_is_its_own_repository(
    embedded_runtime: EmbeddedRuntime, project: Path
) -> None:
    async with with_root(embedded_runtime, project) as tools:
        assert await is_found(tools, "place_order", f"{project}/app/orders.py")
