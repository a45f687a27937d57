"""The features of the ranking: each scores one candidate, in points or as a factor. Pure.

Terms are weighed by inverse document frequency: in a repository of a web framework `request` tells less than
`cookie`. The frequency among the candidates ranks as well as that in the whole index, and needs no query.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache
from itertools import chain

from codebase_mcp.ranking.definitions import ChunkNames
from codebase_mcp.ranking.paths import ENTRY_FILES, FileKind, file_kinds
from codebase_mcp.ranking.query import Query
from codebase_mcp.ranking.stems import spelling, stems_of
from codebase_mcp.ranking.weights import Weights


class Idf:
    """The inverse document frequency of stems, as BM25 defines it: always above 0."""

    def __init__(self, stems: Collection[str], term_sets: Collection[Collection[str]]) -> None:
        document_frequency = Counter(chain.from_iterable(term_sets))
        self._idf = {
            stem: math.log(
                1 + (len(term_sets) - document_frequency[stem] + 0.5) / (document_frequency[stem] + 0.5)
            )
            for stem in stems
        }
        self._sums: dict[frozenset[str], float] = {}  # a ranking asks for few different sets

    def weighted_share(self, stems: frozenset[str], among: Iterable[str]) -> float:
        """Return the share of `stems` that is in `among`, weighed by IDF; 0 if there are none."""
        total = self._sum(stems)
        return self._sum(stems.intersection(among)) / total if total else 0.0

    def _sum(self, stems: frozenset[str]) -> float:
        if stems not in self._sums:
            # fsum: the order of a set differs between processes, and the last bits of a plain sum with it.
            self._sums[stems] = math.fsum(self._idf[stem] for stem in stems)
        return self._sums[stems]


def definition_score(query: Query, names: ChunkNames, idf: Idf, weights: Weights) -> float:
    """Points for names that the query spells out, and for those that consist of its words."""
    exact = max(
        _name_score(query.code_names, names, weights),
        weights.plain_word * _name_score(query.plain_words, names, weights),
    )
    if not any(stem in names.casefolded for stem in query.stems):  # no stem is longer than its name
        return exact
    partial = weights.partial_definition * idf.weighted_share(query.stems, names.stems)
    return exact + partial + _spelled_score(query, names, weights)


def _spelled_score(query: Query, names: ChunkNames, weights: Weights) -> float:
    """Points for defining a name that the query spells in words."""
    if not query.spellings:
        return 0.0
    if not query.spellings.isdisjoint(names.spelled_types):
        return weights.spelled_type
    return 0.0 if query.spellings.isdisjoint(names.spelled_others) else weights.spelled_name


def _name_score(query_names: frozenset[str], names: ChunkNames, weights: Weights) -> float:
    """Points for the best that a chunk does with a name: defines it as a type, or at all, or re-exports it."""
    points = weights.type_definition if not query_names.isdisjoint(names.types) else 0.0
    if not query_names.isdisjoint(names.others):
        points = max(points, weights.name_definition)
    if not query_names.isdisjoint(names.reexports):
        points = max(points, weights.reexports)
    return points


def coverage_score(query: Query, term_set: frozenset[str], idf: Idf, weights: Weights) -> float:
    """Points for the share of the query's distinct terms that the chunk holds."""
    return weights.coverage * idf.weighted_share(query.stems, term_set)


def path_score(query: Query, path: str, idf: Idf, weights: Weights) -> float:
    """Points for the names of a file and its folders. `idf` is about paths: `src` is in all of them."""
    folders, name = _stems_of_path(path)
    named = weights.file_name * idf.weighted_share(name, query.stems)
    if query.spellings and spelling(_split_path(path)[1]) in query.spellings:
        named += weights.spelled_file
    return named + weights.folder * idf.weighted_share(folders, query.stems)


def kind_factor(query: Query, path: str, weights: Weights) -> float:
    """Return the factor for the kind of file: 1 for ordinary code, and for kinds that the query asks for."""
    unrequested = file_kinds(path) - query.requested_kinds
    if FileKind.PROSE in unrequested and _is_titled(query, path):
        unrequested -= {FileKind.PROSE}
    factor = weights.non_source if unrequested & {FileKind.AUXILIARY, FileKind.PROSE} else 1.0
    factor *= weights.platform if FileKind.PLATFORM in unrequested else 1.0
    return factor * (weights.declarations if FileKind.DECLARATIONS in unrequested else 1.0)


def _is_titled(query: Query, path: str) -> bool:
    """Say whether all of the query is in a document's name: that one is about it, and repeats nothing.

    One word alone is in many names.
    """
    return len(query.stems) > 1 and query.stems <= _stems_of_path(path)[1]


def path_stems(path: str) -> frozenset[str]:
    """Return the stems of a file's and its folders' names."""
    folders, name = _stems_of_path(path)
    return folders | name


@lru_cache(maxsize=10_000)
def _stems_of_path(path: str) -> tuple[frozenset[str], frozenset[str]]:
    folders, name = _split_path(path)
    return stems_of(folders), stems_of([name])


def _split_path(path: str) -> tuple[list[str], str]:
    """Return the folders and the name of a file; an entry file has the name of its folder."""
    *folders, file = path.split("/")
    name = file.rsplit(".", 1)[0]
    if name in ENTRY_FILES and folders:
        name = folders.pop()
    return folders, name
