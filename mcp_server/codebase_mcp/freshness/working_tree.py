"""One look at the files of a repository: which of them are newer than its index. It runs in a thread.

The look reads the times of the indexed files, of the folders that hold them, and of what git writes when HEAD
moves; only what was written since the index was read is opened and compared. The times are those of the inode
(ctime), which no program sets: a file that was restored with its old time of modification is seen, too. What a
look costs is in docs/decisions/0020-freshness-by-looking.md. git's rules of what is ignored are not applied: a new
file that is none of the index counts as newer once, and no more when a completed job has left it out.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from codebase_index.beneath import Tree
from codebase_index.blob import blob_id
from codebase_mcp.freshness.git_head import head_commit, read_beginning

MAX_COMPARED = 2000
"""Files written since then whose content is compared in one look; of more, those after them count as newer. So
many since a repository may be cloned a moment before it is indexed; what was equal is not read again."""

MAX_NEW_ENTRIES: Final = 200
"""Entries of new folders that are looked at for files, and new entries that are kept in mind."""

CLOCK_TOLERANCE: Final = 1.0
"""Seconds: the kernel stamps files by a coarser clock than the database's, which `since` is of."""

_MAX_FILE_BYTES: Final = 2 * 2**20
_INDEX_HEADER_BYTES: Final = 12
_POINTER_BYTES: Final = 8192

HEAD: Final = ".git/HEAD"
"""Stands for a HEAD that has moved."""

Stamp = int | None
"""When an entry was last changed, in nanoseconds; None: it is gone."""


@dataclass(frozen=True)
class Newer:
    """What of a repository is newer than its index: files by path, and HEAD where that has moved.

    Equal ones are the same state of the files.
    """

    stamps: Mapping[str, Stamp]

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

    `since` is the time before which everything is in the index, in seconds; `git_dir` is looked at for HEAD, which
    was at `commit`.
    """

    folder: Path
    files: Mapping[str, bytes]
    since: float
    git_dir: Path | None = None
    commit: str | None = None
    unsettled: set[str] = field(default_factory=set)
    """New entries to look at again: they were empty, or being written, when a completed job left them out."""
    left_out: set[str] = field(default_factory=set)
    """New entries that a completed job has not taken up: git ignores them, or the indexer does."""
    _new: set[str] = field(default_factory=set)
    _equal: dict[str, int] = field(default_factory=dict)
    _tracked: int | None = None
    """How many files git tracked when nothing was newer."""

    def __post_init__(self) -> None:
        self._root = f"{self.folder}/"
        self._folders = set(_folders_of(self.files))
        self._from = int((self.since - CLOCK_TOLERANCE) * 1e9)

    def after(self, before: "WorkingTree | None") -> "WorkingTree":
        """Return this one with what was learnt of the same folder before the job that has just completed."""
        if before is not None:
            missing = {path for path in before._new | before.unsettled if not self._has(path)}
            self.unsettled = {path for path in missing if self._may_come(path)}
            self.left_out = {path for path in before.left_out | missing if not self._has(path)} - self.unsettled
            self._tracked = before._tracked
        return self

    def look(self) -> Newer | None:
        """Return what is newer now, or None."""
        stamps: dict[str, Stamp] = {}
        compared = 0
        for path, blob in self.files.items():
            stamp = self._changed(path)
            if stamp is not None and self._equal.get(path) == stamp:
                continue
            if stamp != 0:
                compared += stamp is not None
                if stamp is None or compared > MAX_COMPARED or not self._holds(path, blob, stamp):
                    stamps[path] = stamp
        stamps |= dict(self._new_files())
        stamps |= self._git_changes(bool(stamps))
        return Newer(stamps) if stamps else None

    def _has(self, path: str) -> bool:
        return path in self.files or path in self._folders

    def _may_come(self, path: str) -> bool:
        return _is_empty(self._root + path) or _ctime(Path(self._root + path)) > self._from

    def _changed(self, path: str) -> Stamp:
        """Return when a file was changed; 0: not since then; None: it is gone."""
        try:
            found = os.lstat(self._root + path)
        except OSError:
            return None
        if found.st_ctime_ns <= self._from or not stat.S_ISREG(found.st_mode):
            return 0
        return found.st_ctime_ns

    def _holds(self, path: str, blob: bytes, stamp: int) -> bool:
        """Say whether a file holds what the index has of it."""
        if _blob_of(self.folder, path) != blob:
            return False
        self._equal[path] = stamp
        return True

    def _new_files(self) -> Iterator[tuple[str, Stamp]]:
        """Yield files that are none of the index, and were made since then."""
        self._new = set()
        for folder in self._folders:
            if self._mtime(folder) > self._from:
                yield from self._entries(folder)
        for path in sorted(self.unsettled):
            if not _is_empty(self._root + path):
                yield from self._entry(path, 0)

    def _entries(self, folder: str) -> Iterator[tuple[str, Stamp]]:
        prefix = f"{folder}/" if folder else ""
        for name in _names(self._root + folder):
            path = prefix + name
            known = self._has(path) or path in self.left_out or path in self.unsettled
            if not known and name != ".git" and len(self._new) < MAX_NEW_ENTRIES:
                yield from self._entry(path, self._from)

    def _entry(self, path: str, since: int) -> Iterator[tuple[str, Stamp]]:
        """Yield a new file, or the files of a new folder."""
        try:
            found = os.lstat(self._root + path)
        except OSError:
            return
        if found.st_ctime_ns <= since:
            return
        self._new.add(path)
        if stat.S_ISREG(found.st_mode) and found.st_size:
            yield path, found.st_ctime_ns
        elif stat.S_ISDIR(found.st_mode):
            yield from self._entries(path)

    def _mtime(self, folder: str) -> int:
        try:
            return os.lstat(self._root + folder).st_mtime_ns
        except OSError:
            return 0  # its files are gone, too

    def _git_changes(self, anything_newer: bool) -> dict[str, Stamp]:
        """Return what says that HEAD has moved, or that git tracks more or fewer files."""
        if self.git_dir is None:
            return {}
        moved = max(_ctime(self.git_dir / name) for name in ("HEAD", "logs/HEAD"))
        tracked = _tracked_files(self.git_dir / "index")
        if moved > self._from and head_commit(self.git_dir) != self.commit:
            return {HEAD: moved}
        if _ctime(self.git_dir / "index") > self._from and self._tracked not in (None, tracked):
            return {".git/index": tracked}
        if not anything_newer:
            self._tracked = tracked
        return {}


def is_bare(folder: Path) -> bool:
    """Say whether a folder is a repository without a working tree: what is indexed of it is a commit."""
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()


def git_dir_of(folder: Path, boundary: Path) -> Path | None:
    """Return the folder of git's own files of a working tree; None: it has none beneath `boundary`."""
    found = folder / ".git"
    try:
        if found.is_file():
            text = read_beginning(found, _POINTER_BYTES).decode(errors="surrogateescape")
            if not text:
                return None
            found = folder / text.removeprefix("gitdir: ").strip()
        found = found.resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return None
    return found if found.is_dir() and found.is_relative_to(boundary) else None


def _folders_of(files: Mapping[str, bytes]) -> Iterator[str]:
    """Yield every folder that holds files of the index, the top as an empty text."""
    seen = {""}
    yield ""
    for path in files:
        folder = path.rpartition("/")[0]
        while folder not in seen:
            seen.add(folder)
            yield folder
            folder = folder.rpartition("/")[0]


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names alone
    except OSError:
        return []


def _is_empty(path: str) -> bool:
    """Say whether a file or folder has nothing in it yet."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return not _names(path) if stat.S_ISDIR(found.st_mode) else found.st_size == 0


def _ctime(path: Path) -> int:
    try:
        return path.lstat().st_ctime_ns
    except OSError:
        return 0


def _tracked_files(index: Path) -> int | None:
    """Return how many files git's index has, from its header (gitformat-index)."""
    header = read_beginning(index, _INDEX_HEADER_BYTES)
    return int.from_bytes(header[8:12]) if header[:4] == b"DIRC" else None


def _blob_of(folder: Path, path: str) -> bytes | None:
    """Return git's name for the content of a file; None if it is too large, cannot be read, or lies elsewhere."""
    try:
        with Tree(folder) as tree:
            data = tree.read(os.fsencode(path), _MAX_FILE_BYTES + 1)
    except OSError:
        return None
    return blob_id(data) if len(data) <= _MAX_FILE_BYTES else None
