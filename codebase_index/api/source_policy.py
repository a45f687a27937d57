"""What may be indexed: paths under configured roots, and git URLs of allowed hosts.

Checked twice on purpose: by the MCP server before it creates a job, and again in the indexer pod, since
anyone with the right to create the custom resource can bypass the MCP server.
"""

import errno
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from codebase_index.api.git_url import GitUrl, GitUrlInvalid


class SourceRefused(ValueError):
    """The path or URL is not one that may be indexed. The message names what is allowed."""


class SourceNotFound(SourceRefused):
    """The path is under a root, but nothing is there."""


class SourceUnreadable(SourceRefused):
    """The path exists, but this process may not read it."""


@dataclass(frozen=True)
class Root:
    """A folder of repositories: `path` as users name it, `mount` as this process sees it, `host` as its node does.

    They differ in pods, where a root is mounted under a folder that every user may enter. What git writes down on
    the node names a folder by the path that it has there.
    """

    path: PurePosixPath
    mount: Path
    host: PurePosixPath | None = None


@dataclass(frozen=True)
class SourcePolicy:
    """Which sources are allowed."""

    roots: tuple[Root, ...] = ()
    git_hosts: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def from_env(cls, env: dict[str, str] | os._Environ[str] = os.environ) -> "SourcePolicy":
        """Read CODEBASE_ROOTS (JSON list of {path, mount, host}) and CODEBASE_GIT_HOSTS (comma-separated)."""
        roots = tuple(
            Root(
                PurePosixPath(item["path"]),
                Path(item.get("mount") or item["path"]),
                PurePosixPath(item["host"]) if item.get("host") else None,
            )
            for item in json.loads(env.get("CODEBASE_ROOTS") or "[]")
        )
        hosts = frozenset(h.strip().lower() for h in env.get("CODEBASE_GIT_HOSTS", "").split(",") if h.strip())
        return cls(roots, hosts)

    def in_user_paths(self, text: str) -> str:
        """Return a text, such as an error of git's, with the roots as users name them instead of their mounts."""
        names = {str(way): str(root.path) for root in self.roots for way in (root.mount, root.mount.resolve())}
        if not names:
            return text
        longest_first = "|".join(re.escape(mount) for mount in sorted(names, key=len, reverse=True))
        return re.sub(rf"(?<![\w./-])(?:{longest_first})(?![\w.-])", lambda found: names[found[0]], text)

    def normalise_path(self, path: str) -> str:
        """Return the path in its one canonical spelling, or raise SourceRefused. No file is touched."""
        if not path.startswith("/"):
            raise SourceRefused(f"repo_path {path!r} is not absolute; give {self._allowed()}")
        if "\0" in path or len(path) > 4096:
            raise SourceRefused("repo_path holds a NUL byte or is longer than 4096 characters")
        if any(0xD800 <= ord(char) < 0xE000 for char in path):
            raise SourceRefused("repo_path holds a character that no file name can have; give the path as it is")
        if ".." in PurePosixPath(path).parts:
            raise SourceRefused(f"repo_path {path!r} holds '..'; give the path without it")
        clean = str(PurePosixPath("/" + path.lstrip("/")))
        self._root_of(clean)
        return clean

    def open_path(self, path: str) -> Path:
        """Return where this process finds a repository; check that it is a readable directory.

        Symbolic links are resolved first, so none can lead out of its root.
        Raises SourceRefused, SourceNotFound or SourceUnreadable.
        """
        clean = self.normalise_path(path)
        root = self._root_of(clean)
        mount = root.mount.resolve()
        inside = mount / PurePosixPath(clean).relative_to(root.path)
        try:
            resolved = inside.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            if isinstance(error, PermissionError):
                raise _unreadable(clean) from error
            if isinstance(error, OSError) and error.errno not in ABSENT_ERRNOS:  # EIO, ESTALE: an unmounted share
                raise SourceUnreadable(
                    f"repo_path {clean} cannot be read ({error.strerror}); bring its disk or share back, then "
                    "start the job again"
                ) from error
            raise SourceNotFound(
                f"repo_path {clean} not found: no such directory under the root {root.path}; "
                "check the spelling, and that the directory exists on the nodes of the cluster"
            ) from error
        if not resolved.is_relative_to(mount):
            raise SourceRefused(f"repo_path {clean} leads out of the root {root.path} through a symbolic link")
        if not resolved.is_dir():
            raise SourceRefused(f"repo_path {clean} is not a directory; give the repository's top directory")
        if not os.access(resolved, os.R_OK | os.X_OK):
            raise _unreadable(clean)
        return resolved

    def boundary_of(self, path: str) -> Path:
        """Return where this process finds the root that a path lies under. Raises SourceRefused."""
        return self._root_of(self.normalise_path(path)).mount.resolve()

    def check_git_url(self, url: str) -> str:
        """Return the URL's canonical form when it may be cloned, or raise SourceRefused. Nothing is contacted.

        An allowed host stands for the default ports of https and ssh; one with a port stands for that port alone.
        """
        try:
            checked = GitUrl.parse(url)
        except GitUrlInvalid as error:
            raise SourceRefused(str(error)) from error
        by_default = checked.port is None and checked.host in self.git_hosts
        if not by_default and f"{checked.host}:{checked.effective_port}" not in self.git_hosts:
            allowed = ", ".join(sorted(self.git_hosts)) or "none (set repositories.gitHosts in the chart)"
            port = "" if checked.port is None else f" with port {checked.port}"
            raise SourceRefused(f"git host {checked.host}{port} is not allowed; allowed hosts: {allowed}")
        return str(checked)

    def _root_of(self, path: str) -> Root:
        for root in self.roots:
            if PurePosixPath(path).is_relative_to(root.path):
                return root
        raise SourceRefused(f"repo_path {path} is outside every repository root; give {self._allowed()}")

    def _allowed(self) -> str:
        roots = " or ".join(str(root.path) for root in self.roots)
        return f"an absolute path under {roots or 'a repository root (none is configured)'}"


ABSENT_ERRNOS: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""Error numbers that mean that nothing is at a path; with any other one it is unknown."""


def _unreadable(path: str) -> SourceUnreadable:
    return SourceUnreadable(
        f"repo_path {path} is not readable by the indexer (uid {os.getuid()}); "
        "give others read permission (chmod -R o+rX), or mount it with another owner"
    )
