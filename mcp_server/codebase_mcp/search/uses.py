"""What a line does with a name: calls, imports or extends it, has it as a type, or only speaks of it. Pure.

By patterns of lines over what the lexer takes for code: a name alone says little, what stands around it most.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import islice
from typing import Final

from codebase_index import keywords
from codebase_index.languages import LANGUAGES
from codebase_mcp.search.code_lexer import masked

MAX_IN_LINE: Final = 8
"""Uses in one line that are looked at: each may cost as much as the square of what is looked at around it."""

_MAX_BESIDE: Final = 300
"""Characters of the line before a use, and after it, that are looked at: what says more is nearer."""


class Use(StrEnum):
    """What a line does with a name, the most telling first."""

    CALL = "call"
    """Also the making of an object, a decorator's, and a macro's."""
    INHERITANCE = "inheritance"
    """It is extended, implemented or embedded."""
    IMPORT = "import"
    """Also a re-export."""
    DEFINITION = "definition"
    """A further definition or declaration of this name."""
    TYPE = "type"
    MENTION = "mention"
    """Any other in code: a value, an assignment."""
    STRING = "string"
    COMMENT = "comment"
    """Also prose."""


PROSE: Final = frozenset(language.name for language in LANGUAGES.values() if language.prose or language.markup)
"""Languages in which every line speaks of a name."""

_TYPED: Final = frozenset(language.name for language in LANGUAGES.values() if language.typed)
_DEFINING: Final = "|".join(sorted(keywords.FUNCTIONS | keywords.TYPES | keywords.MODULES))
_BODIES: Final = re.compile(
    rf"\b(?:{_DEFINING}|function\*|typedef|macro_rules!)\s+"
    r"(?:self\.|(?:\([^()\n]*\)\s*)?&?\s*)$"
)
"""What stands before a name that is defined."""
_IMPORTS: Final = re.compile(
    r"^\s*(?:from\b.*\bimport\b|(?:(?:static|pub(?:\([^)]*\))?|global)\s+)*"
    r"(?:import|use|using|require|include|extern crate)\b"
    r"|export\s*(?:type\s*)?[{*]|#\s*(?:include|import)\b|(?:const|let|var)\b.*=\s*(?:await\s+)?(?:require|import)\s*\()"
)
_OPEN_IMPORT: Final = re.compile(
    r"^[ \t]*(?:from[^\n]*\bimport\s*\(|(?:import|export)\s*(?:type\s*)?(?:\w+\s*,\s*)?\{|"
    r"(?:pub\s+)?use\b[^;\n]*\{)[^)};]*\Z",
    re.MULTILINE,
)  # fmt: skip
_BASES: Final[Mapping[str, re.Pattern[str]]] = {
    "python": re.compile(r"^\s*class\s+\w+(?:\[.*\])?\s*\("),
    "ruby": re.compile(r"^\s*(?:class\s+[\w:]+\s*<|(?:include|extend|prepend)\s)"),
    "rust": re.compile(r"^\s*(?:unsafe\s+)?impl\b(?!.*\bfor\b.*\S$)|\btrait\s+\w+(?:<.*>)?\s*:"),
    "cpp": re.compile(r"\b(?:class|struct)\s+[^;{]*?(?<!:):(?!:)"),
    "csharp": re.compile(r"\b(?:class|struct|interface|record)\s+[^;{]*?:"),
    "kotlin": re.compile(r"\b(?:class|interface|object)\s+[^;{]*?[):\s]:"),
    "swift": re.compile(r"\b(?:class|struct|protocol|enum|extension|actor)\s+[^;{]*?:"),
}
_EXTENDS: Final = re.compile(
    r"(?:^\s*|\b(?:class|interface|enum|record|trait|object)\b[^{;]*)\s(?:extends|implements|with)\b[^{;(]*$"
)
_SCRIPTS: Final = frozenset(language.name for language in LANGUAGES.values() if language.script)
_CLOSED_IMPORT: Final = re.compile(r"[\w\s,$]*+\}\s*from\b")
_MODIFIERS: Final = re.compile(
    r"\s*(?:(?:export|public|private|protected|static|async|get|set|abstract|override|readonly)\s+)*\*?#?"
)
_METHOD: Final = re.compile(r"\??(?:<[^(){};]*>)?\(.*(?:\{|\)\s*:[^(){}?]*[;,]?)\s*$")
_CALLBACK: Final = re.compile(r"=>\s*\{|\bfunction\b")
_TYPE_OF_SCRIPT: Final = re.compile(
    r"(?:\btype\s+\w+(?:<.*>)?\s*=[^=]*|(?:^|[\w\])>}]\s*)[|&]\s*|\b(?:keyof|extends|infer|satisfies)\s+|\bas\s+(?:const\s+)?)$"
)
_IMPLEMENTED: Final = re.compile(r"^\s*(?:<[^{}]*>)?\s+for\b")
_ARGUMENTS: Final = re.compile(
    r"\s*+(?:::)?(?:<[^<>(){};]*+(?:<[^<>(){};]*+>[^<>(){};]*+)*+>)?\s*+!?\(|\s*+!\s*+[\[{(]"
)
_GO_ARGUMENTS: Final = re.compile(r"(?:\[[^\]\n]*+\])?\(")
_MADE: Final = re.compile(r"\bnew\s+(?:[\w$]+(?:\.|::|\\))*+\\?$")
_BEFORE_DECLARED: Final = re.compile(r"(?:^|[\w>\]*&?]\s*[\s*&])\s*~?(?:\w+(?:<[^<>]*>)?::)*~?$")
_STATEMENT: Final = re.compile(
    r"(?:^|[^\w])(?:return|new|else|throw|await|yield|in|case|of|do|not|and|or|if|while|is|as|co_await|co_return|"
    r"delete|sizeof|typeof|goto|when|ref|out)\s*[*&]*\s*$"
)
_TYPED_AFTER: Final = re.compile(
    r"(?:<[^(){};=]*>)?(?:\[\s*\])*\??(?:\s*[*&]+\s*|\s+)(?!(?:instanceof|is|as|in|and|or)\b)[A-Za-z_]"
)
_ANNOTATED: Final = re.compile(
    r"(?:[\w)\]?\"']\s*+:|->)(?:[&*?]|mut\b|dyn\b|impl\b|const\b|'\w++|\s)*(?:[\w.\[\]]+\s*\|\s*)*"
    r"(?:[\w.]+\[[^=(){}]*+|(?:[\w.:]+[.:])?)$"
)
_GENERIC: Final = re.compile(
    r"(?:[\w>]<|\w<[^(){};]*,\s*+|\b(?:instanceof|is|as)\s++)(?:[\w.:&* ]*+(?<=[.:&* ]))?$"
)
_GO_TYPE: Final = re.compile(
    r"(?:\b(?!return\b|case\b|range\b|go\b|defer\b|if\b|for\b|switch\b|package\b)\w+\s+|\)\s+|\)\s*\(|[\])}]|\bmap\[|\.\()"
    r"(?:\.\.\.)?[*\[\]]*(?:\w+\.)?$"
)
_GO_EMBEDDED: Final = re.compile(r"^\s*\*?(?:\w+\.)?$")


def uses(text: str, language: str | None, name: str, lines: Iterable[int]) -> dict[int, Use]:
    """Return what some lines of a text, from 0, do with a name: the most telling of several uses.

    The name may stand in a longer word only where it is none itself, like an operator.
    """
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    if language in PROSE:
        return dict.fromkeys(lines, Use.COMMENT)
    lines_of_text = text.split("\n")
    without_comments, code = (whole.split("\n") for whole in masked(text, language))
    found = {}
    for number in lines:
        if not word.search(without_comments[number]):
            found[number] = Use.COMMENT if word.search(lines_of_text[number]) else Use.MENTION
            continue
        here = islice(word.finditer(code[number]), MAX_IN_LINE)
        kinds = [_use(code, number, match, language or "") for match in here]
        in_string = Use.IMPORT if _IMPORTS.match(code[number]) else Use.STRING
        found[number] = min(kinds, key=_ORDER.__getitem__, default=in_string)
    return found


_ORDER: Final = {use: number for number, use in enumerate(Use)}


def _use(code: list[str], number: int, match: re.Match[str], language: str) -> Use:
    """Return what code does with a name at a place of a line."""
    line = code[number]
    before = line[max(0, match.start() - _MAX_BESIDE) : match.start()]
    after = line[match.end() : match.end() + _MAX_BESIDE]
    if _IMPORTS.match(line) and not (language == "ruby" and _BASES["ruby"].match(line)):
        return Use.IMPORT
    if _OPEN_IMPORT.search("\n".join([*code[max(0, number - _MAX_IMPORT) : number], before])):
        return Use.IMPORT
    if language in _SCRIPTS and _CLOSED_IMPORT.match("\n".join([after, *code[number + 1 : number + _MAX_IMPORT]])):
        return Use.IMPORT
    if _BODIES.search(before) or (
        language in _SCRIPTS
        and _MODIFIERS.fullmatch(before)
        and _METHOD.match(after)
        and not _CALLBACK.search(after)
    ):
        return Use.DEFINITION
    if _inherits(before, after, language):
        return Use.INHERITANCE
    if language == "go" and after.startswith("{"):
        return Use.MENTION if _STATEMENT_OF_GO.match(line) else Use.CALL
    if (_GO_ARGUMENTS if language == "go" else _ARGUMENTS).match(after) or _MADE.search(before):
        return Use.DEFINITION if language in _TYPED and _is_declared(before) else Use.CALL
    if before.rstrip().endswith("@") or (language == "ruby" and before.endswith(".")):
        return Use.CALL
    if language in _SCRIPTS and _is_type_of_script(code, number, before):
        return Use.TYPE
    return _type_or_mention(before, after, language)


_MAX_IMPORT: Final = 40
"""Lines of one import that are looked at, before and after."""
_STATEMENT_OF_GO: Final = re.compile(r"\s*(?:if|for|switch|select|func|type)\b")


def _inherits(before: str, after: str, language: str) -> bool:
    if language == "rust":
        return bool(re.match(r"\s*(?:unsafe\s+)?impl\b", before) and _IMPLEMENTED.match(after)) or bool(
            re.search(r"\btrait\s+\w+(?:<.*>)?\s*:", before)
        )
    if language == "go":
        return bool(_GO_EMBEDDED.match(before)) and not after.strip()
    bases = _BASES.get("cpp" if language == "c" else language)
    if (language != "ruby" and _is_open(before, "<>")) or _is_open(before, "[]") or after.startswith("."):
        return False  # a parameter of the base, or the module that it is from
    return bool((bases and bases.search(before) and "{" not in before) or _EXTENDS.search(f" {before}"))


def _is_open(before: str, brackets: str) -> bool:
    """Return whether brackets are open behind a text; those of arrows do not count."""
    plain = before.replace("=>", "").replace("->", "")
    return plain.count(brackets[0]) > plain.count(brackets[1])


def _is_type_of_script(code: list[str], number: int, before: str) -> bool:
    """Return whether a name is a part of a type: of a union, or an argument, maybe some lines below `<`."""
    if _TYPE_OF_SCRIPT.search(before):
        return True
    above = "\n".join([*code[max(0, number - _MAX_GENERIC) : number], before])
    return _is_open(above[max(above.rfind(";"), above.rfind("{")) + 1 :].replace(" < ", ""), "<>")


_MAX_GENERIC: Final = 8
"""Lines above in which the arguments of a type may begin."""


def _is_declared(before: str) -> bool:
    """Return whether ``before name(`` declares the name in a language that puts types first."""
    return bool(before.strip() and _BEFORE_DECLARED.search(before) and not _STATEMENT.search(before))


def _type_or_mention(before: str, after: str, language: str) -> Use:
    if language == "go":
        is_value = after.lstrip().startswith((".", ":=", "="))
        return Use.TYPE if _GO_TYPE.search(before) and not is_value else Use.MENTION
    if language in _TYPED and _TYPED_AFTER.match(after) and not _STATEMENT.search(before):
        return Use.TYPE
    if _GENERIC.search(before) or (_ANNOTATED.search(before) and "{" not in before.split(":")[-1]):
        return Use.TYPE
    return Use.MENTION
