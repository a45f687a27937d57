"""What must be true after every step, judged from the database, the cluster and the processes that live."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from codebase_index.api.job import (
    FINAL,
    LABEL_ATTEMPT,
    LABEL_JOB_ID,
    TRANSITIONS,
    ErrorType,
    ExitCode,
    JobState,
    Phase,
)
from codebase_index.store.database import Database
from codebase_index.store.errors import FenceLost, IllegalTransition
from codebase_index.store.ingest.batch import PackedBatch
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.sweep import Sweep
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.jobs.jobs import Jobs, Progress
from tests.model import content
from tests.model.cluster import Cluster, ended
from tests.model.worker import Worker

_WORK = """
SELECT job_id, count(*) AS listed, count(*) FILTER (WHERE state = 'done') AS done,
       count(*) FILTER (WHERE state = 'skipped') AS skipped, count(*) FILTER (WHERE state = 'todo') AS todo,
       COALESCE(array_agg(path) FILTER (WHERE state = 'done'), '{}') AS done_paths, array_agg(path) AS listed_paths
FROM work GROUP BY job_id
"""
_INDEX = """
SELECT i.target, f.path, f.chunks AS counted,
       COALESCE(array_agg((c.start_line, c.end_line, c.text)::text ORDER BY c.start_line)
                FILTER (WHERE c.id IS NOT NULL), '{}') AS chunks,
       count(e.chunk_id) AS vectors
FROM indexes i JOIN files f ON f.index_id = i.id
LEFT JOIN chunks c ON c.file_id = f.id AND c.index_id = i.id
LEFT JOIN embeddings e ON e.chunk_id = c.id AND e.model = $1
GROUP BY i.target, f.id
"""
_TERMS = """
WITH held AS (
    SELECT c.id FROM (SELECT index_id, first_ids, run_lengths FROM segments
                      UNION ALL SELECT index_id, first_ids, run_lengths FROM pending_batches) parts
    CROSS JOIN LATERAL unnest(parts.first_ids, parts.run_lengths) AS run (first, length)
    JOIN chunks c ON c.id >= run.first AND c.id < run.first + run.length AND c.index_id = parts.index_id)
SELECT (SELECT count(*) FROM chunks WHERE id NOT IN (SELECT id FROM held))
     + (SELECT count(*) FROM held) - (SELECT count(DISTINCT id) FROM held)
"""
_ORPHANS = """
SELECT (SELECT count(*) FROM chunks c WHERE NOT EXISTS (SELECT FROM files f WHERE f.id = c.file_id))
     + (SELECT count(*) FROM embeddings e WHERE NOT EXISTS (SELECT FROM chunks c WHERE c.id = e.chunk_id))
     + (SELECT count(*) FROM work w WHERE NOT EXISTS (SELECT FROM jobs j WHERE j.id = w.job_id))
"""


class Broken(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, found: object) -> None:
        super().__init__(f"invariant '{invariant}' is broken: {found}")


def hold(invariant: str, true: bool, found: object) -> None:
    """Raise Broken unless it is true."""
    if not true:
        raise Broken(invariant, found)


@dataclass
class Oracle:
    """Remembers what no snapshot shows: who was ever done, and which job saw an index last."""

    oracle: asyncpg.Connection
    database: Database
    cluster: Cluster
    limit: int
    entries: dict[UUID, list[ScanEntry]] = field(default_factory=dict)
    """What the scan of a job finds."""
    indexed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Files that some job of a target was ever done with."""
    stillborn: set[str] = field(default_factory=set)
    """Uids of pods that were made by an operator that was late: their attempt was fenced before they began."""
    raced: set[str] = field(default_factory=set)
    """Uids of pods that were made while an operator stood still between its look at the pods and what follows."""
    known_pods: set[str] = field(default_factory=set)
    newest: dict[str, tuple[datetime, UUID]] = field(default_factory=dict)
    """The job of each target that was started last: its list is what the index becomes."""
    _seen: int = 0

    async def check(self, workers: Iterable[Worker], raced: bool) -> None:
        """Check every invariant. `raced`: somebody stands still in the middle of a step. Raises Broken."""
        rows = {row["id"]: row for row in await self.oracle.fetch("SELECT * FROM jobs")}
        work = {row["job_id"]: row for row in await self.oracle.fetch(_WORK)}
        await self._history()
        self._limit(rows, workers, raced)
        for job_id, row in rows.items():
            self._counters(row, work.get(job_id))
        await self._starts(rows)
        await self._index(rows, work)
        await self._fences(rows, workers)

    async def _history(self) -> None:
        changes = await self.oracle.fetch(
            "SELECT * FROM model_changes WHERE number > $1 ORDER BY number", self._seen
        )
        for change in changes:
            self._seen = change["number"]
            before, after = JobState(change["from_state"]), JobState(change["to_state"])
            hold(
                "states change by the table",
                before is after or after in TRANSITIONS[before],
                f"{before} -> {after}",
            )
            stops = after in (JobState.PENDING, JobState.CANCELLED) and before is not after
            hold("a suspend and a cancel raise the token", not stops or change["raised"], f"{before} -> {after}")
            hold("nothing that is counted falls", not change["fell"], change["fell"])
            hold("slots never above the limit", change["slots"] <= self.limit, f"{change['slots']} slots")

    def _limit(self, rows: Mapping[UUID, Any], workers: Iterable[Worker], raced: bool) -> None:
        slots = {job_id for job_id, row in rows.items() if row["slot"]}
        with_pods = set()
        for body in self.cluster.pods.values():
            uid, labels = body["metadata"]["uid"], body["metadata"]["labels"]
            row = rows.get(UUID(labels[LABEL_JOB_ID]))
            if uid not in self.known_pods:
                self.known_pods.add(uid)
                late = row is None or row["state"] in FINAL or row["attempt"] != int(labels[LABEL_ATTEMPT])
                if late:
                    self.stillborn.add(uid)
                elif raced:
                    self.raced.add(uid)
            if not ended(body) and uid not in self.stillborn:
                with_pods.add(UUID(labels[LABEL_JOB_ID]))
                kept = row is None or row["slot"] or uid in self.raced
                hold("a slot is kept while a pod is there", kept, body["metadata"]["name"])
        targets = [rows[job_id]["target"] for job_id in slots]
        hold("one job of a repository has a slot", len(set(targets)) == len(targets), targets)
        busy = slots | with_pods
        hold("jobs with a slot or a pod never above the limit", len(busy) <= self.limit, f"{len(busy)} jobs")
        for worker in workers:
            row = rows.get(worker.job_id)
            if worker.code is None and row and (holds(worker, row) or may_claim(worker, row)):
                hold("who may write has a slot", row["slot"], f"{worker.pod} of attempt {worker.attempt}")

    def _counters(self, row: Mapping[str, Any], work: Mapping[str, Any] | None) -> None:
        entries = self.entries[row["id"]]
        frozen = row["files_total"] is not None
        if not frozen:
            hold("no work before the list is frozen", work is None, row["cr_name"])
            return
        hold("the list is frozen whole", row["files_total"] == len(entries), row["files_total"])
        if row["state"] == "completed":
            wanted = {e.path for e in entries if not e.skip_reason and not content.skip_reason(e.path)}
            left = work["todo"] + work["done"] if work else 0
            counted = (row["files_indexed"], row["files_skipped"])
            whole = left == 0 and counted == (len(wanted), len(entries) - len(wanted))
            hold("a completed job has done its list", whole, f"{counted} of {len(entries)}, {left} rows left")
        else:
            assert work is not None
            taken = self._taken(row["id"], work)
            wanted = set(work["done_paths"]) | taken
            whole = row["files_unchanged"] == len(taken) == len(entries) - work["listed"]
            hold("the work list keeps every file", whole, f"{work['listed']} and {row['files_unchanged']}")
            counted = (row["files_indexed"], row["files_skipped"])
            done = (work["done"] + len(taken), work["skipped"])
            hold("the counters are those of the work list", counted == done, f"{counted}, not {done}")
        self.indexed[row["target"]] |= wanted
        chunks = sum(len(content.chunks_of(path)) for path in wanted)
        hold(
            "chunks_created counts the chunks",
            row["chunks_created"] == chunks,
            f"{row['chunks_created']}/{chunks}",
        )

    def _taken(self, job_id: UUID, work: Mapping[str, Any]) -> set[str]:
        """Files that are not on the frozen list: the index had them as they are."""
        return {e.path for e in self.entries[job_id]} - set(work["listed_paths"])

    async def _starts(self, rows: Mapping[UUID, Any]) -> None:
        counted = await self.oracle.fetch(
            "SELECT job_id, count(*) AS files FROM (SELECT job_id, seq FROM model_starts "
            "GROUP BY job_id, seq HAVING count(*) > 1) s GROUP BY job_id"
        )
        repeated = {row["job_id"]: row["files"] for row in counted}
        for job_id, row in rows.items():
            told, real = row["files_repeated"], repeated.get(job_id, 0)
            hold("files_repeated counts the files that were started again", told == real, f"{told}, not {real}")

    async def _index(self, rows: Mapping[UUID, Any], work: Mapping[UUID, Any]) -> None:
        held: dict[str, set[str]] = defaultdict(set)
        for file in await self.oracle.fetch(_INDEX, content.MODEL):
            path, wanted = file["path"], content.chunks_of(file["path"])
            held[file["target"]].add(path)
            texts = [f'({c.start_line},{c.end_line},"{c.text}")' for c in wanted]
            hold("a file's chunks are there once and whole", file["chunks"] == texts, f"{path}: {file['chunks']}")
            hold("a chunk has its vector", file["vectors"] == len(wanted) == file["counted"], path)
        for target, paths in held.items():
            extra = paths - self.indexed[target]
            hold("no file is in the index that is not done", not extra, extra)
        hold("a chunk has its terms in one place", await self.oracle.fetchval(_TERMS) == 0, "none, or two")
        hold("nothing is orphaned", await self.oracle.fetchval(_ORPHANS) == 0, "chunks, vectors or work")
        for row in sorted((r for r in rows.values() if r["started_at"]), key=lambda r: r["started_at"]):
            if row["target"] not in self.newest or self.newest[row["target"]][0] < row["started_at"]:
                self.newest[row["target"]] = row["started_at"], row["id"]
        for target, (_, newest) in self.newest.items():
            if newest not in rows:
                continue  # removed after its time
            row = rows[newest]
            if row["state"] == "completed":
                wanted_paths = _indexable(self.entries[row["id"]])
                hold("the index is the repository", held[target] == wanted_paths, held[target] ^ wanted_paths)
            else:
                listed = work.get(row["id"])
                done = set(listed["done_paths"]) | self._taken(row["id"], listed) if listed else set()
                lost = done - held[target]
                hold("a file that is done is in the index", not lost, lost)

    async def _fences(self, rows: Mapping[UUID, Any], workers: Iterable[Worker]) -> None:
        """Let everybody who lives and lost the fence try to write; and nobody else may be told that he lost it."""
        for worker in workers:
            row = rows.get(worker.job_id)
            rightful = row is not None and (holds(worker, row) or may_claim(worker, row))
            if worker.code == ExitCode.FENCED:
                hold("only who lost the fence is told so", not rightful, f"{worker.pod}: {row and dict(row)}")
            elif worker.code is None and not worker.busy and not rightful:
                await self._try_everything(worker)

    async def _try_everything(self, worker: Worker) -> None:
        index_id = worker.writer.index_id if worker.writer else 0
        writer = Writer(worker.job_id, worker.attempt, index_id, content.MODEL, content.FINGERPRINT)
        jobs, work, chunks = Jobs(self.database), Work(self.database), Chunks(self.database)
        fence = (worker.job_id, worker.attempt)
        tries: dict[str, Callable[[], Awaitable[object]]] = {
            "commit a batch": lambda: chunks.commit_batch(writer, PackedBatch([])),
            "claim the job": lambda: jobs.claim(*fence, worker.pod),
            "claim files": lambda: work.claim(*fence, worker.pod, 1),
            "freeze": lambda: work.freeze(*fence, []),
            "beat": lambda: jobs.heartbeat(*fence, Progress(Phase.SCANNING, 0, "")),
            "set the commit": lambda: jobs.set_commit(*fence, "c0ffee"),
            "block": lambda: jobs.block(*fence, ""),
            "unblock": lambda: jobs.unblock(*fence),
            "sweep": lambda: Sweep(self.database).remove(writer, []),
            "complete": lambda: chunks.complete(writer, ""),
            "fail": lambda: jobs.fail(*fence, ErrorType.INTERNAL.value, ""),
        }
        for what, attempt in tries.items():
            try:
                await attempt()
            except (FenceLost, IllegalTransition):
                continue
            raise Broken("who lost the fence cannot write", f"{worker.pod} of attempt {worker.attempt}: {what}")


def holds(worker: Worker, row: Mapping[str, Any]) -> bool:
    """Whether a worker may write for its job."""
    return worker.attempt == row["attempt"] and row["state"] in ("running", "blocked")


def may_claim(worker: Worker, row: Mapping[str, Any]) -> bool:
    """Whether a worker may take its job."""
    return bool(worker.attempt == row["attempt"] and row["state"] == "pending")


def _indexable(entries: list[ScanEntry]) -> set[str]:
    return {e.path for e in entries if not e.skip_reason and not content.skip_reason(e.path)}
