"""The arguments of the tools that read and list: `repos`, `paths` and `languages` as people write them. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadRequest:
    """The arguments of read_code: a file by its path, or a definition by its symbol.

    Empty `repos` means all indexes. Lines count from 1, both ends included; None: to the file's end.
    """

    repos: tuple[str, ...] = ()
    path: str | None = None
    symbol: str | None = None
    start_line: int = 1
    end_line: int | None = None
    outline: bool = False


@dataclass(frozen=True)
class ListFilesRequest:
    """The arguments of list_files; empty ones select all."""

    repos: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    tree: bool = False
    limit: int = 200
    offset: int = 0


@dataclass(frozen=True)
class ListRepositoriesRequest:
    """The arguments of list_repositories. `part` is part of a path, URL or name, in any letter case."""

    part: str | None = None
    limit: int = 20
    offset: int = 0
