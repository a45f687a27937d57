"""Parsing of the names that people write to find a definition. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from codebase_index.symbols import Kind
from codebase_mcp.errors import UserError

_SEPARATORS: Final = re.compile(r"::|->|[.#/\\:]")
_CALL: Final = re.compile(r"\s*\(.*\)?\s*$", re.DOTALL)
_GENERIC: Final = re.compile(r"<[^<>]*>")
_PART: Final = re.compile(r"[\w$@?!~-]{1,200}")
_FUNCTIONS: Final = frozenset({Kind.FUNCTION, Kind.METHOD})
_VALUES: Final = frozenset({Kind.CONSTANT, Kind.PROPERTY})
_TYPES: Final = frozenset({Kind.CLASS, Kind.STRUCT, Kind.INTERFACE, Kind.ENUM, Kind.TYPE})
_KEYWORDS: Final[dict[str, frozenset[Kind]]] = {
    **dict.fromkeys(("def", "func", "fn", "function", "fun", "sub", "method"), _FUNCTIONS),
    **dict.fromkeys(("const", "let", "var", "val", "constant", "variable"), _VALUES),
    **dict.fromkeys(("interface", "trait", "protocol"), frozenset({Kind.INTERFACE})),
    **dict.fromkeys(("module", "mod", "namespace", "package"), frozenset({Kind.MODULE})),
    **dict.fromkeys(("class", "impl", "object", "record"), frozenset({Kind.CLASS})),
    **dict.fromkeys(("macro", "#define"), frozenset({Kind.MACRO})),
    "struct": frozenset({Kind.STRUCT}), "enum": frozenset({Kind.ENUM}), "type": _TYPES,
}  # fmt: skip
_MODIFIERS: Final = frozenset(["public", "private", "protected", "static", "async", "export", "abstract", "pub"])


@dataclass(frozen=True)
class SymbolName:
    """A name: `simple_name` is its last part, `parts` all of them, outermost first.

    `kinds` are those that a keyword before it asks for; empty without one.
    """

    parts: tuple[str, ...]
    kinds: frozenset[Kind] = frozenset()

    @property
    def simple_name(self) -> str:
        """The last part."""
        return self.parts[-1]

    @classmethod
    def of(cls, query: str) -> "SymbolName":
        """Read `name`, `Class.method`, `ns::Type`, `Class#method`, `call(...)`, `def name`. Raises UserError."""
        words = _CALL.sub("", query.strip()).split()
        kinds: frozenset[Kind] = frozenset()
        while len(words) > 1 and (words[0] in _KEYWORDS or words[0] in _MODIFIERS):
            kinds = _KEYWORDS.get(words.pop(0), kinds)
        parts = tuple(part for part in _SEPARATORS.split(words[0]) if part) if len(words) == 1 else ()
        if not parts or not all(map(_PART.fullmatch, parts)):
            raise UserError(
                "validation: query: mode=symbol looks up one name, such as parse_header or Class.method; for a "
                "question in words use mode=auto, for other text mode=text"
            )
        return cls(parts, kinds)

    def matches(self, symbol: str) -> bool:
        """Return whether a qualified symbol, without type parameters, ends with this name; letter case counts."""
        return tuple(_SEPARATORS.split(_GENERIC.sub("", symbol)))[-len(self.parts) :] == self.parts
