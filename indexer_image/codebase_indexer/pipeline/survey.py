"""What a job sees of its source: it is opened, listed once, and looked at again before anything is removed.

A source may change while it is read: another branch is checked out, a folder is renamed and another one stands in
its place, a share is unmounted. Then the list is made again, on what is there now, and the job goes on with it.
A source that stays away, or is replaced again and again, ends the job with a reason; a repository in which git
does not come to rest is indexed as it was listed last, and nothing is removed. Whichever it is, the index keeps
every file of which nobody has seen that it is gone.
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
from codebase_index.store.ingest.chunks import Writer
from codebase_index.store.ingest.cross_index_copy import Sharing
from codebase_index.store.ingest.relist import Relist
from codebase_index.store.ingest.reuse import Reuse, Unproven
from codebase_index.store.ingest.sweep import Sweep, Unseen
from codebase_index.store.ingest.work import Entry, Work
from codebase_index.store.jobs.jobs import Jobs, Progress
from codebase_index.store.jobs.rows import JobRow
from codebase_indexer.chunking.languages import same_kind
from codebase_indexer.content.skipping import UNCERTAIN, Skip
from codebase_indexer.database_retry import retry_while_unavailable
from codebase_indexer.progress import messages
from codebase_indexer.progress.reporter import ProgressReporter
from codebase_indexer.settings import Settings
from codebase_indexer.source.checkout import Checkout, SourceChanged, open_source, reopen
from codebase_indexer.source.deletions import (
    Listing,
    Sight,
    any_readable,
    gone,
    is_suspicious,
    is_uncertain,
    is_unvouched,
    listing_of,
    look,
)
from codebase_indexer.source.disk_space import Room
from codebase_indexer.source.git_stat import proven
from codebase_indexer.source.scan import ScanFailed, scan

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_CHANGES = 4
"""How often a source may be away, or be replaced, under one attempt until it is said that it does not stay."""

MAX_MOVES = 4
"""How often one attempt lists a repository again because HEAD moved: whoever commits every few seconds goes on."""

AWAY_SECONDS = 15.0
"""How long a source may be away: a folder is replaced in an instant, a share is mounted again in seconds."""

BUSY_SECONDS = 120.0
"""How long an attempt waits for git at the end: a checkout of a large repository takes a minute. An editor that is
open for a message, a hook, or a lock that a crash left behind may take any time."""

ANSWER_SECONDS = 30.0
"""Within which a disk has to say whether a folder is there."""

DISK_THREADS = 4
"""For questions to the disk, and for nothing else: they wait neither for an embedding service nor it for them."""

MAX_LOST = 10_000
"""Files that could not be read, of which each is tried again; if there are more, the list is made anew."""

_RETRY_SECONDS = 0.5
_LOOK_SECONDS = 10 * ANSWER_SECONDS

_WORTH_A_LOOK = UNCERTAIN - {Skip.STALLED, Skip.CRASHED}
"""Reasons that may not hold any more. A file that ends its process would do so again, and one whose disk does not
answer costs half a minute each time: that is the next job's."""

_KEPT = "; the index keeps what it had"


class SourceMoved(Exception):
    """What was read just now may not be of the folder that was opened: it must not be written."""


@dataclass
class Survey:
    """The source of one attempt. `enter` begins a stage and says so."""

    settings: Settings
    spec: IndexingJobSpec
    job: JobRow
    jobs: Jobs
    work: Work
    relist: Relist
    sweep: Sweep
    sharing: Sharing
    reporter: ProgressReporter
    begin_stage: Callable[[Progress], Awaitable[None]]
    checkout: Checkout = field(init=False)
    writer: Writer = field(init=False)
    _mark: str | None = field(init=False)  # of what was listed last
    _listing: Listing | None = field(default=None, init=False)  # of the second look
    _doubted: bool = field(default=False, init=False)  # whether there was a second look for the files' sake
    _unseen: list[Unseen] = field(default_factory=list, init=False)
    _listed_here: bool = field(default=False, init=False)  # whether this attempt made the first list
    unsettled: bool = field(default=False, init=False)
    """Whether git was at work to the end: nobody knows of which commit the files are, nor which are gone."""
    _changes: int = field(default=0, init=False)
    _moves: int = field(default=0, init=False)
    _tired: bool = field(default=False, init=False)  # of waiting for git: it has listed meanwhile
    _interruptions: int = field(default=0, init=False)
    _disk: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(DISK_THREADS, "disk"), init=False, repr=False
    )

    @property
    def changed(self) -> bool:
        """Whether the source became another one, so that files may be done that are done already."""
        return self._changes + self._moves > 0

    @property
    def sweeps(self) -> bool:
        """Whether what the job does not see may be gone. Not from the index of another target: in release 0.1.0
        jobs with other filters shared one.
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
                    room=Room(self.settings.work_bytes),
                )
            )  # fmt: skip
        except OSError as error:
            raise self._unreadable(error) from error
        self._mark = job.source_mark
        if self.settings.leads and job.files_total is None:
            await self._note_listed()

    async def list_files(self) -> list[Entry] | None:
        """List the files; None: an earlier attempt froze its list, or this is a helper."""
        if not self.settings.leads or self.job.files_total is not None:
            return None
        await self.begin_stage(messages.scanning(0, 0))
        self._listed_here = True
        return await self._scan()

    async def freeze(self, writer: Writer, entries: list[Entry] | None) -> None:
        """Freeze the list, taking over what the index holds already, which others may fill before.

        Raises SourceChanged when the list is much shorter than the index, and nobody says that this is right.
        """
        self.writer = writer
        if entries is None:
            return
        if not self.spec.force_reindex:
            await self._refuse_suspicious(entries)
        reuse = None
        if not self.spec.force_reindex:
            unreadable = frozenset(entry.path for entry in entries if entry.skip_reason == Skip.UNREADABLE)
            reuse = Reuse(writer.index_id, writer.fingerprint, same_kind, unreadable, gone={})
            await self._copy(entries)
        while True:
            try:
                await self._freeze_once(entries, reuse)
            except Unproven as moved:
                assert reuse and reuse.gone is not None
                sights = await self._look(moved.paths)
                proven_gone = {path: sight is Sight.GONE for path, sight in sights.items()}
                reuse = replace(reuse, gone={**reuse.gone, **proven_gone})
            else:
                return

    async def _freeze_once(self, entries: Sequence[Entry], reuse: Reuse | None) -> None:
        fence = (self.writer.job_id, self.writer.attempt)
        await retry_while_unavailable("freeze", lambda: self.work.freeze(*fence, entries, reuse))

    async def _copy(self, entries: Sequence[Entry]) -> None:
        """Fill the index with what others hold of the scan: the freeze finds it there like what is unchanged."""
        checkout = self.checkout

        def prove(named: Sequence[Entry]) -> Sequence[Entry]:
            return named if checkout.own else proven(checkout.folder, checkout.boundary, named)

        copied = await retry_while_unavailable(
            "copy from other indexes",
            lambda: self.sharing.adopt(self.writer, entries, self.reporter.copying, prove),
        )
        for one in copied:
            log.info("copied", extra={"files": one.files, "repository": one.source, "ref": one.ref})

    async def check(self) -> None:
        """Make sure that what was just read is of the folder that was opened.

        Raises SourceMoved when it may not be, and SourceUnreadable when the disk does not answer.
        """
        if not self.checkout.own and not await self._answer(self.checkout.is_there):
            raise SourceMoved(f"{self.job.source} is not the folder any more that was opened, or cannot be read")

    async def interrupted(self, why: SourceMoved) -> None:
        """Wait until the source is there again, and list it again if it is another one.

        Raises SourceChanged or SourceUnreadable when it stays away, or does not come to rest.
        """
        log.warning("interrupted", extra={"source": self.job.source, "reason": str(why)})
        self._interruptions += 1
        if self._interruptions > MAX_CHANGES:
            raise self._unsteady(self._interruptions)
        with contextlib.suppress(SourceMoved):  # the next round meets it again
            await self.again()

    async def again(self) -> bool:
        """Look at the source again. Return whether the list was made again: there may be more to do then.

        Raises SourceMoved, and SourceChanged or SourceUnreadable when the source is away or does not come to rest.
        """
        before, self.checkout = self.checkout, await self._settled()
        now = self.checkout
        self.unsettled = False
        # What git was still writing when it was listed was listed in part, and has no mark.
        if now.own or (now.mark is not None and now.mark == self._mark):
            return await self._doubt()
        if now.identity != before.identity:
            self._changes += 1
            if self._changes > MAX_CHANGES:
                raise self._unsteady(self._changes)
        elif self._moves == MAX_MOVES or (now.busy and self._tired):
            await self._give_up_on_rest()
            return False
        else:
            self._moves += 1
        self._tired |= now.busy
        await self._list_again(trusting=False)
        return True

    async def _doubt(self) -> bool:
        """List again, once, if a file may be there that the list has not, or has as not readable."""
        if self._doubted or not await self._is_in_doubt():
            return False
        self._doubted = True
        await self._list_again(trusting=True)
        return True

    async def _give_up_on_rest(self) -> None:
        """Go on with the last list. A later attempt, if there is one, makes its own."""
        log.warning("git does not come to rest", extra={"source": self.job.source, "moves": self._moves})
        self.unsettled = True
        await self._note(None, None)

    async def gone(self) -> tuple[list[Unseen], int]:
        """Return what of the index is gone from the source, and how many unseen files stay in it.

        Raises SourceMoved when the source changed meanwhile.
        """
        if self._doubted or self.unsettled:
            await self._list_unseen()  # some of them may be seen now
        unseen = self._unseen
        if not unseen or self.unsettled:
            return [], len(unseen)
        removable = list(gone(unseen, await self._look_for_unseen(), self._listing))
        await self.check()  # what was looked at is what was opened
        return removable, len(unseen) - len(removable)

    async def _is_in_doubt(self) -> bool:
        """Say whether a file may be there that the list has not, or has as not readable."""
        job_id = self.job.id
        lost = await retry_while_unavailable(
            "find lost files", lambda: self.relist.lost(job_id, _WORTH_A_LOOK, MAX_LOST)
        )
        await self._list_unseen()
        if len(lost) == MAX_LOST or (self._unseen and not self._listed_here):
            return True
        unreadable = [path for path, reason in lost.items() if reason == Skip.UNREADABLE]
        if len(unreadable) < len(lost):
            return True  # what vanished may be elsewhere now
        folder, boundary = self.checkout.folder, self.checkout.boundary
        readable = await self._answer(lambda: any_readable(folder, boundary, unreadable), _LOOK_SECONDS)
        if readable:
            return True
        # What nobody can tell of now a second list would not tell either: it stays, without one in every job.
        hopeless = {file.path for file in self._unseen if file.skip_reason in UNCERTAIN - _WORTH_A_LOOK}
        hopeless.update(unreadable)
        sights = await self._look_for_unseen()
        return any(sight is Sight.THERE for path, sight in sights.items() if path not in hopeless)

    async def _look_for_unseen(self) -> dict[str, Sight]:
        """Look for the unseen files of which nobody knows what is in them now."""
        return await self._look([file.path for file in self._unseen if is_uncertain(file)])

    async def _look(self, paths: Sequence[str]) -> dict[str, Sight]:
        folder, boundary = self.checkout.folder, self.checkout.boundary
        return await self._answer(lambda: look(folder, boundary, paths), _LOOK_SECONDS)

    async def _list_unseen(self) -> None:
        if not self.sweeps:
            return
        self._unseen = await retry_while_unavailable("list unseen files", lambda: self.sweep.unseen(self.writer))

    def _unreadable(self, error: Exception) -> SourceUnreadable:
        if isinstance(error, SourceUnreadable):
            return SourceUnreadable(f"{str(error).removesuffix(_KEPT)}{_KEPT}")
        return SourceUnreadable(
            f"{self.job.source} cannot be read ({error}){_KEPT}; bring its disk or share back, then start the job "
            "again"
        )

    def _unsteady(self, times: int) -> SourceChanged:
        return SourceChanged(
            f"{self.job.source} was replaced or away {times} times while it was read{_KEPT}; start the job again "
            "when it stays"
        )

    async def _list_again(self, *, trusting: bool) -> None:
        log.warning("listing again", extra={"source": self.job.source, "changes": self._changes})
        now = Progress(Phase.EMBEDDING, 10, f"Scanning again: {self.job.source} changed while it was read")
        await self.begin_stage(now)
        try:
            entries = await self._scan()
        except (ScanFailed, SourceUnreadable):
            await self.check()  # it went away meanwhile
            raise
        # The user's word is for the source that this attempt opened first; another node may show an empty one.
        if not (trusting and self._listed_here and self.spec.force_reindex):
            await self._refuse_suspicious(entries)
        self._listing = listing_of(entries)
        more = await retry_while_unavailable(
            "make the list again",
            lambda: self.relist.extend(self.writer, entries, trusting=trusting, uncertain=_WORTH_A_LOOK),
        )
        # Not before: an attempt that begins here with the new mark would take the old list for its files.
        await self._note_listed()
        log.info("listed again", extra={"files": len(entries), "more": more})

    async def _scan(self) -> list[Entry]:
        spec, checkout = self.spec, self.checkout
        entries = await self._ask(
            lambda: scan(
                checkout.folder, boundary=checkout.boundary, roots=checkout.roots,
                include=spec.include, exclude=spec.exclude, report=self.reporter.scanning,
                skip_secrets=self.settings.secrets.leave_out,
            )
        )  # fmt: skip
        log.info("scanned", extra={"files": len(entries)})
        return entries

    async def _refuse_suspicious(self, entries: list[Entry]) -> None:
        commit = self.checkout.commit
        if not self.sweeps or not is_unvouched(entries, commit):
            return
        index_id = self.writer.index_id
        indexed = await retry_while_unavailable("count files", lambda: self.sweep.count(index_id))
        if is_suspicious(entries, commit, indexed):
            found = sum(entry.skip_reason is None for entry in entries)
            raise SourceChanged(
                f"{self.job.source} holds {found:,} files to index, and its index has {indexed:,}: more than half "
                f"is missing, and git does not say that it was deleted{_KEPT}; bring the files back or, if they "
                "were deleted on purpose, start a job with force_reindex"
            )

    async def _note_listed(self) -> None:
        """Note what the list is of."""
        self._mark = self.checkout.mark
        await self._note(self.checkout.commit, self._mark)

    async def _note(self, commit: str | None, mark: str | None) -> None:
        job_id, attempt = self.job.id, self.settings.attempt
        await retry_while_unavailable("set commit", lambda: self.jobs.set_commit(job_id, attempt, commit, mark))

    async def _settled(self) -> Checkout:
        """Open the source again, waiting while it is away and, but only once, while git is at work in it."""
        began = time.monotonic()
        patience = 0.0 if self._tired or self._moves == MAX_MOVES else BUSY_SECONDS
        arguments = (self.spec, self.settings.policy, self.settings.work_dir, self.checkout)
        while True:
            waited = time.monotonic() - began
            try:
                now = await self._answer(lambda: reopen(*arguments))
            except (SourceUnreadable, OSError) as error:
                if waited > AWAY_SECONDS:
                    raise self._unreadable(error) from error
            except SourceRefused as error:
                if waited > AWAY_SECONDS:
                    raise SourceChanged(
                        f"{self.job.source} went away while it was read ({error}){_KEPT}; bring it back, then "
                        "start the job again"
                    ) from error
            else:
                if not now.busy or waited >= patience:
                    return now
            await asyncio.sleep(_RETRY_SECONDS)

    async def _answer(self, question: Callable[[], T], seconds: float = ANSWER_SECONDS) -> T:
        """Ask the disk in a thread: one that hangs must hold up neither the heartbeat nor a cancel."""
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(question)
        except TimeoutError as error:
            raise SourceUnreadable(
                f"the disk or share of {self.job.source} has not answered for {seconds:.0f} s; bring it back, "
                f"then start the job again{_KEPT}"
            ) from error

    async def _ask(self, question: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, question)
