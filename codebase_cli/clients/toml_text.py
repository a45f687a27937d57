"""Tables of a TOML text: put in and taken out, with comments and order as they were. Pure."""

from collections.abc import Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable, Table


class TomlTextInvalid(ValueError):
    """The text is no TOML, or holds something else where a table has to be. The message says where."""


def read(text: str) -> Any:
    """Return what the text means. Raises TomlTextInvalid."""
    return _parse(text).unwrap()


def with_member(text: str, path: Sequence[str], data: Any) -> str:
    """Return the text with a table at a path of names; those on the way are made. Raises TomlTextInvalid."""
    document = _parse(text)
    holder: Any = document
    for key in path[:-1]:
        if key not in holder:
            holder[key] = tomlkit.table(is_super_table=True)
        holder = _table(holder[key], key)
    if (previous := holder.get(path[-1])) is not None:
        kept = _table(previous, path[-1])
        for key in [key for key in kept if key not in data]:
            del kept[key]
        kept.update(data)
    else:
        holder[path[-1]] = _written(
            data, tomlkit.inline_table() if isinstance(holder, InlineTable) else tomlkit.table()
        )
        if text and not text.endswith("\n\n") and not isinstance(holder, InlineTable):
            holder[path[-1]].add(tomlkit.nl())
    return tomlkit.dumps(document)


def without_member(text: str, path: Sequence[str]) -> str:
    """Return the text without the table at a path, and without the tables that are empty then. Raises
    TomlTextInvalid.
    """
    document = _parse(text)
    holders: list[Any] = [document]
    for key in path[:-1]:
        if key not in holders[-1]:
            return text
        holders.append(_table(holders[-1][key], key))
    if path[-1] not in holders[-1]:
        return text
    depth = len(path) - 1
    while depth and len(holders[depth]) == 1:
        depth -= 1
    del holders[depth][path[depth]]
    return tomlkit.dumps(document)


def _written(data: Any, table: Any) -> Any:
    """Fill a table, with those inside of it in a line each."""
    for key, value in data.items():
        table[key] = _written(value, tomlkit.inline_table()) if isinstance(value, dict) else value
    return table


def _parse(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise TomlTextInvalid(str(error)) from error


def _table(value: Any, key: str) -> Any:
    if not isinstance(value, Table | InlineTable | dict):
        raise TomlTextInvalid(f"{key} is no table")
    return value
