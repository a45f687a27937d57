"""Tells a chunk's code from its comments and strings, by a lexer of a few forms. Pure.

The server parses nothing of a repository. What begins in the chunk before is not seen, so the middle of a long
comment may pass for code; where one ends in the chunk, that is seen.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from codebase_index.languages import LANGUAGES, Comments

_DOUBLE: Final = r'"(?:\\.|[^"\\\n])*+"?'
_SINGLE: Final = r"'(?:\\.|[^'\\\n])*+'?"
_CHARACTER: Final = r"'(?:\\[^\n]{1,9}?|[^'\\\n])'"
_SLASHES: Final = r"(?P<comment>//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/)?)"
_BACKTICK: Final = r"`(?:\\.|[^`\\])*+`?"
_HASHES: Final = r"(?P<comment>\#[^\n]*+)"
_TRIPLE: Final = r'"""(?:[^"\\]|\\.|"(?!""))*+(?:""")?'
_TRIPLE_SINGLE: Final = _TRIPLE.replace('"', "'")


def _lexer(*parts: str) -> re.Pattern[str]:
    return re.compile("|".join(parts), re.DOTALL | re.MULTILINE)


_C = _lexer(_SLASHES, _DOUBLE, _CHARACTER)
_JAVA = _lexer(_SLASHES, _TRIPLE, _DOUBLE, _CHARACTER)
_SCRIPT = _lexer(_SLASHES, _DOUBLE, _SINGLE, _BACKTICK)
_SHELL = _lexer(_HASHES, _DOUBLE, _SINGLE)
_SQL = _lexer(r"(?P<comment>--[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/)?)", _SINGLE)
_USUAL: Final = {Comments.HASHES: _SHELL, Comments.SLASHES: _C, Comments.DASHES: _SQL}
"""The lexer of a language that has none of its own, by its comments."""
_OWN: Final[Mapping[str, re.Pattern[str]]] = {
    "python": _lexer(
        rf"(?P<comment>\#[^\n]*+|^[ \t]*+[rRuU]?(?:{_TRIPLE}|{_TRIPLE_SINGLE}))",
        _TRIPLE, _TRIPLE_SINGLE, _DOUBLE, _SINGLE,
    ),
    **dict.fromkeys(("javascript", "typescript", "dart", "groovy", "vue", "svelte"), _SCRIPT),
    "go": _lexer(_SLASHES, _DOUBLE, _CHARACTER, r"`[^`]*+`?"),
    "rust": _lexer(_SLASHES, r'r(#*+)"(?s:.*?)"\2', r'"(?:\\.|[^"\\])*+"?', _CHARACTER),
    "java": _JAVA, "kotlin": _JAVA, "swift": _JAVA, "scala": _JAVA,
    "csharp": _lexer(_SLASHES, r'[@$]{0,2}@[@$]{0,2}"(?:""|[^"])*+"?', _TRIPLE, _DOUBLE, _CHARACTER),
    "php": _lexer(r"(?P<comment>//[^\n]*+|\#(?!\[)[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/)?)", r'"(?:\\.|[^"\\])*+"?',
                  r"'(?:\\.|[^'\\])*+'?"),
    "ruby": _lexer(r"(?P<comment>(?<![\w?$])\#(?!\{)[^\n]*+|^=begin\b(?s:.*?)(?:^=end\b|\Z))", _DOUBLE, _SINGLE),
    "lua": _lexer(r"(?P<comment>--(?:\[\[(?s:.*?)(?:\]\]|\Z)|[^\n]*+))", _DOUBLE, _SINGLE),
}  # fmt: skip
LEXERS: Final = {
    language.name: _OWN.get(language.name) or _USUAL[language.comments]
    for language in LANGUAGES.values()
    if language.comments is not None
}
"""Comments (the group of this name) and strings of a language; others are taken to have neither."""


@lru_cache(maxsize=64)
def masked(text: str, language: str | None) -> tuple[str, str]:
    """Return a text without comments, and without strings either: blanks stand for them, line by line."""
    lexer = LEXERS.get(language or "")
    if lexer is None:
        return text, text
    at = _after_comment(text) if language in _STARRED else _after_quotes(text) if language == "python" else 0
    without_comments = [_BLANK.sub(" ", text[:at])]
    code = without_comments[:]
    for match in lexer.finditer(text, at):
        before, blank = text[at : match.start()], _BLANK.sub(" ", match[0])
        without_comments += [before, blank if match["comment"] else match[0]]
        code += [before, blank]
        at = match.end()
    return "".join([*without_comments, text[at:]]), "".join([*code, text[at:]])


_BLANK: Final = re.compile(r"[^\n]")
_STARRED: Final = frozenset(name for name, lexer in LEXERS.items() if r"/\*" in lexer.pattern)
"""Languages with comments in C's form."""


def _after_comment(text: str) -> int:
    """Return where the code begins of a chunk that may begin in the middle of a comment in C's form."""
    end = text.find("*/")
    return end + 2 if end >= 0 and text.find("/*", 0, end) < 0 else 0


_CODE_OF_PYTHON: Final = re.compile(
    r"^[ \t]*+(?:@\w|(?:def|class|return|if|elif|for|while|with|from|import|raise|yield|async)\b[^\n]*[:)\w]$"
    r"|[\w.]++\s=\s|[\w.]++\()",
    re.MULTILINE,
)


def _after_quotes(text: str) -> int:
    """Return where the code begins of a chunk of Python that may begin in the middle of a text in triple quotes.

    If their number is odd, one text is open at the beginning or at the end: that one hides less of what looks like
    code.
    """
    quotes = '"""' if '"""' in text else "'''"
    parts = text.split(quotes)
    if len(parts) % 2:
        return 0
    at_end, at_beginning = (sum(len(_CODE_OF_PYTHON.findall(part)) for part in parts[n::2]) for n in (1, 0))
    return len(parts[0]) + len(quotes) if at_beginning < at_end else 0
