"""One look at the files of a repository: which of them are newer than its index. It runs in a thread.

The look reads the times of the indexed files, of the folders that hold them, and of what git writes when HEAD
moves; only what was written since the index was read is opened and compared. The times are those of the inode
(ctime), which no program sets: a file that was restored with its old time of modification is seen, too. What lies
in a folder that was itself moved to its place has older times than that, so it is compared however old it is.

Every path is opened beneath the repository's root, as the indexer opens it (`codebase_index.beneath`), and a
folder once for all of its files. What a look costs is in docs/decisions/0020-freshness-by-looking.md. git's rules
of what is ignored are not applied: a new text that is none of the index counts as newer once, and no more when a
completed job has left it out. Binaries, as compilers write them, never do. What cannot be read is told apart: no
job could read it, either, so it is nothing to index again for.
"""

import codecs
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from codebase_index.api.source_policy import ABSENT_ERRNOS, SourceRefused
from codebase_index.beneath import Tree
from codebase_index.blob import blob_id
from codebase_index.repository.repository import Repository, head_commit

MAX_COMPARED = 2000
"""Files written since then whose content is compared in one look; of more, those after them count as newer. So
many since a repository may be cloned a moment before it is indexed; what was equal is not read again."""

MAX_NEW_ENTRIES: Final = 200
"""Entries of new folders that are looked at for files, and new entries that are kept in mind."""

CLOCK_TOLERANCE: Final = 1.0
"""Seconds: the kernel stamps files by a coarser clock than the database's, which `since` is of."""

_MAX_FILE_BYTES: Final = 2 * 2**20
_INDEX_HEADER_BYTES: Final = 12
_HEAD_BYTES: Final = 8192
"""Where git, and the indexer, look for a NUL byte."""

_PACKED_REFS_BYTES: Final = 4 * 2**20
"""Of packed references that a look reads: 50,000 of them."""

HEAD: Final = ".git/HEAD"
"""Stands for a HEAD that has moved."""

_UNREADABLE: Final = frozenset({errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE})
"""Errors of a file that is there. Any other one is of what took its place, or of this process."""

Stamp = int | None
"""When an entry was last changed, in nanoseconds; None: it is gone."""


@dataclass(frozen=True)
class Newer:
    """What of a repository is newer than its index: files by path, and HEAD where that has moved.

    Equal stamps are the same state of the files. `unreadable` are files that were written, or shut, since
    they were indexed: whether they are newer nobody can tell.
    """

    stamps: Mapping[str, Stamp]
    unreadable: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        """How many files."""
        return len(self.stamps)

    @property
    def first(self) -> str:
        """The first of them."""
        return next(iter(self.stamps))


@dataclass
class WorkingTree:
    """The files of an index as they lie in a folder, and what was seen of them. Not for two threads at once.

    `since` is the time before which everything is in the index, in seconds; nothing is opened outside of
    `boundary`, by default the folder; `repository` is looked at for HEAD, which was at `commit`.
    """

    folder: Path
    files: Mapping[str, bytes]
    since: float
    repository: Repository | None = None
    commit: str | None = None
    boundary: Path | None = None
    unsettled: set[str] = field(default_factory=set)
    """New entries to look at again: they were empty, or being written, when a completed job left them out."""
    left_out: set[str] = field(default_factory=set)
    """New entries that a completed job has not taken up: git ignores them, or the indexer does."""
    _new: set[str] = field(default_factory=set)
    _equal: dict[str, int] = field(default_factory=dict)
    _tracked: int | None = None
    """How many files git tracked when nothing was newer."""

    def __post_init__(self) -> None:
        self._folders = _by_folder(self.files)
        self._from = int((self.since - CLOCK_TOLERANCE) * 1e9)

    def after(self, before: "WorkingTree | None") -> "WorkingTree":
        """Return this one with what was learnt of the same folder before the job that has just completed."""
        if before is not None:
            missing = {path for path in before._new | before.unsettled if not self._has(path)}
            with self._open() as tree:
                self.unsettled = {path for path in missing if self._may_come(tree, path)}
            self.left_out = {path for path in before.left_out | missing if not self._has(path)} - self.unsettled
            self._tracked = before._tracked
        return self

    def look(self) -> Newer | None:
        """Return what is newer now or cannot be read, or None. Raises OSError if the boundary cannot be opened."""
        with self._open() as tree:
            look = _Look(self, tree)
            stamps = look.newer_files()
        stamps |= self._git_changes(bool(stamps))
        return Newer(stamps, frozenset(look.unreadable)) if stamps or look.unreadable else None

    def _open(self) -> Tree:
        return Tree(self.folder, self.boundary)

    def _has(self, path: str) -> bool:
        return path in self.files or path in self._folders

    def _may_come(self, tree: Tree, path: str) -> bool:
        found = _found(tree, path)
        if found is None:
            return False
        return found.st_ctime_ns > self._from or _is_empty(tree, path, found) or _is_unreadable(tree, path)

    def _git_changes(self, anything_newer: bool) -> dict[str, Stamp]:
        """Return what says that HEAD has moved, or that git tracks more or fewer files."""
        if self.repository is None:
            return {}
        try:
            with self.repository.roots.tree(self.repository.git_dir) as git:
                return self._compared_with(git, self.repository, anything_newer)
        except (SourceRefused, OSError):
            return {}  # nobody can tell

    def _compared_with(self, git: Tree, repository: Repository, anything_newer: bool) -> dict[str, Stamp]:
        moved = max(_ctime(git, "HEAD"), _ctime(git, "logs/HEAD"))
        tracked = _tracked_files(git)
        if moved > self._from and head_commit(repository, _PACKED_REFS_BYTES) != self.commit:
            return {HEAD: moved}
        if _ctime(git, "index") > self._from and self._tracked not in (None, tracked):
            return {".git/index": tracked}
        if not anything_newer:
            self._tracked = tracked
        return {}


class _Look:
    """One look at the files of a working tree, folder by folder."""

    def __init__(self, of: WorkingTree, tree: Tree) -> None:
        self._of = of
        self._tree = tree
        self._compared = 0
        self._moved: dict[str, int] = {}
        """When a folder, or one that it lies in, was moved to its place."""
        self._written: dict[str, int] = {}
        """Folders whose entries may be others than before, and since when an entry there is a new one."""
        self.unreadable: set[str] = set()
        """Files that are new or were changed, and that cannot be read."""

    def newer_files(self) -> dict[str, Stamp]:
        stamps: dict[str, Stamp] = {}
        for folder, paths in self._of._folders.items():
            stamps |= dict(self._of_folder(folder, paths))
        return stamps | dict(self._new_files())

    def _of_folder(self, folder: str, paths: list[str]) -> Iterator[tuple[str, Stamp]]:
        """Yield the indexed files of a folder that are newer."""
        try:
            descriptor = self._tree.directory(os.fsencode(folder))
        except OSError as error:
            yield from ((path, None) for path in paths if error.errno in ABSENT_ERRNOS)
            return
        try:
            moved = self._notice(folder, os.fstat(descriptor))
            for path in paths:
                stamp = self._changed(descriptor, path, moved)
                if stamp != 0 and (stamp is None or self._differs(path, stamp)):
                    yield path, stamp
        finally:
            os.close(descriptor)

    def _notice(self, folder: str, found: os.stat_result) -> int:
        """Take note of a folder; return when it was moved to its place, 0 if it was not.

        Moving it changes its inode's time alone; whatever is made or removed in it changes that of its content.
        """
        is_written = found.st_mtime_ns > self._of._from
        moved = self._moved.get(_parent(folder), 0) if folder else 0
        if found.st_ctime_ns > self._of._from and not is_written:
            moved = max(moved, found.st_ctime_ns)
        if moved:
            self._moved[folder] = moved
        if moved or is_written:
            self._written[folder] = 0 if moved else self._of._from
        return moved

    def _changed(self, descriptor: int, path: str, moved: int) -> Stamp:
        """Return when a file came to be what it is; 0: not since then, or nobody can tell; None: it is gone."""
        try:
            found = os.stat(path.rpartition("/")[2], dir_fd=descriptor, follow_symlinks=False)
        except OSError as error:
            return None if error.errno in ABSENT_ERRNOS else 0
        changed = max(found.st_ctime_ns, moved)
        return changed if changed > self._of._from else 0

    def _differs(self, path: str, stamp: int) -> bool:
        """Say whether a file holds something else than the index has of it."""
        if self._of._equal.get(path) == stamp:
            return False
        self._compared += 1
        if self._compared <= MAX_COMPARED and _is_unreadable(self._tree, path):
            self.unreadable.add(path)
            return False
        if self._compared > MAX_COMPARED or _blob_of(self._tree, path) != self._of.files[path]:
            return True
        self._of._equal[path] = stamp
        return False

    def _new_files(self) -> Iterator[tuple[str, Stamp]]:
        """Yield files that are none of the index, and were made since then, or moved to their place."""
        self._of._new = set()
        for folder, since in self._written.items():
            yield from self._entries(folder, since)
        for path in sorted(self._of.unsettled):
            found = _found(self._tree, path)
            if found is not None and not _is_empty(self._tree, path, found):
                yield from self._entry(path, 0)

    def _entries(self, folder: str, since: int) -> Iterator[tuple[str, Stamp]]:
        of, prefix = self._of, f"{folder}/" if folder else ""
        for name in _names(self._tree, folder):
            path = prefix + name
            known = of._has(path) or path in of.left_out or path in of.unsettled
            if not known and name != ".git" and len(of._new) < MAX_NEW_ENTRIES:
                yield from self._entry(path, since)

    def _entry(self, path: str, since: int) -> Iterator[tuple[str, Stamp]]:
        """Yield a new file, or the files of a new folder, which may be older than the folder's place here."""
        found = _found(self._tree, path)
        if found is None or found.st_ctime_ns <= since:
            return
        self._of._new.add(path)
        if stat.S_ISREG(found.st_mode):
            if found.st_size and _is_unreadable(self._tree, path):
                self.unreadable.add(path)
            elif found.st_size and not _is_binary(self._tree, path):
                yield path, found.st_ctime_ns
        elif stat.S_ISDIR(found.st_mode):
            yield from self._entries(path, 0)


def _by_folder(files: Mapping[str, bytes]) -> dict[str, list[str]]:
    """Return the files by the folder that holds them, the top as an empty text; a folder comes before its own."""
    folders: dict[str, list[str]] = {"": []}
    for path in files:
        folder = _parent(path)
        missing: list[str] = []
        while folder not in folders:
            missing.append(folder)
            folder = _parent(folder)
        for above in reversed(missing):
            folders[above] = []
        folders[_parent(path)].append(path)
    return folders


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _names(tree: Tree, folder: str) -> list[str]:
    try:
        return sorted(map(os.fsdecode, tree.names(os.fsencode(folder))))
    except OSError:
        return []


def _found(tree: Tree, path: str) -> os.stat_result | None:
    try:
        return tree.lstat(os.fsencode(path))
    except OSError:
        return None


def _is_empty(tree: Tree, path: str, found: os.stat_result) -> bool:
    """Say whether a file or folder has nothing in it yet."""
    return not _names(tree, path) if stat.S_ISDIR(found.st_mode) else found.st_size == 0


def _is_unreadable(tree: Tree, path: str) -> bool:
    """Say whether a file is there, and cannot be read."""
    try:
        tree.read(os.fsencode(path), 1)
    except OSError as error:
        return error.errno in _UNREADABLE
    return False


def _is_binary(tree: Tree, path: str) -> bool:
    """Say whether the indexer would leave a file out as binary, as it does with what compilers write."""
    try:
        head = tree.read(os.fsencode(path), _HEAD_BYTES)
    except OSError:
        return False
    return b"\0" in head and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def _ctime(tree: Tree, path: str) -> int:
    found = _found(tree, path)
    return found.st_ctime_ns if found else 0


def _tracked_files(git: Tree) -> int | None:
    """Return how many files git's index has, from its header (gitformat-index)."""
    try:
        header = git.read(b"index", _INDEX_HEADER_BYTES)
    except OSError:
        return None
    return int.from_bytes(header[8:12]) if header[:4] == b"DIRC" else None


def _blob_of(tree: Tree, path: str) -> bytes | None:
    """Return git's name for the content of a file; None if it is too large, or cannot be read."""
    try:
        data = tree.read(os.fsencode(path), _MAX_FILE_BYTES + 1)
    except OSError:
        return None
    return blob_id(data) if len(data) <= _MAX_FILE_BYTES else None
