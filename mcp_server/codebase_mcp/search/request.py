"""The arguments of search_code, validated. Pure."""

from dataclasses import dataclass
from typing import Literal

from codebase_index.pattern import Pattern, PatternRefused, literal, regex
from codebase_index.store.query.hybrid_search import Filters
from codebase_mcp.errors import UserError
from codebase_mcp.search.cursor import digest

Mode = Literal["auto", "symbol", "text", "regex"]


@dataclass(frozen=True)
class SearchRequest:
    """The arguments of a search. Empty `repos` means all indexes."""

    query: str
    repos: tuple[str, ...] = ()
    path: str | None = None
    language: str | None = None
    limit: int = 10
    detail: Literal["concise", "full"] = "concise"
    mode: Mode = "auto"
    cursor: str | None = None

    @property
    def filters(self) -> Filters:
        """The filters as the store spells them: relative paths, languages in lower case."""
        path = (self.path or "").removeprefix("./").lstrip("/")
        return Filters(path or None, self.language.lower() if self.language else None)

    @property
    def identity(self) -> str:
        """A digest of what determines the results and their order: equal on all pages of a search."""
        filters = self.filters
        return digest(self.query, self.mode, sorted(self.repos), filters.path_prefix, filters.language)

    @property
    def pattern(self) -> Pattern:
        """The pattern of mode=text or regex. Raises UserError."""
        try:
            return regex(self.query) if self.mode == "regex" else literal(self.query.strip("\r\n"))
        except PatternRefused as error:
            raise UserError(f"validation: query: {error}") from error

    @property
    def filter_phrase(self) -> str:
        """The filters in words, or nothing: " with path prefix 'src/' and language 'go'"."""
        given = [f"path prefix {self.path!r}"] * bool(self.path) + [f"language {self.language!r}"] * bool(
            self.language
        )
        return " with " + " and ".join(given) if given else ""

    @property
    def no_match_message(self) -> str:
        """The message when nothing is found, neither by words nor by meaning."""
        if self.filter_phrase:
            return f"No match{self.filter_phrase}: no indexed file fits; check the spelling, or leave it out"
        return "No match: no indexed chunk resembles the query; use other words, or names that occur in the code"
