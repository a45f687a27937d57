"""Parsing of the names that people write to find a definition, in the spelling of any language. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from codebase_index import keywords
from codebase_index.symbols import Kind
from codebase_mcp.errors import UserError

_SEPARATORS: Final = re.compile(r"::|->|[?!&]?\.|[#/\\:]")
_GENERIC: Final = re.compile(r"<[^<>]*>")
_BRACKETED: Final = re.compile(r"(?<=\w)\[[^\[\]]*\]")
_PART: Final = re.compile(r"(?=.*[\w$])[\w$@?!~-]{1,200}")
_OPERATOR: Final = re.compile(
    r"(?<![\w$])operator\s*(\(\)|\[\]|\"\"\s*\w+|(?:new|delete|co_await)\b(?:\s*\[\])?|[-+*/%^&|~!=<>,]{1,3})"
)
_RECEIVER: Final = re.compile(r"(?<![\w$\]>])\(\s*(?:\w+\s+)?[*&]?\s*([\w.$]+)\s*\)\s*\.?\s*(?=[\w$])")
_FUNC: Final = re.compile(r"^(func|fn)\(")
_AS_TRAIT: Final = re.compile(r"<\s*([\w:.]+)\s+as\s+[^<>]+>\s*(?=::)")
_CALL_INSIDE: Final = re.compile(r"\([^()]*\)(?=\s*(?:\.|->|::))")
_VISIBILITY: Final = re.compile(r"\bpub\s*\([^)]*\)")
_QUOTED: Final = re.compile(r"(?:^|(?<=[.\s]))\[(\w+)\]")
_ANNOTATION: Final = re.compile(r"^@[\w.]+(?:\([^()]*\))?\s+(?=\S)")
_LISP: Final = re.compile(r"^\(\s*(def[\w-]*)\s+\(?")
_MESSAGE_SENT: Final = re.compile(r"^[-+]?\[\s*(\w+)\s+(\w+)[^\]]*\]$")
_IMPORTED: Final = re.compile(r"^from\s+([\w.]+)\s+import\s+(\w+)$")
_ELEMENT: Final = re.compile(r"^(?:\[\d*\]|map\[[^\]]*\]|chan\s|\*|&)+(?=\w)")
_RAW: Final = re.compile(r"\br#(?=\w)")
_ARITY: Final = re.compile(r"(?<=[\w?!])/\d{1,2}$")
_TYPE_WORD: Final = re.compile(
    r"[*&]+|.*[A-Z\[\]*&:<>].*|u?int\d+(?:_t)?|[iuf]\d+|void|int|long|short|char|bool|boolean|float|double|byte|auto"
    r"|str|string|size_t|object|any|number"
)

_FUNCTIONS: Final = frozenset({Kind.FUNCTION, Kind.METHOD})
_VALUES: Final = frozenset({Kind.CONSTANT, Kind.PROPERTY})
_TYPES: Final = frozenset({Kind.CLASS, Kind.STRUCT, Kind.INTERFACE, Kind.ENUM, Kind.TYPE})
_KEYWORDS: Final[dict[str, frozenset[Kind]]] = {
    **dict.fromkeys((*keywords.FUNCTIONS, "method", "defp", "defn"), _FUNCTIONS),
    **dict.fromkeys(("defun", "procedure", "proc", "constructor", "subroutine", "rpc"), _FUNCTIONS),
    "define": _FUNCTIONS | _VALUES,
    **dict.fromkeys((*keywords.VALUES, "constant", "variable", "property", "field"), _VALUES),
    **dict.fromkeys(("interface", "trait", "protocol"), frozenset({Kind.INTERFACE})),
    **dict.fromkeys((*keywords.MODULES, "package", "defmodule"), frozenset({Kind.MODULE})),
    **dict.fromkeys(("class", "impl", "object", "record", "extension", "actor"), frozenset({Kind.CLASS})),
    **dict.fromkeys((*keywords.MACROS, "macro", "defmacro"), frozenset({Kind.MACRO})),
    **dict.fromkeys(("table", "view"), frozenset({Kind.TABLE})),
    "struct": frozenset({Kind.STRUCT}), "union": frozenset({Kind.STRUCT}), "enum": frozenset({Kind.ENUM}),
    "message": frozenset({Kind.MESSAGE}), "service": frozenset({Kind.SERVICE}),
    **dict.fromkeys(("type", "typedef", "using", "newtype", "data"), _TYPES),
}  # fmt: skip
_MODIFIERS: Final = frozenset([
    "public", "private", "protected", "internal", "static", "async", "export", "default", "abstract", "pub",
    "final", "virtual", "override", "inline", "extern", "unsafe", "sealed", "partial", "readonly", "declare",
    "open", "case", "suspend", "synchronized", "native", "constexpr", "explicit", "friend", "local",
    "create", "or", "replace", "alter", "unsigned", "signed", "mutable", "lazy", "implicit", "template",
    "get", "set", "attr_accessor", "attr_reader", "attr_writer", "new", "return", "await", "yield", "throw",
    "raise", "import",
])  # fmt: skip
_OWN: Final = frozenset(["this", "self", "$this", "cls", "super", "prototype", "exports", "crate"])
"""What stands in front of a name in the code that has it, and says nothing about where it is defined."""


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

    @property
    def qualifiers(self) -> tuple[str, ...]:
        """All parts but the last."""
        return self.parts[:-1]

    @classmethod
    def of(cls, query: str) -> "SymbolName":
        """Read a name, or the beginning of a definition: `Class.method`, `(*Server).Serve`, `ns::Bag<int>::add`,
        `func (s *Server) Serve()`, `class UserService extends Base`, `operator==`. Raises UserError.
        """
        text = query.strip().strip("`\"'").strip()
        name, kinds = _declared(text)
        parts = _parts(name)
        if not parts or not all(_PART.fullmatch(part) or _OPERATOR.fullmatch(part) for part in parts):
            raise UserError(
                "validation: query: mode=symbol looks up one name, such as parse_header or Class.method; for a "
                "question in words use mode=auto, for other text mode=text",
                mode="auto",
            )
        return cls(parts, kinds)

    def agreement(self, symbol: str) -> tuple[int, bool]:
        """Return how many parts, from the last on, a symbol has in common with this name, and whether one of the
        two has no others: `com.acme.User.login` names `User.login`, and `login` too.
        """
        theirs, common = _parts(symbol), 0
        for own, their in zip(reversed(self.parts), reversed(theirs), strict=False):
            if own != their:
                break
            common += 1
        return common, common == min(len(theirs), len(self.parts))


def _parts(name: str) -> tuple[str, ...]:
    """Divide a qualified name; an operator of C++ is one part, whatever characters it has."""
    operator = _OPERATOR.search(name)
    scope, last = (name[: operator.start()], (_operator_name(operator[1]),)) if operator else (name, ())
    scope = _without_parameters(scope)
    found = [part.strip() for part in _SEPARATORS.split(scope) if part.strip()]
    ends = len(found) - (not last)
    return (*[part for n, part in enumerate(found) if n >= ends or part not in _OWN], *last)


def _operator_name(operator: str) -> str:
    words = operator.split()
    return "operator" + " " * words[0][0].isalpha() + "".join(words)


def _without_parameters(text: str) -> str:
    """Return a name without the parameters of generic types."""
    text = _AS_TRAIT.sub(r"\1", text)
    for pattern in (_GENERIC, _BRACKETED):
        while (shorter := pattern.sub("", text)) != text:
            text = shorter
    return text


def _declared(text: str) -> tuple[str, frozenset[Kind]]:
    """Return the name in the beginning of a definition or in a call, and the kinds that its keyword allows."""
    text = _ELEMENT.sub("", _IMPORTED.sub(r"\1.\2", _MESSAGE_SENT.sub(r"\1.\2", text)))
    while (shorter := _ANNOTATION.sub("", text)) != text:
        text = shorter
    text = _RAW.sub("", _LISP.sub(r"\1 ", _FUNC.sub(r"\1 (", text)))
    text = _VISIBILITY.sub("pub", text.removeprefix("@").removesuffix("::class"))
    if operator := _OPERATOR.search(text):
        words = text[: operator.start()].replace("*", " ").replace("&", " ").split()
        scope = words[-1] if words and text[: operator.start()].rstrip() == text[: operator.start()] else ""
        return scope + operator[0], frozenset()
    text = _QUOTED.sub(r"\1", _without_parameters(_RECEIVER.sub(r"\1.", _without_parameters(text))))
    while (shorter := _CALL_INSIDE.sub("", text)) != text:
        text = shorter
    head, paren, _ = text.partition("(")
    head = re.split(r"\s::\s|\s*(?<![=!<>:])=(?!=)|\s*:=|\s<\s|\{|;|,|:(?=\s|$)", head)[0].strip()
    return _name_of(_ARITY.sub("", head).split(), bool(paren))


def _name_of(words: Sequence[str], is_called: bool) -> tuple[str, frozenset[Kind]]:
    kinds: frozenset[Kind] = frozenset()
    rest = list(words)
    while len(rest) > 1 and (rest[0].lower() in _KEYWORDS or rest[0].lower() in _MODIFIERS):
        word = rest.pop(0).lower()
        if kinds != _KEYWORDS["enum"]:  # enum class
            kinds = _KEYWORDS.get(word, kinds)
        if word == "impl" and "for" in rest[:-1]:
            rest = rest[rest.index("for") + 1 :]
    if not rest:
        return "", kinds
    if len(rest) == 1 or kinds:
        return rest[0].lstrip("*&"), kinds
    is_declared = is_called or len(rest) < len(words)  # int f(), private int x
    if is_declared and all(_TYPE_WORD.fullmatch(word) for word in rest[:-1]):
        return rest[-1].lstrip("*&"), _FUNCTIONS if is_called else frozenset()
    if len(rest) == 2 and rest[1] in ("struct", "interface", "class", "enum"):
        return rest[0], _KEYWORDS[rest[1]]
    return "", kinds
