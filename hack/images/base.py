"""A `debian:trixie-slim` for machines without a registry: made by mmdebstrap, kept as a tar file."""

import hashlib
import time
from pathlib import Path

from hack.local_cluster.console import say, step
from hack.local_cluster.errors import ClusterError

from .process import follow
from .settings import apt_settings

NAME = "debian:trixie-slim"
_SUITE = "trixie"
_MAX_AGE_DAYS = 30  # older ones are made anew, for the security updates
# What the image of that name leaves out too: no program of ours reads it.
_OPTIONS = (
    "--variant=minbase",
    "--include=ca-certificates",
    *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "info", "locale", "man")),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)


def identity(folder: Path) -> str:
    """Identify the base that `ensure` left in `folder`; a new one gives images with new tags."""
    tar = _newest(folder)
    return "none" if tar is None else tar.stem


def ensure(folder: Path, apt_dump: str) -> Path:
    """Return the tar of the base, at most 30 days old; an older one is kept when no new one can be made.

    Raises ClusterError when there is none and mmdebstrap fails.
    """
    present = _newest(folder)
    if present is not None and time.time() - present.stat().st_mtime < _MAX_AGE_DAYS * 86400:
        return present
    try:
        with step(f"Making the base image {NAME} with mmdebstrap (about 20 seconds)"):
            return _make(folder, apt_dump)
    except ClusterError as error:
        if present is None:
            raise
        say(f"  that failed, so {present.name} stays in use: {error}")
        return present


def _make(folder: Path, apt_dump: str) -> Path:
    unfinished = folder / "base.unfinished.tar"
    # The settings are for this run; the hook takes them out before the tar is written.
    options = [f"--aptopt={line.removesuffix(';')}" for line in apt_settings(apt_dump).splitlines()]
    forget = '--customize-hook=rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"'
    follow(
        ["mmdebstrap", *_OPTIONS, *options, forget, _SUITE, unfinished],
        log=folder / "mmdebstrap.log",
        hint="Does `apt-get update` work on this machine? The base comes from the same archive.",
    )
    tar = unfinished.rename(folder / f"{prefix()}{time.strftime('%Y%m%d', time.gmtime())}.tar")
    for older in folder.glob("base-*.tar"):
        if older != tar:
            older.unlink()
    return tar


def prefix() -> str:
    """Return how the name of a base begins: it says from what, and how, a base is made."""
    return f"base-{hashlib.sha256(repr((_SUITE, _OPTIONS)).encode()).hexdigest()[:8]}-"


def _newest(folder: Path) -> Path | None:
    return max(folder.glob(f"{prefix()}*.tar"), default=None)
