"""A page of results. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from codebase_mcp.search.answers import SearchResult
from codebase_mcp.search.budget import count_fitting
from codebase_mcp.search.cursor import Cursor


class StoredChunk(Protocol):
    """What all searches of the store return of a chunk."""

    @property
    def id(self) -> int:
        """Its id."""

    @property
    def start_line(self) -> int:
        """The line of its first line."""

    @property
    def end_line(self) -> int:
        """The line of its last line."""

    @property
    def text(self) -> str:
        """Its whole text."""


@dataclass(frozen=True)
class Hit:
    """A result, the position after it, and the chunk that it is from."""

    result: SearchResult
    after: Cursor
    chunk: StoredChunk


@dataclass(frozen=True)
class Page:
    """Results in order. `end` is the cursor of the next page, None if there is none.

    `note` is the message of a page with results, `empty_note` that of one without.
    """

    hits: Sequence[Hit]
    end: Cursor | None
    note: str | None = None
    empty_note: str | None = None

    def within_budget(self) -> "Page":
        """Return the page cut to the token budget, with at least one result."""
        count = count_fitting([hit.result for hit in self.hits])
        more = len(self.hits) - count
        if not more:
            return self
        left_out = (
            f"{f'{more} more results were' if more > 1 else '1 more result was'} left out, because the answer "
            "would be too long: go on with next_cursor; or ask with detail=concise, or narrow it with path or "
            "language"
        )
        return Page(self.hits[:count], self.hits[count - 1].after, join_sentences(self.note, left_out))


def join_sentences(*sentences: str | None) -> str | None:
    """Join those sentences that there are."""
    return ". ".join(sentence for sentence in sentences if sentence) or None


INDEX_CHANGED: Final = (
    "The index has changed since the page before: results may be missing or repeated across pages; for one "
    "consistent list begin again without cursor"
)
