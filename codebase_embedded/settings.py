"""What one instance is told when it starts, and where it keeps things."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from codebase_index.environment import flag

DATA_VARIABLE: Final = "CODEBASE_DATA"
IDLE_VARIABLE: Final = "CODEBASE_IDLE_SECONDS"
USER_CREDENTIALS_VARIABLE: Final = "CODEBASE_USER_CREDENTIALS"
ROOTS_VARIABLE: Final = "CODEBASE_EMBEDDED_ROOTS"

NAMESPACE: Final = "default"
"""An instance has one, and nobody has to name it."""

SETTINGS_VARIABLE: Final = "CODEBASE_EMBEDDED_SETTINGS"
"""By which an instance's first process tells the others its settings."""

LIFE_VARIABLE: Final = "CODEBASE_LIFE_FD"
"""The same for the descriptor of its life: `life.py`."""

IDLE_SECONDS: Final = 600
"""How long an instance that was started in the background stays without clients and unfinished jobs."""

GIT_HOSTS: Final = ("github.com", "gitlab.com")
"""Hosts to clone from, unless others are named: those whose ssh keys are built in, as in the chart."""

MAX_SOCKET_PATH: Final = 100
"""Bytes of the path of a Unix socket that all systems take; Linux takes 107, macOS 103."""


class SettingsInvalid(ValueError):
    """A setting is not usable. The message names it, and says what it should be."""


def data_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Return where the user's instance keeps its data: CODEBASE_DATA, or the platform's folder for it.

    Root's is under /var/lib: the user that Postgres then runs as may not enter root's home.
    """
    if given := env.get(DATA_VARIABLE):
        return Path(given).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/codebase-mcp")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "codebase-mcp"
    return Path(env.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "codebase-mcp"


@dataclass(frozen=True)
class Settings:
    """Everything that can be set. The defaults are those of a person at a machine of their own."""

    data: Path
    """The instance's folder: there is one instance for each."""
    roots: tuple[Path, ...]
    """Folders below which repositories may be indexed."""
    git_hosts: tuple[str, ...] = GIT_HOSTS
    max_jobs: int = 3
    """How many jobs run at once."""
    processes: int = 2
    """How many processes one job runs."""
    idle_seconds: int | None = IDLE_SECONDS
    """How long it stays without clients and unfinished jobs; None: until it is stopped."""
    port: int | None = None
    """TCP port on loopback; None: the one that it had before, or else a free one."""
    log_level: str = "INFO"
    user_credentials: bool = False
    """Whether git may use this user's own credentials, so that every client can have indexed what they open."""
    metrics_port: int | None = None
    """TCP port on loopback for the operator's metrics; the next one is for the server's probes and metrics. None:
    there are none."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, **given: Any) -> "Settings":
        """Read the environment; what is `given` (by options of a command, None: not given) comes first.

        CODEBASE_DATA; CODEBASE_EMBEDDED_ROOTS (folders, separated as in PATH; else the home folder);
        CODEBASE_GIT_HOSTS (comma-separated); CODEBASE_MAX_CONCURRENT_JOBS; CODEBASE_IDLE_SECONDS (0: stays until
        it is stopped); CODEBASE_LOG_LEVEL; CODEBASE_METRICS_PORT; CODEBASE_USER_CREDENTIALS (true or false).
        CODEBASE_REFRESH is read by `server_process`. Raises SettingsInvalid.
        """
        roots = [Path(text) for text in env.get(ROOTS_VARIABLE, "").split(os.pathsep) if text]
        hosts = tuple(
            host.strip().lower() for host in env.get("CODEBASE_GIT_HOSTS", "").split(",") if host.strip()
        )
        settings = cls(
            data=data_folder(env),
            roots=tuple(roots) or (Path.home(),),
            git_hosts=hosts or GIT_HOSTS,
            max_jobs=_number(env, "CODEBASE_MAX_CONCURRENT_JOBS", 3),
            processes=min(os.cpu_count() or 1, 4),
            idle_seconds=_number(env, IDLE_VARIABLE, IDLE_SECONDS) or None,
            log_level=env.get("CODEBASE_LOG_LEVEL") or "INFO",
            user_credentials=flag(env, USER_CREDENTIALS_VARIABLE, SettingsInvalid),
            metrics_port=_number(env, "CODEBASE_METRICS_PORT", 0) or None,
        )
        return replace(settings, **{name: value for name, value in given.items() if value is not None}).checked()

    def checked(self) -> "Settings":
        """Return these settings with absolute paths. Raises SettingsInvalid."""
        roots = tuple(root.expanduser().resolve() for root in self.roots)
        for root in roots:
            if not root.is_dir():
                raise SettingsInvalid(f"root {root} is no folder; name folders that hold repositories")
        if self.port is not None and not 0 < self.port < 65536:
            raise SettingsInvalid(f"port {self.port} is none; give one from 1 to 65535")
        if self.metrics_port is not None and not 0 < self.metrics_port < 65535:
            raise SettingsInvalid(f"CODEBASE_METRICS_PORT is {self.metrics_port}; give a port from 1 to 65534")
        return replace(self, data=self.data.expanduser().absolute(), roots=roots)

    @property
    def roots_json(self) -> str:
        """The roots as CODEBASE_ROOTS has them: here, a path is the same for everybody."""
        return json.dumps([{"path": str(root)} for root in self.roots])

    def to_json(self) -> str:
        """Return the settings as JSON, for `of_json`."""
        return json.dumps(self.__dict__, default=str)

    @classmethod
    def of_json(cls, text: str) -> "Settings":
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        return cls(**{
            **fields,
            "data": Path(fields["data"]),
            "roots": tuple(map(Path, fields["roots"])),
            "git_hosts": tuple(fields["git_hosts"]),
        })  # fmt: skip


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal():
        raise SettingsInvalid(f"{name} is {text!r}; set it to a whole number")
    return int(text)
