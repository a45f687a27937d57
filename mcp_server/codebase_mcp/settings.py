"""The server's settings, all from the environment, checked once at start-up."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TypeVar

from codebase_index.api.source_policy import SourcePolicy
from codebase_index.environment import flag
from codebase_index.listening import EVERYWHERE
from codebase_index.store.address import Address, NoAddress, address_from_env
from codebase_mcp.identity.settings import AuthSettings
from codebase_mcp.limits.caller import IpNetwork
from codebase_mcp.limits.connection_limits import ConnectionLimits
from codebase_mcp.limits.queue_quota import QueueLimits

_HOST = re.compile(r"^(\*\.)?[A-Za-z0-9.-]+(:(\d{1,5}|\*))?$|^\[[0-9A-Fa-f:]+\](:(\d{1,5}|\*))?$")
_NAMESPACE = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_MAX_CONNECTIONS = 100_000
_MAX_DRAIN_SECONDS = 600
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class SettingsError(ValueError):
    """A setting is missing or malformed. The message names it, and says what it should be."""


@dataclass(frozen=True)
class Pod:
    """The pod that this server runs in."""

    name: str
    uid: str


@dataclass(frozen=True)
class Settings:
    """Everything that can be configured."""

    database: Address
    """The address of Postgres, read again for each new connection. It holds a password: never logged."""

    policy: SourcePolicy
    """What may be indexed."""

    namespace: str
    """Namespace of the jobs' custom resources."""

    allowed_hosts: tuple[str, ...]
    """Host names under which clients reach the server, besides loopback. Others get 421: a web page that
    rebinds its DNS name to this server's address must not be able to talk to it."""

    port: int
    """TCP port for --http."""

    probe_port: int | None
    """TCP port of probes and metrics, which clients of the other port cannot block; None: no such port."""

    connections: ConnectionLimits
    """Limits of clients' connections."""

    bind: str
    """Address to listen on for --http: in a pod all of them, elsewhere loopback, since what is sent
    is not encrypted. In a cluster, a NetworkPolicy restricts access."""

    trusted_proxies: tuple[IpNetwork, ...]
    """Networks of the proxies whose X-Forwarded-For is trusted. Any client can send that header."""

    queue: QueueLimits
    """Limits of the job queue, in all and for each caller."""

    allow_deletion: bool
    """Whether there is a tool that deletes indexes, for those who have the right to."""

    refreshes: bool
    """Whether repositories under the roots are indexed by themselves: when they change, or are searched first."""

    log_level: str

    listen_fd: int | None = None
    """Descriptor of a listening socket to serve on instead of `port`: it stays open while this server restarts."""

    auth: AuthSettings | None = None
    """How it is found out who calls over HTTP; None: nothing is said, and HTTP is not served."""

    read_only: bool = False
    """Whether nothing can be started, cancelled or deleted by clients, whoever they are."""

    drain_seconds: int = 0
    """How long a server that is told to end (SIGTERM) goes on answering: clients are still sent to it."""

    pod: Pod | None = None
    """Where the Events about refused starts are written; None: nowhere."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Read the environment. Raises SettingsError."""
        return cls(
            database=_database(env),
            policy=_policy(env),
            namespace=_matching(env, "CODEBASE_NAMESPACE", "default", _NAMESPACE, "a Kubernetes namespace"),
            allowed_hosts=_hosts(env),
            port=_port(env, "CODEBASE_PORT", 8080),
            probe_port=_port(env, "CODEBASE_PROBE_PORT", None),
            connections=ConnectionLimits(
                total=_number(env, "CODEBASE_MAX_CONNECTIONS", 512),
                per_client=_number(env, "CODEBASE_MAX_CONNECTIONS_OF_CLIENT", 128),
            ),
            bind=env.get("CODEBASE_BIND") or (EVERYWHERE if "KUBERNETES_SERVICE_HOST" in env else "127.0.0.1"),
            trusted_proxies=_networks(env, "CODEBASE_TRUSTED_PROXIES"),
            queue=QueueLimits(
                _bound(env, "CODEBASE_MAX_WAITING_JOBS", QueueLimits.total),
                _bound(env, "CODEBASE_MAX_WAITING_JOBS_PER_CALLER", QueueLimits.per_caller),
            ),
            allow_deletion=flag(env, "CODEBASE_ALLOW_DELETION", SettingsError),
            refreshes=flag(env, "CODEBASE_REFRESH", SettingsError),
            log_level=_log_level(env),
            listen_fd=_number(env, "CODEBASE_LISTEN_FD", 0) if env.get("CODEBASE_LISTEN_FD") else None,
            auth=_auth(env),
            read_only=flag(env, "CODEBASE_READ_ONLY", SettingsError),
            drain_seconds=_seconds(env, "CODEBASE_DRAIN_SECONDS"),
            pod=_pod(env),
        )

    @property
    def host_names(self) -> tuple[str, ...]:
        """Every host name under which the server answers."""
        return (*_LOOPBACK, *self.allowed_hosts)


def _pod(env: Mapping[str, str]) -> Pod | None:
    name, uid = env.get("CODEBASE_POD_NAME"), env.get("CODEBASE_POD_UID")
    return Pod(name, uid) if name and uid else None


def _database(env: Mapping[str, str]) -> Address:
    try:
        return address_from_env(env)
    except NoAddress as error:
        raise SettingsError(str(error)) from error


def _policy(env: Mapping[str, str]) -> SourcePolicy:
    try:
        policy = SourcePolicy.from_env(dict(env))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"CODEBASE_ROOTS is malformed ({type(error).__name__}: {error}); set it to a JSON list such as "
            '[{"path": "/srv/repositories", "mount": "/srv/repositories"}]'
        ) from error
    relative = [str(root.path) for root in policy.roots if not root.path.is_absolute()]
    if relative:
        raise SettingsError(f"CODEBASE_ROOTS holds a relative path, {relative[0]!r}; give absolute paths")
    if not policy.roots and not policy.git_hosts:
        raise SettingsError(
            "nothing may be indexed: set CODEBASE_ROOTS (JSON list of {path, mount}), CODEBASE_GIT_HOSTS "
            "(comma-separated host names), or both"
        )
    return policy


def _auth(env: Mapping[str, str]) -> AuthSettings | None:
    try:
        auth = AuthSettings.from_env(env)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    if auth is not None and auth.tells_callers_apart and flag(env, "CODEBASE_REFRESH", SettingsError):
        raise SettingsError(
            "CODEBASE_REFRESH is for a server of one user: a search would start jobs for callers who may start "
            "none; leave it out"
        )
    if flag(env, "CODEBASE_READ_ONLY", SettingsError) and flag(env, "CODEBASE_REFRESH", SettingsError):
        raise SettingsError(
            "CODEBASE_READ_ONLY is true, so nothing is started here, and so is CODEBASE_REFRESH, by which a "
            "search starts jobs; leave one of them out"
        )
    return auth


def _hosts(env: Mapping[str, str]) -> tuple[str, ...]:
    hosts = tuple(host.strip() for host in env.get("CODEBASE_ALLOWED_HOSTS", "").split(",") if host.strip())
    for host in hosts:
        if not _HOST.match(host):
            raise SettingsError(
                f"CODEBASE_ALLOWED_HOSTS holds {host!r}; give host names, with a port if it must be that one: "
                "codebase-mcp.default.svc,localhost:8080,*.example.com"
            )
    return hosts


def _networks(env: Mapping[str, str], name: str) -> tuple[IpNetwork, ...]:
    texts = [text.strip() for text in env.get(name, "").split(",") if text.strip()]
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise SettingsError(
            f"{name} is wrong: {error}; give addresses or networks such as 10.0.0.7,10.1.0.0/16,fd00::/8"
        ) from error


Port = TypeVar("Port", int, int | None)


def _port(env: Mapping[str, str], name: str, default: Port) -> int | Port:
    text = env.get(name)
    if not text:
        return default
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise SettingsError(f"{name} is {text!r}; set it to a TCP port, 1 to 65535")
    return int(text)


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) <= _MAX_CONNECTIONS:
        raise SettingsError(f"{name} is {text!r}; set it to a number, 1 to {_MAX_CONNECTIONS}")
    return int(text)


def _seconds(env: Mapping[str, str], name: str) -> int:
    text = env.get(name) or "0"
    if not text.isdecimal() or int(text) > _MAX_DRAIN_SECONDS:
        raise SettingsError(f"{name} is {text!r}; set it to whole seconds, 0 to {_MAX_DRAIN_SECONDS}")
    return int(text)


def _bound(env: Mapping[str, str], name: str, default: int | None) -> int | None:
    text = env.get(name)
    if not text:
        return default
    if not text.isdecimal():
        raise SettingsError(f"{name} is {text!r}; set it to a whole number of jobs, or 0 for no bound")
    return int(text) or None


def _log_level(env: Mapping[str, str]) -> str:
    level = (env.get("CODEBASE_LOG_LEVEL") or "INFO").upper()
    if level not in _LOG_LEVELS:
        raise SettingsError(f"CODEBASE_LOG_LEVEL is {level!r}; set it to one of {', '.join(_LOG_LEVELS)}")
    return level


def _matching(env: Mapping[str, str], name: str, default: str, pattern: re.Pattern[str], what: str) -> str:
    value = env.get(name) or default
    if not pattern.match(value):
        raise SettingsError(f"{name} is {value!r}; set it to {what}")
    return value
