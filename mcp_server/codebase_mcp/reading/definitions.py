"""Definitions of files: their whole text, and the outline of a file."""

from collections.abc import Iterable, Sequence
from typing import Final

from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.store.query.files import FileRow, FileSnapshot
from codebase_index.store.query.filters import Filters
from codebase_index.store.query.symbol_search import DefinitionRow
from codebase_index.untrusted_text import line, named, quoted
from codebase_mcp.errors import UserError
from codebase_mcp.reading.answers import CodePart, OutlineEntry, ReadAnswer
from codebase_mcp.reading.passages import MAX_TEXT_TOKENS
from codebase_mcp.reading.reader import LAST_LINE, read_passages
from codebase_mcp.search.budget import estimate_tokens
from codebase_mcp.search.modes.symbol import MAX_DEFINITIONS, best_definitions, ranked
from codebase_mcp.search.naming import older_definitions_note
from codebase_mcp.search.page import join_sentences
from codebase_mcp.search.repositories import index_status, result_sources
from codebase_mcp.search.symbol_name import SymbolName

MAX_PARTS: Final = 5
"""Definitions of one name that are shown whole; the others are named."""

_MAX_NAMED: Final = 10
_MIN_PART_TOKENS: Final = 200
"""What must be left of the budget for one more definition to be begun."""


async def read_symbol(
    snapshot: FileSnapshot, indexes: Sequence[IndexRow], filters: Filters, symbol: str
) -> ReadAnswer | None:
    """Return the whole text of the definitions of a name, best first, as far as they fit; None: there is none.

    Raises UserError if the symbol is no name.
    """
    name = SymbolName.of(symbol)
    candidates = await snapshot.symbols.definitions(
        [index.id for index in indexes], name.simple_name, filters=filters, limit=MAX_DEFINITIONS
    )
    best, note = best_definitions(name, candidates)
    found = ranked(best, name, symbol)
    if not found:
        return None
    parts, cut = await _parts(snapshot, indexes, found)
    shown = {(p.path, p.symbol, p.start_line) for p in parts}
    others = [d for d in found if (d.path, d.symbol, _lines(d)[0]) not in shown]
    held = {d.index_id for d in found}
    return ReadAnswer(
        parts=parts,
        message=join_sentences(note, cut, _named(others), older_definitions_note(found)),
        indexes=[index_status(index) for index in indexes if index.id in held],
    )


async def _parts(
    snapshot: FileSnapshot, indexes: Sequence[IndexRow], found: Sequence[DefinitionRow]
) -> tuple[list[CodePart], str | None]:
    """Return the first definitions, at least one, and where the last of them goes on if it is too long."""
    sources = result_sources(indexes)
    parts: list[CodePart] = []
    room = MAX_TEXT_TOKENS
    for definition in found[:MAX_PARTS]:
        if parts and room < _MIN_PART_TOKENS:
            break
        (file,) = await snapshot.at_path([definition.index_id], definition.path)
        first, last = _lines(definition)
        shown = await read_passages(snapshot, file, first, last, room)
        if parts and shown.next_line:
            break  # only the first one may be cut
        parts += [
            CodePart(
                path=file.path, start_line=p.start_line, end_line=p.end_line, language=file.language,
                symbol=definition.symbol, kind=definition.kind, repository=sources[file.index_id], text=p.text,
            )
            for p in shown.passages
        ]  # fmt: skip
        room -= shown.tokens
        if shown.next_line:
            return parts, (
                f"{line(definition.symbol)} goes on at line {shown.next_line}, to {last}: repeat with "
                f"path={quoted(file.path)} and start_line={shown.next_line}, without symbol"
            )
    return parts, None


async def read_outline(
    snapshot: FileSnapshot, indexes: Sequence[IndexRow], file: FileRow, start_line: int, end_line: int | None
) -> ReadAnswer:
    """Return the definitions of a file that begin between two lines. Raises UserError."""
    known = await snapshot.definitions(file)
    if known is None:
        raise UserError(
            f"not known: the definitions of {quoted(file.path)}, which an earlier version indexed; index its "
            "repository again with start_indexing_background, or read the file by lines"
        )
    within = [d for d in known if start_line <= d.first_line <= (end_line or LAST_LINE)]
    entries: list[OutlineEntry] = []
    room = MAX_TEXT_TOKENS
    for definition in within:
        entry = OutlineEntry(
            start_line=definition.first_line, end_line=definition.last_line, kind=definition.kind,
            symbol=definition.name, signature=definition.signature or None,
        )  # fmt: skip
        room -= estimate_tokens(entry.model_dump_json())
        if room < 0:
            break
        entries.append(entry)
    next_line = within[len(entries)].first_line if len(entries) < len(within) else None
    goes_on = f"The outline goes on at line {next_line}: repeat with start_line={next_line}"
    return ReadAnswer(
        parts=[],
        outline=entries,
        message=goes_on if next_line else None if within else "It defines nothing there",
        next_line=next_line,
        file_lines=file.lines,
        indexes=[index_status(index) for index in indexes if index.id == file.index_id],
    )


def _lines(definition: DefinitionRow) -> tuple[int, int]:
    """Return its first and last line; in an index of an older version those of the chunk in which it begins."""
    place = definition.place
    return (place.first_line, place.last_line) if place else (definition.start_line, definition.end_line)


def _named(found: Iterable[DefinitionRow]) -> str | None:
    places = [f"{named(d.path)}:{_lines(d)[0]} {line(d.symbol)}" for d in found]
    if not places:
        return None
    more = f" and {len(places) - _MAX_NAMED} more" if len(places) > _MAX_NAMED else ""
    return f"Others of this name: {', '.join(places[:_MAX_NAMED])}{more}; give path for one of them"
