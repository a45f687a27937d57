"""Where the database is: a fixed address, or one in a file that is read anew for each connection.

A password is rotated by changing a Secret. The kubelet brings its new value into the mounted file within a minute
or two, while a variable of the environment stays what it was until the container starts again.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from codebase_index.store.errors import StoreMisconfigured

Address = Callable[[], str]
"""Return the address now. It holds a password: never logged. Raises StoreMisconfigured."""

VARIABLE = "CODEBASE_DATABASE_URL"
FILE_VARIABLE = "CODEBASE_DATABASE_URL_FILE"
OWNER_FILE_VARIABLE = "CODEBASE_DATABASE_OWNER_URL_FILE"


class NoAddress(ValueError):
    """The environment names no database. The message says what to set."""


def address_from_env(env: Mapping[str, str] = os.environ) -> Address:
    """Return the address that the environment gives: in a file, or itself.

    Raises NoAddress. What the file holds is not looked at before it is needed: it may be mended meanwhile.
    """
    if file := env.get(FILE_VARIABLE):
        return lambda: _read(Path(file))
    url = env.get(VARIABLE, "")
    if not _is_address(url):
        what = "is not set" if not url else "is not a Postgres address"
        raise NoAddress(
            f"{VARIABLE} {what}; set it to postgresql://user:password@host:5432/database, or {FILE_VARIABLE} to a "
            "file that holds this"
        )
    return fixed(url)


def owner_address_from_env(env: Mapping[str, str] = os.environ) -> Address:
    """Return the address of the role that owns the schema: another one where each program has a role of its own.

    Raises NoAddress.
    """
    if file := env.get(OWNER_FILE_VARIABLE):
        return lambda: _read(Path(file))
    return address_from_env(env)


def fixed(url: str) -> Address:
    """Return an address that stays what it is."""
    return lambda: url


def _read(file: Path) -> str:
    try:
        url = file.read_text().strip()
    except (OSError, ValueError) as error:
        raise StoreMisconfigured(
            f"the database's address cannot be read from {file} ({type(error).__name__}); correct the Secret that "
            "is mounted there",
            retried=True,
        ) from error
    if not _is_address(url):
        raise StoreMisconfigured(
            f"{file} holds no Postgres address; put postgresql://user:password@host:5432/database into the Secret "
            "that is mounted there",
            retried=True,
        )
    return url


def _is_address(url: str) -> bool:
    return url.startswith(("postgresql://", "postgres://"))
