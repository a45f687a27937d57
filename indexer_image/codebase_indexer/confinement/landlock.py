"""Landlock: from here on this thread, and what it starts, opens nothing but what lies beneath given folders.

https://docs.kernel.org/userspace-api/landlock.html. The kernel has had it since 5.13, and more of it with each
version of its ABI; what it does not know must not be asked for.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from codebase_indexer.confinement import kernel
from codebase_indexer.confinement.kernel import Unavailable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS: Final = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Rights to files by the ABI that brought them: execute, write, read, remove and make; link; truncate; ioctl."""
_NET_RIGHTS: Final = {4: 0b11}
"""To bind and to connect by TCP."""
_SCOPES: Final = {6: 0b11}
"""Abstract Unix sockets of, and signals to, processes outside."""


class _Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr."""

    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


_SIZES: Final = {1: 8, 4: 16, 6: 24}
"""Bytes of _Ruleset that an ABI knows."""


def abi() -> int:
    """Return the version of the kernel's ABI, from 1. Raises Unavailable."""
    return kernel.call("Landlock", _CREATE_RULESET, None, 0, _VERSION)


def restrict(libraries: Iterable[Path], source: int) -> None:
    """Allow reading beneath `libraries`, and the files beneath the folder that the descriptor `source` stands for.

    Nothing else is opened, made, changed, removed or executed any more, and what the kernel's ABI has beyond that
    (TCP, signals, abstract sockets) is refused, too. What is open stays open. A library that is not there is left
    out. Needs PR_SET_NO_NEW_PRIVS, and no other thread: it would not be restricted. Raises Unavailable.
    """
    version = abi()
    if threads() != 1:
        raise Unavailable("Landlock: it would leave out the other threads, and this process seems to have some")
    wanted = _Ruleset(_upto(_FILE_RIGHTS, version), _upto(_NET_RIGHTS, version), _upto(_SCOPES, version))
    size = _SIZES[max(since for since in _SIZES if since <= version)]
    ruleset = kernel.call("Landlock", _CREATE_RULESET, ctypes.byref(wanted), size, 0)
    try:
        _allow(ruleset, source, _READ_FILE)
        for library in libraries:
            with _opened(library) as folder:
                if folder is not None:
                    _allow(ruleset, folder, _READ_FILE | _READ_DIR if library.is_dir() else _READ_FILE)
        kernel.call("Landlock", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def threads() -> int:
    """Return how many threads this process has, those of its libraries too; 0 if nobody can tell."""
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208 (names alone)
    except OSError:
        return 0


def _allow(ruleset: int, folder: int, rights: int) -> None:
    rule = _Beneath(rights, folder)
    kernel.call("Landlock", _ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)


def _upto(rights: dict[int, int], version: int) -> int:
    return sum(bits for since, bits in rights.items() if since <= version)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
