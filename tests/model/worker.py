"""An indexer of the model: the store's calls in the order of codebase_indexer's main and pipeline, one by one."""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any
from uuid import UUID

from codebase_index.api.job import ErrorType, ExitCode
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.errors import AnotherJobRuns, FenceLost, StoreUnavailable
from codebase_index.store.ingest.batch import PackedBatch
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.reuse import Reuse
from codebase_index.store.ingest.segments import Segments
from codebase_index.store.ingest.sweep import Sweep
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.jobs.jobs import Jobs, Progress
from codebase_index.store.jobs.rows import JobRow
from codebase_indexer.progress import messages
from codebase_indexer.progress.heartbeat import LeaderHeartbeat
from codebase_indexer.progress.reporter import ProgressReporter
from tests.model import content
from tests.model.faults import FaultInjector, FaultyDatabase


class Stage(Enum):
    """What an indexer does next."""

    CLAIM = auto()
    FREEZE = auto()
    OPEN = auto()
    RELEASE = auto()
    INDEX = auto()
    SWEEP = auto()
    BUILD = auto()
    TIDY = auto()
    COMPLETE = auto()


@dataclass
class Worker:
    """A process in a pod. It holds up to two batches, as two lanes would."""

    job_id: UUID
    attempt: int
    pod: str
    pod_uid: str
    database: FaultyDatabase
    entries: list[ScanEntry]
    force: bool
    stage: Stage = Stage.CLAIM
    hangs: bool = False
    busy: bool = False
    waits: bool = False
    code: int | None = None
    """How the process ended; None while it lives. -9: killed."""
    writer: Writer | None = None
    batches: list[PackedBatch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.jobs, self.work = Jobs(self.database), Work(self.database)
        self.chunks, self.indexes, self.segments = (
            Chunks(self.database),
            Indexes(self.database),
            Segments(self.database),
        )
        self.sweep = Sweep(self.database)
        self._restart()

    def _restart(self) -> None:
        self.stage, self.code, self.batches, self.writer, self.waits = Stage.CLAIM, None, [], None, False
        self.reporter = ProgressReporter(describe=_opening)
        self.heartbeat = LeaderHeartbeat(self.jobs, self.job_id, self.attempt, self.reporter)

    @property
    def able(self) -> bool:
        """Whether the process lives and can act."""
        return self.code is None and not self.hangs and not self.busy

    def kill(self) -> None:
        """SIGKILL."""
        self.code = -9

    def restart(self) -> None:
        """The supervisor starts the worker again: nothing is left of what it held."""
        self._restart()

    async def step(self, choice: int, injector: FaultInjector) -> None:
        """Do the next thing; `choice` says which where there are several."""
        await self._guarded(self._step(choice), injector)

    async def beat(self, injector: FaultInjector) -> None:
        """Show life."""
        if self.stage is not Stage.CLAIM:
            await self._guarded(self.heartbeat.send(), injector)

    async def give_up(self, injector: FaultInjector) -> None:
        """End the job with a typed error."""
        await self._guarded(self._fail(), injector)

    async def wait_for_service(self, injector: FaultInjector) -> None:
        """The embedding service is away: say so. The next step finds it back."""
        if self.stage is Stage.INDEX:
            self.waits = True
            await self._guarded(self.jobs.block(self.job_id, self.attempt, "Waiting for the service"), injector)

    async def _guarded(self, act: Any, injector: FaultInjector) -> None:
        self.database.injector, self.busy = injector, True
        try:
            await act
        except (StoreUnavailable, AnotherJobRuns):
            pass  # tried again, with all that it holds
        except FenceLost:
            self.code = ExitCode.FENCED
        finally:
            self.database.injector, self.busy = FaultInjector(), False

    async def _step(self, choice: int) -> None:
        if self.waits:
            await self.jobs.unblock(self.job_id, self.attempt)
            self.waits = False
            return
        match self.stage:
            case Stage.CLAIM:
                row = await self.jobs.claim(self.job_id, self.attempt, self.pod)
                self.stage = Stage.FREEZE if row.files_total is None else Stage.OPEN
            case Stage.FREEZE:
                row = await self.jobs.get(self.job_id)
                index_id = await self.indexes.ensure(row, content.MODEL)
                reuse = None if self.force else Reuse(index_id, content.FINGERPRINT, content.same_kind)
                await self.work.freeze(self.job_id, self.attempt, self.entries, reuse)
                self.stage = Stage.OPEN
            case Stage.OPEN:
                row = await self.jobs.get(self.job_id)
                index_id = await self.indexes.ensure(row, content.MODEL)
                self.writer = Writer(self.job_id, self.attempt, index_id, content.MODEL, content.FINGERPRINT)
                self.stage = Stage.RELEASE
            case Stage.RELEASE:
                self.reporter.indexing()
                await self.work.release(self.job_id, self.attempt, self.pod)
                self.stage = Stage.INDEX
            case Stage.INDEX:
                await self._index(choice)
            case Stage.SWEEP:
                assert self.writer
                await self.sweep.remove(self.writer, await self.sweep.unseen(self.writer))
                self.stage = Stage.BUILD
            case Stage.BUILD:
                assert self.writer
                if not await self.segments.build(self.writer):
                    self.stage = Stage.TIDY
            case Stage.TIDY:
                assert self.writer
                await self.segments.compact(self.writer)
                self.stage = Stage.COMPLETE
            case Stage.COMPLETE:
                assert self.writer
                await self.chunks.complete(self.writer, "Complete")
                self.code = ExitCode.DONE

    async def _index(self, choice: int) -> None:
        assert self.writer
        if self.batches and (choice % 2 or len(self.batches) > 1):
            await self.chunks.commit_batch(self.writer, self.batches[0])
            self.batches.pop(0)
            return
        items = await self.work.claim(self.job_id, self.attempt, self.pod, 1 + choice % 3)
        if items:
            paths = [item.path for item in items]
            known = {} if self.force else await self.chunks.stored_files(self.writer.index_id, paths)
            self.batches.append(content.process(items, known))
        elif self.batches:
            await self.chunks.commit_batch(self.writer, self.batches[0])
            self.batches.pop(0)
        elif await self.work.todo(self.job_id):
            await self.work.release(self.job_id, self.attempt, self.pod)
        else:
            self.stage = Stage.SWEEP

    async def _fail(self) -> None:
        await self.jobs.fail(self.job_id, self.attempt, ErrorType.CLONE_FAILED.value, "the clone failed")
        self.code = ExitCode.FAILED


def _opening(job: JobRow) -> Progress:
    return messages.opening(job.source, fetch=False)
