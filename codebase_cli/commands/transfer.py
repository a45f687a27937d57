"""Indexes to a file and from a file: to another machine, or up to a cluster."""

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from codebase_cli.exits import CommandFailed
from codebase_cli.output.console import say
from codebase_cli.servers import embedded
from codebase_embedded import transfer
from codebase_embedded.instance import InstanceFailed, ensure
from codebase_embedded.transfer import TransferFailed
from codebase_index.store.address import FILE_VARIABLE

_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def export(file: Annotated[Path, typer.Argument(help="A file that does not exist yet.")]) -> None:
    """Write all indexes of this machine's server to a file, for `import`. Jobs stay behind."""
    try:
        size = transfer.export(_own_database(), file.absolute())
    except (TransferFailed, InstanceFailed, OSError) as error:
        raise CommandFailed(str(error)) from error
    say(f"exported to {file} ({size / 1e6:.1f} MB)")


def import_(
    file: Annotated[Path, typer.Argument(help="What `export` wrote. It is run as SQL: only one of your own.")],
    database_url_file: Annotated[
        Path | None,
        typer.Option(
            envvar=FILE_VARIABLE, help="A file with the address of another database, such as a cluster's."
        ),
    ] = None,
    namespace: Annotated[
        str, typer.Option(help="The namespace of the release whose database that is.")
    ] = "default",
) -> None:
    """Read indexes that `export` wrote, into this machine's server or a cluster's database that has none yet."""
    if not _NAMESPACE.fullmatch(namespace):
        raise CommandFailed(f"{namespace!r} is no namespace of Kubernetes")
    try:
        url = database_url_file.read_text().strip() if database_url_file else _own_database()
        count = transfer.restore(url, file.absolute(), namespace)
    except (TransferFailed, InstanceFailed, OSError) as error:
        raise CommandFailed(str(error)) from error
    say(f"imported {count} indexes")


def _own_database() -> str:
    """Return the address of this machine's database, which runs when this returns."""
    return ensure(embedded.settings_of()).database_url_file.read_text().strip()
