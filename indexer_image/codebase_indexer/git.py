"""Runs git on repositories that nobody vouches for.

No configuration of the system, the user or a scanned repository is read, no hook, filter, pager or credential
helper can start, and no prompt waits for a person.
"""

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class GitFailed(Exception):
    """git ended with an error, or ran out of time. The message is git's own, shortened."""


@dataclass(frozen=True)
class Output:
    """What git said: `warnings` is its standard error, in English whatever the locale."""

    data: bytes
    warnings: str


_SETTINGS = {
    "safe.directory": "*",  # a mounted repository belongs to another user; we never run what it configures
    "core.fsmonitor": "false",  # would start a program
    "core.untrackedCache": "false",
    "core.hooksPath": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.attributesFile": "/dev/null",
    "core.quotePath": "false",
    "http.followRedirects": "false",  # a redirect could lead to a host that is not allowed
    "protocol.ext.allow": "never",
    "submodule.recurse": "false",
    "credential.helper": "",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "init.defaultBranch": "main",
    "advice.detachedHead": "false",
}


def environment(protocols: str = "none", extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the complete environment of a git process; `protocols` like ``https:ssh``, by default none."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE") if name in os.environ}
    settings: dict[str, str] = {"GIT_CONFIG_COUNT": str(len(_SETTINGS))}
    for number, (key, value) in enumerate(_SETTINGS.items()):
        settings[f"GIT_CONFIG_KEY_{number}"] = key
        settings[f"GIT_CONFIG_VALUE_{number}"] = value
    return {
        **kept,
        **settings,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": protocols,
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",  # never write into a repository that is only read
        "GIT_LFS_SKIP_SMUDGE": "1",
        **(extra or {}),
    }


def run(
    arguments: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    data: bytes | None = None,
    timeout: float = 300.0,
    max_file_bytes: int | None = None,
) -> Output:
    """Run git to its end.

    `timeout` is in seconds; `max_file_bytes` bounds every file that it writes, a pack for example.
    Raises GitFailed.
    """
    command = ["git", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        env=dict(env if env is not None else environment()),
        stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # so that its helpers (ssh, index-pack) can be ended with it
    )
    if max_file_bytes is not None:
        # Set from outside, before git has connected anywhere: preexec_fn is unsafe beside threads.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    try:
        out, err = process.communicate(data, timeout)
    except BaseException as error:
        _end(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise GitFailed(f"git {arguments[0]} took longer than {timeout:.0f} s") from error
        raise
    warnings = err.decode(errors="replace").strip()
    if process.returncode != 0:
        raise GitFailed(warnings[-1000:] or f"git ended with {process.returncode}")
    return Output(out, warnings)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
