"""Lists a repository's files with git's own semantics: tracked, and untracked unless ignored.

git does the listing (listing.py). On top, `.mcpignore` files (same syntax, at every level, for tracked files
too) and the job's include and exclude patterns take files away. Submodules and nested repositories are not
entered: each is listed as skipped. Files that git vouches for (vouching.py) get their blob id, so that nobody has
to read them to know that they are unchanged. docs/what-is-indexed.md has the rules.
"""

import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from codebase_index.store.work import Entry
from codebase_indexer import git
from codebase_indexer.listing import Listing, find_repository, list_files, take_away
from codebase_indexer.skipping import MAX_PATH_BYTES, Skip, by_name, by_size

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
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    report: Report = lambda looked, listed: None,
) -> list[Entry]:
    """Return every file under `folder` that git would list, in path order, with the reason for each skipped one.

    `folder` and `boundary` are resolved; nothing above `boundary` is looked at. `include` and `exclude` are
    patterns in the syntax of .gitignore. Raises ScanFailed.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="scan-") as scratch:
            listing = list_files(folder, find_repository(folder, boundary), Path(scratch))
            paths = take_away(folder, listing.paths, include, exclude, Path(scratch))
    except (git.GitFailed, OSError) as error:
        raise ScanFailed(
            f"the files of {folder} could not be listed: {error}; check that it is readable and, "
            "if it is a git repository, that `git status` works in it"
        ) from error
    entries = [Entry(path, 0, Skip.UNREADABLE) for path in listing.unreadable]
    judge = _Judge(folder, listing)
    for number, path in enumerate(paths):
        if number % REPORT_EVERY == 0:
            report(number, len(paths))
        entries.append(judge.entry(path))
    report(len(paths), len(paths))
    return entries


class _Judge:
    """Looks at each listed path on disk."""

    def __init__(self, folder: Path, listing: Listing) -> None:
        self._folder = os.fsencode(folder) + b"/"
        self._vouched = listing.vouched
        self._plain: dict[bytes, bool] = {}

    def entry(self, raw: bytes) -> Entry:
        """Return the entry of a listed path."""
        name = raw.rstrip(b"/")
        try:
            path = name.decode()
        except UnicodeDecodeError:
            return Entry(name.decode(errors="backslashreplace"), 0, Skip.BAD_PATH)
        if len(name) > MAX_PATH_BYTES:
            return Entry(path[:MAX_PATH_BYTES], 0, Skip.LONG_PATH)
        if not self._is_plain(name.rpartition(b"/")[0]):
            return Entry(path, 0, Skip.BEHIND_SYMLINK)
        try:
            found = os.lstat(self._folder + name)
        except PermissionError:
            return Entry(path, 0, Skip.UNREADABLE)
        except OSError:
            return Entry(path, 0, Skip.VANISHED)
        if reason := _by_mode(found.st_mode) or by_name(path) or by_size(found.st_size):
            return Entry(path, found.st_size, reason)
        vouched = self._vouched.get(name)
        return Entry(path, found.st_size, blob=vouched.blob_of(found) if vouched else None)

    def _is_plain(self, directory: bytes) -> bool:
        """Say whether no part of a directory's path is a symbolic link, which may lead anywhere."""
        if not directory:
            return True
        known = self._plain.get(directory)
        if known is None:
            known = self._is_plain(directory.rpartition(b"/")[0]) and not _is_link(self._folder + directory)
            self._plain[directory] = known
        return known


def _is_link(path: bytes) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        return False  # what is below it will be found missing or unreadable


def _by_mode(mode: int) -> Skip | None:
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISLNK(mode):
        return Skip.SYMLINK
    return Skip.NESTED_REPOSITORY if stat.S_ISDIR(mode) else Skip.NOT_REGULAR
