"""The life of one attempt: claim, open, scan, index, finish. `python -m codebase_indexer`."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pydantic import ValidationError

from codebase_index import logs, trusted_ca
from codebase_index.embedding import EmbeddingRefused, factory, is_slow
from codebase_index.job import ErrorType, ExitCode
from codebase_index.resource import IndexingJobSpec
from codebase_index.source import SourceNotFound, SourceRefused, SourceUnreadable
from codebase_index.store.chunks import Chunks, Writer
from codebase_index.store.database import Database
from codebase_index.store.errors import AnotherJobRuns, FenceLost, InsufficientStorage, StoreError
from codebase_index.store.helpers import Helpers
from codebase_index.store.indexes import Indexes
from codebase_index.store.jobs import Jobs, Progress, connection_name
from codebase_index.store.reuse import Reuse
from codebase_index.store.rows import JobRow
from codebase_index.store.segments import Segments
from codebase_index.store.sharing import Sharing
from codebase_index.store.vectors import VectorCache
from codebase_index.store.work import Entry, Work
from codebase_indexer import progress
from codebase_indexer.board import Board, Heart, HelperHeart, Laps
from codebase_indexer.chunker import CHUNKER_VERSION
from codebase_indexer.languages import same_kind
from codebase_indexer.packing import Packer
from codebase_indexer.patience import tell_refusals, until_available
from codebase_indexer.pipeline import Pipeline, plan_flight
from codebase_indexer.pool import Pool
from codebase_indexer.room import RepositoryTooLarge, Room
from codebase_indexer.scan import ScanFailed, scan
from codebase_indexer.secret_files import SecretPolicy
from codebase_indexer.settings import Settings
from codebase_indexer.slow_embedding import SlowEmbedding
from codebase_indexer.source import Checkout, CloneFailed, open_source
from codebase_indexer.texts import TERMS_VERSION
from codebase_indexer.vouching import proven

log = logging.getLogger(__name__)

CLAIM_RETRY_SECONDS = 1.0
FAIL_TRIES = 30
"""Seconds in which a job on a full disk tries to say so; then the operator's own count of failures decides."""

STATISTICS_SHARE = 0.1
"""Of the files written from which a job refreshes the planner's statistics: autovacuum_analyze_scale_factor."""


class EmptyRepository(Exception):
    """There is nothing to index. The message says what was found instead, and what to do."""


# First match wins: SourceNotFound and SourceUnreadable are kinds of SourceRefused.
FAILURES: tuple[tuple[type[Exception], ErrorType], ...] = (
    (SourceNotFound, ErrorType.SOURCE_NOT_FOUND),
    (SourceUnreadable, ErrorType.SOURCE_UNREADABLE),
    (SourceRefused, ErrorType.SOURCE_REFUSED),
    (ScanFailed, ErrorType.SOURCE_UNREADABLE),
    (RepositoryTooLarge, ErrorType.REPOSITORY_TOO_LARGE),
    (CloneFailed, ErrorType.CLONE_FAILED),
    (EmptyRepository, ErrorType.EMPTY_REPOSITORY),
    (InsufficientStorage, ErrorType.INSUFFICIENT_STORAGE),
    (ValidationError, ErrorType.INVALID_SPEC),
    (EmbeddingRefused, ErrorType.EMBEDDING_REFUSED),  # a service that is away is waited for
)
"""Errors that another attempt would meet again: they end the job. Everything else is tried again."""


@dataclass
class Attempt:
    """One attempt of one job, and the parts of the store that it works on."""

    settings: Settings
    jobs: Jobs
    work: Work
    chunks: Chunks
    indexes: Indexes
    helpers: Helpers
    segments: Segments
    vectors: VectorCache
    sharing: Sharing
    board: Board
    heart: Heart
    heart_task: asyncio.Task[NoReturn] = field(init=False)
    laps: Laps = field(default_factory=Laps)

    async def run(self) -> None:
        """Take the job from wherever the last attempt left it to its end."""
        spec = IndexingJobSpec.model_validate_json(self.settings.spec)
        job = await self._claim(spec)
        log.info("claimed", extra={"commit": job.commit, "files_total": job.files_total})
        await self._alongside_heart(self._index(job, spec))

    async def _index(self, job: JobRow, spec: IndexingJobSpec) -> None:
        checkout = await self._open(job, spec)
        with self.laps.lap("scanning"):
            writer = await self._scan(job, spec, checkout)
        packer = Packer(self.segments, writer)
        with self.laps.lap("chunking and embedding"):
            self.board.indexing()
            await until_available("report", self.heart.beat)
            if await until_available("count what is left", lambda: self.work.todo(job.id)):
                await self._run(spec, checkout, writer, packer)
        if self.settings.leads:
            await self._finish(writer, packer, sweeps=job.target == spec.target)

    async def _claim(self, spec: IndexingJobSpec) -> JobRow:
        settings = self.settings
        claimed = (settings.job_id, settings.attempt, settings.pod, spec.target)
        if not settings.leads:
            joined = (settings.job_id, settings.attempt, settings.pod)
            await until_available("join the attempt", lambda: self.helpers.join(*joined))
            return await until_available("read the job", lambda: self.jobs.get(settings.job_id))
        while True:
            try:
                return await until_available("claim the job", lambda: self.jobs.claim(*claimed))
            except AnotherJobRuns:
                log.warning("another job for this repository is still running; waiting for its end")
                await asyncio.sleep(CLAIM_RETRY_SECONDS)

    async def _open(self, job: JobRow, spec: IndexingJobSpec) -> Checkout:
        """Open or fetch the source; a later attempt fetches the commit that the first one saw."""
        fetch = spec.source.git is not None or spec.ref is not None
        await self._enter(progress.opening(job.source, fetch=fetch))
        checkout = await asyncio.to_thread(
            open_source, spec, self.settings.policy, self.settings.work_dir, job.commit if fetch else None,
            room=Room(self.settings.work_bytes),
        )  # fmt: skip
        if checkout.commit and checkout.commit != job.commit and self.settings.leads:
            commit = checkout.commit
            attempt = self.settings.attempt
            await until_available("set commit", lambda: self.jobs.set_commit(job.id, attempt, commit))
        return checkout

    async def _scan(self, job: JobRow, spec: IndexingJobSpec, checkout: Checkout) -> Writer:
        """Open the index and freeze the list of files, taking over what the index holds already.

        When an earlier attempt froze it, or this is a helper, what remains of that list is the work.
        """
        entries: list[Entry] = []
        scans = self.settings.leads and job.files_total is None
        if scans:
            await self._enter(progress.scanning(0, 0))
            entries = await asyncio.to_thread(
                lambda: scan(
                    checkout.folder, boundary=checkout.boundary, roots=checkout.roots,
                    include=spec.include, exclude=spec.exclude, report=self.board.scanning,
                    skip_secrets=self.settings.secrets.leave_out,
                )
            )  # fmt: skip
            log.info("scanned", extra={"files": len(entries)})
        attempt = self.settings.attempt
        model = await asyncio.to_thread(factory.name_of, spec.embedding.provider, spec.embedding.model)
        index_id = await until_available(
            "open the index",
            lambda: self.indexes.ensure(job, model, include=spec.include, exclude=spec.exclude),
        )
        fingerprint = _fingerprint(model, self.settings.secrets)
        writer = Writer(job.id, attempt, index_id, model, fingerprint, job.namespace)
        if scans:
            reuse = None if spec.force_reindex else Reuse(index_id, writer.fingerprint, same_kind)
            if reuse:
                await self._copy(writer, entries, checkout)
            await until_available("freeze", lambda: self.work.freeze(job.id, attempt, entries, reuse))
        return writer

    async def _copy(self, writer: Writer, entries: Sequence[Entry], checkout: Checkout) -> None:
        """Fill the index with what others hold of the scan: the freeze finds it there like what is unchanged."""

        def prove(named: Sequence[Entry]) -> Sequence[Entry]:
            return named if checkout.own else proven(checkout.folder, checkout.boundary, named)

        copied = await until_available(
            "copy from other indexes", lambda: self.sharing.adopt(writer, entries, self.board.copying, prove)
        )
        for one in copied:
            log.info("copied", extra={"files": one.files, "repository": one.source, "ref": one.ref})

    async def _run(self, spec: IndexingJobSpec, checkout: Checkout, writer: Writer, packer: Packer) -> None:
        """Index what is left of the list. Only now are a model and processes needed."""
        embedding, attempt = spec.embedding, self.settings.attempt
        local = embedding.provider == "static"
        slow = None if local else await self._slow(spec, writer)
        model = (embedding.provider, embedding.model) if local else None
        pool = Pool(self.settings.workers, writer.fingerprint, model, self.settings.secrets)
        pipeline = Pipeline(
            jobs=self.jobs, work=self.work, chunks=self.chunks, writer=writer, packer=packer,
            pod=self.settings.pod, folder=checkout.folder, boundary=checkout.boundary, pool=pool,
            board=self.board, slow=slow,
            force=spec.force_reindex, helpers=self.helpers if self.settings.leads else None,
        )  # fmt: skip
        try:
            await until_available("release", pipeline.release)  # what a crashed worker of this pod held
            job = await until_available("read the job", lambda: self.jobs.get(self.settings.job_id))
            repeated = await until_available("count what was lost", lambda: self.work.repeated(job.id, attempt))
            flight = plan_flight(job.files_total or 0, self.settings.workers, spec.parallelism, repeated)
            log.info("indexing", extra={"lanes": flight.lanes, "batch_files": flight.batch_files})
            await pipeline.run(flight)
        except asyncio.CancelledError:
            with contextlib.suppress(StoreError):
                await pipeline.release()  # told to stop: what was in flight is free at once
            raise
        finally:
            pool.close()

    async def _slow(self, spec: IndexingJobSpec, writer: Writer) -> SlowEmbedding:
        """Wait until the model can embed, and its vectors are known to fit into the index."""
        embedder = await asyncio.to_thread(factory.create, spec.embedding.provider, spec.embedding.model)
        assert is_slow(embedder)
        leads = self.settings.leads
        slow = SlowEmbedding(embedder, self.vectors, self.jobs, writer, self.board, reports=leads)
        await slow.ready(
            await until_available(
                "read the vectors' length", lambda: self.indexes.dimension(writer.index_id, writer.model)
            )
        )
        return slow

    async def _finish(self, writer: Writer, packer: Packer, *, sweeps: bool) -> None:
        """End the job. One that fills the index of another target sweeps nothing: in release 0.1.0 jobs with other
        filters shared one, and what such a job does not see is not gone.
        """
        job_id = self.settings.job_id
        skipped = await until_available("count skipped files", lambda: self.work.skip_reasons(job_id))
        job = await until_available("read the job", lambda: self.jobs.get(job_id))
        if job.files_indexed == 0:
            raise EmptyRepository(_nothing_found(job, skipped))
        with self.laps.lap("writing"):
            await self._enter(progress.writing(0, "removing what vanished"))
            swept = await until_available("sweep", lambda: self.chunks.sweep(writer)) if sweeps else 0
            await self._enter(progress.writing(0.2, "packing the words"))
            await packer.finish(self._packed)
            if job.vectors_made:
                most = self.settings.kept_vectors
                await until_available("evict vectors", lambda: self.vectors.evict(most, writer.namespace))
            if _changed_much(job):
                await self._enter(progress.writing(0.8, "refreshing statistics"))
                await until_available("analyze", self.chunks.analyze)
        message = progress.complete(job, skipped, swept, self.laps.seconds)
        self.heart_task.cancel()  # a heartbeat after the last write would find the fence gone
        await asyncio.gather(self.heart_task, return_exceptions=True)
        await until_available("unblock", self.heart.unblock)  # only a running job can be completed
        await until_available("complete", lambda: self.chunks.complete(writer, message))
        log.info(message, extra={"files_indexed": job.files_indexed, "chunks_created": job.chunks_created})

    def _packed(self, share: float) -> None:
        self.board.say = lambda job: progress.writing(0.2 + 0.6 * share, "packing the words")

    async def _enter(self, stage: Progress) -> None:
        """Begin a stage, and say so at once: a small job would be over before the next heartbeat."""
        self.board.say = lambda job: stage
        await until_available("report", self.heart.beat)

    async def _alongside_heart(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the work for as long as the heart beats: a lost fence ends both at once."""
        self.heart_task = heart = asyncio.create_task(self.heart.run())
        body = asyncio.create_task(work)
        try:
            await asyncio.wait({heart, body}, return_when=asyncio.FIRST_COMPLETED)
            if heart.done() and not heart.cancelled() and not body.done():
                heart.result()
            await body
        finally:
            for task in (heart, body):
                task.cancel()
            await asyncio.gather(heart, body, return_exceptions=True)


def _fingerprint(model: str, secrets: SecretPolicy) -> str:
    """Name the versions of the chunker, the terms and the model, and what becomes of secrets: a file indexed with
    others is done again.

    A file that is unchanged is not read, so a new rule by content (skipping.py, encodings.py, secret_files.py)
    needs a new CHUNKER_VERSION, too.
    """
    return f"{CHUNKER_VERSION}:{TERMS_VERSION}:{secrets.version}:{model}"


def _changed_much(job: JobRow) -> bool:
    """Say whether the planner's statistics are worth a second of work; smaller changes are autovacuum's."""
    return job.files_indexed - job.files_unchanged > STATISTICS_SHARE * job.files_indexed


def _nothing_found(job: JobRow, skipped: dict[str, int]) -> str:
    if not job.files_total:
        found = "it holds no files, or .gitignore and .mcpignore exclude all of them"
    else:
        found = f"all of its {job.files_total:,} files are skipped ({progress.reasons(skipped)})"
    return f"nothing to index in {job.source}: {found}; check the path and these rules, then start the job again"


async def run(settings: Settings) -> int:
    """Carry out an attempt; return the worker's exit code."""
    names = [connection_name(program, settings.job_id, settings.pod) for program in ("indexer", "indexer-heart")]
    database = await Database.open(settings.database, name=names[0], plans_anew=False)
    heart_database = await Database.open(settings.database, name=names[1], size=1)
    board = Board(say=lambda job: progress.opening(job.source, fetch=False))
    heart = _heart(settings, heart_database, board)
    tell_refusals(board.refuse)
    attempt = Attempt(
        settings, Jobs(database), Work(database), Chunks(database), Indexes(database), Helpers(database),
        Segments(database), VectorCache(database), Sharing(database), board, heart,
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
        return await _fail(attempt.jobs, settings, failure, str(error))
    finally:
        await database.close()
        await heart_database.close()


def _heart(settings: Settings, database: Database, board: Board) -> Heart:
    if settings.leads:
        return Heart(Jobs(database), settings.job_id, settings.attempt, board)
    return HelperHeart(Helpers(database), settings.job_id, settings.attempt, settings.pod)


async def _fail(jobs: Jobs, settings: Settings, kind: ErrorType, message: str) -> int:
    """End the job with its reason. On a full disk even that may not be possible."""
    log.error(message, extra={"error_type": kind.value})
    if not settings.leads:
        return ExitCode.FAILED  # what only a helper meets, its node's fault maybe, must not end the job
    for _ in range(FAIL_TRIES):
        try:
            await jobs.fail(settings.job_id, settings.attempt, kind.value, message)
        except FenceLost:
            return ExitCode.FENCED
        except StoreError as error:
            log.warning("the failure can not be recorded yet", extra={"error": str(error)})
            await asyncio.sleep(1)
        else:
            return ExitCode.FAILED
    return ExitCode.RETRY


async def run_until_stopped(settings: Settings) -> int:
    """Carry out an attempt until SIGTERM; return the worker's exit code."""
    task = asyncio.create_task(run(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        log.info("stopped")
        return ExitCode.STOPPED


def main() -> NoReturn:
    """Run the attempt that the environment describes."""
    logs.configure("indexer", os.environ.get("CODEBASE_LOG_LEVEL") or "INFO")
    try:
        trusted_ca.install()
        settings = Settings.from_env()
        code = asyncio.new_event_loop().run_until_complete(run_until_stopped(settings))
        if code in (ExitCode.DONE, ExitCode.FAILED):
            shutil.rmtree(settings.work_dir, ignore_errors=True)
    except Exception:
        log.exception("the worker ends and is started again")
        code = ExitCode.RETRY
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    # Threads may still be inside git or a request; nothing that they do matters any more.
    os._exit(code)
