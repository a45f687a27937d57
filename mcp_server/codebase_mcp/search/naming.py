"""Names the definition that a result's line lies in. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from codebase_index.definitions import Definition, Definitions
from codebase_index.store.query.symbol_search import DefinitionRow
from codebase_mcp.search.answers import SearchResult

OLDER_INDEX: Final = (
    "Some of these files were indexed by an older version, which did not keep where definitions end: results from "
    "them have no symbol, or the end_line of a part of the definition; index the repository again"
)


def named(result: SearchResult, definition: Definition | None) -> SearchResult:
    """Return a result with the definition that its line lies in; None: in none, or it is not known."""
    symbol, kind = (definition.name, definition.kind) if definition else (None, None)
    return result.model_copy(update={"symbol": symbol, "kind": kind})


def older_definitions_note(found: Sequence[DefinitionRow]) -> str | None:
    """Return what to say when it is not known where some definitions end."""
    return OLDER_INDEX if any(definition.place is None for definition in found) else None


def older_index_note(definitions: Mapping[int, Definitions], chunk_ids: Collection[int]) -> str | None:
    """Return what to say when the definitions of some chunks' files are not known."""
    return OLDER_INDEX if any(chunk_id not in definitions for chunk_id in chunk_ids) else None
