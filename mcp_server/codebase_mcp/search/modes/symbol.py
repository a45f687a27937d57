"""mode=symbol: the definitions of a name, then the lines that use it, calls first."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from codebase_index import keywords
from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.store.query.symbol_search import DefinitionRow, SymbolSearch
from codebase_mcp.limits.fair_semaphore import Permit
from codebase_mcp.ranking.features import kind_factor
from codebase_mcp.ranking.query import Query
from codebase_mcp.ranking.weights import DEFAULT
from codebase_mcp.search.answers import SearchResult
from codebase_mcp.search.budget import allot_characters
from codebase_mcp.search.cursor import Cursor
from codebase_mcp.search.excerpt import head
from codebase_mcp.search.modes.text import TextMode
from codebase_mcp.search.naming import older_definitions_note
from codebase_mcp.search.page import Hit, Page, join_sentences
from codebase_mcp.search.repositories import result_sources
from codebase_mcp.search.request import SearchRequest
from codebase_mcp.search.symbol_name import SymbolName

MAX_DEFINITIONS: Final = 100
"""Definitions of one name that are considered. Only the most common names have more, and nobody reads them all."""


_PATH_PARTS: Final = re.compile(r"[/.]")

_KEYWORDS: Final = "|".join(sorted(
    keywords.FUNCTIONS | keywords.TYPES | keywords.MODULES | keywords.VALUES | keywords.MACROS
    | {"typedef", "impl", "package", "static"}
))  # fmt: skip


class SymbolMode:
    """Searches the names that chunks define, and then the text."""

    def __init__(self, symbols: SymbolSearch, text: TextMode) -> None:
        self._symbols, self._text = symbols, text

    async def page(
        self, request: SearchRequest, indexes: Sequence[IndexRow], cursor: Cursor, _: Permit, /
    ) -> Page:
        """Return definitions from the cursor's offset on, then uses. Raises UserError if the query is no name."""
        name = SymbolName.of(request.query)
        async with self._symbols.snapshot() as snapshot:
            candidates = await snapshot.definitions(
                [index.id for index in indexes], name.simple_name, filters=request.filters, limit=MAX_DEFINITIONS
            )
            best, note = best_definitions(name, candidates)
            definitions = ranked(best, name, request.query)
            shown = definitions[cursor.offset : cursor.offset + request.limit]
            room = request.limit - len(shown)
            declarations = {(d.id, declaring_line(d, name.simple_name)) for d in candidates} if room else ()
            found = room and await self._text.find_uses(
                name.simple_name, request, indexes, cursor, declarations=declarations, snapshot=snapshot
            )  # fmt: skip
        note = join_sentences(note, older_definitions_note(definitions))
        hits = [
            Hit(result, replace(cursor, offset=number, position=None), definition)
            for number, (definition, result) in enumerate(
                zip(shown, _results(shown, name, result_sources(indexes)), strict=True), start=cursor.offset + 1
            )
        ]
        if not found:
            return Page(hits, hits[-1].after, note)
        # After the snapshot: this takes a connection of its own, and who waits for one while holding another may
        # wait for ever.
        end = replace(cursor, offset=len(definitions))
        skip = max(0, cursor.offset - len(definitions))
        uses = await self._text.uses_page(name.simple_name, request, indexes, end, found, skip=skip, limit=room)
        if not definitions:
            where = request.filter_phrase
            note = f"No definition of {name.simple_name!r} is indexed{where}; these lines hold the name"
        empty_note = (
            f"No match{request.filter_phrase}: {name.simple_name!r} is neither defined nor used in what is "
            "indexed; check the spelling, or use mode=auto to search by meaning and by parts of names"
        )
        guess = guess_note(name.simple_name, candidates) if uses.hits else None
        return Page(
            [*hits, *uses.hits], uses.end, join_sentences(note, guess, uses.note), uses.empty_note or empty_note
        )


def guess_note(name: str, candidates: Sequence[DefinitionRow]) -> str | None:
    """Say that uses are found by the name alone, where several definitions have it."""
    spelt = {(d.index_id, d.path, d.symbol) for d in candidates if d.symbol.endswith(name)}
    if len(spelt) < 2:
        return None
    count = f"at least {len(spelt)}" if len(candidates) == MAX_DEFINITIONS else str(len(spelt))
    return f"{count} definitions have this name: which one a use means is a guess"


def ranked(definitions: Sequence[DefinitionRow], name: SymbolName, query: str) -> list[DefinitionRow]:
    """Return definitions in order: the kinds that are asked for first, tests and examples last."""
    read = Query.of(query)
    return sorted(definitions, key=lambda d: (d.kind not in name.kinds, -kind_factor(read, d.path, DEFAULT)))


def best_definitions(
    name: SymbolName, candidates: Sequence[DefinitionRow]
) -> tuple[list[DefinitionRow], str | None]:
    """Return the best matches of a name: as it is written; else in another scope; else in another letter case.

    With a note about it unless they match as it is written.
    """
    agreements = [name.agreement(d.symbol) for d in candidates]
    common = max((agreement[0] for agreement in agreements), default=0)
    best = [d for d, agreement in zip(candidates, agreements, strict=True) if agreement[0] == common]
    whole = [d for d, agreement in zip(candidates, agreements, strict=True) if agreement == (common, True)]
    if not candidates or common == len(name.parts) or (whole and common > 1):
        return whole, None  # what is left of either is a package, or a class around it
    if common == 0:
        return best, f"No definition is spelt {name.simple_name}; these differ in letter case"
    beside = [d for d in best if set(name.qualifiers) & set(_PATH_PARTS.split(d.path))]
    if beside:
        return beside, None
    return best, f"No definition is called {'.'.join(name.parts)}; these are called {name.simple_name}"


def _results(
    definitions: Sequence[DefinitionRow], name: SymbolName, sources: Mapping[int, str | None]
) -> list[SearchResult]:
    """Return the results, each from the line of the definition on, with its share of the answer's length."""
    whole = []
    for d in definitions:
        first = d.place.line if d.place else d.start_line + defining_line(d.text, name.simple_name)
        last = d.place.last_line if d.place else d.end_line
        text = "\n".join(d.text.split("\n")[first - d.start_line : last - d.start_line + 1])
        whole.append(
            SearchResult(
                repository=sources[d.index_id], path=d.path, start_line=first, end_line=last,
                symbol=d.symbol, kind=d.kind, language=d.language, score=None, text=text, text_start_line=first,
                is_definition=True,
            )
        )  # fmt: skip
    return [
        r.model_copy(update={"text": head(r.text, room)})
        for r, room in zip(whole, allot_characters(whole), strict=True)
    ]


def declaring_line(definition: DefinitionRow, name: str) -> int:
    """Return the line of the file in which a definition has its name."""
    lines = definition.text.split("\n")
    if definition.place:
        # Annotations may stand before the name: it is on the first line of the definition that holds it.
        first = max(0, definition.place.line - definition.start_line)
        end = definition.place.last_line - definition.start_line + 1
        for offset, line in enumerate(lines[first:end], first):
            if name.lower() in line.lower():
                return definition.start_line + offset
    return definition.start_line + defining_line(definition.text, name)


def defining_line(text: str, name: str) -> int:
    """Return the line, from 0, that most likely defines a name which the text defines somewhere.

    The first in which the name follows a keyword; else is followed by what opens a body or value; else occurs.
    """
    word = rf"(?<![\w$]){re.escape(name)}(?![\w$])"
    receiver = r"(?:\s*\([^()]*\))?"
    lines = text.split("\n")
    for pattern in (
        rf"(?:^|[\s(;])(?:{_KEYWORDS}){receiver}\s+[*&]?{word}",
        rf"(?<![.:>&]){word}\s{{0,4}}[(=:{{<\[]",
        word,
    ):
        compiled = re.compile(pattern, re.IGNORECASE)
        for number, line in enumerate(lines):
            if compiled.search(line) and not line.lstrip().startswith(("# ", "//", "*", "/*", "--")):
                return number
    return 0
