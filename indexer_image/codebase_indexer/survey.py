"""A job's view of its source: it is opened, listed, and checked again before anything is removed.

A source may change while it is read: another branch is checked out, a folder is replaced, a share is unmounted.
The job then lists the source again and goes on with the new list. A source that stays away, or is replaced again
and again, fails the job; a repository that git keeps changing is indexed as it was listed last, and nothing is
removed. In every case the index keeps each file that is not known to be deleted.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from codebase_index.api.job import Phase
from codebase_index.api.resource import IndexingJobSpec
from codebase_index.api.source_policy import SourceRefused, SourceUnreadable
from codebase_index.languages import same_kind
from codebase_index.store.ingest.chunks import Writer
from codebase_index.store.ingest.cross_index_copy import CrossIndexCopy
from codebase_index.store.ingest.relist import Relist
from codebase_index.store.ingest.reuse import Reuse, UnverifiedMoves
from codebase_index.store.ingest.sweep import Sweep, UnseenFile
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.jobs.jobs import Jobs, Progress
from codebase_index.store.jobs.rows import JobRow
from codebase_indexer.content.skipping import UNCERTAIN, Skip
from codebase_indexer.database_retry import retry_while_unavailable
from codebase_indexer.progress import messages
from codebase_indexer.progress.reporter import ProgressReporter
from codebase_indexer.settings import Settings
from codebase_indexer.source.checkout import Checkout, SourceChanged, open_source, reopen
from codebase_indexer.source.deletions import (
    Presence,
    ScanResult,
    any_readable,
    count_files,
    find_deleted,
    is_mass_deletion,
    is_uncertain,
    may_miss_files,
    probe,
    scan_result_of,
)
from codebase_indexer.source.disk_space import DiskQuota
from codebase_indexer.source.git_stat import verify_blobs
from codebase_indexer.source.scan import ScanFailed, scan

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_REPLACEMENTS = 4
"""How often a source may be away, or be replaced, before the attempt fails the job as SourceChanged."""

MAX_HEAD_MOVES = 4
"""How often one attempt lists a repository again because HEAD moved: somebody may commit every few seconds."""

MAX_ABSENCE_SECONDS = 15.0
"""How long a source may be away: a folder is replaced in an instant, a share is mounted again in seconds."""

GIT_WAIT_SECONDS = 120.0
"""How long an attempt waits for git at the end: a checkout of a large repository takes a minute, while an open
editor, a hook, or the lock of a crashed git may take any time."""

DISK_TIMEOUT_SECONDS = 30.0
"""Time limit for one question to the disk, such as whether a folder exists."""

DISK_THREADS = 4
"""Threads for questions to the disk alone, so that they and the embedding service never wait for each other."""

MAX_RECHECKED_FILES = 10_000
"""Unreadable files up to which each is tried again; if there are more, the source is listed again."""

_RETRY_SECONDS = 0.5
PROBE_TIMEOUT_SECONDS = 10 * DISK_TIMEOUT_SECONDS

_RETRYABLE = UNCERTAIN - {Skip.STALLED, Skip.CRASHED}
"""Reasons worth a second try. A file that crashed its parser would do so again, and one whose disk does not answer
costs half a minute each time: those are left to the next job."""

_INTACT = "; the index keeps what it had"


class SourceInterrupted(Exception):
    """What was just read may not belong to the folder that was opened, and must not be written."""


@dataclass
class Survey:
    """The source of one attempt. `begin_stage` begins a stage and reports it."""

    settings: Settings
    spec: IndexingJobSpec
    job: JobRow
    jobs: Jobs
    work: Work
    relist: Relist
    sweep: Sweep
    sharing: CrossIndexCopy
    reporter: ProgressReporter
    begin_stage: Callable[[Progress], Awaitable[None]]
    checkout: Checkout = field(init=False)
    writer: Writer = field(init=False)
    _mark: str | None = field(init=False)  # of what was listed last
    _scan_result: ScanResult | None = field(default=None, init=False)  # of the last relisting
    _rechecked: bool = field(default=False, init=False)  # whether doubtful files caused a relisting
    _unseen: list[UnseenFile] = field(default_factory=list, init=False)
    _listed_here: bool = field(default=False, init=False)  # whether this attempt made the first list
    _listed_at: float = field(default_factory=time.time, init=False)  # when the last listing began
    # Files to index that the user confirmed by force_reindex, whatever the index has: those of the first list.
    _confirmed: int | None = field(default=None, init=False)
    unsettled: bool = field(default=False, init=False)
    """Whether git was changing the repository to the end: neither its commit nor its deletions are known."""
    _replacements: int = field(default=0, init=False)
    _head_moves: int = field(default=0, init=False)
    _git_wait_used: bool = field(default=False, init=False)  # whether the wait for git is used up
    _interruptions: int = field(default=0, init=False)
    _disk: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(DISK_THREADS, "disk"), init=False, repr=False
    )

    @property
    def changed(self) -> bool:
        """Whether the source changed, so that files of the list may already be done."""
        return self._replacements + self._head_moves > 0

    @property
    def may_sweep(self) -> bool:
        """Whether unseen files may be removed. Not from the index of another target: in release 0.1.0 jobs with
        other filters shared one.
        """
        return self.job.target == self.spec.target

    async def open(self) -> None:
        """Open or fetch the source; a later attempt fetches the commit that the first one saw."""
        job = self.job
        fetch = self.spec.source.git is not None or self.spec.ref is not None
        await self.begin_stage(messages.opening(job.source, fetch=fetch))
        commit = job.commit if fetch else None
        try:
            self.checkout = await self._ask(
                lambda: open_source(
                    self.spec, self.settings.policy, self.settings.work_dir, commit,
                    quota=DiskQuota(self.settings.work_bytes),
                )
            )  # fmt: skip
        except OSError as error:
            raise self._unreadable(error) from error
        self._mark = job.source_mark
        if self.settings.is_leader and job.files_total is None:
            await self._record_listed()

    async def list_files(self) -> list[ScanEntry] | None:
        """List the files; None: an earlier attempt froze its list, or this is a worker."""
        if not self.settings.is_leader or self.job.files_total is not None:
            return None
        await self.begin_stage(messages.scanning(0, 0))
        self._listed_here = True
        entries = await self._scan()
        if self.spec.force_reindex:
            self._confirmed = count_files(entries)
        return entries

    async def freeze(self, writer: Writer, entries: list[ScanEntry] | None) -> None:
        """Freeze the work list, reusing unchanged files of this index and equal files copied from others.

        Raises SourceChanged when the list is much shorter than the index without a confirmation.
        """
        self.writer = writer
        if entries is None:
            return
        if not self.spec.force_reindex:
            await self._refuse_mass_deletion(entries)
        reuse = None
        if not self.spec.force_reindex:
            unreadable = frozenset(entry.path for entry in entries if entry.skip_reason == Skip.UNREADABLE)
            reuse = Reuse(writer.index_id, writer.fingerprint, same_kind, unreadable, gone={})
            await self._copy_from_other_indexes(entries)
        while True:
            try:
                await self._freeze_once(entries, reuse)
            except UnverifiedMoves as moved:
                assert reuse and reuse.gone is not None
                presences = await self._probe(moved.paths)
                proven_gone = {path: presence is Presence.ABSENT for path, presence in presences.items()}
                reuse = replace(reuse, gone={**reuse.gone, **proven_gone})
            else:
                return

    async def _freeze_once(self, entries: Sequence[ScanEntry], reuse: Reuse | None) -> None:
        fence = (self.writer.job_id, self.writer.attempt)
        await retry_while_unavailable("freeze", lambda: self.work.freeze(*fence, entries, reuse))

    async def _copy_from_other_indexes(self, entries: Sequence[ScanEntry]) -> None:
        """Copy equal files from other indexes: the freeze then finds them like unchanged ones."""
        checkout = self.checkout

        def verify(named: Sequence[ScanEntry]) -> Sequence[ScanEntry]:
            return named if checkout.is_fetched else verify_blobs(checkout.folder, checkout.boundary, named)

        copied = await retry_while_unavailable(
            "copy from other indexes",
            lambda: self.sharing.copy_from_others(self.writer, entries, self.reporter.copying, verify),
        )
        for one in copied:
            log.info("copied", extra={"files": one.files, "repository": one.source, "ref": one.ref})

    async def check(self) -> None:
        """Make sure that what was just read belongs to the folder that was opened.

        Raises SourceInterrupted when it may not, and SourceUnreadable when the disk does not answer.
        """
        if not self.checkout.is_fetched and not await self._ask_with_timeout(self.checkout.is_unchanged):
            raise SourceInterrupted(f"{self.job.source} was replaced by another folder, or cannot be read")

    async def recover(self, why: SourceInterrupted) -> None:
        """Wait until the source is back, and list it again if it changed.

        Raises SourceChanged or SourceUnreadable when it stays away or keeps changing.
        """
        log.warning("interrupted", extra={"source": self.job.source, "reason": str(why)})
        self._interruptions += 1
        if self._interruptions > MAX_REPLACEMENTS:
            raise self._unstable(self._interruptions)
        with contextlib.suppress(SourceInterrupted):  # the next round meets it again
            await self.relist_if_changed()

    async def relist_if_changed(self) -> bool:
        """List the source again if it changed; return whether it did, so that there may be more to index.

        Raises SourceInterrupted, and SourceChanged or SourceUnreadable when it stays away or keeps changing.
        """
        before, self.checkout = self.checkout, await self._reopen()
        now = self.checkout
        self.unsettled = False
        # What git was still writing when it was listed was listed in part, and has no mark.
        if now.is_fetched or (now.mark is not None and now.mark == self._mark):
            return await self._recheck()
        if now.identity != before.identity:
            self._replacements += 1
            if self._replacements > MAX_REPLACEMENTS:
                raise self._unstable(self._replacements)
        elif self._head_moves == MAX_HEAD_MOVES or (now.busy and self._git_wait_used):
            await self._accept_unsettled()
            return False
        else:
            self._head_moves += 1
        self._git_wait_used |= now.busy
        await self._list_again(trusting=False)
        return True

    async def _recheck(self) -> bool:
        """List again, once, if the list may lack a file or has one as unreadable that can be read now."""
        if self._rechecked or not await self._needs_recheck():
            return False
        self._rechecked = True
        await self._list_again(trusting=True)
        return True

    async def _accept_unsettled(self) -> None:
        """Go on with the last list. A later attempt makes its own."""
        log.warning(
            "git keeps changing the repository", extra={"source": self.job.source, "moves": self._head_moves}
        )
        self.unsettled = True
        await self._record_commit(None, None)

    async def find_deleted(self) -> tuple[list[UnseenFile], int]:
        """Return the indexed files that were deleted from the source, and how many unseen files stay.

        Raises SourceInterrupted when the source changed meanwhile.
        """
        if self._rechecked or self.unsettled:
            await self._list_unseen()  # some of them may be seen now
        unseen = self._unseen
        if not unseen or self.unsettled:
            return [], len(unseen)
        removable = list(find_deleted(unseen, await self._probe_unseen(), self._scan_result))
        await self.check()  # what was looked at is what was opened
        return removable, len(unseen) - len(removable)

    async def _needs_recheck(self) -> bool:
        """Say whether the list may lack a file, or has one as unreadable that can be read now."""
        job_id = self.job.id
        lost = await retry_while_unavailable(
            "find lost files", lambda: self.relist.lost(job_id, _RETRYABLE, MAX_RECHECKED_FILES)
        )
        await self._list_unseen()
        if len(lost) == MAX_RECHECKED_FILES or (self._unseen and not self._listed_here):
            return True
        unreadable = [path for path, reason in lost.items() if reason == Skip.UNREADABLE]
        if len(unreadable) < len(lost):
            return True  # what vanished may be elsewhere now
        folder, boundary = self.checkout.folder, self.checkout.boundary
        readable = await self._ask_with_timeout(
            lambda: any_readable(folder, boundary, unreadable), PROBE_TIMEOUT_SECONDS
        )
        if readable:
            return True
        # What nobody can tell of now a second list would not tell either: it stays, without one in every job.
        hopeless = {file.path for file in self._unseen if file.skip_reason in UNCERTAIN - _RETRYABLE}
        hopeless.update(unreadable)
        presences = await self._probe_unseen()
        return any(presence is Presence.PRESENT for path, presence in presences.items() if path not in hopeless)

    async def _probe_unseen(self) -> dict[str, Presence]:
        """Probe the unseen files whose current content is unknown."""
        return await self._probe([file.path for file in self._unseen if is_uncertain(file)])

    async def _probe(self, paths: Sequence[str]) -> dict[str, Presence]:
        folder, boundary, listed_at = self.checkout.folder, self.checkout.boundary, self._listed_at
        return await self._ask_with_timeout(
            lambda: probe(folder, boundary, paths, listed_at), PROBE_TIMEOUT_SECONDS
        )

    async def _list_unseen(self) -> None:
        if not self.may_sweep:
            return
        self._unseen = await retry_while_unavailable("list unseen files", lambda: self.sweep.unseen(self.writer))

    def _unreadable(self, error: Exception) -> SourceUnreadable:
        if isinstance(error, SourceUnreadable):
            return SourceUnreadable(f"{str(error).removesuffix(_INTACT)}{_INTACT}")
        # The text of an OSError names the path of the mount, which users do not know.
        reason = error.strerror if isinstance(error, OSError) else None
        return SourceUnreadable(
            f"{self.job.source} cannot be read ({reason or error}){_INTACT}; bring its disk or share back, then "
            "start the job again"
        )

    def _unstable(self, times: int) -> SourceChanged:
        return SourceChanged(
            f"{self.job.source} was replaced or away {times} times while it was read{_INTACT}; start the job "
            "again when it is stable"
        )

    async def _list_again(self, *, trusting: bool) -> None:
        log.warning("listing again", extra={"source": self.job.source, "changes": self._replacements})
        now = Progress(Phase.EMBEDDING, 10, f"Scanning again: {self.job.source} changed while it was read")
        await self.begin_stage(now)
        try:
            entries = await self._scan()
        except (ScanFailed, SourceUnreadable):
            await self.check()  # it went away meanwhile
            raise
        if not trusting:
            self._confirmed = None  # that was about what was here before
        await self._refuse_mass_deletion(entries)
        self._scan_result = scan_result_of(entries)
        more = await retry_while_unavailable(
            "make the list again",
            lambda: self.relist.extend(self.writer, entries, trusting=trusting, uncertain=_RETRYABLE),
        )
        # Not before: an attempt that begins here with the new mark would take the old list for its files.
        await self._record_listed()
        log.info("listed again", extra={"files": len(entries), "more": more})

    async def _scan(self) -> list[ScanEntry]:
        spec, checkout = self.spec, self.checkout
        self._listed_at = time.time()
        entries = await self._ask(
            lambda: scan(
                checkout.folder, boundary=checkout.boundary, roots=checkout.roots,
                include=spec.include, exclude=spec.exclude, report=self.reporter.scanning,
                secrets=self.settings.secrets, name=self.job.source,
            )
        )  # fmt: skip
        log.info("scanned", extra={"files": len(entries)})
        return entries

    async def _refuse_mass_deletion(self, entries: list[ScanEntry]) -> None:
        commit = self.checkout.commit
        if not self.may_sweep or not may_miss_files(entries, commit):
            return
        index_id = self.writer.index_id
        expected = await retry_while_unavailable("count files", lambda: self.sweep.count(index_id))
        had = "its index has"
        if self._confirmed is not None and self._confirmed < expected:
            expected, had = self._confirmed, "when this job began it held"
        if is_mass_deletion(entries, commit, expected):
            raise SourceChanged(
                f"{self.job.source} holds {count_files(entries):,} files to index, and {had} {expected:,}: more "
                f"than half is missing, and git does not say that it was deleted{_INTACT}; bring the files back "
                "or, if they were deleted on purpose, start a job with force_reindex"
            )

    async def _record_listed(self) -> None:
        """Record the commit and the mark of what was listed."""
        self._mark = self.checkout.mark
        await self._record_commit(self.checkout.commit, self._mark)

    async def _record_commit(self, commit: str | None, mark: str | None) -> None:
        job_id, attempt = self.job.id, self.settings.attempt
        await retry_while_unavailable("set commit", lambda: self.jobs.set_commit(job_id, attempt, commit, mark))

    async def _reopen(self) -> Checkout:
        """Open the source again, waiting while it is away and, once per attempt, while git changes it."""
        began = time.monotonic()
        git_wait = 0.0 if self._git_wait_used or self._head_moves == MAX_HEAD_MOVES else GIT_WAIT_SECONDS
        arguments = (self.spec, self.settings.policy, self.settings.work_dir, self.checkout)
        while True:
            elapsed = time.monotonic() - began
            try:
                now = await self._ask_with_timeout(lambda: reopen(*arguments))
            except (SourceUnreadable, OSError) as error:
                if elapsed > MAX_ABSENCE_SECONDS:
                    raise self._unreadable(error) from error
            except SourceRefused as error:
                if elapsed > MAX_ABSENCE_SECONDS:
                    raise SourceChanged(
                        f"{self.job.source} went away while it was read ({error}){_INTACT}; bring it back, then "
                        "start the job again"
                    ) from error
            else:
                if not now.busy or elapsed >= git_wait:
                    return now
            await asyncio.sleep(_RETRY_SECONDS)

    async def _ask_with_timeout(self, question: Callable[[], T], seconds: float = DISK_TIMEOUT_SECONDS) -> T:
        """Ask the disk in a thread: one that hangs must delay neither the heartbeat nor a cancel."""
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(question)
        except TimeoutError as error:
            raise SourceUnreadable(
                f"the disk or share of {self.job.source} has not answered for {seconds:.0f} s; bring it back, "
                f"then start the job again{_INTACT}"
            ) from error

    async def _ask(self, question: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, question)
