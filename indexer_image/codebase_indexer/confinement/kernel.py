"""System calls that libc has no function for, and what their refusal means."""

import ctypes
import errno
import os
import sys
from typing import Any


class Unavailable(Exception):
    """The kernel, or what stands in for it, does not have this means of confinement. The message says why."""


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def call(name: str, number: int, *arguments: Any) -> int:
    """Make a system call and return its result. Integers are passed as unsigned long. Raises Unavailable."""
    if sys.platform != "linux":  # the numbers mean something else there
        raise Unavailable(f"{name} is a call of Linux, and this is {sys.platform}")
    words = (ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments)
    result: int = _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise Unavailable(f"{name}: {_reason(ctypes.get_errno())}")
    return result


def prctl(name: str, option: int, value: int) -> None:
    """Set an attribute of this process. Raises Unavailable."""
    if sys.platform != "linux":
        raise Unavailable(f"{name} is an attribute of Linux' processes, and this is {sys.platform}")
    rest = (ctypes.c_ulong(0) for _ in range(3))  # the kernel refuses anything else
    if _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), *rest) < 0:
        raise Unavailable(f"{name}: {_reason(ctypes.get_errno())}")


def _reason(number: int) -> str:
    meaning = {
        errno.ENOSYS: "the kernel does not have it",
        errno.EOPNOTSUPP: "the kernel has it switched off (its parameter lsm= leaves it out)",
        errno.EPERM: "refused, as an outer sandbox does",
    }
    return meaning.get(number) or os.strerror(number)
