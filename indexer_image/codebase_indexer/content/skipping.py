"""Which files are skipped, and the reasons that users see. Pure.

Checked twice: name and size during the scan, content when the file is read. Generated code that
people read and call (``// Code generated ... DO NOT EDIT``) is indexed: questions lead there too.
"""

from enum import StrEnum

from codebase_index.api import job
from codebase_indexer.content.secret_files import is_secret_by_name

MAX_FILE_BYTES = 2 * 1024 * 1024
"""A larger file is data: the largest known hand-written sources have about 1 MB."""

MAX_PATH_BYTES = 1024
"""Longer paths do not fit into a Postgres index entry together with the rest of its key."""

BINARY_HEAD_BYTES = 8192
"""A NUL byte within them makes a file binary: git's own rule. UTF-16 with a byte-order mark is decoded before."""

MINIFIED_AVERAGE = 1000
"""Average bytes per line above which a file is not hand-written."""

MINIFIED_FROM_BYTES = 8192
"""A small file may well have a single long line."""

PROSE_SHARE = 20
"""Prose may have a paragraph per line. It is recognised by its words: more than one byte in PROSE_SHARE is white
space, or part of a non-ASCII letter (for languages without spaces). English has one in six, Base64 none."""


class Skip(StrEnum):
    """Why a file is not indexed; these words are what users see."""

    SYMLINK = "symbolic link"
    BEHIND_SYMLINK = "behind a symbolic link"
    NESTED_REPOSITORY = "nested repository or submodule: index it by its own path"
    NOT_REGULAR = "not a regular file"
    VANISHED = job.VANISHED
    UNREADABLE = job.UNREADABLE
    PATH_TRAVERSAL = "path leads out of the repository, or into .git"
    BAD_PATH = "path is not valid UTF-8"
    LONG_PATH = f"path is longer than {MAX_PATH_BYTES} bytes"
    EMPTY = job.EMPTY
    TOO_LARGE = f"larger than {MAX_FILE_BYTES // 1024 // 1024} MiB"
    LOCK_FILE = "generated: lock file"
    MINIFIED = "generated: minified"
    SOURCE_MAP = "generated: source map"
    LFS_POINTER = "Git LFS pointer: the content is not in the checkout"
    BINARY = "binary"
    LARGE_DATA = "data: larger than 256 KiB"
    MANY_CELLS = "data: notebook of more than 5,000 cells"
    UNDECODABLE = "encoding not known: save it as UTF-8"
    SENSITIVE_NAME = "holds secrets, by its name"
    SENSITIVE_PATH = "holds a secret in its path"
    SENSITIVE_CONTENT = "holds secrets, by its content"
    STALLED = "not read in time: its disk did not answer"
    CRASHED = "crashed the parser"


UNCERTAIN = frozenset({Skip.VANISHED, Skip.UNREADABLE, Skip.STALLED, Skip.CRASHED})
"""Reasons that leave open what the file contains now, or whether it still exists."""

_LOCK_FILES = frozenset(
    [
        "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock",
        "poetry.lock", "uv.lock", "pdm.lock", "pipfile.lock", "cargo.lock", "composer.lock", "gemfile.lock",
        "podfile.lock", "go.sum", "go.work.sum", "mix.lock", "packages.lock.json", "flake.lock",
        "pubspec.lock",
    ]
)  # fmt: skip
_BETWEEN_WORDS = b" \t\r\n" + bytes(range(0x80, 0x100))
_LFS_HEAD = b"version https://git-lfs.github.com/spec/"


def by_name(path: str, *, skip_secrets: bool = True) -> Skip | None:
    """Return the reason to skip a file by its name. `skip_secrets`: whether secret files are skipped."""
    name = path.rpartition("/")[2].lower()
    if name in _LOCK_FILES:
        return Skip.LOCK_FILE
    if name.endswith((".min.js", ".min.mjs", ".min.css", "-min.js", ".bundle.js")):
        return Skip.MINIFIED
    if name.endswith((".js.map", ".css.map", ".mjs.map", ".ts.map")):
        return Skip.SOURCE_MAP
    return Skip.SENSITIVE_NAME if skip_secrets and is_secret_by_name(path) else None


def by_size(size: int) -> Skip | None:
    """Return the reason to skip a file by its size in bytes."""
    if size == 0:
        return Skip.EMPTY
    return Skip.TOO_LARGE if size > MAX_FILE_BYTES else None


def by_content(data: bytes, *, is_prose: bool = False) -> Skip | None:
    """Return the reason to skip a file by its text, as UTF-8. `is_prose`: it may have a paragraph per line."""
    if reason := by_size(len(data)):
        return reason
    if is_binary(data):
        return Skip.BINARY
    if data.startswith(_LFS_HEAD) and len(data) < 1024:
        return Skip.LFS_POINTER
    long_lines = len(data) >= MINIFIED_FROM_BYTES and len(data) > MINIFIED_AVERAGE * (data.count(b"\n") + 1)
    if long_lines and not (is_prose and _has_words(data)):
        return Skip.MINIFIED
    return Skip.EMPTY if data.isspace() else None


def is_binary(data: bytes) -> bool:
    """Say whether a file is binary."""
    return b"\0" in data[:BINARY_HEAD_BYTES]


def _has_words(data: bytes) -> bool:
    return len(data) - len(data.translate(None, _BETWEEN_WORDS)) > len(data) // PROSE_SHARE
