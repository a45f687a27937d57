"""A page of an answer. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from codebase_mcp.models import SearchResult
from codebase_mcp.search.budget import fitting
from codebase_mcp.search.cursor import Cursor


class StoredChunk(Protocol):
    """What all the store's answers know of a chunk."""

    @property
    def id(self) -> int:
        """Its number."""

    @property
    def start_line(self) -> int:
        """The line of its first line."""

    @property
    def text(self) -> str:
        """All of it."""


@dataclass(frozen=True)
class Hit:
    """A result, the position after it, and the chunk that it is from."""

    result: SearchResult
    after: Cursor
    chunk: StoredChunk


@dataclass(frozen=True)
class Page:
    """Results in order. `end` is where the next page begins, None when there is none.

    `note` is what is to be said of a page that has results, `nothing` of one that has none.
    """

    hits: Sequence[Hit]
    end: Cursor | None
    note: str | None = None
    nothing: str | None = None

    def within_budget(self) -> "Page":
        """Return the page cut to what an answer may cost: at least one result, and where to go on."""
        kept = fitting([hit.result for hit in self.hits])
        if kept == len(self.hits):
            return self
        left_out = (
            f"{len(self.hits) - kept} more results were left out, because the answer would be too long: they come "
            "next with next_cursor; or ask with detail=concise, or narrow it with path or language"
        )
        return Page(self.hits[:kept], self.hits[kept - 1].after, joined(self.note, left_out))


def joined(*sentences: str | None) -> str | None:
    """Return one text of those that there are."""
    return ". ".join(sentence for sentence in sentences if sentence) or None


CHANGED: Final = (
    "The index has changed since the page before: results may be missing or repeated across pages; for one "
    "consistent list begin again without cursor"
)
