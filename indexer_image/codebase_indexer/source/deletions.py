"""Which files were deleted from a repository, proven by a second probe; nothing else is removed from an index.

A file that a job did not see may be deleted. It may also be on an unmounted share, below a folder that is no
longer readable, or in a repository that was moved aside for a moment. Unreadable does not mean deleted.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from pathlib import Path

from codebase_index.beneath import Tree, is_path_traversal
from codebase_index.store.ingest.sweep import UnseenFile
from codebase_index.store.ingest.work import ScanEntry
from codebase_indexer.content.skipping import MAX_FILE_BYTES, UNCERTAIN, Skip

ScanResult = Mapping[str, str | None]
"""Path -> skip reason, None for files to index."""


_DOUBTFUL = UNCERTAIN | {Skip.SYMLINK, Skip.BEHIND_SYMLINK}
"""Reasons after which a file is removed only if the probe finds it gone: a link may stay for a moment only."""


class Presence(Enum):
    """Whether a file exists."""

    PRESENT = auto()
    ABSENT = auto()  # proven: the folder that would hold it can be listed
    UNKNOWN = auto()  # its folder cannot be listed


def probe(folder: Path, boundary: Path, paths: Iterable[str], listed_at: float) -> dict[str, Presence]:
    """Probe paths below a folder. Raises nothing: an error makes a path UNKNOWN.

    `listed_at` is when the listing began, in seconds since 1970: a link in the place of a folder or a file proves
    nothing if it has come since, as it may go again.
    """
    try:
        with Tree(folder, boundary) as tree:
            prober = _Prober(tree, listed_at)
            return {path: prober.probe(path.encode()) for path in paths}
    except OSError:
        return dict.fromkeys(paths, Presence.UNKNOWN)


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


class _Prober:
    """Probes paths. Caches which folders can be listed: for one pass, not for a whole job."""

    def __init__(self, tree: Tree, listed_at: float) -> None:
        self._tree = tree
        self._listed_at = listed_at
        self._readable: dict[bytes, bool] = {}

    def probe(self, path: bytes) -> Presence:
        """Probe one path."""
        if is_path_traversal(path):
            return Presence.ABSENT  # from an older version: not a file of this repository
        directory = path.rpartition(b"/")[0]
        try:
            found = self._tree.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return Presence.ABSENT if self._is_listable(directory) else Presence.UNKNOWN
        except OSError as error:
            return self._probe_link_to(directory) if error.errno == errno.ELOOP else Presence.UNKNOWN
        if stat.S_ISLNK(found.st_mode):
            return self._judge_link(found)
        return Presence.PRESENT if self._is_listable(directory) else Presence.UNKNOWN

    def _probe_link_to(self, directory: bytes) -> Presence:
        """Probe what lies behind a link: if that is there to stay, whatever it is, no file of this repository."""
        if not directory:
            return Presence.UNKNOWN  # the repository itself is a link now
        try:
            found = self._tree.lstat(directory)
        except OSError as error:
            above = directory.rpartition(b"/")[0]
            return self._probe_link_to(above) if error.errno == errno.ELOOP else Presence.UNKNOWN
        return self._judge_link(found) if stat.S_ISLNK(found.st_mode) else Presence.UNKNOWN

    def _judge_link(self, link: os.stat_result) -> Presence:
        return Presence.ABSENT if link.st_ctime < self._listed_at else Presence.UNKNOWN

    def _is_listable(self, directory: bytes) -> bool:
        """Say whether a folder, or the nearest one above it that exists, can be listed."""
        readable = self._readable.get(directory)
        if readable is None:
            readable = self._readable[directory] = self._read(directory)
        return readable

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
            return bool(directory) and self._is_listable(directory.rpartition(b"/")[0])
        except OSError:
            return False
        return True


def find_deleted(
    unseen: Sequence[UnseenFile], presences: Mapping[str, Presence], scan_result: ScanResult | None
) -> Iterator[UnseenFile]:
    """Yield the unseen files that certainly do not belong in the index any more.

    `presences` are those of the uncertain files. `scan_result` is that of the relisting; without one, a file that
    is present stays.
    """
    for file in unseen:
        # One that was read and is skipped now needs no probe.
        if not is_uncertain(file) or _is_deleted(file, presences[file.path], scan_result):
            yield file


def is_uncertain(file: UnseenFile) -> bool:
    """Say whether a file's current content is unknown."""
    return file.skip_reason is None or file.skip_reason in _DOUBTFUL


def _is_deleted(file: UnseenFile, presence: Presence, scan_result: ScanResult | None) -> bool:
    if presence is not Presence.PRESENT or scan_result is None:
        return presence is Presence.ABSENT
    if file.path not in scan_result:
        return not _is_below_unreadable(file.path, scan_result)  # ignored now, or excluded
    reason = scan_result[file.path]
    return reason is not None and reason not in _DOUBTFUL


def _is_below_unreadable(path: str, scan_result: ScanResult) -> bool:
    """Say whether the scan could not open one of the folders above a file, or found a link in its place."""
    parts = path.split("/")
    return any(scan_result.get("/".join(parts[:depth])) in _DOUBTFUL for depth in range(1, len(parts)))


def scan_result_of(entries: Sequence[ScanEntry]) -> ScanResult:
    """Return a scan's result by path."""
    return {entry.path: entry.skip_reason for entry in entries}


def is_mass_deletion(entries: Sequence[ScanEntry], commit: str | None, indexed: int) -> bool:
    """Say whether so many files are missing from a scan that the user has to confirm their deletion.

    That is more than half of the index, without git's evidence: outside of git there is none, and files that git
    has in its index but not on disk are missing, not deleted.
    """
    return may_miss_files(entries, commit) and 2 * count_files(entries) < indexed


def count_files(entries: Sequence[ScanEntry]) -> int:
    """Return how many files of a scan are to be indexed."""
    return sum(entry.skip_reason is None for entry in entries)


def may_miss_files(entries: Sequence[ScanEntry], commit: str | None) -> bool:
    """Say whether a scan may lack files that nobody has deleted."""
    return commit is None or any(entry.skip_reason == Skip.VANISHED for entry in entries)
