"""`python -I -S in_namespace.py PID mount|unmount TARGET [TYPE OPTIONS]`: mounts of a process.

A container has mounts of its own. This process enters them with the host's programs, and needs none that the
container's image may lack. It must be a process by itself: a program with threads cannot enter. It imports the
standard library alone, so that it starts at once.
"""

import ctypes
import os
import sys
from pathlib import Path

_NEWNS = 0x00020000
_DETACH = 2
_NO_SUID_NO_DEVICES = 2 | 4


def main(arguments: list[str]) -> None:
    """Carry out one command. Raises OSError, and SystemExit when the process is over."""
    pid, command, target, *how = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        with Path(f"/proc/{pid}/ns/mnt").open("rb") as namespace:
            _checked(libc.setns(namespace.fileno(), _NEWNS))
    except FileNotFoundError:
        sys.exit(f"process {pid} is over, and its namespace with it")
    if command == "mount":
        kind, options = how
        flags = ctypes.c_ulong(_NO_SUID_NO_DEVICES)
        _checked(libc.mount(b"none", target.encode(), kind.encode(), flags, options.encode()))
    else:
        _checked(libc.umount2(target.encode(), _DETACH))


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])
