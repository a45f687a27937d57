"""An upgrade gives every spelling of a repository's address the one target that jobs have from then on."""

from uuid import uuid4

import asyncpg
import pytest

from codebase_index.api.job import target_of
from codebase_index.api.resource import IndexingJobSpec
from codebase_index.store.migrate import migrate
from tests.store.release import make_schema

SPELLINGS = {
    "https://github.com/a/one.git": "main", "https://GitHub.com:443/a/two/": None,
    "ssh://git@github.com:22//a/three.git/": None, "https://git.example.org:8443/four": None,
    "/srv/five.git": None,
}  # fmt: skip


def target_now(source: str, ref: str | None) -> str:
    place = {"git": {"url": source}} if "://" in source else {"path": source}
    return IndexingJobSpec.model_validate({"source": place, "ref": ref}).target


async def release(address: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(address)
    await make_schema(connection)
    await connection.execute("INSERT INTO schema_migrations (number, name) VALUES (1, '0001_schema.sql')")
    return connection


async def index(
    connection: asyncpg.Connection, source: str, ref: str | None, day: int = 1, namespace: str = "n"
) -> None:
    target = target_of(source, ref)  # as the release made it
    await connection.execute(
        "INSERT INTO indexes (target, source, ref, indexed_at) VALUES ($1, $2, $3, date '2026-11-01' + $4::int)",
        target, source, ref, day,
    )  # fmt: skip
    await job(connection, source, ref, namespace=namespace)


async def job(
    connection: asyncpg.Connection, source: str, ref: str | None, state: str = "pending", namespace: str = "n"
) -> None:
    await connection.execute(
        "INSERT INTO jobs (id, namespace, cr_name, target, source, ref, state)"
        " VALUES ($1, $2, 'j', $3, $4, $5, $6)",
        uuid4(), namespace, target_of(source, ref), source, ref, state,
    )  # fmt: skip


async def test_indexes_and_jobs_of_a_release_are_found_under_the_targets_of_today(empty_database: str) -> None:
    connection = await release(empty_database)
    for source, ref in SPELLINGS.items():
        await index(connection, source, ref)
    await migrate(connection)
    for table in ("indexes", "jobs"):
        rows = await connection.fetch(f"SELECT source, target FROM {table}")
        assert dict(map(tuple, rows)) == {source: target_now(source, ref) for source, ref in SPELLINGS.items()}
    await connection.close()


@pytest.mark.parametrize("newer", [0, 1], ids=["with .git", "without"])
async def test_of_two_spellings_the_newer_index_goes_on_and_the_other_is_kept(
    empty_database: str, newer: int
) -> None:
    connection = await release(empty_database)
    spellings = ["https://github.com/a/b.git", "https://github.com/a/b"]
    for spelling in spellings:
        await index(connection, spelling, None, day=2 if spelling == spellings[newer] else 1)
    await migrate(connection)
    for table in ("indexes", "jobs"):
        targets = dict(map(tuple, await connection.fetch(f"SELECT source, target FROM {table}")))
        assert targets.pop(spellings[newer]) == target_now(spellings[newer], None)
        assert len(targets) == 1 and target_now(spellings[0], None) not in targets.values()
    await connection.close()


async def test_a_running_job_of_each_spelling_is_no_obstacle(empty_database: str) -> None:
    connection = await release(empty_database)
    spellings = ["https://github.com/a/b.git", "https://github.com/a/b"]
    await index(connection, spellings[0], None)  # the other one's job has not opened its index yet
    for spelling in spellings:
        await job(connection, spelling, None, state="running")
    await migrate(connection)
    rows = await connection.fetch("SELECT source, target FROM jobs WHERE state = 'running'")
    assert len({row["target"] for row in rows}) == 2
    assert dict(map(tuple, rows))[spellings[0]] == target_now(spellings[0], None)
    await connection.close()


async def test_other_spellings_in_another_namespace_change_nothing(empty_database: str) -> None:
    connection = await release(empty_database)
    await index(connection, "https://github.com/a/b", None, day=1, namespace="one")
    await index(connection, "https://github.com/a/b.git", None, day=2, namespace="two")
    await migrate(connection)
    targets = {row["target"] for row in await connection.fetch("SELECT target FROM indexes")}
    assert targets == {target_now("https://github.com/a/b", None)}
    await connection.close()
