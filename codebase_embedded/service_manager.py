"""The instance's first process: it holds the lock, and keeps Postgres, operator and server running until its end.

Small on purpose: it is there for as long as the instance, and what it does not do cannot end it.
"""

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from codebase_embedded import processes, shim
from codebase_embedded.folder import Folder, secret_in, write_private
from codebase_embedded.instance import Instance, InstanceFailed
from codebase_embedded.postgres import STOP_SECONDS, STOP_SIGNAL, Postgres
from codebase_embedded.processes import INSTANCE_MARK, Process
from codebase_embedded.settings import LIFE_VARIABLE, SETTINGS_VARIABLE, Settings
from codebase_index.listening import listen_on
from codebase_index.store.address import FILE_VARIABLE
from codebase_index.version import VERSION

HOST: Final = "127.0.0.1"

LOCK_SECONDS: Final = 2.0
"""Whoever asks whether an instance runs holds the lock for an instant."""

BACKOFF: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before a restart, by the number of ends within the last minute: a job has 10 s to go on."""

BACKOFF_WINDOW: Final = 60.0

GRACE_SECONDS: Final = 6.0
"""How long operator and server have to end: the server's requests have 3 s, and a pod as many."""

POD_SECONDS: Final = 5.0
"""How long indexers have: their grace period, and a little."""

_TICK: Final = 1.0


def run(
    settings: Settings, *, background: bool = False, announce: Callable[[Instance], None] = lambda _: None
) -> None:
    """Be the instance of a folder until SIGTERM or SIGINT, in this process' main thread.

    In the background it also ends when nobody uses it. Raises AlreadyRunning or InstanceFailed.
    """
    ServiceManager(settings, background=background).run(announce)


class AlreadyRunning(InstanceFailed):
    """Another process is the instance of this folder."""


@dataclass
class Service:
    """A process that runs for as long as the instance: when it ends, it is started again."""

    name: str
    command: Sequence[str]
    log: Path
    environment: dict[str, str]
    descriptors: tuple[int, ...]
    process: "subprocess.Popen[bytes] | None" = None
    ends: list[float] = field(default_factory=list)
    due: float = 0.0

    def start(self) -> None:
        """Start it, in a session of its own: a Ctrl-C in the terminal is the instance's to pass on."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/",
                env=self.environment, pass_fds=self.descriptors, start_new_session=True,
            )  # fmt: skip

    def ended(self, now: float) -> None:
        """Take note of its end, and of when it is due again."""
        self.ends = [*(end for end in self.ends if now - end < BACKOFF_WINDOW), now]
        self.due = now + BACKOFF[min(len(self.ends), len(BACKOFF)) - 1]
        self.process = None


class ServiceManager:
    """Runs the services of one instance. Not for more than one in a process: it takes its signals."""

    def __init__(self, settings: Settings, *, background: bool) -> None:
        self._settings = settings
        self._background = background
        self._folder = Folder(settings.data)
        self._postgres = Postgres(self._folder)
        self._stopping = False

    def run(self, announce: Callable[[Instance], None]) -> None:
        """Run until SIGTERM, SIGINT, or in the background until nobody has used it for long.

        `announce` is told of the instance when its services start. Raises AlreadyRunning or InstanceFailed.
        """
        self._folder.make()
        with self._locked(), contextlib.ExitStack() as stack:
            shim.adopt_orphans()
            self._end_remains()
            self._postgres.write_address()
            secret_in(self._folder.token)
            life_reader, life_writer = os.pipe()
            stack.callback(os.close, life_writer)
            listener = stack.enter_context(self._listen())
            wake = self._catch_signals()
            services = self._services(life_reader, listener.fileno())
            try:
                announce(self._write_down(listener.getsockname()[1]))
                self._keep_running(services, wake)
            finally:
                self._stop(services)
                self._folder.instance.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise AlreadyRunning(
                            f"an instance runs in {self._folder.root} already; `codebase-mcp stop` ends it"
                        ) from None
                    time.sleep(0.05)
            yield
        finally:
            os.close(descriptor)

    def _end_remains(self) -> None:
        """Kill what an instance left that was killed itself: as after the loss of a node, its jobs go on anew."""
        if left := processes.kill(self._marked()):
            raise InstanceFailed(f"processes {', '.join(map(str, left))} of the last instance cannot be ended")
        self._postgres.end_remains()

    def _marked(self) -> Iterator[Process]:
        return processes.marked(INSTANCE_MARK, str(self._folder.root))

    def _listen(self) -> socket.socket:
        """Listen on the port that clients know. The socket outlives the server: no connection is ever refused."""
        before = self._folder.port.read_text() if self._folder.port.exists() else ""
        wanted = self._settings.port or (int(before) if before.isdecimal() else 0)
        try:
            listener = listen_on(HOST, wanted)
        except OSError as error:
            if self._settings.port is not None:
                raise InstanceFailed(f"port {wanted} of {HOST} cannot be had: {error.strerror}") from error
            listener = listen_on(HOST, 0)
        write_private(self._folder.port, str(listener.getsockname()[1]))
        return listener

    def _services(self, life_reader: int, listener: int) -> list[Service]:
        environment = {
            **os.environ,
            INSTANCE_MARK: str(self._folder.root),
            FILE_VARIABLE: str(self._folder.database_url),
            LIFE_VARIABLE: str(life_reader),
            SETTINGS_VARIABLE: self._settings.to_json(),
            "CODEBASE_LISTEN_FD": str(listener),
            "PYDANTIC_DISABLE_PLUGINS": "true",
        }
        postgres = [
            sys.executable, "-I", "-S", shim.__file__, "--life", str(life_reader),
            "--end", str(self._folder.logs / "postgres-end.json"),
            "--stop", STOP_SIGNAL, "--grace", str(STOP_SECONDS),
            *(("--user", str(self._postgres.user)) if self._postgres.user is not None else ()),
            "--", *self._postgres.command(),
        ]  # fmt: skip

        def service(name: str, command: list[str], *descriptors: int) -> Service:
            return Service(name, command, self._folder.log(name), environment, (life_reader, *descriptors))

        return [
            service("server", _module("server_process"), listener),
            service("operator", _module("operator_process")),
            service("postgres", postgres),
        ]

    def _write_down(self, port: int) -> Instance:
        own = Process.of(os.getpid())
        assert own is not None
        self._folder.activity.unlink(missing_ok=True)  # the server marks when it begins to serve
        instance = Instance(
            data=str(self._folder.root), pid=own.pid, started=own.started, version=VERSION, host=HOST, port=port,
            roots=tuple(map(str, self._settings.roots)), background=self._background,
        )  # fmt: skip
        instance.write()
        return instance

    def _catch_signals(self) -> int:
        """Let signals wake the loop; return what it waits for."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)
        return reader

    def _ask_to_stop(self, *_: object) -> None:
        self._stopping = True

    def _keep_running(self, services: Sequence[Service], wake: int) -> None:
        while not self._stopping:
            now = time.monotonic()
            self._reap(services, now)
            for service in services:
                if service.process is None and service.due <= now:
                    if service.name == "postgres":
                        self._postgres.prepare()  # its shim may have been killed, and left it running
                    service.start()
            if self._unused():
                return
            ready, _, _ = select.select([wake], [], [], _TICK if all(s.process for s in services) else 0.1)
            if ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)

    def _reap(self, services: Sequence[Service], now: float) -> None:
        """Take note of services that ended, and bury orphans: the indexers of an operator that was killed."""
        for service in services:
            if service.process is not None and service.process.poll() is not None:
                _log(f"{service.name} ended with {service.process.returncode}; it is started again")
                service.ended(now)
        shim.bury_orphans({service.process.pid for service in services if service.process})

    def _unused(self) -> bool:
        """Whether it runs in the background, and nobody has used it for as long as it may stay so."""
        if not self._background or self._settings.idle_seconds is None or not self._folder.activity.exists():
            return False
        return time.time() - self._folder.activity.stat().st_mtime > self._settings.idle_seconds

    def _stop(self, services: Sequence[Service]) -> None:
        """End the services: Postgres last, the others still write to it."""
        *others, postgres = services
        _end([service.process for service in others if service.process], GRACE_SECONDS)
        self._end_pods(postgres.process.pid if postgres.process else None)
        _end([postgres.process] if postgres.process else [], STOP_SECONDS + 2)

    def _end_pods(self, postgres: int | None) -> None:
        """End indexers as their node's shutdown does: what they hold is given back, and their jobs go on later."""
        left = [process for process in self._marked() if process.session() != postgres]
        for process in left:
            if process.session() == process.pid:  # a shim, which ends its session
                process.signal(signal.SIGTERM)
        processes.kill(processes.wait_gone(left, POD_SECONDS))


def _end(children: Sequence["subprocess.Popen[bytes]"], seconds: float) -> None:
    for child in children:
        child.terminate()
    deadline = time.monotonic() + seconds
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"codebase_embedded.{name}"]


def _log(message: str) -> None:
    print(f"codebase-mcp: {message}", file=sys.stderr, flush=True)  # noqa: T201 - a log of its own
