"""The table that stands for the API server keeps its rules: versions, preconditions, owners, and a watch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from codebase_index.store.database import Database
from codebase_index.store.errors import StoreUnavailable
from codebase_index.store.resources.resources import ResourceConflict, ResourceKind, ResourceNotFound, Resources
from codebase_index.store.resources.watch import Change, changes

JOB, POD, EVENT = ResourceKind.JOB, ResourceKind.POD, ResourceKind.EVENT


@pytest.fixture
def resources(database: Database) -> Resources:
    return Resources(database, "ns")


def body(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"target": name}}, "spec": spec}


def uid_of(resource: dict[str, Any]) -> UUID:
    return UUID(resource["metadata"]["uid"])


def version_of(resource: dict[str, Any]) -> int:
    return int(resource["metadata"]["resourceVersion"])


async def test_what_is_stored_has_what_an_api_server_adds(resources: Resources) -> None:
    stored = await resources.insert(JOB, body("shop", priority=3))
    assert stored == await resources.get(JOB, "shop")
    metadata = stored["metadata"]
    assert (
        metadata["namespace"] == "ns" and metadata["generation"] == 1 and metadata["labels"] == {"target": "shop"}
    )
    assert datetime.fromisoformat(metadata["creationTimestamp"]).tzinfo == UTC
    assert stored["spec"] == {"priority": 3}


async def test_a_name_is_taken_once(resources: Resources) -> None:
    await resources.insert(JOB, body("shop"))
    with pytest.raises(ResourceConflict, match="IndexingJob shop exists already"):
        await resources.insert(JOB, body("shop"))
    await resources.insert(POD, body("shop"))  # names are those of a kind


async def test_a_writer_that_read_an_older_version_loses(resources: Resources) -> None:
    job = await resources.insert(JOB, body("shop"))
    newer = await resources.set_status(JOB, "shop", uid_of(job), {"phase": "Running"}, version_of(job))
    assert version_of(newer) > version_of(job)
    with pytest.raises(ResourceConflict):
        await resources.set_status(JOB, "shop", uid_of(job), {"phase": "Pending"}, version_of(job))
    assert (await resources.get(JOB, "shop"))["status"] == {"phase": "Running"}


async def test_a_write_for_a_resource_that_another_one_has_replaced_finds_nothing(resources: Resources) -> None:
    first = await resources.insert(JOB, body("shop"))
    await resources.delete(JOB, "shop", uid_of(first))
    await resources.insert(JOB, body("shop"))
    with pytest.raises(ResourceNotFound):
        await resources.set_status(JOB, "shop", uid_of(first), {"phase": "Running"})
    with pytest.raises(ResourceNotFound):
        await resources.delete(JOB, "shop", uid_of(first))


async def test_a_changed_spec_raises_the_generation_and_an_equal_one_changes_nothing(resources: Resources) -> None:
    job = await resources.insert(JOB, body("shop", source={"path": "/shop"}))
    cancelled = await resources.patch_spec(JOB, "shop", uid_of(job), {"cancel": True})
    assert cancelled["spec"] == {"source": {"path": "/shop"}, "cancel": True}
    assert cancelled["metadata"]["generation"] == 2
    with pytest.raises(ResourceConflict):
        await resources.patch_spec(JOB, "shop", uid_of(job), {"cancel": True})


async def test_the_first_deletion_sets_the_time(resources: Resources) -> None:
    job = await resources.insert(JOB, body("shop"))
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    marked = await resources.mark_deleted(JOB, "shop", uid_of(job), at)
    assert datetime.fromisoformat(marked["metadata"]["deletionTimestamp"]) == at
    with pytest.raises(ResourceConflict):
        await resources.mark_deleted(JOB, "shop", uid_of(job), at.replace(hour=13))


async def test_pods_and_events_go_with_their_job(resources: Resources) -> None:
    job = await resources.insert(JOB, body("shop"))
    await resources.insert(POD, body("shop-a1"), uid_of(job))
    await resources.insert(EVENT, body("shop.1"), uid_of(job))
    await resources.insert(POD, body("cart-a1"), uid_of(await resources.insert(JOB, body("cart"))))
    assert [pod["metadata"]["name"] for pod in (await resources.list(POD, uid_of(job))).items] == ["shop-a1"]
    await resources.delete(JOB, "shop", uid_of(job))
    assert [pod["metadata"]["name"] for pod in (await resources.list(POD)).items] == ["cart-a1"]
    assert (await resources.list(EVENT)).items == []


async def test_a_list_is_narrowed_by_a_label(resources: Resources) -> None:
    for name in ("shop", "cart", "till"):
        await resources.insert(JOB, body(name))
    found = await resources.list(JOB, label="target", values=["cart", "till"])
    assert [job["metadata"]["name"] for job in found.items] == ["cart", "till"]


async def test_a_listing_lacks_nothing_that_is_older_than_its_version(resources: Resources) -> None:
    """Writers and readers at once: what a listing of version n does not show has a higher version."""
    stored: list[int] = []

    async def write(number: int) -> None:
        for part in range(20):
            stored.append(version_of(await resources.insert(JOB, body(f"job-{number}-{part}"))))

    listings = []

    async def read() -> None:
        for _ in range(40):
            listings.append(await resources.list(JOB))

    await asyncio.gather(write(1), write(2), read())
    for listing in listings:
        assert {version_of(job) for job in listing.items} == {v for v in stored if v <= listing.version}


@pytest.fixture
async def watch(resources: Resources) -> AsyncIterator[AsyncIterator[Change | None]]:
    async with aclosing(changes(resources.address)) as watched:
        assert await anext(watched) is None
        yield watched


async def test_a_watch_tells_each_change_in_its_order(
    resources: Resources, watch: AsyncIterator[Change | None]
) -> None:
    job = await resources.insert(JOB, body("shop"))
    changed = await resources.set_status(JOB, "shop", uid_of(job), {"phase": "Running"})
    await resources.insert(POD, body("shop-a1"), uid_of(job))
    await resources.insert(EVENT, body("shop.1"), uid_of(job))  # nobody waits for these
    await resources.delete(JOB, "shop", uid_of(job))
    seen = [await anext(watch) for _ in range(5)]
    told = [(change.type, change.kind, change.name) for change in seen if change]
    assert told[:3] == [("ADDED", JOB, "shop"), ("MODIFIED", JOB, "shop"), ("ADDED", POD, "shop-a1")]
    assert set(told[3:]) == {("DELETED", JOB, "shop"), ("DELETED", POD, "shop-a1")}
    versions = [change.version for change in seen if change]
    assert versions == sorted(versions) and versions[:2] == [version_of(job), version_of(changed)]


async def test_a_watch_whose_connection_ends_says_so(
    database: Database, resources: Resources, watch: AsyncIterator[Change | None]
) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(anext(watch), 5)


async def test_an_unknown_resource_is_not_found(resources: Resources) -> None:
    with pytest.raises(ResourceNotFound, match="Pod shop-a1 not found"):
        await resources.delete(POD, "shop-a1", uuid4())
