"""What code says about itself and prose does not: names it defines, and where its file lies. Pure."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from codebase_index.text import terms, words

TYPE_DEFINED: Final = 1.0
"""For a chunk that defines a type which the query names: most often the very place that is asked for."""

NAME_DEFINED: Final = 0.6
"""The same for functions and constants, whose names are more often common words."""

PLAIN_WORD: Final = 0.2
"""Factor for both where the query's word does not look like code: `request` may be meant as an English word."""

PARTLY_DEFINED: Final = 0.5
"""Times the share of the query's terms that occur in the names which the chunk defines."""

FILE_NAME: Final = 0.4
"""Times the share of the file name's terms that the query holds: files are named after what they are about."""

FOLDER: Final = 0.2
"""The same for folders, which are about many things."""

ASIDE: Final = 0.4
"""Factor for tests, examples, vendored code and prose, which repeat the words of the code in question, unless the
query asks for them."""

_TYPE_KEYWORDS: Final = frozenset(
    ["class", "struct", "interface", "enum", "trait", "type", "protocol", "record", "union", "namespace", "object"]
)
_NAME_KEYWORDS: Final = frozenset(
    [
        "def",
        "func",
        "fn",
        "function",
        "fun",
        "sub",
        "proc",
        "const",
        "let",
        "var",
        "val",
        "macro_rules!",
        "#define",
    ]
)
_KEYWORDS: Final = _TYPE_KEYWORDS | _NAME_KEYWORDS
_RECEIVER_WORDS: Final = 4
"""Most words of what stands between `func` and the name in Go: `(m *Mux)`."""

_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_BEGINS_A_BODY = frozenset("(=:{<")
_LOOKS_LIKE_CODE = re.compile(r"_|\d|[a-z][A-Z]|^[A-Z]")
_UNMISTAKABLE = re.compile(r"_|\d|[a-z][A-Z]")

_ASIDE_FOLDERS: Final = frozenset(
    ["test", "tests", "testing", "testdata", "spec", "specs", "fixture", "fixtures", "mock", "mocks",
     "example", "examples", "sample", "samples", "demo", "demos", "bench", "benchmark", "benchmarks",
     "vendor", "vendored", "third_party", "third-party", "3rdparty", "node_modules"]
)  # fmt: skip
_ASIDE_FILE = re.compile(r"^test_|^conftest\.py$|(?:[._-](?:test|tests|spec|bench)|Tests?|Spec)\.\w+$")
_ASKS_FOR_ASIDE: Final = frozenset(name for name in _ASIDE_FOLDERS if name.isalpha())

_PROSE: Final = frozenset(["md", "markdown", "rst", "adoc", "txt", "html", "json", "csv", "svg", "lock"])
_ASKS_FOR_PROSE: Final = frozenset(["doc", "docs", "documentation", "readme", "changelog", "guide", "tutorial"])

_ENTRY_FILES: Final = frozenset(["__init__", "index", "lib", "main", "mod"])
"""Files that stand for their folder, which then is their name."""

_STOP_WORDS: Final = frozenset(
    ["a", "an", "and", "are", "as", "at", "be", "by", "do", "does", "for", "from", "how", "in", "into", "is", "it",
     "of", "on", "or", "that", "the", "this", "to", "what", "when", "where", "which", "with"]
)  # fmt: skip
_SUFFIX = re.compile(r"(?:izations?|ations?|ators?|ments?|ings?|ions?|ness|able|ible|ers?|ors?|ed|es|ly|y|s|e)$")
_SHORTEST_STEM: Final = 3


@dataclass(frozen=True)
class Query:
    """A query as the signals see it. `code_names` look like names in code, `plain_words` could be English."""

    code_names: frozenset[str]
    plain_words: frozenset[str]
    stems: frozenset[str]
    is_one_name: bool
    wants_aside: bool
    wants_prose: bool

    @classmethod
    def of(cls, text: str) -> "Query":
        """Read a query."""
        names, all_terms = words(text), frozenset(terms(text))
        one = len(names) == 1
        code = {
            name for name in names[:1] if one or _UNMISTAKABLE.search(name)
        }  # a sentence begins with a capital
        code |= {name for name in names[1:] if _LOOKS_LIKE_CODE.search(name)}
        return cls(
            code_names=frozenset(code),
            plain_words=frozenset(names) - code,
            stems=frozenset(stem(term) for term in all_terms - _STOP_WORDS),
            is_one_name=one,
            wants_aside=bool(all_terms & _ASKS_FOR_ASIDE),
            wants_prose=bool(all_terms & _ASKS_FOR_PROSE),
        )


def definitions(asked: Query, text: str, symbol: str | None) -> float:
    """Say how well the names that a chunk defines fit the query: 0 to 1.5."""
    types, others = _defined(text)
    own = symbol.rsplit(".", 1)[-1] if symbol else ""
    # The symbol also names what a chunk only lies in; where the definition begins, the name stands in the chunk.
    if own and _begins(own, text):
        others.add(own)
    exact = max(
        TYPE_DEFINED * bool(asked.code_names & types),
        NAME_DEFINED * bool(asked.code_names & others),
        PLAIN_WORD * TYPE_DEFINED * bool(asked.plain_words & types),
        PLAIN_WORD * NAME_DEFINED * bool(asked.plain_words & others),
    )
    return exact + PARTLY_DEFINED * _share(_stems(types | others), asked.stems)


def _defined(text: str) -> tuple[set[str], set[str]]:
    """Return the types and the other names that a text defines, in any of the usual languages."""
    types: set[str] = set()
    others: set[str] = set()
    tokens = text.split()  # ten times as fast as a regular expression, and as good for ranking
    for i, token in enumerate(tokens):
        if token in _KEYWORDS:
            name = _IDENTIFIER.match(_after(tokens, i))
            if name:
                (types if token in _TYPE_KEYWORDS else others).add(name[0])
    return types, others


def _after(tokens: Sequence[str], keyword: int) -> str:
    """Return the word after a keyword and a receiver in parentheses; empty at the end of the text."""
    following = tokens[keyword + 1 : keyword + 2 + _RECEIVER_WORDS]
    if following and following[0].startswith("("):
        closing = next((i for i, token in enumerate(following) if token.endswith(")")), len(following))
        following = following[closing + 1 :]
    return following[0] if following else ""


def _begins(name: str, text: str) -> bool:
    """Say whether a name stands in a text like that of a function, field or class in any language: `name (`."""
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        before, after = text[at - 1 : at] if at else " ", text[end : end + 8].lstrip(" ")[:1]
        if after in _BEGINS_A_BODY and not (before.isalnum() or before == "_"):
            return True
        at = text.find(name, end)
    return False


def location(asked: Query, path: str) -> float:
    """Say how well the names of a file and its folders fit the query: 0 to 0.6."""
    *folders, file = path.split("/")
    name = file.rsplit(".", 1)[0]
    if name in _ENTRY_FILES and folders:
        name = folders.pop()
    return FILE_NAME * _share(asked.stems, _stems([name])) + FOLDER * _share(asked.stems, _stems(folders))


def importance(asked: Query, path: str) -> float:
    """Return the factor for what kind of file it is: 1, or ASIDE."""
    *folders, name = path.split("/")
    is_aside = _ASIDE_FILE.search(name) or any(f.strip("_.").lower() in _ASIDE_FOLDERS for f in folders)
    if is_aside and not asked.wants_aside:
        return ASIDE
    is_prose = name.rpartition(".")[2].lower() in _PROSE
    return ASIDE if is_prose and not asked.wants_prose else 1.0


def stem(term: str) -> str:
    """Cut a term to what its English relatives share: `throttle`, `throttling` and `throttler` to `throttl`.

    Cruder than Porter's stemmer, since it only compares names with a query, and never a whole language.
    """
    if not (term.isascii() and term.isalpha()):
        return term
    while (shorter := _SUFFIX.sub("", term)) != term and len(shorter) >= _SHORTEST_STEM:
        term = shorter
    doubled = len(term) > _SHORTEST_STEM and term[-1] == term[-2]
    return term[:-1] if doubled else term


def _stems(names: Collection[str]) -> frozenset[str]:
    return frozenset().union(*map(_stems_of, names))


@lru_cache(maxsize=100_000)
def _stems_of(name: str) -> frozenset[str]:
    return frozenset(map(stem, terms(name)))


def _share(some: Collection[str], every: Collection[str]) -> float:
    """Return which share of `every` is among `some`; 0 of nothing."""
    return len(frozenset(some) & frozenset(every)) / len(every) if every else 0.0
