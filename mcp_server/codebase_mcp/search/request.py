"""What search_code is asked for, checked. Pure."""

from dataclasses import dataclass
from typing import Literal

from codebase_index.pattern import Pattern, PatternRefused, literal, regex
from codebase_index.store.query.hybrid_search import Filters
from codebase_mcp.errors import UserError
from codebase_mcp.search.cursor import digest

Mode = Literal["auto", "symbol", "text", "regex"]


@dataclass(frozen=True)
class SearchRequest:
    """A search: the arguments of the tool. `repos` empty means all that is indexed."""

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
        """The filters in the spelling of the store: paths are relative, languages are in lower case."""
        path = (self.path or "").removeprefix("./").lstrip("/")
        return Filters(path or None, self.language.lower() if self.language else None)

    @property
    def identity(self) -> str:
        """A digest of what decides the results and their order: equal on every page of one search."""
        filters = self.filters
        return digest(self.query, self.mode, sorted(self.repos), filters.path_prefix, filters.language)

    @property
    def pattern(self) -> Pattern:
        """What mode=text or regex looks for. Raises UserError."""
        try:
            return regex(self.query) if self.mode == "regex" else literal(self.query.strip("\r\n"))
        except PatternRefused as error:
            raise UserError(f"validation: query: {error}") from error

    @property
    def narrowing(self) -> str:
        """The filters in words, or nothing: " with path prefix 'src/' and language 'go'"."""
        given = [f"path prefix {self.path!r}"] * bool(self.path) + [f"language {self.language!r}"] * bool(
            self.language
        )
        return " with " + " and ".join(given) if given else ""

    @property
    def no_match(self) -> str:
        """What to say when neither words nor meaning find anything."""
        if self.narrowing:
            return f"No match{self.narrowing}: no indexed file fits; check the spelling, or leave it out"
        return "No match: no indexed chunk resembles the query; use other words, or names that occur in the code"
