"""Lists a repository's files with git's own semantics: tracked, and untracked unless ignored.

git does the listing (listing.py). On top, `.mcpignore` files (same syntax, at every level, for tracked files
too) and the job's include and exclude patterns take files away. Submodules and nested repositories are not
entered: each is listed as skipped. Files that git vouches for (git_stat.py) get their blob id, so that nobody has
to read them to know that they are unchanged. docs/what-is-indexed.md has the rules.
"""

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from codebase_index.api.source_policy import Root
from codebase_index.store.ingest.work import Entry
from codebase_indexer.confinement.beneath import Tree
from codebase_indexer.content.skipping import MAX_PATH_BYTES, Skip, by_name, by_size
from codebase_indexer.source import git
from codebase_indexer.source.listing import Listing, list_files, take_away
from codebase_indexer.source.repository import find_repository

REPORT_EVERY = 1000
"""Files between two reports of progress."""

Report = Callable[[int, int], None]
"""Called with (files looked at, files listed)."""


class ScanFailed(Exception):
    """git could not list the files. The message says why and what to do."""


def scan(
    folder: Path,
    *,
    boundary: Path,
    roots: Sequence[Root] = (),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    report: Report = lambda looked, listed: None,
    skip_secrets: bool = True,
) -> list[Entry]:
    """Return every file under `folder` that git would list, in path order, with the reason for each skipped one.

    `folder` and `boundary` are resolved; nothing above `boundary` is looked at, except for a repository that lies
    beneath one of `roots`, where a linked worktree's may. `include` and `exclude` are
    patterns in the syntax of .gitignore. `skip_secrets`: files that hold secrets by their name are skipped,
    whatever those patterns say. Raises ScanFailed and SourceRefused.
    """
    try:
        with Tree(folder, boundary) as tree:
            with tempfile.TemporaryDirectory(prefix="scan-") as scratch:
                listing = list_files(tree, find_repository(folder, boundary, roots), Path(scratch))
                paths = take_away(tree, listing.paths, include, exclude, Path(scratch))
            entries = [Entry(path, 0, Skip.UNREADABLE) for path in listing.unreadable]
            entries += (Entry(_shown(path), 0, Skip.LEADS_OUT) for path in listing.leading_out)
            with _Judge(tree, listing, skip_secrets) as judge:
                for number, path in enumerate(paths):
                    if number % REPORT_EVERY == 0:
                        report(number, len(paths))
                    if entry := judge.entry(path):
                        entries.append(entry)
    except (git.GitFailed, OSError) as error:
        raise ScanFailed(
            f"the files of {folder} could not be listed: {error}; check that it is readable and, "
            "if it is a git repository, that `git status` works in it"
        ) from error
    report(len(paths), len(paths))
    return entries


def _shown(path: bytes) -> str:
    """Return a path that no file has, as it is told."""
    return path.decode(errors="backslashreplace").replace("\0", "\\0")[:MAX_PATH_BYTES]


class _Judge:
    """Looks at each listed path on disk."""

    def __init__(self, tree: Tree, listing: Listing, skip_secrets: bool) -> None:
        self._tree = tree
        self._skip_secrets = skip_secrets
        self._vouched = listing.vouched
        self._sparse = listing.sparse
        # Paths come in order, so one directory is held open at a time; or the error that it met.
        self._within: bytes | None = None
        self._directory: int | OSError = OSError()

    def entry(self, raw: bytes) -> Entry | None:
        """Return the entry of a listed path. None: it is not checked out, and not to be."""
        name = raw.rstrip(b"/")
        try:
            path = name.decode()
        except UnicodeDecodeError:
            return Entry(name.decode(errors="backslashreplace"), 0, Skip.BAD_PATH)
        if len(name) > MAX_PATH_BYTES:
            return Entry(path[:MAX_PATH_BYTES], 0, Skip.LONG_PATH)
        try:
            found = self._look(name)
        except (FileNotFoundError, NotADirectoryError):
            return None if name in self._sparse else Entry(path, 0, Skip.VANISHED)
        except OSError as error:  # whether it is there, nobody can tell
            return Entry(path, 0, Skip.BEHIND_SYMLINK if error.errno == errno.ELOOP else Skip.UNREADABLE)
        if reason := _by_mode(found.st_mode) or self._by_name(path) or by_size(found.st_size):
            return Entry(path, found.st_size, reason)
        vouched = self._vouched.get(name)
        return Entry(path, found.st_size, blob=vouched.blob_of(found) if vouched else None)

    def _by_name(self, path: str) -> Skip | None:
        return by_name(path, skip_secrets=self._skip_secrets)

    def _look(self, path: bytes) -> os.stat_result:
        """Return what is known of a file, through its own directory, which no link may lead to."""
        directory, _, name = path.rpartition(b"/")
        if directory != self._within:
            self._leave()
            self._within = directory
            try:
                self._directory = self._tree.directory(directory)
            except OSError as error:
                self._directory = error
        if isinstance(self._directory, OSError):
            raise self._directory
        return os.stat(name, dir_fd=self._directory, follow_symlinks=False)

    def _leave(self) -> None:
        if isinstance(self._directory, int):
            os.close(self._directory)
        self._directory = OSError()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()


def _by_mode(mode: int) -> Skip | None:
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISLNK(mode):
        return Skip.SYMLINK
    return Skip.NESTED_REPOSITORY if stat.S_ISDIR(mode) else Skip.NOT_REGULAR
