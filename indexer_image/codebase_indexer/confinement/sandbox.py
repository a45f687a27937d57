"""What a process gives up before it reads the first untrusted byte. None of it comes back.

Limits of resources hold everywhere. Landlock keeps it from files other than the source and Python's libraries,
seccomp from all that is not reading and computing: programs, processes, the network, the kernel's rarer doors.
"""

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from codebase_indexer.confinement import kernel, landlock, seccomp
from codebase_indexer.confinement.kernel import Unavailable

MEMORY_BYTES: Final = 3 * 2**29
"""What it may take beyond what it has when it is confined: as much as git may."""

MAX_DESCRIPTORS: Final = 64

_SYSTEM_LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")

_SET_DUMPABLE, _SET_NO_NEW_PRIVILEGES = 4, 38


def enter(source: int) -> list[str]:
    """Confine this process, for good. `source` is a descriptor of the folder whose files it may read.

    To be called before it has other threads. Returns what the system refused, each with the reason; none: it is
    confined.
    """
    _limit_resources()
    missing = []
    means: tuple[Callable[[], None], ...] = (
        lambda: kernel.prctl("PR_SET_DUMPABLE", _SET_DUMPABLE, 0),  # its siblings cannot look into it
        lambda: kernel.prctl("PR_SET_NO_NEW_PRIVS", _SET_NO_NEW_PRIVILEGES, 1),
        lambda: landlock.restrict(libraries(), source),
        lambda: seccomp.install(os.getpid()),  # the last: it refuses the others
    )
    for confine in means:
        try:
            confine()
        except Unavailable as error:
            missing.append(str(error))
    return missing


def libraries() -> list[Path]:
    """Return where Python and the system find what is imported later, such as grammars and codecs."""
    searched = (*sys.path, os.path.join(sys.base_prefix, "lib"), *_search_path(), *_SYSTEM_LIBRARIES)  # noqa: PTH118
    return [Path(place) for place in dict.fromkeys(searched) if Path(place).is_absolute()]


def _search_path() -> list[str]:
    return os.environ.get("LD_LIBRARY_PATH", "").split(":")


def _limit_resources() -> None:
    """Set the limits, those that the system has: macOS has no list of what a process holds."""
    wanted = {
        "CORE": 0,  # a dump would hold code
        "NPROC": 0,  # for an ordinary user; whoever is root, the filter refuses
        "MSGQUEUE": 0,
        "NOFILE": MAX_DESCRIPTORS,
        "DATA": _data_bytes() + MEMORY_BYTES,
    }
    for name, value in wanted.items():
        if (number := getattr(resource, f"RLIMIT_{name}", None)) is not None:
            given = [limit for limit in resource.getrlimit(number) if limit != resource.RLIM_INFINITY]
            least = min([value, *given])
            resource.setrlimit(number, (least, least))


def _data_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * resource.getpagesize()
