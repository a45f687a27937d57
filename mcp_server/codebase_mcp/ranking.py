"""From candidates to an order: pure functions, no I/O.

The ranks of the two arms are fused (reciprocal rank fusion: Cormack, Clarke, Büttcher, SIGIR 2009), then come
signals that code has and prose has not: what a chunk defines, where its file lies, how much its file holds. The
constants are round on purpose: over hundreds of settings, tuned ones were no better on repositories that they
were not tuned on.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from codebase_index.store.search import Candidate
from codebase_index.text import terms, words

RRF_K: Final = 60
"""Damps the lead of the first ranks: a good place in both arms beats the best in one. The paper's value."""

LEXICAL_SHARE: Final = 0.5
LEXICAL_SHARE_FOR_A_NAME: Final = 0.8
"""A query of a single name asks for that name: the lexical arm knows it, the vector arm guesses from its parts."""

TYPE_DEFINED: Final = 1.0
"""Added when the chunk defines a type that the query names: most often the very place that is asked for."""

NAME_DEFINED: Final = 0.6
"""The same for functions and constants, whose names are more often common words."""

PARTLY_DEFINED: Final = 0.2
"""Times the share of the query's terms that occur in the names which the chunk defines."""

FILE_NAME: Final = 0.4
"""Times the share of the file name's terms that the query holds: files are named after what they are about."""

FOLDER: Final = 0.2
"""The same for folders, which are about many things."""

ASIDE: Final = 0.4
"""Factor for tests, examples and vendored code, which repeat the words of the code in question, unless the query
asks for them."""

FILE_LIFT: Final = 0.5
"""Added to a file's best chunk, times the sum of the file's best chunks relative to that of the best file: a file
that answers in many places is more likely the subject."""

FILE_LIFT_CHUNKS: Final = 5

REPEAT: Final = 0.5
"""Factor for each further chunk of a file that is in the list already: ten places in one file are one answer."""

_TYPE = re.compile(
    r"\b(?:class|struct|interface|enum|trait|type|protocol|record|union|namespace|object)\s+([^\W\d]\w*)"
)
_NAME = re.compile(
    r"(?:\b(?:def|func|fn|function|fun|sub|proc|const|let|var|val|macro_rules!)|#define)"
    r"\s+(?:\([^()\n]{0,80}\)\s*)?([^\W\d]\w*)"
)
_ASIDE_FOLDERS: Final = frozenset(
    ["test", "tests", "testing", "testdata", "spec", "specs", "__tests__", "fixture", "fixtures", "mock", "mocks",
     "example", "examples", "sample", "samples", "demo", "demos", "bench", "benchmark", "benchmarks",
     "vendor", "vendored", "third_party", "third-party", "3rdparty", "node_modules"]
)  # fmt: skip
_ASIDE_FILE = re.compile(r"^test_|^conftest\.py$|(?:[._-](?:test|tests|spec|bench)|Tests?|Spec)\.\w+$")
_ASIDE_TERMS: Final = frozenset(folder for folder in _ASIDE_FOLDERS if folder.isalpha())


@dataclass(frozen=True)
class Ranked:
    """A candidate and its score, which compares only within one ranking."""

    candidate: Candidate
    score: float


@dataclass(frozen=True)
class _Query:
    names: frozenset[str]
    terms: frozenset[str]
    is_one_name: bool
    wants_aside: bool

    @classmethod
    def of(cls, text: str) -> "_Query":
        names = words(text)
        all_terms = frozenset(terms(text))
        return cls(frozenset(names), all_terms, len(names) == 1, bool(all_terms & _ASIDE_TERMS))


def rank(query: str, candidates: Collection[Candidate], limit: int) -> list[Ranked]:
    """Return the best `limit` candidates, best first; ties by repository, path and line.

    The order depends on the candidates' scores and content alone, never on the order in which they come.
    """
    asked = _Query.of(query)
    found = sorted(candidates, key=_place)
    scores = [
        (fused + _definitions(asked, c) + _location(asked, c.path)) * (ASIDE if _is_aside(asked, c.path) else 1.0)
        for c, fused in zip(found, _fused(asked, found), strict=True)
    ]
    ranked = sorted(map(Ranked, found, _with_files_lifted(found, scores)), key=lambda r: -r.score)
    return sorted(_with_repeats_decayed(ranked), key=lambda r: -r.score)[:limit]


def _place(candidate: Candidate) -> tuple[int, str, int, int, int]:
    return (candidate.index_id, candidate.path, candidate.start_line, candidate.end_line, candidate.id)


def _fused(asked: _Query, found: Sequence[Candidate]) -> list[float]:
    """Fuse the arms' ranks to scores of which the highest that is possible is 1."""
    share = LEXICAL_SHARE_FOR_A_NAME if asked.is_one_name else LEXICAL_SHARE
    lexical = _reciprocal_ranks(found, lambda c: c.lexical_score)
    vector = _reciprocal_ranks(found, lambda c: c.vector_score)
    return [share * a + (1 - share) * b for a, b in zip(lexical, vector, strict=True)]


def _reciprocal_ranks(found: Sequence[Candidate], score: Callable[[Candidate], float]) -> list[float]:
    """Return (k + 1) / (k + rank) for each, equal scores sharing a rank; 0 where the score is not positive."""
    rank_of: dict[float, int] = {}
    for place, value in enumerate(sorted((score(c) for c in found), reverse=True), start=1):
        rank_of.setdefault(value, place)
    return [(RRF_K + 1) / (RRF_K + rank_of[score(c)]) if score(c) > 0 else 0.0 for c in found]


def _definitions(asked: _Query, candidate: Candidate) -> float:
    types = set(_TYPE.findall(candidate.text))
    others = set(_NAME.findall(candidate.text))
    own = candidate.symbol.rsplit(".", 1)[-1] if candidate.symbol else ""
    # The symbol also names what a chunk only lies in; a definition shows the name in the chunk itself.
    if re.fullmatch(r"\w+", own) and re.search(rf"\b{own}\s*[(=:{{<]", candidate.text):
        others.add(own)
    if asked.names & types:
        exact = TYPE_DEFINED
    elif asked.names & others:
        exact = NAME_DEFINED
    else:
        exact = 0.0
    defined = {term for name in types | others for term in terms(name)}
    return exact + PARTLY_DEFINED * _share(asked.terms & defined, asked.terms)


def _location(asked: _Query, path: str) -> float:
    parts = PurePosixPath(path)
    file_terms = set(terms(parts.stem))
    folder_terms = {term for folder in parts.parts[:-1] for term in terms(folder)}
    return FILE_NAME * _share(asked.terms & file_terms, file_terms) + FOLDER * _share(
        asked.terms & folder_terms, folder_terms
    )


def _share(some: Collection[str], every: Collection[str]) -> float:
    return len(some) / len(every) if every else 0.0


def _is_aside(asked: _Query, path: str) -> bool:
    if asked.wants_aside:
        return False
    *folders, name = path.split("/")
    return any(folder.lower() in _ASIDE_FOLDERS for folder in folders) or bool(_ASIDE_FILE.search(name))


def _with_files_lifted(found: Sequence[Candidate], scores: Sequence[float]) -> list[float]:
    of_file: dict[tuple[int, str], list[int]] = defaultdict(list)
    for i, candidate in enumerate(found):
        of_file[candidate.index_id, candidate.path].append(i)
    best = {file: sorted(chunks, key=lambda i: -scores[i])[:FILE_LIFT_CHUNKS] for file, chunks in of_file.items()}
    sums = {file: sum(scores[i] for i in chunks) for file, chunks in best.items()}
    most = max(sums.values(), default=0.0)
    lifted = list(scores)
    for file, chunks in best.items():
        if most > 0:
            lifted[chunks[0]] += FILE_LIFT * sums[file] / most
    return lifted


def _with_repeats_decayed(ranked: Sequence[Ranked]) -> list[Ranked]:
    """Halve each next chunk of a file. Within a file the order stays, since the scores fall along the list."""
    seen: dict[tuple[int, str], int] = defaultdict(int)
    decayed = []
    for r in ranked:
        file = r.candidate.index_id, r.candidate.path
        decayed.append(Ranked(r.candidate, r.score * REPEAT ** seen[file]))
        seen[file] += 1
    return decayed
