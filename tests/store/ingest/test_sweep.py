"""The sweep and the list that is made again, on a real Postgres."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from codebase_index.languages import same_kind
from codebase_index.store.database import Database
from codebase_index.store.errors import FenceLost
from codebase_index.store.ingest.relist import Relist
from codebase_index.store.ingest.reuse import Reuse, UnverifiedMoves
from codebase_index.store.ingest.sweep import SWEEP_CHUNKS, Sweep, UnseenFile, in_parts
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.jobs.jobs import Jobs
from tests.store.ingest.test_reuse import TREE, Indexer, blob, entries
from tests.store.jobs.test_jobs import started

REASONS = frozenset({"vanished", "not readable"})


@pytest.fixture
def indexer(database: Database) -> Indexer:
    return Indexer(database)


def test_a_part_of_a_sweep_is_bounded_by_chunks_not_by_files() -> None:
    large = [UnseenFile(n, f"{n}.py", 4_000, None) for n in range(500)]
    assert [len(part) for part in in_parts(large)] == [1] * 500
    mixed = [UnseenFile(n, f"{n}.py", 9, None) for n in range(2_000)] + [
        UnseenFile(2_000, "huge.py", 60_000, None)
    ]
    parts = list(in_parts(mixed))
    assert [file for part in parts for file in part] == mixed
    assert all(sum(f.chunks + 1 for f in part) <= SWEEP_CHUNKS or len(part) == 1 for part in parts)
    assert len(parts) == 5


async def test_a_file_that_was_seen_meanwhile_is_not_removed(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    writer, _, _ = await indexer.freeze(entries({}), force=True)
    sweep = Sweep(indexer.database)
    unseen = await sweep.unseen(writer)
    assert [file.path for file in unseen] == sorted(TREE)
    await indexer.rows(f"UPDATE files SET job_id = '{writer.job_id}' WHERE path = '{unseen[0].path}' RETURNING id")
    assert await sweep.remove(writer, unseen) == len(TREE) - 1
    assert list(await indexer.files()) == [unseen[0].path]


async def test_a_sweep_of_a_replaced_attempt_removes_nothing(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    writer, _, _ = await indexer.freeze(entries({}), force=True)
    sweep = Sweep(indexer.database)
    unseen = await sweep.unseen(writer)
    await Jobs(indexer.database).fence(writer.job_id, 2, failed=False, message="replaced")
    with pytest.raises(FenceLost):
        await sweep.remove(writer, unseen)
    assert len(await indexer.files()) == len(TREE)


async def test_what_the_scan_could_not_read_is_not_taken_for_moved(indexer: Indexer) -> None:
    await indexer.run(entries({"closed/a.py": "aaa", "b.py": "bb"}))
    listed = [
        *entries({"b.py": "bb"}),
        ScanEntry("closed", 0, "not readable"),
        ScanEntry("copy.py", 3, blob=blob("aaa")),
    ]
    job_id = await _started_again(indexer, listed, unreadable=frozenset({"closed"}))
    assert set(await indexer.files()) == {"closed/a.py", "b.py"}
    todo = await indexer.rows(f"SELECT path FROM work WHERE job_id = '{job_id}' AND state = 'todo'")
    assert [row["path"] for row in todo] == ["copy.py"]


async def test_only_what_is_proven_gone_is_taken_for_moved(indexer: Indexer) -> None:
    await indexer.run(entries({"gone/a.py": "aaa", "there/b.py": "bb"}))
    (index,) = await indexer.rows("SELECT id FROM indexes")
    job_id, work = await started(indexer.database), Work(indexer.database)
    listed = entries({"new/a.py": "aaa", "new/b.py": "bb"})
    reuse = Reuse(index["id"], "v1", same_kind, gone={})
    with pytest.raises(UnverifiedMoves) as asked:
        await work.freeze(job_id, 1, listed, reuse)
    assert asked.value.paths == ["gone/a.py", "there/b.py"]
    assert (await Jobs(indexer.database).get(job_id)).files_total is None
    proven = replace(reuse, gone={"gone/a.py": True, "there/b.py": False})
    assert await work.freeze(job_id, 1, listed, proven)
    assert set(await indexer.files()) == {"new/a.py", "there/b.py"}


async def _started_again(indexer: Indexer, listed: list[ScanEntry], *, unreadable: frozenset[str]) -> UUID:
    """Freeze a list for a new job as the indexer does."""
    (index,) = await indexer.rows("SELECT id FROM indexes")
    job_id = await started(indexer.database)
    reuse = Reuse(index["id"], "v1", same_kind, unreadable)
    assert await Work(indexer.database).freeze(job_id, 1, listed, reuse)
    return job_id


# --- a list that is made again -----------------------------------------------------------------------


async def _states(indexer: Indexer, job_id: UUID) -> dict[str, tuple[str, str | None]]:
    query = f"SELECT path, state::text, skip_reason FROM work WHERE job_id = '{job_id}'"
    return {row["path"]: (row["state"], row["skip_reason"]) for row in await indexer.rows(query)}


async def _row(indexer: Indexer, job_id: UUID) -> tuple[int | None, int, int, int]:
    row = await Jobs(indexer.database).get(job_id)
    return row.files_total, row.files_indexed, row.files_skipped, row.chunks_created


async def _working(indexer: Indexer, listed: list[ScanEntry], **how: Any) -> Any:
    """A job that has done its list; its writer."""
    writer, todo, _ = await indexer.freeze(listed, **how)
    await indexer.commit(writer, todo, listed)
    return writer


async def test_what_is_done_and_unchanged_stays_done(indexer: Indexer) -> None:
    writer = await _working(indexer, entries(TREE))
    before = await _row(indexer, writer.job_id)
    for trusting in (True, False):
        assert (
            await Relist(indexer.database).extend(writer, entries(TREE), trusting=trusting, uncertain=REASONS) == 0
        )
    assert await _row(indexer, writer.job_id) == before


async def test_without_trust_what_git_does_not_vouch_for_is_read_again_and_counted_once(indexer: Indexer) -> None:
    listed = [ScanEntry(path, len(content)) for path, content in TREE.items()]
    writer = await _working(indexer, listed)
    before = await _row(indexer, writer.job_id)
    relist = Relist(indexer.database)
    assert await relist.extend(writer, listed, trusting=True, uncertain=REASONS) == 0
    assert await relist.extend(writer, listed, trusting=False, uncertain=REASONS) == len(TREE)
    await indexer.commit(writer, list(TREE), listed)
    assert await _row(indexer, writer.job_id) == before
    assert (await indexer.rows("SELECT count(*)::int AS n FROM files"))[0]["n"] == len(TREE)


async def test_the_list_follows_what_is_there_now(indexer: Indexer) -> None:
    listed = [
        *entries({"same.py": "ss", "changed.py": "ccc", "gone.py": "gggg"}),
        ScanEntry("back.py", 0, "vanished"),
    ]
    writer = await _working(indexer, listed)
    assert await _row(indexer, writer.job_id) == (4, 3, 1, 9)
    now = [
        *entries({"same.py": "ss", "changed.py": "CCCCC", "back.py": "b", "new.py": "nnnnnn"}),
        ScanEntry("data.bin", 9, "binary"),
    ]
    assert await Relist(indexer.database).extend(writer, now, trusting=True, uncertain=REASONS) == 3
    states = await _states(indexer, writer.job_id)
    assert {path for path, (state, _) in states.items() if state == "todo"} == {"changed.py", "back.py", "new.py"}
    assert states["data.bin"] == ("skipped", "binary")
    await indexer.commit(writer, ["changed.py", "back.py", "new.py"], now)
    total, indexed, skipped, _ = await _row(indexer, writer.job_id)
    assert (total, indexed, skipped) == (6, 4, 2)  # back.py was counted as skipped
    assert total == indexed + skipped
    assert [file.path for file in await Sweep(indexer.database).unseen(writer)] == ["gone.py"]


async def test_what_was_taken_over_when_the_list_was_frozen_is_not_counted_twice(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    writer, todo, row = await indexer.freeze(entries(TREE))
    assert (todo, row.files_unchanged) == ([], len(TREE))
    before = await _row(indexer, writer.job_id)
    listed = [ScanEntry(path, len(content)) for path, content in TREE.items()]
    assert await Relist(indexer.database).extend(writer, listed, trusting=False, uncertain=REASONS) == len(TREE)
    await indexer.commit(writer, list(TREE), listed)
    assert await _row(indexer, writer.job_id) == before


async def test_a_list_of_a_replaced_attempt_is_not_made_again(indexer: Indexer) -> None:
    writer = await _working(indexer, entries(TREE))
    await Jobs(indexer.database).fence(writer.job_id, 2, failed=False, message="replaced")
    with pytest.raises(FenceLost):
        await Relist(indexer.database).extend(writer, entries({}), trusting=False, uncertain=REASONS)
    assert await Sweep(indexer.database).unseen(writer) == []
