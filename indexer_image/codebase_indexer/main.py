"""One attempt from start to end: claim, open, scan, index, finish. `python -m codebase_indexer`."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from pydantic import ValidationError

from codebase_index import logs, tracing, trusted_ca
from codebase_index.api.job import ErrorType, ExitCode
from codebase_index.api.resource import IndexingJobSpec
from codebase_index.api.source_policy import SourceNotFound, SourceRefused, SourceUnreadable
from codebase_index.embedding import EmbeddingRefused, factory, is_cacheable
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_index.store.errors import AnotherJobRuns, FenceLost, InsufficientStorage, StoreError
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.cross_index_copy import CrossIndexCopy
from codebase_index.store.ingest.relist import Relist
from codebase_index.store.ingest.segments import Segments
from codebase_index.store.ingest.sweep import Sweep, UnseenFile, in_parts
from codebase_index.store.ingest.vector_cache import VectorCache
from codebase_index.store.ingest.work import Work
from codebase_index.store.jobs.jobs import Jobs, Progress, connection_name
from codebase_index.store.jobs.rows import JobRow
from codebase_index.store.jobs.workers import Workers
from codebase_index.trace_context import VARIABLE, TraceContext
from codebase_indexer.chunking.chunker import CHUNKER_VERSION
from codebase_indexer.chunking.texts import TERMS_VERSION
from codebase_indexer.content.secret_files import SecretPolicy
from codebase_indexer.database_retry import DatabaseTimeout, retry_while_unavailable, set_refusal_listener
from codebase_indexer.pipeline.parser_protocol import ParserSettings
from codebase_indexer.pipeline.pipeline import Pipeline, ReindexScope, plan_concurrency
from codebase_indexer.pipeline.pool import ParserPool, Unconfined
from codebase_indexer.pipeline.remote_embedding import RemoteEmbedding
from codebase_indexer.pipeline.segment_builder import SegmentBuilder
from codebase_indexer.progress import messages
from codebase_indexer.progress.heartbeat import Heartbeat, LeaderHeartbeat, WorkerHeartbeat
from codebase_indexer.progress.reporter import ProgressReporter, StageTimer
from codebase_indexer.settings import Settings
from codebase_indexer.source.checkout import CloneFailed, SourceChanged
from codebase_indexer.source.disk_space import RepositoryTooLarge
from codebase_indexer.source.scan import ScanFailed
from codebase_indexer.survey.open_source import SourceInterrupted
from codebase_indexer.survey.survey import Survey

log = logging.getLogger(__name__)

CLAIM_RETRY_SECONDS = 1.0
FAIL_SECONDS = 30
"""How long a job on a full disk tries to record its failure; then the operator's count of failures decides."""

STATISTICS_SHARE = 0.1
"""Of the files written from which a job refreshes the planner's statistics: autovacuum_analyze_scale_factor."""


class EmptyRepository(Exception):
    """There is nothing to index. The message says what was found instead, and what to do."""


# First match wins: SourceNotFound and SourceUnreadable are kinds of SourceRefused.
FAILURES: tuple[tuple[type[Exception], ErrorType], ...] = (
    (SourceNotFound, ErrorType.SOURCE_NOT_FOUND),
    (SourceChanged, ErrorType.SOURCE_CHANGED),
    (SourceUnreadable, ErrorType.SOURCE_UNREADABLE),
    (SourceRefused, ErrorType.SOURCE_REFUSED),
    (ScanFailed, ErrorType.SOURCE_UNREADABLE),
    (RepositoryTooLarge, ErrorType.REPOSITORY_TOO_LARGE),
    (CloneFailed, ErrorType.CLONE_FAILED),
    (EmptyRepository, ErrorType.EMPTY_REPOSITORY),
    (InsufficientStorage, ErrorType.INSUFFICIENT_STORAGE),
    (DatabaseTimeout, ErrorType.DATABASE_TIMEOUT),
    (ValidationError, ErrorType.INVALID_SPEC),
    (Unconfined, ErrorType.SANDBOX_UNAVAILABLE),
    (EmbeddingRefused, ErrorType.EMBEDDING_REFUSED),  # a service that is away is waited for
)
"""Permanent errors, which end the job. Everything else is retried by another attempt."""


@dataclass
class Attempt:
    """One attempt of one job, and the parts of the store that it works on."""

    settings: Settings
    jobs: Jobs
    work: Work
    chunks: Chunks
    indexes: Indexes
    workers: Workers
    segments: Segments
    vectors: VectorCache
    sharing: CrossIndexCopy
    relist: Relist
    sweep: Sweep
    reporter: ProgressReporter
    heartbeat: Heartbeat
    heartbeat_task: asyncio.Task[NoReturn] = field(init=False)
    timer: StageTimer = field(default_factory=StageTimer)

    async def run(self) -> None:
        """Resume the job from its last checkpoint and run it to its end."""
        spec = IndexingJobSpec.model_validate_json(self.settings.spec)
        job = await self._claim(spec)
        log.info("claimed", extra={"commit": job.commit, "files_total": job.files_total})
        await self._run_with_heartbeat(self._index(job, spec))

    async def _index(self, job: JobRow, spec: IndexingJobSpec) -> None:
        survey = self._survey(job, spec)
        await survey.open()
        with self.timer.measure("scanning"):
            entries = await survey.list_files()
            writer = await self._writer(job, spec)
            await survey.freeze(writer, entries)
        segment_builder = SegmentBuilder(self.segments, writer)
        with self.timer.measure("chunking and embedding"):
            unseen = await self._drain_work_list(survey, segment_builder)
        if self.settings.is_leader:
            await self._finish(survey, segment_builder, *unseen)

    def _survey(self, job: JobRow, spec: IndexingJobSpec) -> Survey:
        return Survey(
            self.settings, spec, job, self.jobs, self.work, self.relist, self.sweep, self.sharing, self.reporter,
            self._begin_stage,
        )  # fmt: skip

    async def _writer(self, job: JobRow, spec: IndexingJobSpec) -> Writer:
        model = await asyncio.to_thread(factory.name_of, spec.embedding.provider, spec.embedding.model)
        index_id = await retry_while_unavailable(
            "open the index",
            lambda: self.indexes.ensure(job, model, include=spec.include, exclude=spec.exclude),
        )
        fingerprint = _fingerprint(model, self.settings.secrets)
        return Writer(job.id, self.settings.attempt, index_id, model, fingerprint, job.namespace)

    async def _drain_work_list(
        self, survey: Survey, segment_builder: SegmentBuilder
    ) -> tuple[list[UnseenFile], int]:
        """Index until the work list is empty and the source is as it was listed.

        Return the indexed files that were deleted from the source, and how many unseen files stay.
        """
        while True:
            self.reporter.indexing()
            await retry_while_unavailable("report", self.heartbeat.send)
            try:
                if await self._count_remaining():
                    await self._run(survey, segment_builder)
                if not self.settings.is_leader:
                    return [], 0
                if not await survey.relist_if_changed() and not await self._count_remaining():
                    return await survey.find_deleted()
            except SourceInterrupted as moved:
                if not self.settings.is_leader:
                    raise SourceChanged(str(moved)) from moved
                await survey.recover(moved)

    async def _count_remaining(self) -> int:
        return await retry_while_unavailable("count remaining files", lambda: self.work.todo(self.settings.job_id))

    async def _claim(self, spec: IndexingJobSpec) -> JobRow:
        settings = self.settings
        claimed = (settings.job_id, settings.attempt, settings.pod, spec.target)
        if not settings.is_leader:
            joined = (settings.job_id, settings.attempt, settings.pod)
            await retry_while_unavailable("join the attempt", lambda: self.workers.register(*joined))
            return await retry_while_unavailable("read the job", lambda: self.jobs.get(settings.job_id))
        while True:
            try:
                return await retry_while_unavailable("claim the job", lambda: self.jobs.claim(*claimed))
            except AnotherJobRuns:
                log.warning("another job for this repository is still running; waiting for its end")
                await asyncio.sleep(CLAIM_RETRY_SECONDS)

    async def _run(self, survey: Survey, segment_builder: SegmentBuilder) -> None:
        """Index the rest of the work list. Only now are a model and parser processes needed."""
        spec, writer = survey.spec, survey.writer
        embedding, attempt = spec.embedding, self.settings.attempt
        local = embedding.provider == "static"
        remote = None if local else await self._open_remote_embedding(spec, writer)
        model = (embedding.provider, embedding.model) if local else None
        checkout, confined = survey.checkout, self.settings.requires_sandbox
        parsers = ParserSettings(
            checkout.folder, checkout.boundary, writer.fingerprint, model, self.settings.secrets
        )
        pool = ParserPool(self.settings.processes, parsers, confined=confined)
        pipeline = Pipeline(
            jobs=self.jobs, work=self.work, chunks=self.chunks, writer=writer, segment_builder=segment_builder,
            pod=self.settings.pod, check=survey.check, pool=pool, reporter=self.reporter, remote=remote,
            scope=_reindex_scope(survey),
            workers=self.workers if self.settings.is_leader else None,
        )  # fmt: skip
        try:
            await retry_while_unavailable("release", pipeline.release)  # what a crashed process of this pod held
            job = await retry_while_unavailable("read the job", lambda: self.jobs.get(self.settings.job_id))
            repeated = await retry_while_unavailable(
                "count repeated files", lambda: self.work.repeated(job.id, attempt)
            )
            concurrency = plan_concurrency(
                job.files_total or 0, self.settings.processes, spec.parallelism, repeated
            )
            log.info("indexing", extra={"lanes": concurrency.lanes, "batch_files": concurrency.batch_files})
            await pipeline.run(concurrency)
        except (asyncio.CancelledError, SourceInterrupted, SourceChanged):
            with contextlib.suppress(StoreError):
                await pipeline.release()  # other pods may claim it at once
            raise
        finally:
            pool.close()

    async def _open_remote_embedding(self, spec: IndexingJobSpec, writer: Writer) -> RemoteEmbedding:
        """Wait until the model can embed, and check that its vectors fit into the index."""
        embedder = await asyncio.to_thread(factory.create, spec.embedding.provider, spec.embedding.model)
        assert is_cacheable(embedder)
        is_leader = self.settings.is_leader
        remote = RemoteEmbedding(embedder, self.vectors, self.jobs, writer, self.reporter, reports=is_leader)
        await remote.prepare(
            await retry_while_unavailable(
                "read the index's dimension", lambda: self.indexes.dimension(writer.index_id, writer.model)
            )
        )
        return remote

    async def _finish(
        self, survey: Survey, segment_builder: SegmentBuilder, deleted: list[UnseenFile], retained: int
    ) -> None:
        job_id, writer = self.settings.job_id, survey.writer
        skipped = await retry_while_unavailable("count skipped files", lambda: self.work.skip_reasons(job_id))
        job = await retry_while_unavailable("read the job", lambda: self.jobs.get(job_id))
        if job.files_indexed == 0:
            raise EmptyRepository(messages.nothing_to_index(survey.spec, job, skipped))
        with self.timer.measure("writing"):
            await self._begin_stage(messages.writing(0, "removing deleted files"))
            removed = await self._sweep(writer, deleted)
            await self._begin_stage(messages.writing(0.2, "merging segments"))
            await segment_builder.finish(self._report_merge)
            if job.vectors_made:
                limit = self.settings.max_cached_vectors
                await retry_while_unavailable("evict vectors", lambda: self.vectors.evict(limit, writer.namespace))
            if _needs_analyze(job):
                await self._begin_stage(messages.writing(0.8, "refreshing statistics"))
                await retry_while_unavailable("analyze", self.chunks.analyze)
        sweep = messages.SweepResult(removed, retained, survey.unsettled)
        message = messages.complete(job, skipped, sweep, self.timer.seconds)
        self.heartbeat_task.cancel()  # a heartbeat after the last write would find the fence gone
        await asyncio.gather(self.heartbeat_task, return_exceptions=True)
        # Only a running job can be completed, and the heartbeat may have reported what the job waited for.
        await retry_while_unavailable("unblock", lambda: self.jobs.unblock(job_id, writer.attempt))
        await retry_while_unavailable("complete", lambda: self.chunks.complete(writer, message))
        log.info(message, extra={"files_indexed": job.files_indexed, "chunks_created": job.chunks_created})

    async def _sweep(self, writer: Writer, deleted: Sequence[UnseenFile]) -> int:
        """Remove deleted files from the index, a part at a time: each part is committed and reported."""
        removed = 0
        for part in in_parts(deleted):
            what = f"removing deleted files, {removed:,} of {len(deleted):,}"
            stage = messages.writing(0.2 * removed / len(deleted), what)
            self.reporter.describe = lambda job, stage=stage: stage  # type: ignore[misc]
            removed += await retry_while_unavailable(
                "remove deleted files", partial(self.sweep.remove, writer, part)
            )
        return removed

    def _report_merge(self, share: float) -> None:
        self.reporter.describe = lambda job: messages.writing(0.2 + 0.6 * share, "merging segments")

    async def _begin_stage(self, stage: Progress) -> None:
        """Begin a stage and report it at once: a small job would be over before the next heartbeat."""
        self.reporter.describe = lambda job: stage
        await retry_while_unavailable("report", self.heartbeat.send)

    async def _run_with_heartbeat(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the work alongside the heartbeat: a lost fence ends both at once."""
        self.heartbeat_task = heartbeat = asyncio.create_task(self.heartbeat.run())
        body = asyncio.create_task(work)
        try:
            await asyncio.wait({heartbeat, body}, return_when=asyncio.FIRST_COMPLETED)
            if heartbeat.done() and not heartbeat.cancelled() and not body.done():
                heartbeat.result()
            await body
        finally:
            for task in (heartbeat, body):
                task.cancel()
            await asyncio.gather(heartbeat, body, return_exceptions=True)


def _reindex_scope(survey: Survey) -> ReindexScope:
    """Return the scope: with force_reindex all files, except those that this job did before the source changed."""
    if not survey.spec.force_reindex:
        return ReindexScope.CHANGED
    return ReindexScope.NOT_BY_THIS_JOB if survey.changed else ReindexScope.ALL


def _fingerprint(model: str, secrets: SecretPolicy) -> str:
    """Return the fingerprint: versions of chunker, terms and model, and the secret policy. A file indexed with
    another fingerprint is indexed again.

    A file that is unchanged is not read, so a new rule by content (skipping.py, encodings.py, secret_files.py)
    needs a new CHUNKER_VERSION, too.
    """
    return f"{CHUNKER_VERSION}:{TERMS_VERSION}:{secrets.version}:{model}"


def _needs_analyze(job: JobRow) -> bool:
    """Say whether enough changed to refresh the planner's statistics; autovacuum handles smaller changes."""
    return job.files_indexed - job.files_unchanged > STATISTICS_SHARE * job.files_indexed


async def run(settings: Settings) -> int:
    """Carry out an attempt; return the exit code of the process."""
    names = [connection_name(program, settings.job_id, settings.pod) for program in ("indexer", "indexer-heart")]
    database = await Database.open(settings.database, name=names[0], custom_plans=False, job=settings.job_id)
    heartbeat_database = await Database.open(settings.database, name=names[1], size=1, job=settings.job_id)
    reporter = ProgressReporter(describe=lambda job: messages.opening(job.source, fetch=False))
    heartbeat = _heartbeat(settings, heartbeat_database, reporter)
    set_refusal_listener(reporter.set_refusal)
    attempt = Attempt(
        settings, Jobs(database), Work(database), Chunks(database), Indexes(database), Workers(database),
        Segments(database), VectorCache(database), CrossIndexCopy(database), Relist(database), Sweep(database),
        reporter,
        heartbeat,
    )  # fmt: skip
    try:
        await attempt.run()
        return ExitCode.DONE
    except FenceLost as error:
        log.warning("stopping", extra={"reason": str(error)})
        return ExitCode.FENCED
    except Exception as error:
        failure = next((kind for exception, kind in FAILURES if isinstance(error, exception)), None)
        if failure is None:
            raise
        return await _fail(attempt.jobs, settings, failure, settings.policy.in_user_paths(str(error)))
    finally:
        await database.close()
        await heartbeat_database.close()


def _heartbeat(settings: Settings, database: Database, reporter: ProgressReporter) -> Heartbeat:
    if settings.is_leader:
        return LeaderHeartbeat(Jobs(database), settings.job_id, settings.attempt, reporter)
    return WorkerHeartbeat(Workers(database), settings.job_id, settings.attempt, settings.pod)


async def _fail(jobs: Jobs, settings: Settings, kind: ErrorType, message: str) -> int:
    """End the job with its reason. On a full disk even that may not be possible."""
    log.error(message, extra={"error_type": kind.value})
    if not settings.is_leader:
        return ExitCode.FAILED  # only the leader ends the job: a worker's failure may be its node's fault
    for _ in range(FAIL_SECONDS):
        try:
            await jobs.fail(settings.job_id, settings.attempt, kind.value, message)
        except FenceLost:
            return ExitCode.FENCED
        except StoreError as error:
            log.warning("the failure cannot be recorded yet; retrying", extra={"error": str(error)})
            await asyncio.sleep(1)
        else:
            return ExitCode.FAILED
    return ExitCode.RETRY


async def run_until_stopped(settings: Settings) -> int:
    """Carry out an attempt until SIGTERM; return the exit code of the process."""
    task = asyncio.create_task(run(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        log.info("stopped")
        return ExitCode.STOPPED


async def run_in_trace(settings: Settings) -> int:
    """Carry out an attempt as a part of the trace of the call that started its job."""
    parent = TraceContext.parse(os.environ.get(VARIABLE))
    with tracing.span("index", parent, **{"codebase.job.id": str(settings.job_id)}):
        return await run_until_stopped(settings)


def main() -> NoReturn:
    """Run the attempt that the environment describes."""
    logs.configure("indexer", os.environ.get("CODEBASE_LOG_LEVEL") or "INFO")
    try:
        trusted_ca.install()
        tracing.configure("codebase-indexer")
        settings = Settings.from_env()
        code = asyncio.new_event_loop().run_until_complete(run_in_trace(settings))
        if code in (ExitCode.DONE, ExitCode.FAILED):
            tracing.shut_down()  # not of one that is told to stop: it has two seconds
            shutil.rmtree(settings.work_dir, ignore_errors=True)
    except Exception:
        log.exception("the indexer crashed and will be restarted")
        code = ExitCode.RETRY
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    # Threads may still be inside git or a request; nothing that they do matters any more.
    os._exit(code)
