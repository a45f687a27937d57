"""The quickstart's scenarios, through a real MCP client against each runtime: embedded, and the cluster.

The five scenarios, the performance validation and the edge cases, with the quickstart's own assertions. Where a
scenario indexes a repository again, it forces the work: an unchanged repository is done in an instant, and
there would be nothing to watch.
"""

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from hack.deployment.mcp_client import ToolFailed, Tools, finished, follow
from tests.support.cluster import FILE_COUNT
from tests.support.runtime import Runtime

INDEXING_TIMEOUT = 60 + FILE_COUNT * 0.1  # seconds; a bound for a hung job, not a measure of speed


async def test_basic_background_indexing(runtime: Runtime, large_repository: str) -> None:
    """Scenario 1: the start answers at once, the job completes, every file is there."""
    async with runtime.connect() as tools:
        began = time.monotonic()
        job = await tools.call("start_indexing_background", repo_path=large_repository, name="test-large-repo")
        response_time = time.monotonic() - began
        assert response_time < 1.0
        assert len(job["job_id"]) == 36 and job["status"] in ("pending", "running")

        timeline, query_times = await watch(tools, job["job_id"])
        final = await tools.call("get_indexing_status", job_id=job["job_id"])

    assert final["status"] == "completed", final["error_message"]
    assert final["files_indexed"] >= FILE_COUNT
    assert final["files_indexed"] + final["files_skipped"] == final["files_total"]
    assert final["chunks_created"] > 0
    assert final["progress_percentage"] == 100
    assert final["completed_at"] is not None
    assert_never_falling(timeline)
    assert percentile(query_times, 95) < 100, "status queries take over 100 ms at p95"
    report(response_time, timeline, query_times, final)


async def test_progress_monitoring(runtime: Runtime, large_repository: str) -> None:
    """Scenario 2: progress moves at least every ten seconds, and says what is being done."""
    async with runtime.connect() as tools:
        job = await tools.call("start_indexing_background", repo_path=large_repository, force_reindex=True)
        timeline, _ = await watch(tools, job["job_id"])

    assert timeline[-1][1]["status"] == "completed"
    assert_never_falling(timeline)
    moved = [timeline[0][0]]
    for (_, before), (at, after) in itertools.pairwise(timeline):
        if (after["progress_percentage"], after["files_indexed"]) != (
            before["progress_percentage"], before["files_indexed"],
        ):  # fmt: skip
            moved.append(at)
    gaps = [later - earlier for earlier, later in itertools.pairwise(moved)]
    assert max(gaps) <= 12, f"progress stood still for {max(gaps):.1f} s"
    messages = " ".join(status["progress_message"].lower() for _, status in timeline)
    found = {word for word in ("scanning", "chunking", "embedding", "writing", "complete") if word in messages}
    assert {"chunking", "embedding", "complete"} <= found, found


async def test_job_cancellation(runtime: Runtime, large_repository: str) -> None:
    """Scenario 3: a cancel is acknowledged at once, holds within 5 s, and keeps what was indexed."""
    async with runtime.connect() as tools:
        job = await tools.call("start_indexing_background", repo_path=large_repository, force_reindex=True)
        before = await reached(tools, job["job_id"], 10, within=20)

        began = time.monotonic()
        answer = await tools.call("cancel_indexing_background", job_id=job["job_id"])
        assert time.monotonic() - began < 1.0
        assert answer["status"] == "cancelled"
        status = await finished(tools, job["job_id"], timeout=10)
        assert status["status"] == "cancelled" and time.monotonic() - began <= 5.0

        assert status["cancelled_at"] is not None and status["completed_at"] is None
        assert status["files_indexed"] >= before["files_indexed"] > 0
        assert status["chunks_created"] >= before["chunks_created"] > 0
        with pytest.raises(ToolFailed, match=f"cannot cancel: job {job['job_id']} is already cancelled"):
            await tools.call("cancel_indexing_background", job_id=job["job_id"])
        found = await tools.call("search_code", query=a_definition(large_repository)[2], repo=large_repository)
    assert found["results"], "the partial index is not searchable"
    runtime.assert_consistent(large_repository)


async def test_restart_recovery(runtime: Runtime, large_repository: str) -> None:
    """Scenario 4: the MCP server and the indexer are killed; the job goes on within 10 s and repeats < 1 %.

    The quickstart estimates duplicate work as the files indexed after the restart divided by all files, which
    counts the work that remained as repeated. The store counts each file that was started more than once, so
    that ratio is asserted instead.
    """
    async with runtime.connect() as tools:
        job = await tools.call("start_indexing_background", repo_path=large_repository, force_reindex=True)
        before = await reached(tools, job["job_id"], 30, within=120)

    killed = datetime.now(UTC)
    runtime.kill_server()
    runtime.kill_indexers(job["job_id"])

    async with runtime.connect() as tools:
        # A fast machine may be done by the time that the server answers again.
        assert (await tools.call("get_indexing_status", job_id=job["job_id"]))["status"] in (
            "running",
            "completed",
        )
        timeline, _ = await watch(tools, job["job_id"])

    final, row = timeline[-1][1], runtime.facts(job["job_id"])
    resumed_after = (datetime.fromisoformat(row["claimed_at"]) - killed).total_seconds()
    repeated = row["files_repeated"] / row["files_total"]
    print(f"\nresumed after {resumed_after:.1f} s; {row['files_repeated']} files repeated: {repeated:.2%}")
    assert 0 < resumed_after <= 10
    assert final["status"] == "completed", final["error_message"]
    assert repeated < 0.01
    assert_never_falling([(0.0, before), *timeline])
    assert final["files_indexed"] + final["files_skipped"] == final["files_total"] >= FILE_COUNT
    runtime.assert_consistent(large_repository)


async def test_concurrent_jobs(runtime: Runtime, equal_repositories: list[str]) -> None:
    """Scenario 5: three jobs run at once; the fourth waits for its turn, and starts by itself."""
    async with runtime.connect() as tools:
        jobs = []
        for number, repository in enumerate(equal_repositories):
            name = "queued-job" if number == 3 else f"concurrent-job-{number + 1}"
            job = await tools.call(
                "start_indexing_background", repo_path=repository, name=name, force_reindex=True
            )
            jobs.append(job["job_id"])
        fourth = await tools.call("get_indexing_status", job_id=jobs[3])
        assert fourth["status"] == "pending"

        latencies, queued = [], []
        async for fourth in follow(tools, jobs[3], every=0.1, timeout=4 * INDEXING_TIMEOUT):
            queued += [fourth] if fourth["queue_position"] else []
            for job_id in jobs[:3]:
                asked = time.monotonic()
                await tools.call("get_indexing_status", job_id=job_id)
                latencies.append(1000 * (time.monotonic() - asked))
        final = [await finished(tools, job_id, timeout=INDEXING_TIMEOUT) for job_id in jobs]

    assert [status["status"] for status in final] == ["completed"] * 4
    assert percentile(latencies, 95) < 100, "status queries take over 100 ms at p95"
    spans = [(at(status["started_at"]), at(status["completed_at"])) for status in final]
    assert queued, f"the fourth was never seen in the queue: {spans}"
    positions = [status["queue_position"] for status in queued]
    assert positions == sorted(positions, reverse=True)  # second for as long as the third job waits too
    assert positions[-1] == 1
    assert "Queued: 1st of 1, 3 jobs running" in {status["progress_message"] for status in queued}
    assert max(began for began, _ in spans[:3]) < min(ended for _, ended in spans[:3]), "three never ran at once"
    assert spans[3][0] >= min(ended for _, ended in spans[:3]), "the fourth did not wait for a slot"
    durations = ", ".join(f"{(ended - began).total_seconds():.1f} s" for began, ended in spans)
    print(f"\ndurations {durations}; status p95 {percentile(latencies, 95):.0f} ms over {len(latencies)} queries")


async def test_job_creation_and_status_latency(
    runtime: Runtime, small_repository: str, large_repository: str
) -> None:
    """Performance validation: start p95 < 1 s, status p95 < 100 ms while a job runs, cancelled in 5 s."""
    async with runtime.connect() as tools:
        creation_times = []
        for trial in range(10):
            began = time.monotonic()
            job = await tools.call(
                "start_indexing_background", repo_path=small_repository, name=f"perf-test-{trial}"
            )
            creation_times.append(time.monotonic() - began)
            await cancel_unless_final(tools, job["job_id"])
        assert statistics.quantiles(creation_times, n=20)[18] < 1.0

        async with running_job(tools, large_repository) as job_id:
            query_times = []
            for _ in range(100):
                began = time.monotonic()
                await tools.call("get_indexing_status", job_id=job_id)
                query_times.append(1000 * (time.monotonic() - began))
            assert statistics.quantiles(query_times, n=20)[18] < 100

            began = time.monotonic()
            answer = await tools.call("cancel_indexing_background", job_id=job_id)
            assert time.monotonic() - began < 1.0 and answer["status"] == "cancelled"
            status = await tools.call("get_indexing_status", job_id=job_id)
            assert status["status"] == "cancelled" and time.monotonic() - began <= 5.0
            assert status["cancelled_at"] is not None and status["completed_at"] is None


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/nonexistent/path/does/not/exist", "outside every repository root"),
        ("{root}/does/not/exist", "not found"),
        ("relative/path", "not absolute"),
        ("{root}/../../etc", "'..'"),
        ("{root}/file.txt", "not a directory"),
        ("file:///etc", "must be https:// or ssh://"),
    ],
)
async def test_invalid_repository_path(runtime: Runtime, repositories: Any, path: str, says: str) -> None:
    """Edge case 1: a path that cannot be indexed is refused with what to do about it."""
    (repositories / "file.txt").write_text("not a repository\n")
    async with runtime.connect() as tools:
        with pytest.raises(ToolFailed, match="validation: ") as error:
            await tools.call("start_indexing_background", repo_path=path.format(root=repositories), name="invalid")
    assert says in str(error.value)


async def test_duplicate_job_returns_the_existing_id(runtime: Runtime, large_repository: str) -> None:
    """Edge case 2: a second start for the same repository joins the first."""
    async with runtime.connect() as tools:
        first = await tools.call("start_indexing_background", repo_path=large_repository, force_reindex=True)
        second = await tools.call("start_indexing_background", repo_path=large_repository, name="duplicate-test")
        await cancel_unless_final(tools, first["job_id"])
    assert first["job_id"] == second["job_id"]
    assert (first["created"], second["created"]) == (True, False)


@pytest.mark.parametrize("tool", ["get_indexing_status", "cancel_indexing_background"])
@pytest.mark.parametrize(
    ("job_id", "says"),
    [("00000000-0000-0000-0000-000000000000", "job not found: "), ("42", "validation: ")],
)
async def test_unknown_job(runtime: Runtime, tool: str, job_id: str, says: str) -> None:
    """Edge case 3: a job that does not exist is not found; what is no job id is refused."""
    async with runtime.connect() as tools:
        with pytest.raises(ToolFailed, match=says):
            await tools.call(tool, job_id=job_id)


async def test_completed_job_cannot_be_cancelled(runtime: Runtime, small_repository: str) -> None:
    """Edge case 4."""
    async with runtime.connect() as tools:
        job = await tools.call("start_indexing_background", repo_path=small_repository, name="quick-job")
        timeline, _ = await watch(tools, job["job_id"])
        assert timeline[-1][1]["status"] == "completed", timeline[-1][1]["error_message"]
        with pytest.raises(ToolFailed, match=f"cannot cancel: job {job['job_id']} is completed"):
            await tools.call("cancel_indexing_background", job_id=job["job_id"])


async def test_what_was_indexed_is_found(runtime: Runtime, small_repository: str) -> None:
    """A search names the file, the lines and the symbol of a definition that is in the repository."""
    async with runtime.connect() as tools:
        job = await tools.call("start_indexing_background", repo_path=small_repository)
        await watch(tools, job["job_id"])
        listed = await tools.call("list_indexing_jobs", repo_path=small_repository)
        assert [j["job_id"] for j in listed["jobs"]] == [job["job_id"]] and listed["total_count"] == 1
        path, line, name = a_definition(small_repository)
        answer = await tools.call("search_code", query=name, repo=small_repository, limit=10)
    hits = [r for r in answer["results"] if r["path"] == path and r["start_line"] <= line <= r["end_line"]]
    assert hits, f"{name} at {path}:{line} is not among {[r['path'] for r in answer['results']]}"
    assert name in hits[0]["text"]


# --- helpers ---------------------------------------------------------------------------------------


async def watch(tools: Tools, job_id: str) -> tuple[list[tuple[float, dict[str, Any]]], list[float]]:
    """Follow a job to its end; return (seconds since now, status) samples and status latencies in ms."""
    began = time.monotonic()
    timeline: list[tuple[float, dict[str, Any]]] = []
    latencies: list[float] = []
    while time.monotonic() - began < INDEXING_TIMEOUT:
        asked = time.monotonic()
        status = await tools.call("get_indexing_status", job_id=job_id)
        latencies.append(1000 * (time.monotonic() - asked))
        timeline.append((time.monotonic() - began, status))
        if status["status"] in ("completed", "failed", "cancelled"):
            return timeline, latencies
        await asyncio.sleep(0.2)
    raise TimeoutError(f"job {job_id} is not final after {INDEXING_TIMEOUT:.0f} s: {timeline[-1][1]}")


async def reached(tools: Tools, job_id: str, percent: int, *, within: float) -> dict[str, Any]:
    """Return the first status of the running job with more than `percent` done; fail after `within` seconds."""
    async for status in follow(tools, job_id, every=0.1, timeout=within):
        if status["status"] == "running" and status["progress_percentage"] > percent:
            return status
    raise AssertionError(f"the job was {status['status']} before {percent} % of it were seen")


@asynccontextmanager
async def running_job(tools: Tools, repository: str) -> AsyncIterator[str]:
    """A job that is running and has indexed something; cancelled at the end."""
    job = await tools.call("start_indexing_background", repo_path=repository, force_reindex=True)
    try:
        async for status in follow(tools, job["job_id"], every=0.2, timeout=60):
            if status["status"] == "running" and status["files_indexed"] > 0:
                break
        yield job["job_id"]
    finally:
        await cancel_unless_final(tools, job["job_id"])


async def cancel_unless_final(tools: Tools, job_id: str) -> None:
    """Cancel; a job that ended meanwhile is fine."""
    try:
        await tools.call("cancel_indexing_background", job_id=job_id)
    except ToolFailed as error:
        assert "cannot cancel" in str(error)
    await asyncio.sleep(0)


def at(timestamp: str) -> datetime:
    """Read a time of a status."""
    return datetime.fromisoformat(timestamp)


def assert_never_falling(timeline: Sequence[tuple[float, dict[str, Any]]]) -> None:
    """Percentage and counters never fall."""
    for (_, before), (_, after) in itertools.pairwise(timeline):
        for field in ("progress_percentage", "files_indexed", "files_skipped", "chunks_created"):
            assert after[field] >= before[field], f"{field} fell from {before[field]} to {after[field]}"


def a_definition(repository: str) -> tuple[str, int, str]:
    """Return (path, line from 1, name) of a class in a generated repository."""
    import ast
    from pathlib import Path

    for file in sorted(Path(repository).rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                return str(file.relative_to(repository)), node.lineno, node.name
    raise AssertionError("the generated repository holds no class")


def percentile(values: Sequence[float], percent: int) -> float:
    """The nearest-rank percentile."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def report(
    start: float, timeline: Sequence[tuple[float, dict[str, Any]]], latencies: Sequence[float], final: Any
) -> None:
    """Print the scenario's figures (seen with `pytest -s`)."""

    def reached(percent: int) -> str:
        return next((f"{at:.1f} s" for at, s in timeline if s["progress_percentage"] >= percent), "never")

    took = timeline[-1][0]
    print(f"\nstart {start:.3f} s; 10 % after {reached(10)}, 30 % after {reached(30)}, end after {took:.1f} s")
    print(
        f"status p50 {percentile(latencies, 50):.0f} ms, p95 {percentile(latencies, 95):.0f} ms, "
        f"max {max(latencies):.0f} ms over {len(latencies)} queries"
    )
    print(f"{final['files_indexed'] / took:.0f} files/s, {final['chunks_created']} chunks")
