"""The arguments of search_code, validated. Pure."""

from dataclasses import dataclass
from typing import Literal

from codebase_index.pattern import Pattern, PatternRefused, literal, regex
from codebase_index.store.query.filters import Filters
from codebase_index.untrusted_text import quoted
from codebase_mcp.errors import UserError
from codebase_mcp.search import expression
from codebase_mcp.search.cursor import digest
from codebase_mcp.search.symbol_name import SymbolName
from codebase_mcp.selection.scope import check_filters

Mode = Literal["auto", "symbol", "text", "regex"]


@dataclass(frozen=True)
class SearchRequest:
    """The arguments of a search: `repos`, `paths` and `languages` as people write them (`selection.scope`); empty
    ones select all. `filters` are those of the scope, once it is known.
    """

    query: str
    repos: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    limit: int = 10
    detail: Literal["concise", "full"] = "concise"
    mode: Mode = "auto"
    cursor: str | None = None
    filters: Filters = Filters()  # noqa: RUF009 - frozen

    def check(self) -> None:
        """Raise UserError for what is wrong whatever is indexed, so that no job is begun for it."""
        check_filters(self.paths, self.languages)
        if self.mode in ("text", "regex"):
            _ = self.pattern
        elif self.mode == "symbol":
            SymbolName.of(self.query)

    @property
    def identity(self) -> str:
        """A digest of what determines the results and their order: equal on all pages of a search."""
        return digest(self.query, self.mode, *map(sorted, (self.repos, self.paths, self.languages)))

    @property
    def pattern(self) -> Pattern:
        """The pattern of mode=text or regex. Raises UserError."""
        text = self.query.strip("\r\n")
        if self.mode == "regex":
            written, _ = expression.read(self.query)
            try:
                return regex(written)
            except PatternRefused as error:
                other = expression.suggestion(written)
                raise UserError(
                    f"validation: query: {error}", **({"query": other} if other else {"mode": "text"})
                ) from error
        try:
            return literal(text)
        except PatternRefused as error:
            raise UserError(
                f"validation: query: {error}", query=max(text.splitlines(), key=len).strip()
            ) from error

    @property
    def notes(self) -> list[str]:
        """How the query was understood, where that is not clear."""
        _, note = expression.read(self.query) if self.mode == "regex" else ("", None)
        return [note] if note else []

    @property
    def filter_phrase(self) -> str:
        """The filters in words, or nothing: " with path 'src/' and language 'go'"."""
        given = [
            f"{name} {' or '.join(quoted(value) for value in values)}"
            for name, values in (("path", self.paths), ("language", self.languages))
            if values
        ]
        return " with " + " and ".join(given) if given else ""

    @property
    def no_match_message(self) -> str:
        """The message when nothing is found, neither by words nor by meaning."""
        if self.filter_phrase:
            return f"No match{self.filter_phrase}: no indexed file fits; check the spelling, or leave it out"
        return "No match: no indexed chunk resembles the query; use other words, or names that occur in the code"
