"""Find, start, join and stop the instance of a folder: all that a command has to know of the embedded runtime.

    settings = Settings.from_env(data=..., roots=...)   # what is None comes from the environment, or is a default
    instance = find(settings.data)                      # one that runs, or None
    instance = ensure(settings)                         # the same, started in the background if there is none
    Client(instance.url, headers={"Authorization": f"Bearer {instance.token()}"})
    stop(settings.data)

`service_manager.run(settings)` runs one in the foreground; `bridge.run(settings)` speaks MCP over standard input
and output, as a client of the instance.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from codebase_embedded.folder import Folder, write_private
from codebase_embedded.processes import Process
from codebase_embedded.settings import Settings
from codebase_index.version import VERSION

START_SECONDS: Final = 120.0
"""How long a start may take: seconds, but more on a busy machine, or when Postgres recovers from a crash."""

STOP_SECONDS: Final = 20.0
"""How long an instance has to end its jobs and Postgres."""

_POLL_SECONDS: Final = 0.05


class InstanceFailed(RuntimeError):
    """An instance does not start or end. The message says why, and what to do."""


@dataclass(frozen=True)
class Instance:
    """An instance that runs: what `instance.json` holds."""

    data: str
    pid: int
    started: str
    """When its first process started, as `processes.start_mark` writes it: a pid alone may be another's by now."""
    version: str
    host: str
    port: int
    roots: tuple[str, ...]
    background: bool
    """Whether it ends by itself when it is not used for some time."""

    @property
    def url(self) -> str:
        """The MCP endpoint. It asks for the token."""
        return f"http://{self.host}:{self.port}/mcp"

    @property
    def folder(self) -> Folder:
        """What lies where."""
        return Folder(Path(self.data))

    @property
    def socket(self) -> Path:
        """The Unix socket on which MCP is spoken as over standard input and output."""
        return self.folder.socket

    @property
    def token_file(self) -> Path:
        """The file with the bearer token of the HTTP endpoint."""
        return self.folder.token

    @property
    def database_url_file(self) -> Path:
        """The file with the address of Postgres: a value for CODEBASE_DATABASE_URL_FILE."""
        return self.folder.database_url

    def token(self) -> str:
        """Return the bearer token. Raises OSError."""
        return self.token_file.read_text().strip()

    @property
    def process(self) -> Process:
        """Its first process."""
        return Process(self.pid, self.started)

    def health(self) -> dict[str, Any] | None:
        """Return what `/readyz` answers, or None: nobody answers. `status` is ok when it can serve."""
        return _get_json(self.host, self.port, "/readyz")

    def ready(self) -> bool:
        """Whether it serves: its database answers and has its schema."""
        health = self.health()
        return health is not None and health.get("status") == "ok"

    def write(self) -> None:
        """Write it down for `find`."""
        write_private(self.folder.instance, json.dumps(asdict(self), indent=2))


def find(data: Path) -> Instance | None:
    """Return the instance that runs for this folder, ready or not; None: there is none."""
    folder = Folder(data.expanduser().absolute())
    if not is_locked(folder):
        return None
    try:
        fields = json.loads(folder.instance.read_text())
        instance = Instance(**{**fields, "roots": tuple(fields["roots"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None  # it is just starting
    return instance if instance.process.alive() else None


def ensure(
    settings: Settings, *, timeout: float = START_SECONDS, notify: Callable[[str], None] = lambda _: None
) -> Instance:
    """Return the running instance of this folder, and start one in the background if there is none.

    One of another version of this package is replaced. `notify` is told in a sentence what is waited for.
    Raises InstanceFailed.
    """
    deadline = time.monotonic() + timeout
    starting: subprocess.Popen[bytes] | None = None
    while time.monotonic() < deadline:
        instance = find(settings.data)
        if instance is not None and instance.version != VERSION:
            notify(f"replacing the instance of version {instance.version} by one of {VERSION}")
            stop(settings.data)
        elif instance is not None and instance.ready():
            return instance
        elif instance is None and starting is None and not is_locked(Folder(settings.data)):
            notify(f"starting the embedded instance in {settings.data}")
            starting = _start_in_background(settings)
        elif starting is not None and starting.poll() not in (None, 0):
            _require_rival(settings, starting)
            starting = None
        time.sleep(_POLL_SECONDS)
    raise InstanceFailed(
        f"the embedded instance in {settings.data} does not serve after {timeout:.0f} s; its logs are in "
        f"{Folder(settings.data).logs}"
    )


def stop(data: Path, *, timeout: float = STOP_SECONDS) -> bool:
    """End the instance of this folder and wait for its end. False: none runs. Raises InstanceFailed.

    Jobs that run are stopped, and go on when an instance starts again.
    """
    instance, folder = find(data), Folder(data.expanduser().absolute())
    if instance is None and not is_locked(folder):
        return False
    deadline = time.monotonic() + timeout
    asked = False
    while is_locked(folder):
        if not asked and (instance := instance or find(data)):
            instance.process.signal(signal.SIGTERM)
            asked = True
        if time.monotonic() > deadline:
            raise InstanceFailed(
                f"the instance in {data} has not ended within {timeout:.0f} s"
                + (f"; end its process {instance.pid} with SIGKILL, the next start cleans up" if instance else "")
            )
        time.sleep(_POLL_SECONDS)
    return True


def is_locked(folder: Folder) -> bool:
    """Whether an instance runs for this folder, or is just starting."""
    try:
        descriptor = os.open(folder.lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


_started: list[subprocess.Popen[bytes]] = []
"""Instances that outlive this process on purpose; forgotten ones would be warned of."""


def _start_in_background(settings: Settings) -> subprocess.Popen[bytes]:
    folder = Folder(settings.data)
    folder.make()
    _started[:] = [process for process in _started if process.poll() is None]
    with folder.log("instance").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "codebase_embedded", "--background", settings.to_json()],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
        )  # fmt: skip
    _started.append(process)
    return process


def _require_rival(settings: Settings, starting: subprocess.Popen[bytes]) -> None:
    """Check that a start that ended lost against another one's. Raises InstanceFailed for one that failed."""
    if starting.returncode != ALREADY_RUNNING:
        log = Folder(settings.data).log("instance")
        lines = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise InstanceFailed(f"the embedded instance did not start: {' '.join(lines) or 'no reason given'}")


ALREADY_RUNNING: Final = 75
"""Exit code of a start for a folder that has an instance already (EX_TEMPFAIL of sysexits.h)."""


def _get_json(host: str, port: int, path: str, timeout: float = 2.0) -> dict[str, Any] | None:
    """Return the JSON that a GET answers with, or None. Without an HTTP library: these take longer to load."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        while part := connection.recv(65536):
            answer += part
    try:
        return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))
    except ValueError:
        return None
