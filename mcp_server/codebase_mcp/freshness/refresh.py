"""Indexes local repositories by themselves: those that changed, and those that a search is the first to ask for.

It makes ordinary jobs, by the job service; when one may be made, `pace.py` says from the jobs that there were. So
nothing is lost with this process, and a repository that fails, or never comes to rest, is left alone for longer.
What was searched lately is watched by looking (`working_trees.py`): a watcher of the system would hold a handle
for every folder, ignored ones included, and still need the look for what happened before it began.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pydantic import ValidationError

from codebase_index.api.job import FINAL, JobState
from codebase_index.api.resource import EmbeddingSpec, IndexingJobSpec, Source, problem_of
from codebase_index.store.catalog.indexes import Indexes, IndexRow
from codebase_index.store.errors import JobNotFound, StoreError
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.untrusted_text import named
from codebase_mcp.errors import UserError
from codebase_mcp.freshness.pace import hold_of, under_way
from codebase_mcp.freshness.working_tree import Newer, Stamp
from codebase_mcp.freshness.working_trees import PAUSE_FACTOR, WorkingTrees, is_visible
from codebase_mcp.jobs.cluster import ClusterUnavailable
from codebase_mcp.jobs.service import AUTOMATIC, JobService, StartRequest

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 600.0
"""How long a repository is watched after it was last searched."""

MAX_WATCHED: Final = 8
"""Repositories that are watched at once: those that were searched last."""

LOOK_INTERVAL: Final = 1.0
"""The fewest seconds between rounds of looks; `PAUSE_FACTOR` says how long after a costly one."""

FIRST_WAIT_SECONDS = 5.0
"""How long a search waits for a repository that it is the first to ask for, or for a job whose files it lacks."""

POLL_SECONDS: Final = 0.1

MAX_AUTOMATIC: Final = 2
"""Automatic jobs at once: one of the three slots of a small site stays for people."""

PRIORITY: Final = -10
"""Below that of jobs that somebody asked for."""

RETENTION_SECONDS: Final = 3600
"""How long an automatic job can be looked up: there are many of them, and `pace.py` needs no older ones."""

MAX_RUNS: Final = 100
"""Jobs of a target that the pace is told by: more than its bucket has room for."""


@dataclass(frozen=True)
class Refresh:
    """What is being done about a repository that changed: the job, if there is one, and a sentence's end."""

    job_id: UUID | None
    says: str


@dataclass
class _Watched:
    index: IndexRow
    searched_at: float


class Refresher:
    """Starts automatic jobs. Raises nothing but StoreUnavailable, from `first_indexes` and `wait`."""

    def __init__(self, jobs: JobService, rows: Jobs, indexes: Indexes, trees: WorkingTrees) -> None:
        self._jobs = jobs
        self._rows = rows
        self._indexes = indexes
        self._trees = trees
        self._watched: dict[int, _Watched] = {}
        self._searched = asyncio.Event()
        self._asked_for: dict[str, Mapping[str, Stamp]] = {}
        """By target, what was newer when its last job was started: one that is still so afterwards stays so."""

    # --- the first time ----------------------------------------------------------------------------

    async def first_indexes(self, sources: Sequence[str], caller: str) -> list[str]:
        """Index repositories that nobody has indexed yet, unless their last jobs say otherwise; wait for a while.

        Return what was begun, in a sentence for each.
        """
        begun = [await self._first_index(source, caller) for source in sources]
        await self.wait([refresh.job_id for refresh in begun if refresh.job_id is not None])
        return [
            f"{named(source)} is not indexed: {refresh.says}"
            for source, refresh in zip(sources, begun, strict=True)
        ]

    async def _first_index(self, source: str, caller: str) -> Refresh:
        try:
            spec = IndexingJobSpec(source=Source(path=source))
        except ValidationError as error:
            return Refresh(None, f"it cannot be indexed: {problem_of(error)}")
        now, runs = await self._rows.runs(spec.target, AUTOMATIC, MAX_RUNS)
        active = under_way(runs)
        if active is None and await self._indexes.was_removed(source):
            return Refresh(None, "its index was deleted; start_indexing_background makes a new one")
        if active is None and (hold := hold_of(runs, now)):
            return Refresh(
                None, f"{hold.why} ({named(runs[0].message)}); start_indexing_background starts it again"
            )
        try:
            request = StartRequest(source, caller=caller)
            job_id = active.id if active else UUID((await self._jobs.start(request)).job_id)
        except (UserError, ClusterUnavailable) as error:
            return Refresh(None, f"it cannot be indexed now: {error}")
        return Refresh(job_id, "it is being indexed for the first time; results appear while that runs")

    async def wait(self, job_ids: Sequence[UUID], seconds: float | None = None) -> None:
        """Wait until these jobs have ended, for a while at most."""
        deadline = time.monotonic() + (FIRST_WAIT_SECONDS if seconds is None else seconds)
        left = set(job_ids)
        while left and time.monotonic() < deadline:
            rows = await self._rows.get_many(list(left))
            left = {job_id for job_id in left if job_id not in rows or rows[job_id].state not in FINAL}
            if left:
                await asyncio.sleep(POLL_SECONDS)

    # --- again -------------------------------------------------------------------------------------

    def watch(self, indexes: Sequence[IndexRow]) -> None:
        """Take note that these indexes were searched: their files are watched for a while."""
        now = time.monotonic()
        for index in indexes:
            if index.ref is None and index.source.startswith("/"):
                self._watched[index.id] = _Watched(index, now)
        latest = sorted(self._watched.items(), key=lambda item: item[1].searched_at, reverse=True)
        self._watched = dict(latest[:MAX_WATCHED])
        self._searched.set()

    async def refresh(self, index: IndexRow, newer: Newer) -> Refresh:
        """Index a repository again whose files are newer, if its pace allows it."""
        try:
            return await self._start(index, newer)
        except (StoreError, ClusterUnavailable, JobNotFound, UserError, ValidationError) as error:
            log.warning("not indexed again: %s", error, extra={"source": index.source})
            return Refresh(None, "it cannot be indexed again now; start_indexing_background says why")

    async def _start(self, index: IndexRow, newer: Newer) -> Refresh:
        now, runs = await self._rows.runs(index.target, AUTOMATIC, MAX_RUNS)
        active = under_way(runs)
        if active is not None:
            return Refresh(active.id, "it is being indexed again")
        if hold := hold_of(runs, now):
            seconds = round((hold.until - now).total_seconds())
            return Refresh(
                None,
                f"{hold.why}, so it is indexed again by itself in {seconds} s at the earliest; "
                "start_indexing_background does it now",
            )
        if self._asked_for.get(index.target) == newer.stamps and runs and runs[0].state is JobState.COMPLETED:
            return Refresh(None, "indexing it again has left that as it is")
        if await self._rows.unfinished_of(AUTOMATIC) >= MAX_AUTOMATIC:
            return Refresh(None, "others are being indexed again first")
        started = await self._jobs.start_automatic(_spec_of(index))
        self._asked_for[index.target] = newer.stamps
        log.info("indexed again by itself", extra={"source": index.source, "job_id": started.job_id})
        return Refresh(UUID(started.job_id), "it is being indexed again")

    # --- the watch ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch what was searched lately, until cancelled. Neither an outage nor a bug ends it."""
        while True:
            await self._searched.wait()
            self._searched.clear()
            while self._watched:
                began = time.monotonic()
                try:
                    cost = await self._look_round()
                except StoreError as error:
                    log.debug("the watched files were not looked at: %s", error)
                    cost = LOOK_INTERVAL
                except Exception:
                    log.exception("the watched files were not looked at")
                    cost = LOOK_INTERVAL
                await asyncio.sleep(max(LOOK_INTERVAL, PAUSE_FACTOR * cost - (time.monotonic() - began)))

    async def _look_round(self) -> float:
        """Look once at each repository that is watched; return the seconds of a processor that it took."""
        oldest = time.monotonic() - WATCH_SECONDS
        self._watched = {key: one for key, one in self._watched.items() if one.searched_at > oldest}
        changed, cost = set[int](), 0.0
        for index_id, watched in list(self._watched.items()):
            if self._trees.is_out_of_sight(index_id):
                del self._watched[index_id]  # until it is searched again
                continue
            # One that a job changes is read anew until that job is over.
            if not is_visible(watched.index) or await self._newer(watched.index):
                changed.add(index_id)
            cost += self._trees.seconds(index_id)
        if changed:
            await self._refresh_changed(changed)
        return cost

    async def _refresh_changed(self, changed: set[int]) -> None:
        """Read anew how these indexes stand, and refresh those whose files are newer even so."""
        rows = {index.id: index for index in await self._indexes.list()}
        for index_id in changed:
            index = rows.get(index_id)
            if index is None:
                self._watched.pop(index_id, None)  # it was removed
                continue
            if index_id in self._watched:
                self._watched[index_id].index = index
            if is_visible(index) and (newer := await self._newer(index)):
                await self.refresh(index, newer)

    async def _newer(self, index: IndexRow) -> Newer | None:
        """Look now; return what a job could bring up to date, so not what is only unreadable."""
        newer = await self._trees.look(index)
        return newer if newer and newer.stamps else None


def _spec_of(index: IndexRow) -> IndexingJobSpec:
    """Return the spec of a job that brings an index up to date, and changes nothing else of it."""
    provider, _, model = (index.model or "").partition("/")
    # A shipped model of an older release is replaced, as by anybody's next job.
    embedding = EmbeddingSpec() if provider in ("", "static") else EmbeddingSpec.model_validate(
        {"provider": provider, "model": model or None}
    )  # fmt: skip
    return IndexingJobSpec(
        source=Source(path=index.source), name=index.name, include=list(index.include),
        exclude=list(index.exclude), embedding=embedding, priority=PRIORITY,
        ttl_seconds_after_finished=RETENTION_SECONDS,
    )  # fmt: skip
