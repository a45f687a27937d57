"""The signals of the ranking: each says of one candidate, in points or as a factor, how well it fits. Pure.

A query's terms do not count alike: in a repository of a web framework `request` tells less than `cookie`. How rare
a term is among the candidates is as good a weight as how rare it is in the whole index (the same nDCG@10 to 0.0001
over 16 repositories), and it is here already.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache
from itertools import chain

from codebase_index.lexical.words import terms
from codebase_mcp.ranking.definitions import Names
from codebase_mcp.ranking.paths import ENTRY_FILES, Kind, kinds
from codebase_mcp.ranking.query import Query
from codebase_mcp.ranking.stems import root
from codebase_mcp.ranking.weights import Weights


class Rarity:
    """How rare stems are among bags of them: BM25's inverse document frequency, always above 0."""

    def __init__(self, stems: Collection[str], bags: Collection[Collection[str]]) -> None:
        holding = Counter(chain.from_iterable(bags))
        self._of = {
            stem: math.log(1 + (len(bags) - holding[stem] + 0.5) / (holding[stem] + 0.5)) for stem in stems
        }
        self._sums: dict[frozenset[str], float] = {}  # of the few different sets that a ranking asks for

    def share(self, stems: frozenset[str], among: frozenset[str]) -> float:
        """Return which share of stems, each counted by its rarity, is among others; 0 of nothing."""
        total = self._sum(stems)
        return self._sum(stems & among) / total if total else 0.0

    def _sum(self, stems: frozenset[str]) -> float:
        if stems not in self._sums:
            # fsum: sets come in another order in each process, and plain sums would differ in their last bits.
            self._sums[stems] = math.fsum(self._of[stem] for stem in stems)
        return self._sums[stems]


def definitions(asked: Query, names: Names, rare: Rarity, weights: Weights) -> float:
    """Points for names that the query spells out, and for those that consist of its words."""
    exact = max(
        _points(asked.code_names, names, weights), weights.plain_word * _points(asked.plain_words, names, weights)
    )
    if not any(stem in names.letters for stem in asked.stems):  # no root is longer than its name
        return exact
    return exact + weights.partly_defined * rare.share(asked.stems, stems_of(names.defined))


def _points(wanted: frozenset[str], names: Names, weights: Weights) -> float:
    """Points for the best that a chunk does with a name: define it as a type, define it at all, pass it on."""
    points = weights.type_defined if not wanted.isdisjoint(names.types) else 0.0
    if not wanted.isdisjoint(names.others):
        points = max(points, weights.name_defined)
    if not wanted.isdisjoint(names.reexported):
        points = max(points, weights.reexported)
    return points


def coverage(asked: Query, bag: frozenset[str], rare: Rarity, weights: Weights) -> float:
    """Points for how many of the query's different terms a chunk holds."""
    return weights.coverage * rare.share(asked.stems, bag)


def location(asked: Query, path: str, rare: Rarity, weights: Weights) -> float:
    """Points for the names of a file and its folders. `rare` is about paths: `src` is in all of them."""
    folders, name = _stems_of_path(path)
    return weights.file_name * rare.share(name, asked.stems) + weights.folder * rare.share(folders, asked.stems)


def importance(asked: Query, path: str, weights: Weights) -> float:
    """Return the factor for what kind of file it is: 1 for ordinary code, and for what the query asks for."""
    unwanted = kinds(path) - asked.wants
    factor = weights.aside if unwanted & {Kind.ASIDE, Kind.PROSE} else 1.0
    factor *= weights.platform if Kind.PLATFORM in unwanted else 1.0
    return factor * (weights.declarations if Kind.DECLARATIONS in unwanted else 1.0)


def path_stems(path: str) -> frozenset[str]:
    """Return the stems of a file's and its folders' names."""
    folders, name = _stems_of_path(path)
    return folders | name


def stems_of(names: Iterable[str]) -> frozenset[str]:
    """Return the stems of the terms that names consist of."""
    return frozenset().union(*map(_stems_of, names))


@lru_cache(maxsize=10_000)
def _stems_of_path(path: str) -> tuple[frozenset[str], frozenset[str]]:
    folders, name = _divided(path)
    return stems_of(folders), stems_of([name])


def _divided(path: str) -> tuple[list[str], str]:
    """Return a path's folders and the name that its file goes by."""
    *folders, file = path.split("/")
    name = file.rsplit(".", 1)[0]
    if name in ENTRY_FILES and folders:
        name = folders.pop()
    return folders, name


@lru_cache(maxsize=100_000)
def _stems_of(name: str) -> frozenset[str]:
    return frozenset(map(root, terms(name)))
