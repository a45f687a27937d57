"""What is gone from a repository, proven by a second look; nothing else is removed from an index.

A file that a job did not see may be deleted. It may as well be on a share that is away, behind a folder that
nobody may enter any more, or in a repository that was moved aside for a moment. What cannot be read is not what
was deleted.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from pathlib import Path

from codebase_index.store.ingest.sweep import Unseen
from codebase_index.store.ingest.work import Entry
from codebase_indexer.confinement.beneath import Tree, leads_out
from codebase_indexer.content.skipping import MAX_FILE_BYTES, UNCERTAIN, Skip

Listing = Mapping[str, str | None]
"""What a scan found: path -> why it is skipped, None for files to index."""


class Sight(Enum):
    """What a look at a path says."""

    THERE = auto()
    GONE = auto()  # it is not there, and the folder that would hold it can be read
    UNKNOWN = auto()  # nobody can tell


def look(folder: Path, boundary: Path, paths: Iterable[str]) -> dict[str, Sight]:
    """Look at paths below a folder. No error is raised: of what it hides, nobody can tell."""
    try:
        with Tree(folder, boundary) as tree:
            eye = _Eye(tree)
            return {path: eye.look(path.encode()) for path in paths}
    except OSError:
        return dict.fromkeys(paths, Sight.UNKNOWN)


def any_readable(folder: Path, boundary: Path, paths: Iterable[str]) -> bool:
    """Say whether one of these files can be read now, to its end."""
    try:
        with Tree(folder, boundary) as tree:
            return any(_is_readable(tree, path.encode()) for path in paths)
    except OSError:
        return False


def _is_readable(tree: Tree, path: bytes) -> bool:
    try:
        tree.read(path, MAX_FILE_BYTES + 1)
    except OSError:
        return False
    return True


class _Eye:
    """Looks at paths. Remembers which folders can be read: for one look, not for a whole job."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._readable: dict[bytes, bool] = {}

    def look(self, path: bytes) -> Sight:
        """Look at one path."""
        if leads_out(path):
            return Sight.GONE  # an older version took it in: whatever is there, it is no file of this repository
        directory, _, name = path.rpartition(b"/")
        try:
            parent = self._tree.directory(directory)
            try:
                os.stat(name, dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(parent)
        except (FileNotFoundError, NotADirectoryError):
            return Sight.GONE if self._can_be_read(directory) else Sight.UNKNOWN
        except OSError as error:
            # Behind a link: whatever is there, it is no file of this repository.
            return Sight.GONE if error.errno == errno.ELOOP else Sight.UNKNOWN
        return Sight.THERE if self._can_be_read(directory) else Sight.UNKNOWN

    def _can_be_read(self, directory: bytes) -> bool:
        """Say whether a folder can be listed or, where it is gone, the nearest one above it that is not."""
        known = self._readable.get(directory)
        if known is None:
            known = self._readable[directory] = self._read(directory)
        return known

    def _read(self, directory: bytes) -> bool:
        try:
            named = self._tree.directory(directory)
            try:
                opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=named)
            finally:
                os.close(named)
            try:
                with os.scandir(opened) as entries:
                    any(False for _ in entries)  # to its end: a disk may fail anywhere
            finally:
                os.close(opened)
        except (FileNotFoundError, NotADirectoryError):
            return bool(directory) and self._can_be_read(directory.rpartition(b"/")[0])
        except OSError:
            return False
        return True


def gone(unseen: Sequence[Unseen], sights: Mapping[str, Sight], listing: Listing | None) -> Iterator[Unseen]:
    """Yield those of an index's unseen files that are surely not to be in it any more.

    `sights` are those of the uncertain ones. `listing` is that of the second look, None where there was none: then
    a file that is there stays.
    """
    for file in unseen:
        # One that was read, and is nothing to index now, need not be looked at.
        if not is_uncertain(file) or _is_gone(file, sights[file.path], listing):
            yield file


def is_uncertain(file: Unseen) -> bool:
    """Say whether a job has not seen what is in a file now."""
    return file.skip_reason is None or file.skip_reason in UNCERTAIN


def _is_gone(file: Unseen, sight: Sight, listing: Listing | None) -> bool:
    if sight is not Sight.THERE or listing is None:
        return sight is Sight.GONE
    if file.path not in listing:
        return not _lies_in_the_dark(file.path, listing)  # ignored now, or excluded
    reason = listing[file.path]
    return reason is not None and reason not in UNCERTAIN


def _lies_in_the_dark(path: str, listing: Listing) -> bool:
    """Say whether a listing could not open one of the folders that a file is in."""
    parts = path.split("/")
    return any(listing.get("/".join(parts[:depth])) in UNCERTAIN for depth in range(1, len(parts)))


def listing_of(entries: Sequence[Entry]) -> Listing:
    """Return a scan's result by path."""
    return {entry.path: entry.skip_reason for entry in entries}


def is_suspicious(entries: Sequence[Entry], commit: str | None, indexed: int) -> bool:
    """Say whether a scan finds so much less than the index has that somebody has to say that this is right.

    Less than half, and not by git's word: outside of git nobody says that the rest was deleted, and files that git
    has in its index but not on disk are missing.
    """
    found = sum(entry.skip_reason is None for entry in entries)
    return is_unvouched(entries, commit) and 2 * found < indexed


def is_unvouched(entries: Sequence[Entry], commit: str | None) -> bool:
    """Say whether files may be missing from a scan that nobody has deleted."""
    return commit is None or any(entry.skip_reason == Skip.VANISHED for entry in entries)
