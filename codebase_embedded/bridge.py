"""MCP over standard input and output: lines are passed to the one instance's Unix socket, and back.

Light, since every editor and agent starts one: the standard library, and 15 MB. A client does not notice when the
server restarts, or the whole instance: the handshake is repeated, and what was not answered is asked again. Every
tool may be asked twice: a start joins the job that it made, and a cancel says that the job is cancelled.
"""

import contextlib
import json
import os
import select
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from codebase_embedded.instance import Instance, ensure
from codebase_embedded.settings import Settings
from codebase_index.api.caller_folder import FOLDER_KEY

_STDIN: Final = 0
_STDOUT: Final = 1
_READ_BYTES: Final = 65536

RETRIES: Final = 30
"""How often a connection is tried, each time with an instance that answers its health check."""


def run(settings: Settings) -> int:
    """Serve the client on standard input and output until it closes them. Raises instance.InstanceFailed."""
    Bridge(lambda: ensure(settings, notify=_tell)).run()
    return 0


class Lines:
    """Complete lines from chunks of bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take a chunk; yield the lines that it completes, with their ends."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in lines)


class Conversation:
    """What of a client's messages a new connection has to hear again."""

    def __init__(self) -> None:
        self._handshake: list[bytes] = []
        self._unanswered: dict[str, bytes] = {}
        self._repeated: set[str] = set()

    def asked(self, line: bytes) -> None:
        """Take note of a client's message."""
        message = _parsed(line)
        method = message.get("method")
        if method == "initialize":
            self._handshake = [line]
        elif method == "notifications/initialized":
            self._handshake.append(line)
        elif method == "notifications/cancelled":  # nobody answers that request any more
            self._unanswered.pop(json.dumps((message.get("params") or {}).get("requestId")), None)
        if method is not None and "id" in message:
            self._unanswered[json.dumps(message["id"])] = line

    def answered(self, line: bytes) -> bool:
        """Take note of a server's message; return whether it is for the client, and not a repeated handshake's."""
        message = _parsed(line)
        if "id" not in message or "method" in message:
            return True
        key = json.dumps(message["id"])
        if key in self._repeated:
            self._repeated.discard(key)
            return False
        self._unanswered.pop(key, None)
        return True

    def to_repeat(self) -> list[bytes]:
        """Return what a new connection hears first: the handshake, and what was not answered."""
        self._repeated = set()
        for line in self._handshake[:1]:
            key = json.dumps(_parsed(line)["id"])
            if key not in self._unanswered:
                self._repeated.add(key)
        return self._handshake + [line for line in self._unanswered.values() if line not in self._handshake]

    @property
    def settled(self) -> bool:
        """Whether everything was answered."""
        return not self._unanswered


class Bridge:
    """Passes lines between this process' standard streams and the instance, whichever it is."""

    def __init__(self, find: Callable[[], Instance]) -> None:
        self._find = find
        self._conversation = Conversation()
        self._from_client = Lines()
        self._open = True
        self._folder = _working_folder()

    def run(self) -> None:
        """Run until the client has closed its end, and has its answers."""
        while self._open or not self._conversation.settled:
            with self._connect() as server, contextlib.suppress(ConnectionError):
                for line in self._conversation.to_repeat():
                    server.sendall(line)
                self._pass_lines(server)

    def _connect(self) -> socket.socket:
        for _ in range(RETRIES):
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self._find().socket))
                return server
            except OSError:
                server.close()
        raise ConnectionError(
            "the embedded instance answers, but takes no connection; `codebase-mcp stop` ends it"
        )

    def _pass_lines(self, server: socket.socket) -> None:
        """Pass lines on until the server is gone, or the client is and has its answers."""
        from_server = Lines()
        while self._open or not self._conversation.settled:
            watched: list[socket.socket | int] = [server, *([_STDIN] if self._open else [])]
            ready, _, _ = select.select(watched, [], [])
            if _STDIN in ready:
                chunk = os.read(_STDIN, _READ_BYTES)
                self._open = bool(chunk)
                lines = [with_folder(line, self._folder) for line in self._from_client.feed(chunk)]
                for line in lines:  # all of them, before the connection may end under one
                    self._conversation.asked(line)
                server.sendall(b"".join(lines))
            if server in ready:
                chunk = server.recv(_READ_BYTES)
                if not chunk:
                    return
                for line in from_server.feed(chunk):
                    if self._conversation.answered(line):
                        _write(line)


def with_folder(line: bytes, folder: str | None) -> bytes:
    """Return a client's message; the call of a tool tells in which folder this process was started."""
    message = _parsed(line)
    if message.get("method") != "tools/call" or folder is None or not isinstance(message.get("params"), dict):
        return line
    meta = message["params"].get("_meta")
    message["params"]["_meta"] = {FOLDER_KEY: folder, **(meta if isinstance(meta, dict) else {})}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"


def _working_folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return None


def _write(line: bytes) -> None:
    left = memoryview(line)
    try:
        while left:
            left = left[os.write(_STDOUT, left) :]
    except BrokenPipeError:
        sys.exit(0)  # the client is gone


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _tell(what: str) -> None:
    print(f"codebase-mcp: {what}", file=sys.stderr, flush=True)  # noqa: T201 - clients show it in their logs
