"""What the queries of search, list and status read of a database with 200 indexes and 20,000 jobs."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from codebase_index.store import queries
from codebase_index.store.database import Database

INDEXES = 200
JOBS = 20_000
TARGETS_WITH_JOBS = 5
"""Jobs go a week after their end, indexes stay: most of these have no job any more."""

FEW_BLOCKS = 1_000
"""An index scan for each index, and no table read whole: the jobs have several thousand blocks."""

JOB = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
async def many(database: Database) -> Database:
    async with database.connection() as connection:
        await connection.execute(
            f"""
            INSERT INTO indexes (namespace, target, source)
            SELECT 'default', 't' || n, '/work/r' || n FROM generate_series(1, {INDEXES}) n;
            INSERT INTO jobs (id, namespace, cr_name, target, source, state, message, created_at, completed_at)
            SELECT lpad(n::text, 32, '0')::uuid, 'default', 'j' || n, 't' || (1 + n % {TARGETS_WITH_JOBS}),
                   '/work/r' || (1 + n % {TARGETS_WITH_JOBS}),
                   CASE WHEN n % 2000 = 0 THEN 'pending' ELSE 'completed' END::job_state,
                   repeat('Complete: 48 files indexed; ', 20), now() - n * interval '1 minute',
                   CASE WHEN n % 2000 = 0 THEN NULL ELSE now() END
            FROM generate_series(1, {JOBS}) n;
            """
        )
        await connection.execute("VACUUM ANALYZE")
    return database


ASKED: list[tuple[str, str, list[object]]] = [
    ("indexes", "list", [["default"], None]),
    ("jobs", "get", [JOB, ["default"]]),
    ("jobs", "get_many", [[JOB], ["default"]]),
    ("jobs", "unfinished", [["default"]]),
    ("jobs", "list_active", ["default", [JOB]]),
    ("jobs", "page", [None, None, None, ["default"], 20, 0]),
    ("removal", "users", ["default", "t7"]),
    ("removal", "overview", [None]),
    ("work", "skipped", [JOB, 10, 0]),
]


@pytest.mark.parametrize(("file", "query", "arguments"), ASKED, ids=[f"{f}.{q}" for f, q, _ in ASKED])
async def test_no_query_that_somebody_waits_for_reads_all_jobs(
    file: str, query: str, arguments: list[object], many: Database
) -> None:
    sql = queries.load(file)[query]
    async with many.connection() as connection:
        explained = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *arguments)
    plan = json.loads(explained)[0]["Plan"]
    whole = [node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"]
    assert "jobs" not in whole
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < FEW_BLOCKS


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)
