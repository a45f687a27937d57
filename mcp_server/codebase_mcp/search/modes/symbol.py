"""mode=symbol: the definitions of a name, then the lines that use it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.store.query.symbol_search import Definition, Snapshot, SymbolSearch
from codebase_mcp.limits.fair_semaphore import Permit
from codebase_mcp.models import SearchResult
from codebase_mcp.ranking.features import kind_factor
from codebase_mcp.ranking.query import Query
from codebase_mcp.ranking.weights import DEFAULT
from codebase_mcp.search.budget import shares
from codebase_mcp.search.cursor import Cursor
from codebase_mcp.search.excerpt import head
from codebase_mcp.search.modes.text import TextPages
from codebase_mcp.search.page import Hit, Page, joined
from codebase_mcp.search.repositories import sources_of
from codebase_mcp.search.request import SearchRequest
from codebase_mcp.search.symbol_name import Name

MOST_DEFINITIONS: Final = 300
"""Definitions of one name that are looked at. More have only the most common names, of which nobody reads all."""


_KEYWORDS: Final = (
    "def|func|fn|fun|function|sub|class|struct|union|interface|enum|trait|protocol|type|typedef|impl|object|record|"
    "module|mod|namespace|package|const|let|var|val|static|macro_rules!|#define"
)


class SymbolPages:
    """Answers from the names that chunks define, and from the text."""

    def __init__(self, symbols: SymbolSearch, text: TextPages) -> None:
        self._symbols, self._text = symbols, text

    async def page(
        self, request: SearchRequest, searched: Sequence[IndexRow], cursor: Cursor, _: Permit, /
    ) -> Page:
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
        query = Query.of(request.query)
        # Stable: what is equal in these stays in the order of path and line.
        definitions.sort(key=lambda d: (d.kind not in name.kinds, -kind_factor(query, d.path, DEFAULT)))
        shown = definitions[cursor.offset : cursor.offset + request.limit]
        hits = [
            Hit(result, replace(cursor, offset=number, place=None), definition)
            for number, (definition, result) in enumerate(
                zip(shown, _results(shown, name, sources_of(searched)), strict=True), start=cursor.offset + 1
            )
        ]
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


def _results(
    definitions: Sequence[Definition], name: Name, sources: Mapping[int, str | None]
) -> list[SearchResult]:
    """Describe definitions, each from its head on, with as much text as it has a share of the answer."""
    whole = []
    for d in definitions:
        line = defining_line(d.text, name.plain)
        text = "\n".join(d.text.split("\n")[line:])
        first = d.start_line + line
        whole.append(
            SearchResult(
                repository=sources[d.index_id], path=d.path, start_line=first, end_line=d.end_line,
                symbol=d.symbol, kind=d.kind, language=d.language, score=None, text=text, text_start_line=first,
                is_definition=True,
            )
        )  # fmt: skip
    return [
        r.model_copy(update={"text": head(r.text, room)}) for r, room in zip(whole, shares(whole), strict=True)
    ]


def defining_line(text: str, name: str) -> int:
    """Return the line, from 0, in which a text most likely defines a name that it defines somewhere.

    That is the first in which the name follows a keyword, or else is followed as definitions are, or else occurs.
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
