"""The only access to the files of a repository: every path is opened beneath a folder and cannot escape it.

Whoever writes a repository chooses its names, its links and when they change, while a job or the server reads it.
So a name is checked (`is_path_traversal`), and the kernel is asked to refuse at the moment of opening: openat2
with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS resolves a path below a directory that is held open, and ends at the
first link. Where that call is missing (Linux before 5.6, some sandboxes), each part of the path is opened by
itself, with O_NOFOLLOW.
"""

import ctypes
import errno
import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_HFS_IGNORES: Final = re.compile(rb"\xe2\x80[\x8c-\x8f\xaa-\xae]|\xe2\x81[\xaa-\xaf]|\xef\xbb\xbf")
"""Characters that HFS+ does not see in a name (git's utf8.c: next_hfs_char)."""

# A part that is `.`, `..` or a name of git's folder on any file system: in any case, with what NTFS drops from the
# end of a name, or the short name that it gives. A backslash is a character like any other here, and separates
# parts where a volume comes from Windows.
_NO_NAME: Final = re.compile(
    rb"(?:\A|[/\\])(?:\.\.?|(?:\.git|git~[0-9]+)[ .]*(?::[^/\\]*)?)(?:[/\\]|\Z)", re.IGNORECASE
)


def is_path_traversal(path: bytes) -> bool:
    """Say whether a path from a repository names anything other than a file of its working tree."""
    if not path or path[0] == _SLASH or path[-1] == _SLASH or b"//" in path or b"\0" in path:
        return True
    # Most paths end here, without a look at each of their characters.
    if path[0] != _DOT and b"/." not in path and b"~" not in path and b"\\" not in path and path.isascii():
        return False
    return _NO_NAME.search(_HFS_IGNORES.sub(b"", path)) is not None


_SLASH, _DOT = b"/."

_OUT_OF_REACH: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM}
)
"""Errors of a look at a name that mean no file, or one in a folder that may not be entered."""


class PathTraversal(OSError):
    """The path leads out of the folder that must contain it."""

    def __init__(self, path: bytes | str) -> None:
        super().__init__(errno.EXDEV, "leads out of its folder", os.fsdecode(path))


class NotRegular(OSError):
    """The path is a pipe, a socket, a device or a folder instead of a file."""

    def __init__(self, path: bytes | str) -> None:
        super().__init__(errno.EINVAL, "not a regular file", os.fsdecode(path))


class Tree:
    """A folder whose files are opened beneath `boundary`, the folder itself by default. Close it after use.

    The way to `boundary` is trusted: an operator configured it. Below it nothing is, so a folder that is replaced
    by a link can not be opened. Paths are relative to the folder. `metadata` says that they may name git's own
    folder, as those of a repository's files may not. Raises OSError.
    """

    def __init__(self, folder: Path, boundary: Path | None = None, *, metadata: bool = False) -> None:
        self.folder = folder
        self._metadata = metadata
        boundary = boundary or folder
        inside = os.fsencode(folder.relative_to(boundary))
        self._prefix = b"" if inside == b"." else inside + b"/"
        self._top = os.open(boundary, _PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def open_file(self, path: bytes) -> int:
        """Return a descriptor of a regular file, ready to be read.

        Never waits, as for the writer of a pipe. Raises PathTraversal, NotRegular and OSError: ELOOP for a link.
        """
        # Not before the check of its kind may anything wait: O_NONBLOCK. No terminal becomes ours: O_NOCTTY.
        try:
            descriptor = self._open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a socket, or a device without a driver
                raise NotRegular(path) from error
            raise
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        raise NotRegular(path)

    def read(self, path: bytes, limit: int) -> bytes:
        """Return the first `limit` bytes of a regular file. Raises as open_file() does."""
        descriptor = self.open_file(path)
        try:
            return read_at_most(descriptor, limit)
        finally:
            os.close(descriptor)

    def lstat(self, path: bytes) -> os.stat_result:
        """Return what stands at a path itself. Raises PathTraversal and OSError: ELOOP for a link on the way."""
        if not self._metadata and is_path_traversal(path):
            raise PathTraversal(path)
        folder, _, name = path.rpartition(b"/")
        parent = self.directory(folder)
        try:
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)

    def may_have(self, path: bytes) -> bool:
        """Say whether the path probably exists: a cheap check before opening, which meets an error again."""
        try:
            os.stat(self._prefix + path, dir_fd=self._top, follow_symlinks=False)
        except OSError as error:
            return error.errno not in _OUT_OF_REACH
        return True

    def directory(self, path: bytes) -> int:
        """Return a descriptor of a directory, good for what lies in it; an empty path is the folder itself.

        Raises PathTraversal and OSError: ELOOP for a link, or one on the way.
        """
        return self._open(path, _PATH | os.O_DIRECTORY)

    def names(self, path: bytes = b"") -> list[bytes]:
        """Return the names in a directory, by default the folder itself. Raises as directory() does."""
        descriptor = self._open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return [os.fsencode(name) for name in os.listdir(descriptor)]  # noqa: PTH208 (of a descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the folder. Descriptors that it gave out stay open."""
        os.close(self._top)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, path: bytes, flags: int) -> int:
        itself = path == b"" and flags & os.O_DIRECTORY
        if not itself and not self._metadata and is_path_traversal(path):
            raise PathTraversal(path)
        inside = (self._prefix + path).rstrip(b"/") or b"."
        return open_beneath(self._top, inside, flags | os.O_CLOEXEC)


def read_at_most(descriptor: int, limit: int) -> bytes:
    """Return the next `limit` bytes, or what there is."""
    parts = []
    while limit and (part := os.read(descriptor, limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


# --- opening -----------------------------------------------------------------------------------------

_PATH: Final = getattr(os, "O_PATH", os.O_RDONLY)
"""A descriptor for path lookup alone: it needs search permission on a directory, not read permission."""

_OPENAT2: Final = 437
"""The number of the system call, the same on every architecture that we build for; libc has no function for it."""

_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08


class _How(ctypes.Structure):
    """struct open_how of <linux/openat2.h>."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_How), ctypes.c_size_t)


def open_by_kernel(top: int, path: bytes, flags: int) -> int:
    """Open a path beneath a directory with openat2. Raises OSError: ELOOP for a link, EXDEV for a way out."""
    how = _How(flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    while True:
        descriptor: int = _syscall(_OPENAT2, top, path, ctypes.byref(how), ctypes.sizeof(how))
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), os.fsdecode(path))


def open_by_parts(top: int, path: bytes, flags: int) -> int:
    """Open a path beneath a directory part by part. Raises OSError as open_by_kernel() does."""
    *folders, name = path.split(b"/")
    parent = os.dup(top)
    try:
        for folder in folders:
            below = _open_part(parent, folder, _PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            os.close(parent)
            parent = below
        return _open_part(parent, name, flags)
    finally:
        os.close(parent)


def _open_part(parent: int, name: bytes, flags: int) -> int:
    if name in (b"", b".."):
        raise PathTraversal(name)
    try:
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=parent)
    except NotADirectoryError as error:
        # What O_DIRECTORY says of a link, too.
        if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fsdecode(name)) from error
        raise


def _has_openat2() -> bool:
    if sys.platform != "linux":
        return False  # the number means something else there
    try:
        os.close(open_by_kernel(_AT_FDCWD, b".", _PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError:
        return False  # not there, or a sandbox refuses what it does not know
    return True


_AT_FDCWD: Final = -100
open_beneath: Callable[[int, bytes, int], int] = open_by_kernel if _has_openat2() else open_by_parts
"""The way in use."""
