"""A real PgBouncer in transaction mode before the tests' Postgres: the one on PATH, else Debian's."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from hack.debian import unpacked
from tests.support.guard import guarded
from tests.support.waiting import wait_for

_PORT = 6432


@contextmanager
def pooled(dsn: str, **settings: str) -> Iterator[str]:
    """Run a PgBouncer before the database of `dsn`; yield the address by which that is reached through it."""
    folder = Path(tempfile.mkdtemp(prefix="codebase-pooler-"))
    file = folder / "pgbouncer.ini"
    of_the_pooler = {
        "unix_socket_dir": folder, "listen_port": _PORT, "auth_type": "any", "pool_mode": "transaction",
        **settings,
    }  # fmt: skip
    lines = [f"{name} = {value}" for name, value in of_the_pooler.items()]
    host = parse_qs(urlsplit(dsn).query)["host"][0]
    file.write_text("\n".join(["[databases]", f"* = host={host} user=postgres", "[pgbouncer]", *lines, ""]))
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None  # it refuses to run as root
    if user is not None:
        os.chown(folder, user, -1)
        os.chown(file, user, -1)
    program, libraries = _program(folder)
    with (
        subprocess.Popen(
            [program, file], env={**os.environ, "LD_LIBRARY_PATH": libraries}, user=user,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        ) as process,
        guarded("sh", "-c", 'kill "$0"; rm -rf -- "$1"', str(process.pid), str(folder)),
    ):  # fmt: skip
        try:
            wait_for((folder / f".s.PGSQL.{_PORT}").exists, "PgBouncer listens", every=0.05)
            yield f"postgresql://postgres:@{urlsplit(dsn).path}?host={folder}&port={_PORT}"
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)


def _program(folder: Path) -> tuple[Path, str]:
    """The program, and where its libraries lie that may be missing here: copied, as the cache is its owner's."""
    if found := shutil.which("pgbouncer"):
        return Path(found), os.environ.get("LD_LIBRARY_PATH", "")
    cached = unpacked("pgbouncer", "libc-ares2", "libevent-2.1-7")
    for file in [*cached.glob("usr/lib/*-linux-gnu/*.so.*"), cached / "usr" / "sbin" / "pgbouncer"]:
        shutil.copy(file, folder)
    return folder / "pgbouncer", str(folder)
