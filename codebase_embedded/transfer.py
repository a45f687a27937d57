"""Takes the indexes of an instance to a file, and from a file into another database: by Postgres' own programs.

What goes along are indexes, with the vectors that a remote model was paid for. Jobs stay: they belong to what
keeps their resources. An index that a job was changing has where it is imported what that job had committed.
Passwords go by the environment, which other users cannot read, and never on a command line.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from codebase_embedded.postgres import programs

LEFT_BEHIND: Final = ("resources", "jobs", "work", "workers", "job_transitions")
"""Tables that belong to jobs."""

_NOT_RESTORED: Final = re.compile(r" public (?:schema_migrations|jobs)(?:_\w+_seq)? ")
"""In the table of contents: what goes along to be compared, and jobs in the files of an earlier build."""

_HISTORY: Final = "SELECT max(number) FROM schema_migrations"


class TransferFailed(RuntimeError):
    """Nothing was exported, or imported. The message says why, and what to do."""


def export(url: str, file: Path) -> int:
    """Write the indexes of a database to a file that its owner alone may read; return its size in bytes.

    The file is there as a whole or not at all. Raises TransferFailed, and FileExistsError.
    """
    if file.exists():
        raise FileExistsError(f"{file} exists; give another name, or remove it")
    excluded = [f"--exclude-table={table}" for table in LEFT_BEHIND]
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    os.close(handle)
    partial = Path(name)
    try:
        _run(url, "pg_dump", "--format=custom", "--data-only", *excluded, "--file", str(partial))
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)
    return file.stat().st_size


def restore(url: str, file: Path, namespace: str = "default") -> int:
    """Read the indexes of a file into a database that has the same schema and none yet; return how many.

    All of them or none. The file is run as SQL: give one that you made. Raises TransferFailed.
    """
    theirs, ours = _number_in(file), _run(url, "psql", *_QUIET, "--command", _HISTORY).strip()
    if theirs != ours:
        raise TransferFailed(
            f"{file} has schema {theirs or 'of another program'}, and the database {ours or 'none'}: export and "
            "import with the same version of codebase-mcp, and start the server of the database once before"
        )
    if _count(url):
        raise TransferFailed(
            "the database holds indexes already, and an import does not mix them; remove them "
            "(`codebase-mcp rm`), or set CODEBASE_DATA to a new folder"
        )
    with tempfile.TemporaryDirectory(prefix="codebase-import-") as folder:
        script, wanted = Path(folder) / "import.sql", Path(folder) / "wanted"
        contents = _tool("pg_restore", "--data-only", "--list", str(file)).splitlines()
        wanted.write_text("\n".join(line for line in contents if not _NOT_RESTORED.search(line)))
        _tool("pg_restore", "--data-only", f"--use-list={wanted}", "--file", str(script), str(file))
        with script.open("a") as more:
            more.write("UPDATE public.indexes SET namespace = :'namespace';\n")
        whole = ("--single-transaction", "--set", f"namespace={namespace}")
        _run(url, "psql", *_QUIET, *whole, "--command", _FORGET_REMOVED, "--file", str(script))
    return _count(url)


# A row of an index that was removed keeps it from coming back by itself; it is not in the way of an import.
_COUNT: Final = "SELECT count(*) FROM indexes WHERE target IS NULL OR model IS NOT NULL OR indexed_at IS NOT NULL"
_FORGET_REMOVED: Final = "DELETE FROM indexes WHERE target IS NOT NULL AND model IS NULL AND indexed_at IS NULL"

_QUIET: Final = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1")


def _count(url: str) -> int:
    return int(_run(url, "psql", *_QUIET, "--command", _COUNT))


def _number_in(file: Path) -> str:
    """Return the newest migration that a dump was made with."""
    rows = _tool("pg_restore", "--data-only", "--table=schema_migrations", "--file=-", str(file))
    numbers = [int(line.split("\t")[0]) for line in rows.splitlines() if line[:1].isdigit()]
    return str(max(numbers, default=""))


def _run(url: str, program: str, *arguments: str) -> str:
    """Run a program of Postgres against a database."""
    parts = urlsplit(url)
    user, _, _ = parts.netloc.partition("@")[0].partition(":")
    place = parts.netloc.rpartition("@")[2]
    address = urlunsplit(parts._replace(netloc=f"{user}@{place}" if user else place))
    password = {"PGPASSWORD": unquote(parts.password)} if parts.password else {}
    return _tool(program, f"--dbname={address}", *arguments, password=password)


def _tool(program: str, *arguments: str, password: dict[str, str] | None = None) -> str:
    command: Sequence[str] = [str(programs() / program), *arguments]
    done = subprocess.run(
        command, env={**os.environ, **(password or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[:500]
        raise TransferFailed(f"{program} failed: {said}")
    return done.stdout
