"""mode=symbol: the definitions of a name, then the lines that use it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from codebase_index.store.indexes import IndexRow
from codebase_index.store.symbols import Definition, Snapshot, Symbols
from codebase_mcp.cursor import Cursor
from codebase_mcp.excerpt import from_line
from codebase_mcp.models import SearchResult
from codebase_mcp.name import Name
from codebase_mcp.pages import Hit, Page, joined
from codebase_mcp.repositories import sources_of
from codebase_mcp.request import SearchRequest
from codebase_mcp.signals import Query, importance
from codebase_mcp.text_pages import TextPages

MOST_DEFINITIONS: Final = 300
"""Definitions of one name that are looked at. More have only the most common names, of which nobody reads all."""


_DEFINITION_CHARACTERS: Final = 400
"""What is shown of a definition: its head and first lines."""


class SymbolPages:
    """Answers from the names that chunks define, and from the text."""

    def __init__(self, symbols: Symbols, text: TextPages) -> None:
        self._symbols, self._text = symbols, text

    async def page(self, request: SearchRequest, searched: Sequence[IndexRow], cursor: Cursor) -> Page:
        """Return definitions from the cursor's offset on; where they end, uses. Raises UserError for no name."""
        name = Name.of(request.query)
        async with self._symbols.snapshot() as snapshot:
            return await self._page(name, snapshot, request, searched, cursor)

    async def _page(
        self, name: Name, snapshot: Snapshot, request: SearchRequest, searched: Sequence[IndexRow], cursor: Cursor
    ) -> Page:
        known = await snapshot.definitions(
            [index.id for index in searched], name.plain, filters=request.filters, limit=MOST_DEFINITIONS
        )
        definitions, note = fitting(name, known)
        asked = Query.of(request.query)
        # Stable: what is equal in these stays in the order of path and line.
        definitions.sort(key=lambda d: (d.kind not in name.kinds, -importance(asked, d.path)))
        sources = sources_of(searched)
        hits = [
            Hit(_result(d, sources[d.index_id], name), replace(cursor, offset=number, place=None), d)
            for number, d in enumerate(definitions, start=1)
        ][cursor.offset : cursor.offset + request.limit]
        if len(hits) == request.limit:
            return Page(hits, hits[-1].after, note)
        uses = await self._text.uses(
            name.plain, request, searched, replace(cursor, offset=len(definitions)),
            limit=request.limit - len(hits), but_not_in={d.id for d in known}, snapshot=snapshot,
        )  # fmt: skip
        if not definitions:
            note = f"No definition of {name.plain!r} is indexed{request.narrowing}; these lines hold the name"
        nothing = (
            f"No match{request.narrowing}: {name.plain!r} is neither defined nor used in what is indexed; check "
            "the spelling, or use mode=auto to search by meaning and by parts of names"
        )
        return Page([*hits, *uses.hits], uses.end, joined(note, uses.note), uses.nothing or nothing)


def fitting(name: Name, known: Sequence[Definition]) -> tuple[list[Definition], str | None]:
    """Return the definitions that fit a name best: as it is written; else with another scope, else in any case.

    With a sentence that says so where they do not fit as it is written.
    """
    exact = [d for d in known if name.fits(d.symbol)]
    if exact or not known:
        return exact, None
    same = [d for d in known if Name((name.plain,)).fits(d.symbol)]
    if same:
        return same, f"No definition is called {'.'.join(name.parts)}; these are called {name.plain}"
    return list(known), f"No definition is spelt {name.plain}; these differ in letter case"


def _result(definition: Definition, source: str | None, name: Name) -> SearchResult:
    line = defining_line(definition.text, name.plain)
    first, text = from_line(definition.text, line, _DEFINITION_CHARACTERS)
    return SearchResult(
        repository=source, path=definition.path, start_line=definition.start_line + line,
        end_line=definition.end_line, symbol=definition.symbol, kind=definition.kind, language=definition.language,
        score=None, text=text, text_start_line=definition.start_line + first, is_definition=True,
    )  # fmt: skip


def defining_line(text: str, name: str) -> int:
    """Return the line, from 0, in which a text most likely defines a name that it defines somewhere.

    That is the first in which the name is followed as definitions are, or else the first that holds it.
    """
    word = rf"(?i)(?<![\w$]){re.escape(name)}(?![\w$])"
    lines = text.split("\n")
    for pattern in (word + r"\s{0,4}[(=:{<\[]", word):
        for number, line in enumerate(lines):
            if re.search(pattern, line) and not line.lstrip().startswith(("# ", "//", "*", "/*", "--")):
                return number
    return 0
