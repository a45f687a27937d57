"""Search beside real workers that index, are cancelled, index anew and sweep: every answer is of whole files.

A file's lines carry the number of its version. Whatever a search shows of a file, it is all of one version or
nothing; what a finished job removed never comes back; another repository's files never appear where one is asked.
"""

import asyncio
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from mcp import Client
from mcp.server import Server

from codebase_index.api.job import JobState
from codebase_index.api.resource import IndexingJob
from codebase_index.store.database import Database
from codebase_index.store.jobs.jobs import Jobs

FILES = 36
MARKED_LINES = 12
"""Lines with a mark in a file, so far apart that each is a place of its own, in several chunks."""

CODE = re.compile(r"mark_(\w+?)_v(\d+)_(\d+)")


def content(repository: str, version: int) -> str:
    """A file of about 8 KB: several chunks."""
    parts = []
    for number in range(MARKED_LINES):
        parts.append(f"def mark_{repository}_v{version}_{number}(argument):")
        parts += [f"    value_{line} = argument + {line}  # {'-' * 40}" for line in range(8)]
        parts += [f"    return value_{number % 8}", "", ""]
    return "\n".join(parts)


class Workshop:
    """A repository under change, and the workers that index it."""

    def __init__(self, database: Database, dsn: str, root: Path) -> None:
        self.jobs, self.root, self._dsn = Jobs(database), root, dsn
        self.versions: dict[str, set[int]] = defaultdict(set)
        """Which versions of each file may be shown."""

    def write(self, version: int, numbers: Sequence[int], repository: str = "shop") -> None:
        for number in numbers:
            path = self.root / repository / f"src/file_{number:03}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content(repository, version))
            self.versions[f"src/file_{number:03}.py"].add(version)

    async def start(self, repository: str = "shop") -> tuple[UUID, asyncio.subprocess.Process]:
        meta = {"name": f"j-{uuid4().hex[:8]}", "namespace": "default", "uid": str(uuid4()),
                "creationTimestamp": datetime.now(UTC).isoformat()}  # fmt: skip
        source = {"path": str(self.root / repository)}
        job = IndexingJob.parse({"metadata": meta, "spec": {"source": source}})
        job_id = UUID(job.metadata.uid)
        await self.jobs.create(job)
        assert await self.jobs.fence(job_id, 1, failed=False, message="Starting")
        environment = {
            **os.environ,
            "CODEBASE_JOB_ID": str(job_id), "CODEBASE_ATTEMPT": "1", "CODEBASE_POD": "p1",
            "CODEBASE_JOB_SPEC": job.spec.model_dump_json(by_alias=True, exclude_none=True),
            "CODEBASE_PROCESSES": "1", "CODEBASE_DATABASE_URL": self._dsn,
            "CODEBASE_ROOTS": json.dumps([{"path": str(self.root)}]), "CODEBASE_LOG_LEVEL": "WARNING",
        }  # fmt: skip
        worker = await asyncio.create_subprocess_exec(sys.executable, "-m", "codebase_indexer", env=environment)
        return job_id, worker


class Reader:
    """Asks in every mode, and judges each answer. `gone` are files that may not be shown any more."""

    def __init__(self, client: Client, shop: Workshop) -> None:
        self._client, self._shop = client, shop
        self.gone: set[str] = set()
        self.answers = 0
        self.seen: set[tuple[str, int]] = set()

    async def ask(self, **arguments: Any) -> dict[str, Any]:
        result = await self._client.call_tool("search_code", arguments)
        if result.is_error and "not indexed: repo" in str(result.content):  # the job has not begun yet
            return {"results": [], "next_cursor": None}
        assert not result.is_error and result.structured_content is not None, result.content
        self.answers += 1
        return dict(result.structured_content)

    async def look(self, turn: int) -> None:
        """One round of questions about a file and about the repository."""
        repo = str(self._shop.root / "shop")
        path = f"src/file_{turn * 7 % FILES:03}.py"
        for mode, query in (("text", "def mark_shop_v"), ("regex", r"def mark_\w+_v\d+_\d+")):
            answer = await self.ask(query=query, mode=mode, repo=repo, path=path, limit=50)
            self._judge_whole(path, answer)
        for mode in ("auto", "symbol"):
            for several in (repo, [repo]):
                answer = await self.ask(
                    query=f"mark_shop_v1_{turn % 12}", mode=mode, repo=several, limit=50, detail="full"
                )
                self._judge_one_version(answer)

    def _judge_whole(self, path: str, answer: dict[str, Any]) -> None:
        found = [match for r in answer["results"] for match in CODE.findall(r["text"])]
        if not found:
            return
        assert answer["next_cursor"] is None or len(answer["results"]) == 0
        (version,) = {int(version) for _, version, _ in found}
        assert {number for *_, number in found} == {str(n) for n in range(MARKED_LINES)}, (path, found)
        self._judge_one_version(answer)
        self.seen.add((path, version))

    def _judge_one_version(self, answer: dict[str, Any]) -> None:
        of_file: dict[str, set[tuple[str, int]]] = defaultdict(set)
        for result in answer["results"]:
            for part in ("text", "context_before", "context_after"):
                if part == "text" or result.get(part):
                    of_file[result["path"]] |= {(r, int(v)) for r, v, _ in CODE.findall(result[part])}
        assert not self.gone & set(of_file), self.gone & set(of_file)
        for path, found in of_file.items():
            assert {repository for repository, _ in found} <= {"shop"}, (path, found)
            assert len(found) <= 1, (path, found)
            assert {version for _, version in found} <= self._shop.versions[path]

    async def until(self, over: Callable[[], Awaitable[bool]]) -> None:
        """Look again and again until something is over, and three times more."""
        turn, left = 0, 3
        while left:
            left -= await over()
            await self.look(turn)
            turn += 1


@pytest.fixture(params=["auto"])
def era(request: pytest.FixtureRequest) -> str:
    """One protocol is enough here."""
    return str(request.param)


async def test_answers_are_of_whole_files_whatever_the_jobs_do(
    server: Server[Any], database: Database, dsn: str, tmp_path: Path
) -> None:
    shop = Workshop(database, dsn, tmp_path)
    shop.write(1, range(FILES))
    shop.write(7, range(5), repository="neighbour")
    _, neighbour = await shop.start("neighbour")
    assert await neighbour.wait() == 0
    for number in range(5):
        shop.versions[f"src/file_{number:03}.py"].discard(7)  # never of the shop

    async with Client(server) as client:
        reader = Reader(client, shop)

        # Indexed for the first time, and cancelled on the way: what is stored is whole.
        job_id, worker = await shop.start()

        async def half_way() -> bool:
            return (await shop.jobs.get(job_id)).files_indexed > FILES // 4 or worker.returncode is not None

        await reader.until(half_way)
        if (await shop.jobs.get(job_id)).state is not JobState.COMPLETED:
            await shop.jobs.cancel(job_id)
        await asyncio.wait_for(worker.wait(), 60)

        # To the end.
        await finish(reader, shop)
        found = await reader.ask(query="def mark_shop_v1_3(", mode="text", repo=str(tmp_path / "shop"), limit=50)
        assert len(found["results"]) == FILES

        # Half of the files change, a sixth goes; the sweep removes them while searches run.
        shop.write(2, range(0, FILES, 2))
        removed = [f"src/file_{number:03}.py" for number in range(1, FILES, 6)]
        for path in removed:
            (tmp_path / "shop" / path).unlink()
        await finish(reader, shop)
        reader.gone = set(removed)
        for number in range(0, FILES, 2):
            shop.versions[f"src/file_{number:03}.py"].discard(1)
        for turn in range(12):
            await reader.look(turn)

    assert reader.answers > 50
    assert {version for _, version in reader.seen} == {1, 2}


async def finish(reader: Reader, shop: Workshop) -> None:
    """Index the repository to the end while the reader looks."""
    job_id, worker = await shop.start()

    async def over() -> bool:
        return worker.returncode is not None

    await reader.until(over)
    assert (await shop.jobs.get(job_id)).state is JobState.COMPLETED
