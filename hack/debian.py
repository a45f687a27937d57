"""Files of Debian's packages, unpacked into the cache: for programs that take too long to compile here.

They are not installed, which needs no root and starts no service.
"""

import shutil
import tempfile
from pathlib import Path

from hack.local_cluster.console import run, say
from hack.local_cluster.errors import ClusterError
from hack.local_cluster.paths import cache_root


def unpacked(package: str, *libraries: str) -> Path:
    """The folder with the files of a package, and of those with libraries for it, fetched the first time.

    Raises ClusterError where they are not here and cannot be fetched.
    """
    found = cache_root() / package
    if not found.exists():
        if shutil.which("apt-get") is None:
            raise ClusterError(f"There is no apt-get here to fetch {package}. Install it, and put it on PATH.")
        cache_root().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=cache_root()) as folder:
            _unpack((package, *libraries), Path(folder))
            if not found.exists():  # another has been quicker
                (Path(folder) / "unpacked").rename(found)
    return found


def _unpack(packages: tuple[str, ...], folder: Path) -> None:
    say(f"Fetching {packages[0]} from Debian's archive.")
    download: list[str | Path] = ["sh", "-c", 'cd "$0" && apt-get -q download "$@"', folder, *packages]
    try:
        run(download)
    except ClusterError:  # a fresh machine has no list of packages, or an old one
        run(["apt-get", "-q", "update"], hint=f"apt-get update needs root: install {packages[0]}, or run it once.")
        run(download, hint="Does `apt-get update` work on this machine?")
    for file in folder.glob("*.deb"):
        run(["dpkg-deb", "--extract", file, folder / "unpacked"])
