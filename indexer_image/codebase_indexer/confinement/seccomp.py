"""Seccomp: from here on every thread of this process makes the system calls of a list, and no others.

The filter is a program of classic BPF, which the kernel runs at each call. Not libseccomp by way of pyseccomp: not
every system has it, and what is needed of it are sixty lines. A call that is not in the list fails with ENOSYS, at
which a C library takes an older one; those that only an intruder makes end the process.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from codebase_indexer.confinement import kernel
from codebase_indexer.confinement.kernel import Unavailable


@dataclass(frozen=True)
class Architecture:
    """`audit` is its number in <linux/audit.h>, `column` its place in the tables, `seccomp` the call's number.

    Numbers from `foreign` on are those of another ABI (x32).
    """

    audit: int
    column: int
    seccomp: int
    foreign: int


ARCHITECTURES: Final = {
    "x86_64": Architecture(0xC000003E, 0, 317, 0x4000_0000),
    "aarch64": Architecture(0xC00000B7, 1, 277, 0xFFFF_FFFF),
}

_NONE: Final = -1
"""The architecture does not have the call."""

ALLOWED: Final[Mapping[str, tuple[int, int]]] = {
    # to read files, and to write to what is open
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "close": (3, 57), "lseek": (8, 62), "fstat": (5, 80), "newfstatat": (262, 79), "stat": (4, _NONE),
    "lstat": (6, _NONE), "statx": (332, 291), "openat": (257, 56), "openat2": (437, 437), "dup": (32, 23),
    "getdents64": (217, 61), "readlink": (89, _NONE), "readlinkat": (267, 78), "access": (21, _NONE),
    "faccessat": (269, 48), "faccessat2": (439, 439), "getcwd": (79, 17),
    # memory
    "mmap": (9, 222), "munmap": (11, 215), "mprotect": (10, 226), "mremap": (25, 216), "brk": (12, 214),
    "madvise": (28, 233),
    # to wait, and to tell the time
    "poll": (7, _NONE), "ppoll": (271, 73), "select": (23, _NONE), "pselect6": (270, 72), "futex": (202, 98),
    "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "clock_gettime": (228, 113),
    "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101), "gettimeofday": (96, 169),
    "time": (201, _NONE), "times": (100, 153), "getrusage": (98, 165),
    # its own signals, identity and end
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "restart_syscall": (219, 128), "rseq": (334, 293), "set_robust_list": (273, 99), "membarrier": (324, 283),
    "getpid": (39, 172), "gettid": (186, 178), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
    "getegid": (108, 177), "uname": (63, 160), "sysinfo": (99, 179), "getrandom": (318, 278), "exit": (60, 93),
    "exit_group": (231, 94),
}  # fmt: skip

FATAL: Final[Mapping[str, tuple[int, int]]] = {
    # programs and processes
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, _NONE), "vfork": (58, _NONE), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    # the network, and files by other ways than their path
    "socket": (41, 198), "io_uring_setup": (425, 425), "open_by_handle_at": (304, 265),
    "memfd_create": (319, 279),
    # the kernel
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "mount": (165, 40), "unshare": (272, 97), "setns": (308, 268),
}  # fmt: skip

_KILL, _TGKILL, _FCNTL = (62, 129), (234, 131), (72, 25)

_FCNTL_COMMANDS: Final = (0, 1, 2, 3, 1030)
"""To duplicate a descriptor and to read and set its flags; not to have signals sent to others (F_SETOWN)."""

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _AUDIT_AT, _ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data; both machines are little-endian
_ALLOW, _KILL_PROCESS, _FAIL = 0x7FFF_0000, 0x8000_0000, 0x0005_0000 | errno.ENOSYS

_SET_FILTER, _ALL_THREADS = 1, 1


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(pid: int) -> None:
    """Filter the calls of this process, whose number is `pid`: it may send signals to itself alone.

    Needs PR_SET_NO_NEW_PRIVS, and cannot be undone. Raises Unavailable.
    """
    machine = ARCHITECTURES.get(os.uname().machine)
    if machine is None:
        raise Unavailable(f"seccomp: this version has no list for {os.uname().machine}")
    code = program(machine, pid)
    arguments = _Program(len(code) // 8, code)
    if thread := kernel.call("seccomp", machine.seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(arguments)):
        raise Unavailable(f"seccomp: thread {thread} has a filter of its own")


def program(machine: Architecture, pid: int) -> bytes:
    """Return the filter: instructions of eight bytes. Pure."""
    steps = [
        _step(_LOAD, _AUDIT_AT), *_unless(machine.audit, _KILL_PROCESS),
        _step(_LOAD, _NUMBER_AT), _step(_AT_LEAST, machine.foreign, 0, 1), _step(_RETURN, _KILL_PROCESS),
    ]  # fmt: skip
    for numbers, argument, values in ((_KILL, 0, [pid]), (_TGKILL, 0, [pid]), (_FCNTL, 1, _FCNTL_COMMANDS)):
        steps += _only_with(numbers[machine.column], argument, values)
    for table, verdict in ((ALLOWED, _ALLOW), (FATAL, _KILL_PROCESS)):
        for number in _numbers(table.values(), machine):
            steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, verdict)]
    return b"".join([*steps, _step(_RETURN, _FAIL)])


def _numbers(table: Iterable[tuple[int, int]], machine: Architecture) -> Iterator[int]:
    return (row[machine.column] for row in table if row[machine.column] != _NONE)


def _unless(value: int, verdict: int) -> list[bytes]:
    return [_step(_EQUAL, value, 1, 0), _step(_RETURN, verdict)]


def _only_with(number: int, argument: int, values: Sequence[int]) -> list[bytes]:
    """Return the steps that allow a call with one of these values as an argument, and refuse it otherwise."""
    allow = [step for value in values for step in (_step(_EQUAL, value, 0, 1), _step(_RETURN, _ALLOW))]
    body = [_step(_LOAD, _ARGUMENTS_AT + 8 * argument), *allow, _step(_RETURN, _FAIL)]
    return [_step(_EQUAL, number, 0, len(body)), *body]


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """Return an instruction: what it does, with which value, and how many to leave out next."""
    return struct.pack("<HBBI", code, then, otherwise, value)
