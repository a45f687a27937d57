"""How git reaches a remote repository: credentials, the keys by which ssh knows a host, and redirects.

Secrets go through files, never on a command line or into a log. On one machine, whoever starts the server may let
it use what their own git and ssh have (`CODEBASE_USER_CREDENTIALS`): then that user's credential helpers, keys and
known hosts count, and of git's configuration nothing else.
"""

import os
import pwd
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

from codebase_index.api.git_url import GitUrl, GitUrlInvalid
from codebase_index.environment import flag
from codebase_indexer.source import git

CREDENTIALS = Path("/var/run/git-credentials")
"""Where the operator mounts the Secret of git.secretRef."""

SHIPPED_HOST_KEYS: Final = Path(__file__).with_name("known_hosts")

USER_VARIABLE: Final = "CODEBASE_USER_CREDENTIALS"
"""`true`: the credentials of the user that runs this process are used, as on that user's own machine."""

OF_USER: Final = ("SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
"""By what ssh finds the user's agent, and helpers of git the user's keyring."""

MAX_REDIRECTS: Final = 5
REDIRECT_SECONDS: Final = 15.0

_REFUSED_REDIRECT = re.compile(r"returned error: 30[1-8]")
_DISCOVERY: Final = "/info/refs?service=git-upload-pack"
"""What git asks for first, from the address of a repository on (gitprotocol-http)."""


def environment(work_dir: Path, protocols: str, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of a git process that speaks to a remote repository."""
    if not flag(env, USER_VARIABLE, ValueError):
        return git.environment(protocols, credentials(work_dir, env))
    variables = {name: env[name] for name in OF_USER if name in env}
    ssh = {"GIT_SSH_COMMAND": _ssh_of_user(work_dir, env), "GIT_SSH_VARIANT": "ssh"}
    return git.environment(protocols, {**variables, **ssh}, _helpers_of_user(variables))


def _helpers_of_user(variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the settings `credential.*` of the system and the user, in git's own order."""
    own = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    found = []
    for scope in ("--system", "--global"):
        try:
            asked = ["config", scope, "--includes", "--null", "--get-regexp", r"^credential\."]
            listed = git.run(asked, env={**own, **variables, "LC_ALL": "C"}).data.decode(errors="surrogateescape")
        except git.GitFailed:
            continue  # there are none
        for entry in filter(None, listed.split("\0")):
            name, _, value = entry.partition("\n")
            found.append((name, value))
    return found


def credentials(work_dir: Path, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables by which git and ssh find the mounted Secret, and the keys of hosts.

    CODEBASE_SSH_KNOWN_HOSTS has the keys of a site's own hosts.
    """
    variables = {
        "GIT_SSH_COMMAND": _ssh_command(work_dir, env.get("CODEBASE_SSH_KNOWN_HOSTS", "")),
        "GIT_SSH_VARIANT": "ssh",  # else git guesses it from the command's first word
    }
    if (CREDENTIALS / "password").is_file():
        ask = work_dir / "askpass"
        ask.write_text(
            "#!/bin/sh\n"
            f'case "$1" in Username*) cat {CREDENTIALS}/username 2>/dev/null || echo git;; '
            f"*) cat {CREDENTIALS}/password;; esac\n"
        )
        ask.chmod(0o700)
        variables["GIT_ASKPASS"] = str(ask)
    return variables


# A host with an unknown key is refused: trust on first use would be trust in every pod.
_NEVER_ASKS: Final = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "StrictHostKeyChecking=yes")


def _ssh_of_user(work_dir: Path, env: Mapping[str, str]) -> str:
    known = work_dir / "known_hosts"
    known.write_text(f"{env.get('CODEBASE_SSH_KNOWN_HOSTS', '')}\n{SHIPPED_HOST_KEYS.read_text()}\n")
    own = Path.home() / ".ssh" / "known_hosts"
    return shlex.join(["ssh", *_NEVER_ASKS, "-o", f'UserKnownHostsFile="{own}" "{known}"'])


def _ssh_command(work_dir: Path, site_keys: str) -> str:
    known = work_dir / "known_hosts"
    of_secret = CREDENTIALS / "known_hosts"
    texts = [of_secret.read_text() if of_secret.is_file() else "", site_keys, SHIPPED_HOST_KEYS.read_text()]
    known.write_text("\n".join(texts) + "\n")
    options = ["-F", "/dev/null", *_NEVER_ASKS, "-o", "GlobalKnownHostsFile=/dev/null"]
    options += ["-o", f"UserKnownHostsFile={known}"]
    key = CREDENTIALS / "ssh-privatekey"
    if key.is_file():
        # ssh refuses a key that others may read, as a mounted Secret is.
        own = work_dir / "ssh-privatekey"
        own.unlink(missing_ok=True)
        own.touch(0o600)
        own.write_bytes(key.read_bytes())
        options += ["-i", str(own), "-o", "IdentitiesOnly=yes"]
    return shlex.join([*_with_a_name(work_dir), "ssh", *options])


def _with_a_name(work_dir: Path) -> list[str]:
    """Return the command that ssh is run by where this user has no name; nothing where it has one.

    ssh refuses to run for such a user, and OpenShift gives each namespace numbers of its own. libnss_wrapper is
    part of the image.
    """
    user, group = os.getuid(), os.getgid()
    try:
        pwd.getpwuid(user)
    except KeyError:
        users, groups = work_dir / "passwd", work_dir / "group"
        users.write_text(f"indexer:x:{user}:{group}::/tmp:/usr/sbin/nologin\n")
        groups.write_text(f"indexer:x:{group}:\n")
        names = [f"NSS_WRAPPER_PASSWD={users}", f"NSS_WRAPPER_GROUP={groups}"]
        return ["env", "LD_PRELOAD=libnss_wrapper.so", *names]
    return []


def was_redirected(error: str) -> bool:
    """Say whether git failed because it follows no redirects: one could lead to a host that is not allowed."""
    return _REFUSED_REDIRECT.search(error) is not None


def redirected(url: str) -> str | None:
    """Return where a server sends git from this https address, when that is on the same host and port; else None.

    GitLab answers addresses without `.git` so, and hosts answer so for repositories that were renamed.
    """
    # Not above: httpx is slow to import, and few jobs meet a redirect.
    import httpx

    start = at = GitUrl.parse(url)
    try:
        with httpx.Client(timeout=REDIRECT_SECONDS, auth=_basic_auth()) as client:
            for _ in range(MAX_REDIRECTS):
                with client.stream("GET", f"{at}{_DISCOVERY}") as response:
                    location = response.headers.get("Location") if response.is_redirect else None
                if location is None:
                    break
                target = urljoin(f"{at}{_DISCOVERY}", location)
                if not target.endswith(_DISCOVERY):
                    return None
                at = GitUrl.parse(target.removesuffix(_DISCOVERY))
                if (at.scheme, at.host, at.port) != (start.scheme, start.host, start.port):
                    return None
    except (httpx.HTTPError, GitUrlInvalid):
        return None
    return str(at) if at != start else None


def _basic_auth() -> tuple[str, str] | None:
    password, user = CREDENTIALS / "password", CREDENTIALS / "username"
    if not password.is_file():
        return None
    return (user.read_text().strip() if user.is_file() else "git", password.read_text().strip())
