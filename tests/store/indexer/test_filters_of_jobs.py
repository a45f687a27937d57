"""Jobs with other filters fill other indexes: none removes what another has indexed."""

from typing import Any
from uuid import UUID

import pytest

from codebase_index.api.job import ExitCode, target_of
from codebase_index.api.resource import IndexingJob
from codebase_index.store.catalog.indexes import Indexes
from tests.store.harness import WorkerHarness, track


@pytest.fixture
def shop(harness: WorkerHarness) -> WorkerHarness:
    for name in ("src/a.py", "src/b.py", "docs/c.py", "tests/d.py"):
        path = harness.root / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def {path.stem}_value():\n    return 1\n")
    track(harness.root / "shop")
    return harness


async def run(harness: WorkerHarness, **spec: Any) -> IndexingJob:
    job = await harness.job("shop", **spec)
    assert (await harness.run(job))[0] == ExitCode.DONE
    return job


async def paths(harness: WorkerHarness, job: IndexingJob) -> set[str]:
    rows = await harness.fetch(
        "SELECT path FROM files JOIN indexes i ON i.id = index_id WHERE i.target = $1", job.spec.target
    )
    return {row["path"] for row in rows}


async def test_a_job_with_filters_leaves_what_the_others_indexed(shop: WorkerHarness) -> None:
    whole = await run(shop)
    part = await run(shop, include=["src/"])
    rest = await run(shop, exclude=["src/"])
    assert await paths(shop, whole) == {"src/a.py", "src/b.py", "docs/c.py", "tests/d.py"}
    assert await paths(shop, part) == {"src/a.py", "src/b.py"}
    assert await paths(shop, rest) == {"docs/c.py", "tests/d.py"}
    listed = {row.target: (row.include, row.exclude) for row in await Indexes(shop.database).list()}
    assert listed == {
        whole.spec.target: ((), ()), part.spec.target: (("src/",), ()), rest.spec.target: ((), ("src/",)),
    }  # fmt: skip


async def test_the_same_filters_in_another_order_fill_the_same_index(shop: WorkerHarness) -> None:
    first = await run(shop, include=["src/", "docs/"])
    second = await run(shop, include=["docs/", "src/", "src/"])
    assert first.spec.target == second.spec.target
    assert (await shop.row(second)).files_unchanged == 3


async def test_a_waiting_job_of_the_release_before_takes_the_target_of_today(shop: WorkerHarness) -> None:
    await run(shop)
    job = await shop.job("shop", include=["src/"])
    shared = target_of("/repos/shop", None)
    await shop.fetch("UPDATE jobs SET target = $1 WHERE id = $2", shared, UUID(job.metadata.uid))
    code, row = await shop.run(job)
    assert (code, row.target) == (ExitCode.DONE, job.spec.target)
    assert await paths(shop, job) == {"src/a.py", "src/b.py"}


async def test_one_that_has_its_list_goes_on_in_the_shared_index_and_removes_nothing(shop: WorkerHarness) -> None:
    whole = await run(shop)
    job = await shop.job("shop", include=["src/"])
    job_id, shared = UUID(job.metadata.uid), target_of("/repos/shop", None)
    await shop.fetch(
        "UPDATE jobs SET target = $1, files_total = 2, attempt = 1, state = 'running' WHERE id = $2",
        shared,
        job_id,
    )
    await shop.fetch("INSERT INTO work (job_id, seq, path, size) VALUES ($1, 0, 'src/a.py', 9)", job_id)
    await shop.fetch("INSERT INTO work (job_id, seq, path, size) VALUES ($1, 1, 'src/b.py', 9)", job_id)
    code, row = await shop.run(job, attempt=2)
    assert (code, row.target) == (ExitCode.DONE, shared)
    assert await paths(shop, whole) == {"src/a.py", "src/b.py", "docs/c.py", "tests/d.py"}
