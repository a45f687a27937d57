"""A job's view of its source: it is opened, listed, and checked again before anything is removed.

A source may change while it is read: another branch is checked out, a folder is replaced, a share is unmounted.
The job then lists the source again and goes on with the new list. A source that stays away, or is replaced again
and again, fails the job; a repository that git keeps changing is indexed as it was listed last, and nothing is
removed. In every case the index keeps each file that is not known to be deleted.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from codebase_index.api.job import Phase
from codebase_index.api.resource import IndexingJobSpec
from codebase_index.api.source_policy import SourceUnreadable
from codebase_index.languages import same_kind
from codebase_index.store.ingest.chunks import Writer
from codebase_index.store.ingest.cross_index_copy import CrossIndexCopy
from codebase_index.store.ingest.relist import Relist
from codebase_index.store.ingest.reuse import Reuse, UnverifiedMoves
from codebase_index.store.ingest.sweep import Sweep, UnseenFile
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.jobs.jobs import Jobs, Progress
from codebase_index.store.jobs.rows import JobRow
from codebase_indexer.content.skipping import Skip
from codebase_indexer.database_retry import retry_while_unavailable
from codebase_indexer.progress import messages
from codebase_indexer.progress.reporter import ProgressReporter
from codebase_indexer.settings import Settings
from codebase_indexer.source.checkout import Checkout, SourceChanged
from codebase_indexer.source.deletions import Presence, ScanResult, count_files, scan_result_of
from codebase_indexer.source.git_stat import verify_blobs
from codebase_indexer.source.scan import ScanFailed
from codebase_indexer.survey.deletion_check import RETRYABLE, DeletionCheck
from codebase_indexer.survey.open_source import INTACT, OpenSource, SourceInterrupted

log = logging.getLogger(__name__)

MAX_REPLACEMENTS = 4
"""How often a source may be away, or be replaced, before the attempt fails the job as SourceChanged."""

MAX_HEAD_MOVES = 4
"""How often one attempt lists a repository again because HEAD moved: somebody may commit every few seconds."""

GIT_WAIT_SECONDS = 120.0
"""How long an attempt waits for git at the end: a checkout of a large repository takes a minute, while an open
editor, a hook, or the lock of a crashed git may take any time."""


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
    writer: Writer = field(init=False)
    _mark: str | None = field(init=False)  # of what was listed last
    _scan_result: ScanResult | None = field(default=None, init=False)  # of the last relisting
    _rechecked: bool = field(default=False, init=False)  # whether doubtful files caused a relisting
    _listed_here: bool = field(default=False, init=False)  # whether this attempt made the first list
    unsettled: bool = field(default=False, init=False)
    """Whether git was changing the repository to the end: neither its commit nor its deletions are known."""
    _replacements: int = field(default=0, init=False)
    _head_moves: int = field(default=0, init=False)
    _git_wait_used: bool = field(default=False, init=False)  # whether the wait for git is used up
    _interruptions: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._source = OpenSource(self.settings, self.spec, self.job)
        # Not from the index of another target: in release 0.1.0 jobs with other filters shared one.
        may_sweep = self.job.target == self.spec.target
        self._deletions = DeletionCheck(self._source, self.relist, self.sweep, may_sweep)

    @property
    def checkout(self) -> Checkout:
        """The source as it was opened last."""
        return self._source.checkout

    @property
    def changed(self) -> bool:
        """Whether the source changed, so that files of the list may already be done."""
        return self._replacements + self._head_moves > 0

    async def open(self) -> None:
        """Open or fetch the source; a later attempt fetches the commit that the first one saw."""
        job = self.job
        fetch = self.spec.source.git is not None or self.spec.ref is not None
        await self.begin_stage(messages.opening(job.source, fetch=fetch))
        await self._source.open(job.commit if fetch else None)
        self._mark = job.source_mark
        if self.settings.is_leader and job.files_total is None:
            await self._record_listed()

    async def list_files(self) -> list[ScanEntry] | None:
        """List the files; None: an earlier attempt froze its list, or this is a worker."""
        if not self.settings.is_leader or self.job.files_total is not None:
            return None
        await self.begin_stage(messages.scanning(0, 0))
        self._listed_here = True
        entries = await self._source.scan(self.reporter.scanning)
        if self.spec.force_reindex:
            self._deletions.confirmed = count_files(entries)
        return entries

    async def freeze(self, writer: Writer, entries: list[ScanEntry] | None) -> None:
        """Freeze the work list, reusing unchanged files of this index and equal files copied from others.

        Raises SourceChanged when the list is much shorter than the index without a confirmation.
        """
        self.writer = writer
        if entries is None:
            return
        if not self.spec.force_reindex:
            await self._deletions.refuse_mass_deletion(writer, entries)
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
                presences = await self._source.probe(moved.paths)
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
        await self._source.check()

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
        before = self.checkout
        may_wait = not self._git_wait_used and self._head_moves < MAX_HEAD_MOVES
        now = await self._source.reopen(GIT_WAIT_SECONDS if may_wait else 0.0)
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
        if self._rechecked or not await self._deletions.needs_recheck(self.writer, listed_here=self._listed_here):
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
            await self._deletions.list_unseen(self.writer)  # some of them may be seen now
        if self.unsettled:
            return [], len(self._deletions.unseen)
        return await self._deletions.find_deleted(self._scan_result)

    def _unstable(self, times: int) -> SourceChanged:
        return SourceChanged(
            f"{self.job.source} was replaced or away {times} times while it was read{INTACT}; start the job "
            "again when it is stable"
        )

    async def _list_again(self, *, trusting: bool) -> None:
        log.warning("listing again", extra={"source": self.job.source, "changes": self._replacements})
        now = Progress(Phase.EMBEDDING, 10, f"Scanning again: {self.job.source} changed while it was read")
        await self.begin_stage(now)
        try:
            entries = await self._source.scan(self.reporter.scanning)
        except (ScanFailed, SourceUnreadable):
            await self.check()  # it went away meanwhile
            raise
        if not trusting:
            self._deletions.confirmed = None  # that was about what was here before
        await self._deletions.refuse_mass_deletion(self.writer, entries)
        self._scan_result = scan_result_of(entries)
        more = await retry_while_unavailable(
            "make the list again",
            lambda: self.relist.extend(self.writer, entries, trusting=trusting, uncertain=RETRYABLE),
        )
        # Not before: an attempt that begins here with the new mark would take the old list for its files.
        await self._record_listed()
        log.info("listed again", extra={"files": len(entries), "more": more})

    async def _record_listed(self) -> None:
        """Record the commit and the mark of what was listed."""
        self._mark = self.checkout.mark
        await self._record_commit(self.checkout.commit, self._mark)

    async def _record_commit(self, commit: str | None, mark: str | None) -> None:
        job_id, attempt = self.job.id, self.settings.attempt
        await retry_while_unavailable("set commit", lambda: self.jobs.set_commit(job_id, attempt, commit, mark))
