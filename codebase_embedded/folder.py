"""An instance's folder: what lies where, for the owner alone."""

import hashlib
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from codebase_embedded.settings import MAX_SOCKET_PATH

_LONGEST_SOCKET = "postgres/.s.PGSQL.5432"


@dataclass(frozen=True)
class Folder:
    """The paths below an instance's folder, which only its owner may enter."""

    root: Path

    @property
    def lock(self) -> Path:
        """Locked by the instance for as long as it runs."""
        return self.root / "lock"

    @property
    def instance(self) -> Path:
        """What runs here: `instance.Instance` as JSON."""
        return self.root / "instance.json"

    @property
    def token(self) -> Path:
        """The bearer token of the HTTP endpoint. It stays: clients' configurations hold it, or name this file."""
        return self.root / "token"

    @property
    def port(self) -> Path:
        """The port of the last instance: the next one takes it again, since clients' configurations hold it."""
        return self.root / "port"

    @property
    def database_url(self) -> Path:
        """The address of Postgres, with its password."""
        return self.root / "database-url"

    @property
    def postgres(self) -> Path:
        """The data of Postgres."""
        return self.root / "postgres"

    @property
    def pods(self) -> Path:
        """A folder for each indexer: its clones and temporary files, its log, how it ended."""
        return self.root / "pods"

    @property
    def logs(self) -> Path:
        """The programs' logs."""
        return self.root / "logs"

    @property
    def activity(self) -> Path:
        """Touched while the instance is in use; not there before it serves."""
        return self.root / "activity"

    @property
    def sockets(self) -> Path:
        """The folder of the Unix sockets: a temporary one where a path in the instance's would be too long."""
        inside = self.root / "run"
        if len(os.fsencode(inside / _LONGEST_SOCKET)) <= MAX_SOCKET_PATH:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"codebase-mcp-{digest}"

    @property
    def socket(self) -> Path:
        """Where clients speak MCP as over standard input and output."""
        return self.sockets / "mcp"

    @property
    def postgres_socket(self) -> Path:
        """The folder of Postgres' own socket, which belongs to the user that Postgres runs as."""
        return self.sockets / "postgres"

    def make(self) -> None:
        """Make the folders. Raises OSError, and PermissionError where a folder is somebody else's."""
        # Of root's instance, Postgres runs as another user, who has to get to its data and its socket.
        passage = 0o711 if os.geteuid() == 0 else 0o700
        for folder, mode in (
            (self.root, passage),
            (self.sockets, passage),
            (self.pods, 0o700),
            (self.logs, 0o700),
        ):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _require_own(folder)
            folder.chmod(mode)

    def log(self, name: str) -> Path:
        """Return a program's log; one that has become large makes room for a new one."""
        log = self.logs / f"{name}.log"
        if log.exists() and log.stat().st_size > 10_000_000:
            log.replace(log.with_suffix(".log.1"))
        return log


def _require_own(folder: Path) -> None:
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(
            f"{folder} belongs to another user; remove it, or set CODEBASE_DATA to another folder"
        )


def write_private(file: Path, text: str) -> None:
    """Write a file that its owner alone may read, as a whole or not at all."""
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    partial.replace(file)


def secret_in(file: Path) -> str:
    """Return the secret that a file holds; make both the first time."""
    if not file.exists():
        write_private(file, secrets.token_urlsafe(32))
    return file.read_text().strip()
