"""mode=text and mode=regex: lines that match, by repository, path and line."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from codebase_index import untrusted_text
from codebase_index.lexical.gram_filter import Condition
from codebase_index.pattern import Pattern, PatternRefused, literal
from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.store.query.definitions import DefinitionSearch
from codebase_index.store.query.symbol_search import IndexSnapshot
from codebase_index.store.query.text_search import (
    InvalidExpression,
    TextMatch,
    TextPosition,
    TextQuery,
    TextResult,
    TextSearch,
)
from codebase_mcp.errors import UserError
from codebase_mcp.limits.fair_semaphore import Permit
from codebase_mcp.search.answers import SearchResult
from codebase_mcp.search.cursor import Cursor
from codebase_mcp.search.naming import named, older_index_note
from codebase_mcp.search.occurrences import Occurrence, occurrences, surroundings
from codebase_mcp.search.page import Hit, Page, join_sentences
from codebase_mcp.search.repositories import result_sources
from codebase_mcp.search.request import SearchRequest
from codebase_mcp.search.uses import Use, uses

TEXT_TIMEOUT_SECONDS: Final = 0.75
"""Timeout of a text scan, so that an answer takes less than a second; the cursor resumes where it stopped."""

ALTERNATIVE_TIMEOUT_SECONDS: Final = 0.2
"""Timeout for the check whether another spelling would have matched."""

_LINES_PER_RESULT: Final = 3
"""Lines to find for each requested result: neighbouring ones become one result."""


USES_TOGETHER: Final = 100
"""Lines that hold a name of which the calls come first. Of a name that stands in more, the next hundred follow:
each line is read to tell what it does, so that all of a common one would take a second."""


UseByLine = Mapping[tuple[int, int], Use]
"""What lines do with a name, by the id of the chunk and the number of the line in the file."""


def uses_of(name: str, matches: Sequence[TextMatch]) -> UseByLine:
    """Tell what the lines that match do with a name."""
    return {
        (match.id, match.start_line + number): use
        for match in matches
        for number, use in uses(
            match.text, match.language, name, [line - match.start_line for line in match.lines]
        ).items()
    }


@dataclass(frozen=True)
class _Finding:
    """What was looked for after the cursor, and what was found."""

    request: SearchRequest
    indexes: Sequence[IndexRow]
    cursor: Cursor
    pattern: Pattern
    found: TextResult


class TextMode:
    """Searches the text of the indexes."""

    def __init__(self, text: TextSearch, definitions: DefinitionSearch) -> None:
        self._text, self._definitions = text, definitions

    async def page(
        self, request: SearchRequest, indexes: Sequence[IndexRow], cursor: Cursor, _: Permit, /
    ) -> Page:
        """Return the places whose lines match, after the cursor. Raises UserError for an invalid pattern."""
        pattern = request.pattern
        lines = request.limit * _LINES_PER_RESULT
        found = await self._find(request, pattern, indexes, cursor.position, lines, TEXT_TIMEOUT_SECONDS)
        page = await self._page(_Finding(request, indexes, cursor, pattern, found), request.limit)
        if page.hits or found.timed_out or cursor.position:
            return page
        return replace(page, empty_note=await self._explain_no_results(request, pattern, indexes))

    async def find_uses(
        self, name: str, request: SearchRequest, indexes: Sequence[IndexRow], cursor: Cursor, *,
        declarations: Collection[tuple[int, int]], snapshot: IndexSnapshot,
    ) -> TextResult:  # fmt: skip
        """Find the next USES_TOGETHER lines in a snapshot that hold a name as a whole word, except those that
        declare it: each of these is given by the id of its chunk and its number in the file.
        """
        query = _query(request, _use_of(name), indexes, cursor.position, USES_TOGETHER, TEXT_TIMEOUT_SECONDS)
        return await snapshot.find(replace(query, excluded_lines=declarations))

    async def uses_page(
        self, name: str, request: SearchRequest, indexes: Sequence[IndexRow], cursor: Cursor, found: TextResult, *,
        skip: int, limit: int,
    ) -> Page:  # fmt: skip
        """Return a page of the uses that `find_uses` found, calls first, without comments, each with what it does
        with the name. `skip` of them were on the pages before.
        """
        finding = _Finding(request, indexes, cursor, _use_of(name), found)
        return await self._page(finding, limit, used_name=name, skip=skip)

    async def _page(self, finding: _Finding, limit: int, used_name: str | None = None, skip: int = 0) -> Page:
        """Return the page, each place named after the definition that its lines lie in."""
        cursor, matches = finding.cursor, finding.found.matches
        definitions = await self._definitions.of_chunks([match.id for match in matches])
        use_by_line = None
        if used_name is not None:  # in a thread: a hostile line may take some milliseconds
            use_by_line = await asyncio.to_thread(uses_of, used_name, matches)
        places = occurrences(_in_code(matches, use_by_line) if use_by_line else matches, definitions)
        if use_by_line is None:
            placed = [(place, replace(cursor, position=_end(place.match, place.lines))) for place in places]
        else:  # the position stays where these uses begin
            in_order = enumerate(_calls_first(places, use_by_line), start=cursor.offset + 1)
            placed = [(place, replace(cursor, offset=number)) for number, place in in_order][skip:]
        page = _place_page(finding, placed, limit, use_by_line)
        older = older_index_note(definitions, [hit.chunk.id for hit in page.hits])
        return replace(page, note=join_sentences(page.note, older))

    async def _find(
        self, request: SearchRequest, pattern: Pattern, indexes: Sequence[IndexRow], after: TextPosition | None,
        lines: int, seconds: float,
    ) -> TextResult:  # fmt: skip
        try:
            return await self._text.find(_query(request, pattern, indexes, after, lines, seconds))
        except InvalidExpression as error:
            raise UserError(
                f"validation: query: the regular expression is invalid ({error}); correct or simplify it, or use "
                "mode=text to search for it as it is"
            ) from error

    async def _explain_no_results(
        self, request: SearchRequest, pattern: Pattern, indexes: Sequence[IndexRow]
    ) -> str:
        where = request.filter_phrase
        as_text = request.mode == "regex"
        other = _as_it_stands(request.query) if as_text else pattern.in_any_case()
        if other and (await self._find(request, other, indexes, None, 1, ALTERNATIVE_TIMEOUT_SECONDS)).matches:
            if as_text:
                return f"No line matches the expression{where}, but the text as it stands occurs: use mode=text"
            return (
                f"No line holds the text{where} in this letter case, but in another: use mode=regex with (?i) "
                "before it, and a backslash before each special character"
            )
        if where:
            return f"No match{where}: no line of these files matches; check the spelling, or leave the filter out"
        return "No match: no indexed line holds it; look for a part of it, or use mode=auto to search by meaning"


def _as_it_stands(query: str) -> Pattern | None:
    """Return an expression as text; None where no line can hold that: its brackets may have a line end."""
    try:
        return literal(query.strip("\r\n"))
    except PatternRefused:
        return None


def _in_code(matches: Sequence[TextMatch], use_by_line: UseByLine) -> list[TextMatch]:
    """Return the matches without the lines that only speak of the name, in a comment or in prose."""
    kept = [
        replace(match, lines=tuple(n for n in match.lines if use_by_line[match.id, n] is not Use.COMMENT))
        for match in matches
    ]
    return [match for match in kept if match.lines]


def _hidden_note(use_by_line: UseByLine | None) -> str | None:
    """Return what to say where comments were left out."""
    if not use_by_line or Use.COMMENT not in use_by_line.values():
        return None
    return "Comments and prose that hold the name are left out: mode=text shows them"


def _use_of(name: str) -> Pattern:
    return literal(name, whole_word=name.isidentifier())


def _query(
    request: SearchRequest, pattern: Pattern, indexes: Sequence[IndexRow], after: TextPosition | None, lines: int,
    seconds: float,
) -> TextQuery:  # fmt: skip
    ids = [index.id for index in indexes]
    return TextQuery(ids, pattern, request.filters, after, lines, seconds)


def _place_page(
    finding: _Finding, placed: Sequence[tuple[Occurrence, Cursor]], limit: int, use_by_line: UseByLine | None
) -> Page:
    """Return the page of some places, each with the cursor after it; `use_by_line`: they are uses, and comments
    among them were left out.
    """
    cursor, pattern, found = finding.cursor, finding.pattern, finding.found
    sources, hidden = result_sources(finding.indexes), _hidden_note(use_by_line)
    hits = [
        Hit(_result(place, sources[place.match.index_id], pattern, use_by_line), after, place.match)
        for place, after in placed[:limit]
    ]
    if len(placed) > limit or found.further_lines:
        more = sum(len(place.lines) for place, _ in placed[limit:]) + found.further_lines
        at_least = "at least " if found.stopped_at else ""
        lines = "line matches" if more == 1 else "lines match"
        further = f"{at_least}{more} more {lines}: go on with next_cursor".capitalize()
        last = found.matches[-1]
        end = hits[-1].after if len(placed) > limit else replace(cursor, position=_end(last, last.lines))
        return Page(hits, end, join_sentences(further, hidden), join_sentences(hidden, further))
    if found.stopped_at is None and not found.timed_out:
        return Page(hits, None, hidden, hidden)
    if found.stopped_at == cursor.position:  # not even a few files in that time: the next call would do no better
        slow = (
            f"The search took longer than {TEXT_TIMEOUT_SECONDS:g} s and was cut short; simplify the pattern, or "
            "narrow it with repo, path or language"
        )
        return Page(hits, None, slow, f"Nothing was found yet. {slow}")
    end = replace(cursor, position=found.stopped_at)
    if not found.timed_out:
        return Page(hits, end, "There may be more lines that match: go on with next_cursor", "No match so far")
    path = found.stopped_at.path if found.stopped_at else ""
    seen = f", having seen the files up to {untrusted_text.quoted(path)}" if path else ""
    cut = (
        f"The search was cut short after {TEXT_TIMEOUT_SECONDS:g} s{seen}; go on with next_cursor, or narrow it "
        f"with repo, path or language{_why_slow(pattern, found)}"
    )
    return Page(hits, end, cut, f"No match so far. {cut}")


def _end(match: TextMatch, lines: Sequence[int]) -> TextPosition:
    """Return the position of the last of some lines."""
    return TextPosition(match.index_id, match.path, lines[-1])


def _calls_first(places: Sequence[Occurrence], use_by_line: UseByLine) -> list[Occurrence]:
    return sorted(places, key=lambda place: _use(place, use_by_line) is not Use.CALL)


def _use(place: Occurrence, use_by_line: UseByLine) -> Use:
    """Return the most telling use in a place."""
    return min((use_by_line[place.match.id, line] for line in place.lines), key=list(Use).index)


def _why_slow(pattern: Pattern, found: TextResult) -> str:
    """Say what would make a search quick that was cut short, if anything would."""
    if found.unfiltered:
        return (
            "; index the repositories again, some of which an earlier version indexed without what makes it quick"
        )
    if Condition.of(pattern.required) is None:
        return "; text of three characters or more that each match holds would make it quick"
    return ""


def _result(
    position: Occurrence, source: str | None, pattern: Pattern, use_by_line: UseByLine | None
) -> SearchResult:
    match, lines = position.match, position.lines
    use = _use(position, use_by_line) if use_by_line else None
    first, text = surroundings(position, pattern.needle)
    has_gaps = len(lines) != lines[-1] - lines[0] + 1
    result = SearchResult(
        repository=source, path=match.path, start_line=lines[0], end_line=lines[-1], symbol=None,
        language=match.language, score=None, text=text, text_start_line=first,
        is_definition=None if use_by_line is None else False, use=use,
        matching_lines=list(lines) if has_gaps else None,
    )  # fmt: skip
    return named(result, position.definition)
