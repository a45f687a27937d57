"""Configuration files of others: changed as a whole or not at all, with what was there kept beside."""

import os
import secrets
import shutil
from pathlib import Path

from codebase_cli.exits import CommandFailed

BACKUP = ".before-codebase-mcp"
"""Ending of the file with what was there before the last change."""

_NEW_MODE = 0o600


def text_of(file: Path) -> str:
    """Return a file's text; empty where there is none. Raises CommandFailed."""
    try:
        return file.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{file} cannot be read ({error}); nothing was changed") from error


def replace(file: Path, before: str, after: str) -> Path | None:
    """Write a file that held `before`; return where that is kept now. A file that would be empty goes.

    Where the path is a link, the file that it leads to is written. Raises CommandFailed, also when the file holds
    something else by now; nothing is changed then.
    """
    file = file.resolve()
    try:
        if text_of(file) != before:
            raise CommandFailed(f"{file} was changed meanwhile; nothing was written: run the same command again")
        kept = _keep(file) if file.exists() else None
        if after:
            _write(file, after)
        else:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written ({error}); nothing was changed") from error
    return kept


def _keep(file: Path) -> Path:
    kept = file.with_name(file.name + BACKUP)
    shutil.copy2(file, kept)
    return kept


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    mode = file.stat().st_mode & 0o777 if file.exists() else _NEW_MODE
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        partial.chmod(mode)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
