"""Lists a repository's files with git's own semantics: tracked, and untracked unless ignored.

git does the listing (listing.py). On top, `.mcpignore` files (same syntax, at every level, for tracked files
too) and the job's include and exclude patterns take files away. Submodules and nested repositories are not
entered: each is listed as skipped. Files that git knows to be unmodified (git_stat.py) get their blob id, so that
unchanged files need not be read. docs/what-is-indexed.md has the rules.
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
from codebase_index.beneath import Tree
from codebase_index.repository.repository import find_repository
from codebase_index.store.ingest.work import ScanEntry
from codebase_indexer.content.redaction import redact
from codebase_indexer.content.secret_files import DEFAULT_POLICY, SecretPolicy
from codebase_indexer.content.skipping import MAX_PATH_BYTES, Skip, by_name, by_size
from codebase_indexer.source import git
from codebase_indexer.source.listing import Listing, RuleFileUnusable, apply_filters, list_files

REPORT_EVERY = 1000
"""Files between two reports of progress."""

Report = Callable[[int, int], None]
"""Called with (files scanned, files listed)."""


class ScanFailed(Exception):
    """git could not list the files. The message says why and what to do."""


def scan(
    folder: Path,
    *,
    boundary: Path,
    roots: Sequence[Root] = (),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    report: Report = lambda scanned, listed: None,
    secrets: SecretPolicy = DEFAULT_POLICY,
    name: str | None = None,
) -> list[ScanEntry]:
    """Return every file under `folder` that git would list, in path order, with the reason for each skipped one.

    `folder` and `boundary` are resolved; nothing above `boundary` is looked at, except for a repository that lies
    beneath one of `roots`, where a linked worktree's may. `include` and `exclude` are
    patterns in the syntax of .gitignore. `secrets`: whether files that hold secrets by their name are skipped,
    whatever those patterns say, and those with a token in their path. `name` is what users call the folder.
    Raises ScanFailed and SourceRefused.
    """
    scratch = ""
    try:
        with Tree(folder, boundary) as tree:
            with tempfile.TemporaryDirectory(prefix="scan-") as scratch:
                listing = list_files(tree, find_repository(folder, boundary, roots), Path(scratch))
                paths = apply_filters(tree, listing.paths, include, exclude, Path(scratch))
            entries = [ScanEntry(path, 0, Skip.UNREADABLE) for path in listing.unreadable]
            entries += (ScanEntry(_printable(path), 0, Skip.PATH_TRAVERSAL) for path in listing.path_traversals)
            with _Classifier(tree, listing, secrets.skip_files) as classifier:
                for number, path in enumerate(paths):
                    if number % REPORT_EVERY == 0:
                        report(number, len(paths))
                    if entry := classifier.classify(path):
                        entries.append(entry)
    except (git.GitFailed, OSError) as error:
        raise ScanFailed(_explain(error, folder, scratch, name or str(folder))) from error
    report(len(paths), len(paths))
    return _skip_secret_paths(entries) if secrets.redact else entries


def _skip_secret_paths(entries: list[ScanEntry]) -> list[ScanEntry]:
    """Skip files with a token in their path, and list them without it: paths are searched and shown, too."""
    if not redact("\n".join(entry.path for entry in entries).encode())[1]:
        return entries  # of nearly all repositories
    return [_without_secret(entry) for entry in entries]


def _without_secret(entry: ScanEntry) -> ScanEntry:
    path, secrets = redact(entry.path.encode())
    return ScanEntry(path.decode(), entry.size, Skip.SENSITIVE_PATH) if secrets else entry


def _explain(error: Exception, folder: Path, scratch: str, name: str) -> str:
    """Say why a folder could not be listed, in paths that its users know."""
    why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    for ours, theirs in ((f"{scratch}/listing", ".git"), (f"{scratch}/", ""), (str(folder), name)):
        why = why.replace(ours, theirs) if scratch else why
    advice = "check that it is readable and, if it is a git repository, that `git status` works in it"
    return f"the files of {name} could not be listed: {why}" + (
        "" if isinstance(error, RuleFileUnusable) else f"; {advice}"
    )


def _printable(path: bytes) -> str:
    """Return a path that no file has, as it is shown to users."""
    return path.decode(errors="backslashreplace").replace("\0", "\\0")[:MAX_PATH_BYTES]


class _Classifier:
    """Classifies each listed path by what is on disk: to be indexed, or skipped with its reason."""

    def __init__(self, tree: Tree, listing: Listing, skip_secrets: bool) -> None:
        self._tree = tree
        self._skip_secrets = skip_secrets
        self._stat_entries = listing.stat_entries
        self._sparse_paths = listing.sparse_paths
        # Paths come in order, so one directory is held open at a time; or the error that it met.
        self._directory_path: bytes | None = None
        self._directory: int | OSError = OSError()

    def classify(self, raw: bytes) -> ScanEntry | None:
        """Return the entry of a listed path. None: a sparse checkout leaves it out."""
        name = raw.rstrip(b"/")
        try:
            path = name.decode()
        except UnicodeDecodeError:
            return ScanEntry(name.decode(errors="backslashreplace"), 0, Skip.BAD_PATH)
        if len(name) > MAX_PATH_BYTES:
            return ScanEntry(path[:MAX_PATH_BYTES], 0, Skip.LONG_PATH)
        try:
            found = self._stat(name)
        except (FileNotFoundError, NotADirectoryError):
            return None if name in self._sparse_paths else ScanEntry(path, 0, Skip.VANISHED)
        except OSError as error:  # it may or may not exist
            return ScanEntry(path, 0, Skip.BEHIND_SYMLINK if error.errno == errno.ELOOP else Skip.UNREADABLE)
        if reason := _by_mode(found.st_mode) or self._by_name(path) or by_size(found.st_size):
            return ScanEntry(path, found.st_size, reason)
        stat_entry = self._stat_entries.get(name)
        return ScanEntry(path, found.st_size, blob=stat_entry.blob_if_unmodified(found) if stat_entry else None)

    def _by_name(self, path: str) -> Skip | None:
        return by_name(path, skip_secrets=self._skip_secrets)

    def _stat(self, path: bytes) -> os.stat_result:
        """Return the stat data of a file, through its directory, which no link may lead to."""
        directory, _, name = path.rpartition(b"/")
        if directory != self._directory_path:
            self._close_directory()
            self._directory_path = directory
            try:
                self._directory = self._tree.directory(directory)
            except OSError as error:
                self._directory = error
        if isinstance(self._directory, OSError):
            raise self._directory
        return os.stat(name, dir_fd=self._directory, follow_symlinks=False)

    def _close_directory(self) -> None:
        if isinstance(self._directory, int):
            os.close(self._directory)
        self._directory = OSError()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_directory()


def _by_mode(mode: int) -> Skip | None:
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISLNK(mode):
        return Skip.SYMLINK
    return Skip.NESTED_REPOSITORY if stat.S_ISDIR(mode) else Skip.NOT_REGULAR
