"""The one checker of what must hold whatever broke. Each function returns sentences; none means all is well."""

import asyncio
import itertools
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from codebase_index.api.job import FINAL, TRANSITIONS, JobState
from hack.deployment.chart import NAMESPACE
from tests.chaos.harness import truth
from tests.chaos.harness.cluster import Cluster
from tests.chaos.harness.facts import Facts
from tests.chaos.harness.podwatch import Instant, PodWatch
from tests.chaos.harness.trace import Change, changes
from tests.chaos.harness.truth import Digests

_RELEASE_SECONDS = 20.0
"""How long after the last job's end its slot, pod and connections may take to go: the exit grace is 10 s."""

_CHUNKS_WITH_TERMS = """
    SELECT c.id FROM (SELECT index_id, first_ids, run_lengths FROM segments
                      UNION ALL SELECT index_id, first_ids, run_lengths FROM pending_batches) parts
    CROSS JOIN LATERAL unnest(parts.first_ids, parts.run_lengths) AS run (first, length)
    CROSS JOIN LATERAL generate_series(run.first, run.first + run.length - 1) AS document
    JOIN chunks c ON c.id = document AND c.index_id = parts.index_id"""

_ORPHANS = {
    "chunks without a file": "FROM chunks c WHERE NOT EXISTS (SELECT FROM files WHERE id = c.file_id)",
    "vectors without a chunk": "FROM embeddings e WHERE NOT EXISTS (SELECT FROM chunks WHERE id = e.chunk_id)",
    "chunks without terms": f"""
        FROM chunks WHERE NOT EXISTS (SELECT FROM ({_CHUNKS_WITH_TERMS}) held WHERE held.id = chunks.id)""",
    "chunks with their terms in two places": f"""
        FROM (SELECT id FROM ({_CHUNKS_WITH_TERMS}) held GROUP BY id HAVING count(*) > 1) twice""",
    "parts without a code for each chunk": """
        FROM (SELECT chunks, model, codes FROM segments
              UNION ALL SELECT chunks, model, codes FROM pending_batches) part
        CROSS JOIN LATERAL (SELECT vector_dims(embedding) AS numbers FROM embeddings e
                            WHERE e.model = part.model LIMIT 1) of_model
        WHERE octet_length(codes) <> chunks * (2 + 16 * ceil(numbers / 64.0))""",
    "files whose chunks are not the ids from its first one on": """
        FROM files f CROSS JOIN LATERAL (
            SELECT count(*) AS chunks, min(id) AS low, max(id) AS high FROM chunks WHERE file_id = f.id) c
        WHERE c.chunks <> f.chunks OR c.low <> f.first_chunk OR c.high <> f.first_chunk + f.chunks - 1""",
    "work rows of no job": "FROM work w WHERE NOT EXISTS (SELECT FROM jobs WHERE id = w.job_id)",
    "work rows left by completed jobs": """
        FROM work w JOIN jobs j ON j.id = w.job_id WHERE j.state = 'completed' AND w.state <> 'skipped'""",
    "files that the newest job did not see, though its sweep is done": """
        FROM files f JOIN indexes i ON i.id = f.index_id
        CROSS JOIN LATERAL (
            SELECT id, state FROM jobs WHERE target = i.target ORDER BY created_at DESC LIMIT 1) j
        WHERE j.state = 'completed' AND f.job_id <> j.id AND NOT EXISTS (
            SELECT FROM work w WHERE w.job_id = j.id AND w.path = f.path
            AND w.skip_reason IN ('not readable', 'crashed the parser'))""",
}


@dataclass(frozen=True)
class Expected:
    """What has to become of a job: its repository's truth (None: a partial index is fine), and its last state."""

    job_id: UUID
    truth: Digests | None
    state: JobState = JobState.COMPLETED
    may_be_suspended: bool = False
    repeated_limit: float = 0.01


async def check(
    cluster: Cluster, facts: Facts, pods: PodWatch, jobs: Sequence[Expected], since: datetime, limit: int = 3
) -> list[str]:
    """Check everything about these jobs, all of which are over, and about the cluster since `since`."""
    broken = await _released(cluster, facts, [job.job_id for job in jobs])
    histories = await changes(facts, [job.job_id for job in jobs])
    for job in jobs:
        broken += [f"job {job.job_id}: {problem}" for problem in await _job(facts, job, histories[job.job_id])]
    broken += await stored_wrong(facts)
    broken += never_over(pods.since(since), limit)
    return broken


def about(broken: Sequence[str], job_id: UUID) -> tuple[str, ...]:
    """Return what concerns a job: its own problems, and those of no single job."""
    return tuple(p for p in broken if not p.startswith("job ") or p.startswith(f"job {job_id}"))


def monotone(history: Sequence[Change]) -> Iterator[str]:
    """Counters, percentage and token never fall."""
    for before, after in itertools.pairwise(history):
        if any(now < then for then, now in zip(before.counters, after.counters, strict=True)):
            yield f"progress fell from {before.counters} to {after.counters} at {after.at:%H:%M:%S.%f}"


def legal(history: Sequence[Change], *, may_be_suspended: bool) -> Iterator[str]:
    """Every step is in the table; back to the queue only when somebody suspended the job."""
    for before, after in itertools.pairwise(history):
        if before.state is after.state:
            continue
        if after.state not in TRANSITIONS[before.state]:
            yield f"went from {before.state} to {after.state}"
        if after.state is JobState.PENDING and not may_be_suspended:
            yield "went back to the queue, though nobody suspended it"


def fenced(history: Sequence[Change]) -> Iterator[str]:
    """Only the pod of the current attempt ever writes: two attempts never both do."""
    for before, after in itertools.pairwise(history):
        counted = (after.files_indexed, after.chunks_created) != (before.files_indexed, before.chunks_created)
        if not counted or not after.writer.startswith("indexer"):
            continue
        pod = after.writer.rpartition("/")[2]
        token = re.search(r"-a(\d+)$", pod)
        if token is None or int(token[1]) != after.attempt or after.pod != pod:
            yield f"{pod} wrote while attempt {after.attempt} was that of {after.pod}"
        if after.state not in (JobState.RUNNING, JobState.BLOCKED):
            yield f"{pod} wrote while the job was {after.state}"


def never_over(instants: Iterator[Instant], limit: int) -> list[str]:
    """Never more than `limit` jobs with unfinished pods, at any instant of the watch."""
    return [
        f"{len(instant.jobs)} jobs had unfinished pods at {instant.at:%H:%M:%S.%f}: {sorted(instant.jobs)}"
        for instant in instants
        if len(instant.jobs) > limit
    ]


async def _job(facts: Facts, job: Expected, history: Sequence[Change]) -> list[str]:
    row = (await facts.fetch("SELECT * FROM jobs WHERE id = $1", job.job_id))[0]
    broken = [*monotone(history), *legal(history, may_be_suspended=job.may_be_suspended), *fenced(history)]
    if row["state"] != job.state:
        broken.append(f"is {row['state']} ({row['error_type']}: {row['error_message'] or row['message']})")
        return broken
    if (row["completed_at"] is None) != (job.state is JobState.CANCELLED):
        broken.append(f"is {row['state']} with completed_at {row['completed_at']}")
    if job.state is JobState.COMPLETED and row["files_indexed"] + row["files_skipped"] != row["files_total"]:
        broken.append(f"counts {row['files_indexed']} + {row['files_skipped']} of {row['files_total']} files")
    if row["files_total"] and row["files_repeated"] / row["files_total"] >= job.repeated_limit:
        broken.append(f"started {row['files_repeated']} of {row['files_total']} files more than once")
    if job.truth is not None:
        broken += truth.differences(job.truth, await truth.stored(facts, job.job_id))
    return broken


async def stored_wrong(facts: Facts) -> list[str]:
    """No row without its owner, and no write into an index outside the fence."""
    return [*await _orphans(facts), *await _unfenced(facts)]


async def _orphans(facts: Facts) -> list[str]:
    counts: Mapping[str, int] = {
        what: await facts.value(f"SELECT count(*) {rows}") for what, rows in _ORPHANS.items()
    }
    return [f"{count} {what}" for what, count in counts.items() if count]


async def _unfenced(facts: Facts) -> list[str]:
    """Every transaction that wrote into an index must have counted its files, under the fence, in the same one."""
    rows = await facts.fetch(
        "SELECT writer FROM chaos.writes w WHERE NOT EXISTS (SELECT FROM chaos.changes c WHERE c.xid = w.xid)"
    )
    return [f"{row['writer']} wrote files or chunks without counting them under the fence" for row in rows[:3]]


async def _released(cluster: Cluster, facts: Facts, job_ids: Sequence[UUID]) -> list[str]:
    """Wait until no slot, pod, lease or connection of these jobs is left; say what stays."""
    deadline = time.monotonic() + _RELEASE_SECONDS
    while left := [problem async for problem in _held(cluster, facts, job_ids)]:
        if time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.3)
    return []


async def _held(cluster: Cluster, facts: Facts, job_ids: Sequence[UUID]) -> AsyncIterator[str]:
    final = [state.value for state in FINAL]
    query = "SELECT id FROM jobs WHERE id = ANY ($1::uuid[]) AND slot AND state::text = ANY ($2::text[])"
    for row in await facts.fetch(query, list(job_ids), final):
        yield f"job {row['id']} is over and holds a slot"
    for job_id in job_ids:
        for pod in await cluster.pods_of(job_id):
            yield f"job {job_id} is over and has the pod {pod['metadata']['name']}"
    leases = await cluster.api.get(f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases")
    for lease in leases["items"]:
        if not lease["metadata"]["name"].endswith("operator"):  # the leader's own, which is renewed for ever
            yield f"the lease {lease['metadata']['name']} is left"
    names = "SELECT DISTINCT application_name AS name FROM pg_stat_activity WHERE application_name LIKE 'indexer%'"
    running = {row["pod"] for row in await facts.fetch("SELECT pod FROM jobs WHERE completed_at IS NULL")}
    for row in await facts.fetch(names):
        if row["name"].rpartition("/")[2] not in running:
            yield f"{row['name']} has a connection, though its job is over"
