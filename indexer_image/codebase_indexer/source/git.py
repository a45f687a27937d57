"""Runs git on untrusted repositories.

No configuration of the system, the user or a scanned repository is read, no hook, filter, pager or credential
helper can start, and no prompt waits for a person.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from codebase_indexer.confinement import bounded_process
from codebase_indexer.confinement.bounded_process import (
    BoundExceeded,
    Bounds,
    CpuTimeExceeded,
    OutputExceeded,
    Stalled,
    TimeExceeded,
)


class GitFailed(Exception):
    """git ended with an error, or met a bound. The message is git's own, shortened."""


class OutputLimitExceeded(GitFailed):
    """git printed more than it may."""


CPU_SECONDS: Final = 60
"""Of processor time for one git process: a million files with hundreds of patterns take a few seconds, while
patterns of many stars, thousands of them, are tried on every character of every name."""

STALLED_SECONDS: Final = 30.0
"""What git opened then is a pipe that nobody writes to."""

MAX_OUTPUT_BYTES: Final = 512 * 2**20
"""Of what git prints: a million files with their stat data are 300 MB."""

_NO_PROGRAM: Final = 127
"""How a shell ends that does not find what it is to run."""

MAX_MEMORY_BYTES: Final = 3 * 2**29
"""An index of a few MB can stand for a terabyte of names."""


@dataclass(frozen=True)
class Output:
    """What git said: `warnings` is its standard error, in English whatever the locale."""

    data: bytes
    warnings: str


_SETTINGS = {
    "core.fsmonitor": "false",  # would start a program
    "core.untrackedCache": "false",
    "core.hooksPath": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.attributesFile": "/dev/null",
    "core.quotePath": "false",
    "core.protectHFS": "true",  # no name that another file system takes for .git is checked out
    "core.protectNTFS": "true",
    "core.useReplaceRefs": "false",  # a commit is what its hash says
    "http.followRedirects": "false",  # one could lead to a host that is not allowed: remote.py follows
    "protocol.ext.allow": "never",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "transfer.unpackLimit": "1",  # one pack, whose size is bounded, instead of any number of files
    "transfer.fsckObjects": "true",
    # What old repositories of good will hold, and nobody is harmed by; Gitaly fetches with the same exceptions.
    "fetch.fsck.badTimezone": "ignore",
    "fetch.fsck.missingSpaceBeforeDate": "ignore",
    "fetch.fsck.zeroPaddedFilemode": "ignore",
    "credential.helper": "",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "init.defaultBranch": "main",
    "advice.detachedHead": "false",
}


_INHERITED = ("PATH", "HOME", "TMPDIR")
_NETWORK = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")
_CERTIFICATES = {"SSL_CERT_FILE": "GIT_SSL_CAINFO", "SSL_CERT_DIR": "GIT_SSL_CAPATH"}
"""By what names this process and git are told of certificate authorities: Debian's git reads its own alone."""


def environment(
    protocols: str = "none", extra: Mapping[str, str] | None = None, settings: Sequence[tuple[str, str]] = ()
) -> dict[str, str]:
    """Return the complete environment of a git process; `protocols` like ``https:ssh``, by default none.

    `extra` are more variables, `settings` more of git's own, by name.
    """
    network = _NETWORK if "https" in protocols else ()  # the address of a proxy may hold a password
    inherited = {name: os.environ[name] for name in (*_INHERITED, *network) if name in os.environ}
    inherited |= {theirs: os.environ[ours] for ours, theirs in _CERTIFICATES.items() if ours in os.environ}
    listed = [*_SETTINGS.items(), *settings]
    variables = {"GIT_CONFIG_COUNT": str(len(listed))}
    for number, (key, value) in enumerate(listed):
        variables[f"GIT_CONFIG_KEY_{number}"] = key
        variables[f"GIT_CONFIG_VALUE_{number}"] = value
    return {
        **inherited,
        **variables,
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
    max_output_bytes: int | None = None,
    local: bool = True,
    cpu_seconds: int | None = None,
    watch: Callable[[], None] = lambda: None,
) -> Output:
    """Run git to its end.

    `timeout` is in seconds; `max_file_bytes` bounds every file that it writes, a pack for example. One that is
    `local` transfers nothing: it may neither compute for `cpu_seconds`, by default CPU_SECONDS, nor wait for
    STALLED_SECONDS. Output and memory are bounded in any case. `watch` is called while git runs, and ends it by
    raising BoundExceeded. Raises GitFailed; OutputLimitExceeded beyond `max_output_bytes`.
    """
    bounds = Bounds(
        seconds=timeout,
        cpu_seconds=(cpu_seconds or CPU_SECONDS) if local else None,
        stalled_seconds=STALLED_SECONDS if local else None,
        memory_bytes=MAX_MEMORY_BYTES,
        file_bytes=max_file_bytes,
        output_bytes=MAX_OUTPUT_BYTES if max_output_bytes is None else max_output_bytes,
    )
    command = ["git", *map(str, arguments)]
    env = environment() if env is None else env
    try:
        ended = bounded_process.run(command, env=env, bounds=bounds, data=data, watch=watch)
    except (BoundExceeded, ValueError) as error:  # ValueError: a NUL in an argument
        kind = OutputLimitExceeded if isinstance(error, OutputExceeded) else GitFailed
        raise kind(f"git {_name(arguments)} {error}{_advice(error, local)}") from error
    warnings = ended.error.decode(errors="replace").strip()
    if ended.code == _NO_PROGRAM:
        raise GitFailed("git is not installed where the indexer runs: install it, then start the job again")
    if ended.code != 0:
        raise GitFailed(warnings[-1000:] or f"git ended with {ended.code}")
    return Output(ended.output, warnings)


def _name(arguments: Sequence[str | Path]) -> str:
    """Return git's command among the arguments, for messages."""
    words = iter(map(str, arguments))
    for word in words:
        if word in ("-C", "-c"):
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""


def _advice(error: Exception, local: bool) -> str:
    # On a busy node the clock may be first.
    if isinstance(error, CpuTimeExceeded) or (local and isinstance(error, TimeExceeded)):
        return "; look for patterns with many stars in the ignore files, and in the job's include and exclude"
    if isinstance(error, Stalled):
        return "; look for pipes in place of .gitignore, .gitattributes and .git/HEAD (find . -type p)"
    return ""
