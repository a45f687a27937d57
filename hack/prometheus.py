"""Prometheus and promtool: the ones on PATH, else those of Debian's package, unpacked into the cache.

Debian compiles them: from the Go module it takes many minutes here, as they know every cloud's service discovery.
The package is unpacked and not installed, which needs no root and starts no service. `python -m hack.prometheus`
fetches it beforehand.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from hack.local_cluster.console import run, say
from hack.local_cluster.errors import ClusterError
from hack.local_cluster.paths import cache_root


def program(name: str) -> Path:
    """The path of `prometheus` or `promtool`. Raises ClusterError where it is not here and cannot be fetched."""
    if found := shutil.which(name):
        return Path(found)
    unpacked = cache_root() / "prometheus"
    if not unpacked.exists():
        if shutil.which("apt-get") is None:
            raise ClusterError(f"{name} is not on PATH, and there is no apt-get to fetch it. Install Prometheus.")
        cache_root().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=cache_root()) as folder:
            _unpack(Path(folder))
            if not unpacked.exists():  # another has been quicker
                (Path(folder) / "unpacked").rename(unpacked)
    return unpacked / "usr" / "bin" / name


def _unpack(folder: Path) -> None:
    say("Fetching Prometheus, 19 MB, from Debian's archive.")
    download: list[str | Path] = ["sh", "-c", 'cd "$0" && apt-get -q download prometheus', folder]
    try:
        run(download)
    except ClusterError:  # a fresh machine has no list of packages, or an old one
        run(["apt-get", "-q", "update"], hint="apt-get update needs root: install Prometheus, or run it once.")
        run(download, hint="Does `apt-get update` work on this machine?")
    (package,) = folder.glob("*.deb")
    run(["dpkg-deb", "--extract", package, folder / "unpacked"])


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
