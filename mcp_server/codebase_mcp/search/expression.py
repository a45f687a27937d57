r"""Regular expressions as people write them who come from grep or JavaScript. Pure.

`foo\|bar` is an alternative to grep and sed, and text to everybody else; `/foo/i` is an expression with its flags
in JavaScript, Perl and Ruby. Both are read as they are meant, with a note that says how to write the other thing.
"""

import re
from typing import Final

from codebase_index.pattern import PatternRefused, regex

_DELIMITED: Final = re.compile(r"/((?:[^/\\]|\\.)+)/([gimsuyx]{1,4})")
_META: Final = re.compile(r"[\\^$.|?*+()\[\]{}]")
_FLAGS_OF_TEXT: Final = frozenset("gi")
"""Those that say something of plain text: /serve/i is an expression, /static/img and /src/ui are paths."""

_OR: Final = re.compile(r"(?<!\\)(?:\\\\)*\\\|(?![|\s])(?<![|\s]\\\|)")
_BASIC: Final = re.compile(r"\\[(){}|+?]|\\.|[(){}|+?]", re.DOTALL)
_LOOK_AROUND: Final = re.compile(r"\(\?(?:<?[=!])[^()]*\)")
_INNER_FLAGS: Final = re.compile(r"\(\?[imsux]+\)")
_NAMED_PLUS_PLUS: Final = re.compile(r"[\w ]+\+\+")
_POSSESSIVE: Final = re.compile(r"(?<=[*+?}])\+")


def read(text: str) -> tuple[str, str | None]:
    """Return the expression that is meant, and a note if it is not the one that is written."""
    delimited = _DELIMITED.fullmatch(text)
    if delimited and (_META.search(delimited[1]) or _FLAGS_OF_TEXT.issuperset(delimited[2])):
        inner = delimited[1].replace(r"\/", "/")
        expression = ("(?i)" if "i" in delimited[2] else "") + inner
        return (
            expression,
            f"the expression was read as {expression}, as its slashes and flags say; write [/] for a slash",
        )
    if _OR.search(text) and "|" not in re.sub(r"\\.", "", text):
        expression = _from_basic(text)
        return (
            expression,
            rf"\| was read as an alternative, as grep has it: {expression}; write [|] for the character",
        )
    return text, None


def suggestion(text: str) -> str | None:
    """Return an expression that is like a refused one and would be taken, if a simple change makes it so."""
    flags = "(?i)" if _INNER_FLAGS.search(text) else ""
    for candidate in (
        _POSSESSIVE.sub("", text) if not _NAMED_PLUS_PLUS.fullmatch(text) else "",
        flags + _INNER_FLAGS.sub("", text),
        _LOOK_AROUND.sub("", text),
        flags + _LOOK_AROUND.sub("", _INNER_FLAGS.sub("", text)),
    ):
        if candidate not in (text, "", flags) and _is_taken(candidate):
            return candidate
    return None


def _from_basic(text: str) -> str:
    r"""Return an expression of grep in the usual syntax.

    Most who write `\|` mean only that: if the rest is valid as it stands, it stays. Else it is what grep calls a
    basic expression, in which brackets and repetitions are text unless a backslash is before them.
    """
    plain = re.sub(r"\\\\|\\\|", lambda found: found[0] if found[0] == r"\\" else "|", text)
    if r"\(" not in text and _is_taken(plain):
        return plain
    basic = _BASIC.sub(lambda found: _swapped(found[0]), text)
    return basic if _is_taken(basic) else plain


def _swapped(token: str) -> str:
    if len(token) == 1:
        return f"\\{token}"
    return token[1] if token[1] in "(){}|+?" else token


def _is_taken(expression: str) -> bool:
    try:
        regex(expression)
    except PatternRefused:
        return False
    return True
