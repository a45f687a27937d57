"""The table of answers in the contract, row by row, over a real database; starting is in test_start.py."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from mcp import Client
from mcp.server import Server

from codebase_index.store.ingest.work import ScanEntry
from codebase_mcp.jobs.answers import MAX_LISTED_MESSAGE_CHARACTERS
from codebase_mcp.jobs.kubernetes_cluster import KubernetesCluster

NOBODY = "00000000-0000-0000-0000-000000000000"


# --- start: what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repo_path", "says"),
    [
        ("{root}/none", "not found"),
        ("shop", "is not absolute; give an absolute path under {root}"),
        ("{root}/a-file", "is not a directory"),
        ("{root}/../etc", "holds '..'"),
        ("/etc", "is outside every repository root; give an absolute path under {root}"),
        ("https://evil.example.org/x.git", "is not allowed; allowed hosts: git.example.org"),
        ("https://user:hunter2@git.example.org/x.git", "holds credentials"),
        ("http://git.example.org/x.git", "must be https:// or ssh://"),
        ("file:///etc", "must be https:// or ssh://"),
        ("ext::sh -c id", "is not absolute"),
        ("git@git.example.org:x.git", "must be https:// or ssh://"),
    ],
)
async def test_start_says_what_is_wrong_with_a_source(
    repo_path: str, says: str, call: Any, refused: Any, roots: Path
) -> None:
    text = refused(await call("start_indexing_background", repo_path=repo_path.format(root=roots)))
    assert text.startswith("validation: ")
    assert says.format(root=roots) in text
    assert "hunter2" not in text


async def test_start_refuses_what_leads_out_of_its_root(call: Any, refused: Any, roots: Path) -> None:
    (roots / "link").symlink_to("/etc")
    text = refused(await call("start_indexing_background", repo_path=f"{roots}/link"))
    assert text.startswith("validation: ") and "symbolic link" in text


async def test_start_needs_the_kubernetes_api(call: Any, refused: Any, roots: Path) -> None:
    text = refused(await call("start_indexing_background", repo_path=f"{roots}/shop"))
    assert text.startswith("unavailable: the Kubernetes API does not answer") and "try again" in text


# --- status ------------------------------------------------------------------------------------------


async def test_status_shows_the_row(call: Any, answered: Any, shop: Any) -> None:
    job_id = await shop.running(name="the shop", ref="main")
    await shop.work.freeze(job_id, 1, [ScanEntry("a.py", 10), ScanEntry("b.bin", 20, "binary")])
    status = answered(await call("get_indexing_status", job_id=str(job_id)))
    assert "never instructions" in status.pop("notice")
    assert datetime.fromisoformat(status.pop("created_at")).tzinfo is not None
    assert status.pop("started_at") is not None
    assert status == {
        "job_id": str(job_id), "name": "the shop", "repo_path": "/work/shop", "ref": "main", "commit": None,
        "status": "running", "phase": "embedding", "progress_percentage": 42, "progress_message": "Embedding",
        "files_total": 2, "files_indexed": 0, "files_skipped": 1, "chunks_created": 0, "files_transcoded": 0,
        "secrets_redacted": 0, "completed_at": None,
        "cancelled_at": None, "estimated_time_remaining_seconds": 90, "queue_position": None, "attempt": 1,
        "error_type": None, "error_message": None, "skipped": [{"path": "b.bin", "reason": "binary"}],
        "stale": False,
    }  # fmt: skip


async def test_the_files_that_a_job_left_out_are_listed_page_by_page(call: Any, answered: Any, shop: Any) -> None:
    job_id = await shop.running()
    names = [f"{number:03}.bin" for number in range(23)] + [f"{number}/" + "x" * 900 for number in range(20)]
    await shop.work.freeze(job_id, 1, [ScanEntry(name, 20, "binary") for name in names])
    first = answered(await call("get_indexing_status", job_id=str(job_id)))
    assert [file["path"] for file in first["skipped"]] == names[:10] and first["next_offset"] == 10
    listed, offset = list[str](), 0
    while offset is not None:
        page = answered(await call("get_indexing_status", job_id=str(job_id), limit=100, offset=offset))
        listed, offset = listed + [file["path"] for file in page["skipped"]], page.get("next_offset")
        assert offset is None or offset == len(listed) < len(names)
    assert listed == names


async def test_status_shows_the_place_in_the_queue(call: Any, answered: Any, shop: Any) -> None:
    job_id = await shop.pending()
    await shop.jobs.set_queue([(job_id, 2, "Queued: 2nd of 4, 3 jobs running")])
    status = answered(await call("get_indexing_status", job_id=str(job_id)))
    assert (status["status"], status["queue_position"], status["started_at"]) == ("pending", 2, None)
    assert status["progress_message"] == "Queued: 2nd of 4, 3 jobs running"


async def test_status_of_a_completed_job_is_100_percent(call: Any, answered: Any, shop: Any) -> None:
    job_id = await shop.completed({"a.py": "x = 1"})
    status = answered(await call("get_indexing_status", job_id=str(job_id)))
    assert (status["status"], status["progress_percentage"]) == ("completed", 100)
    assert status["completed_at"] is not None and status["cancelled_at"] is None
    assert status["files_indexed"] == 1 and status["chunks_created"] == 1


async def test_status_of_a_failed_job_says_why(call: Any, answered: Any, shop: Any) -> None:
    status = answered(await call("get_indexing_status", job_id=str(await shop.failed())))
    assert (status["status"], status["error_type"]) == ("failed", "CloneFailed")
    assert status["error_message"] == "the host does not answer; check the URL"


@pytest.mark.parametrize("tool", ["get_indexing_status", "cancel_indexing_background"])
@pytest.mark.parametrize("job_id", ["1", "not-a-uuid", "{" + NOBODY + "}", NOBODY.replace("-", ""), "' OR 1=1 --"])
async def test_what_is_no_uuid_is_a_validation_error(tool: str, job_id: str, call: Any, refused: Any) -> None:
    text = refused(await call(tool, job_id=job_id))
    assert text.startswith("validation: job_id ") and "list_indexing_jobs" in text


@pytest.mark.parametrize("tool", ["get_indexing_status", "cancel_indexing_background"])
async def test_an_unknown_job_is_not_found(tool: str, call: Any, refused: Any) -> None:
    assert refused(await call(tool, job_id=NOBODY)).startswith(f"job not found: {NOBODY}; ")


# --- cancel ------------------------------------------------------------------------------------------


async def test_cancel_fences_even_while_the_kubernetes_api_is_away(call: Any, answered: Any, shop: Any) -> None:
    job_id = await shop.running()
    cancelled = answered(await call("cancel_indexing_background", job_id=str(job_id)))
    row = await shop.jobs.get(job_id)
    assert "never instructions" in cancelled.pop("notice")
    assert cancelled == {
        "job_id": str(job_id), "status": "cancelled", "message": row.message, "files_indexed": 0,
        "chunks_created": 0, "cancelled_at": cancelled["cancelled_at"],
    }  # fmt: skip
    assert row.attempt == 2 and row.cancelled_at == datetime.fromisoformat(cancelled["cancelled_at"])


async def test_cancel_does_not_wait_for_a_kubernetes_api_that_hangs(
    server: Server[Any], cluster: KubernetesCluster, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def hang(*_: Any) -> bool:
        asked.set()
        await asyncio.sleep(3600)
        return True

    monkeypatch.setattr(cluster, "cancel", hang)
    job_id = await shop.running()
    async with asyncio.timeout(60), Client(server) as client:
        result = await client.call_tool("cancel_indexing_background", {"job_id": str(job_id)})
    assert not result.is_error and asked.is_set()
    assert (await shop.jobs.get(job_id)).state == "cancelled"


async def test_cancel_keeps_what_is_indexed(call: Any, answered: Any, shop: Any) -> None:
    row, _ = await shop.indexing({"a.py": "x = 1"})
    assert answered(await call("cancel_indexing_background", job_id=str(row.id)))["files_indexed"] == 1
    status = answered(await call("get_indexing_status", job_id=str(row.id)))
    assert status["status"] == "cancelled" and status["completed_at"] is None and status["files_indexed"] == 1


async def test_cancel_of_a_final_job_says_which_state_it_is_in(
    call: Any, answered: Any, refused: Any, shop: Any
) -> None:
    completed, failed, cancelled = await shop.completed({"a": "x"}), await shop.failed(), await shop.running()
    answered(await call("cancel_indexing_background", job_id=str(cancelled)))
    texts = {
        job_id: refused(await call("cancel_indexing_background", job_id=str(job_id)))
        for job_id in (completed, failed, cancelled)
    }
    assert texts == {
        completed: f"cannot cancel: job {completed} is completed",
        failed: f"cannot cancel: job {failed} is failed",
        cancelled: f"cannot cancel: job {cancelled} is already cancelled",
    }


# --- list --------------------------------------------------------------------------------------------


async def test_list_pages_newest_first(call: Any, answered: Any, shop: Any) -> None:
    ids = [str(await shop.pending(f"/work/shop-{i}")) for i in range(5)]
    newest = list(reversed(ids))
    first = answered(await call("list_indexing_jobs", limit=2))
    last = answered(await call("list_indexing_jobs", limit=2, offset=4))
    beyond = answered(await call("list_indexing_jobs", offset=9))
    assert [job["job_id"] for job in first["jobs"]] == newest[:2]
    assert [job["job_id"] for job in last["jobs"]] == newest[4:]
    assert (first["total_count"], first["limit"], first["offset"]) == (5, 2, 0)
    assert (beyond["jobs"], beyond["total_count"]) == ([], 5)


async def test_list_cuts_long_messages_which_status_has_whole(call: Any, answered: Any, shop: Any) -> None:
    job_id = await shop.running()
    await shop.jobs.fail(job_id, 1, "InternalError", "x" * 4000)
    (listed,) = answered(await call("list_indexing_jobs"))["jobs"]
    status = answered(await call("get_indexing_status", job_id=str(job_id)))
    assert (len(listed["error_message"]), len(status["error_message"])) == (MAX_LISTED_MESSAGE_CHARACTERS, 4000)


async def test_list_filters(call: Any, answered: Any, shop: Any) -> None:
    running, pending = await shop.running("/work/shop"), await shop.pending("/work/other")

    async def ids(**arguments: Any) -> list[UUID]:
        return [UUID(job["job_id"]) for job in answered(await call("list_indexing_jobs", **arguments))["jobs"]]

    assert await ids(status="running") == [running]
    assert await ids(repo_path="othe") == [pending]
    assert await ids(repo_path="%") == []  # no pattern: a part of the path
    assert await ids(created_after=(datetime.now(UTC) + timedelta(hours=1)).isoformat()) == []
    assert len(await ids(created_after=(datetime.now(UTC) - timedelta(hours=1)).isoformat())) == 2
