"""Prometheus and promtool: the ones on PATH, else those of Debian's package, unpacked into the cache.

Debian compiles them: from the Go module it takes many minutes here, as they know every cloud's service discovery.
`python -m hack.prometheus` fetches the package beforehand.
"""

import shutil
import sys
from pathlib import Path

from hack.debian import unpacked
from hack.local_cluster.errors import ClusterError


def program(name: str) -> Path:
    """The path of `prometheus` or `promtool`. Raises ClusterError where it is not here and cannot be fetched."""
    if found := shutil.which(name):
        return Path(found)
    return unpacked("prometheus") / "usr" / "bin" / name


def main() -> int:
    """Fetch it where it is missing. Exit code 2 where that is not possible."""
    try:
        print(program("promtool"))
    except ClusterError as error:
        print(f"prometheus: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
