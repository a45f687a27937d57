"""From candidates to an order: pure functions, no I/O.

The two arms' scores are fused, then come the signals of code (`features.py`), then what speaks for a whole file.
How much each counts stands in `weights.py`.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from codebase_index.store.query.candidate import Candidate
from codebase_mcp.ranking import features
from codebase_mcp.ranking.definitions import NO_NAMES, Names, names_of
from codebase_mcp.ranking.query import Query
from codebase_mcp.ranking.weights import DEFAULT, Weights

_File: TypeAlias = tuple[int, str]


@dataclass(frozen=True)
class Ranked:
    """A candidate and its score, which compares only within one ranking."""

    candidate: Candidate
    score: float


@dataclass(frozen=True)
class Read:
    """Candidates by place, and what their texts and paths say about a query: all that no weight changes."""

    asked: Query
    found: Sequence[Candidate]
    names: Sequence[Names]
    bags: Sequence[frozenset[str]]
    """The roots of the query's terms that each candidate holds."""

    rare: features.Rarity
    rare_in_paths: features.Rarity


def rank(query: str, candidates: Collection[Candidate], limit: int, weights: Weights = DEFAULT) -> list[Ranked]:
    """Return the best `limit` candidates, best first; ties by repository, path and line.

    The order depends on the candidates' scores and content alone, never on the order in which they come.
    """
    return order(read(query, candidates), weights)[:limit]


def read(query: str, candidates: Collection[Candidate]) -> Read:
    """Read what counts: nearly all of a ranking's time. A chunk without a term of the query defines none of it."""
    asked = Query.of(query)
    found = sorted(candidates, key=_place)
    bag_of = {terms: asked.bag(terms) for terms in {c.terms for c in found}}
    bags = [bag_of[c.terms] for c in found]
    paths = [features.path_stems(path) for path in {c.path for c in found}]
    return Read(
        asked=asked,
        found=found,
        names=[NO_NAMES if asked.terms.isdisjoint(c.terms) else names_of(c.path, c.text, c.symbol) for c in found],
        bags=bags,
        rare=features.Rarity(asked.stems, bags),
        rare_in_paths=features.Rarity(frozenset().union(*paths), paths),
    )


def order(known: Read, weights: Weights) -> list[Ranked]:
    """Return all candidates, best first."""
    files = [(c.index_id, c.path) for c in known.found]
    scores = _with_files_lifted(files, _scores(known, weights), weights)
    best_first = sorted(range(len(files)), key=lambda i: -scores[i])
    scores = _with_repeats_decayed(best_first, files, scores, weights)
    return [Ranked(known.found[i], scores[i]) for i in sorted(best_first, key=lambda i: -scores[i])]


def _place(candidate: Candidate) -> tuple[int, str, int, int, int]:
    return (candidate.index_id, candidate.path, candidate.start_line, candidate.end_line, candidate.id)


def _scores(known: Read, weights: Weights) -> list[float]:
    """Score each candidate by itself: the fused arms and all signals."""
    asked, paths = known.asked, {c.path for c in known.found}
    place = {path: features.location(asked, path, known.rare_in_paths, weights) for path in paths}
    factor = {path: features.importance(asked, path, weights) for path in paths}
    covered = {bag: features.coverage(asked, bag, known.rare, weights) for bag in set(known.bags)}
    fused = _fused(asked, known.found, weights)
    return [
        factor[c.path]
        * (score + features.definitions(asked, names, known.rare, weights) + covered[bag] + place[c.path])
        for c, names, bag, score in zip(known.found, known.names, known.bags, fused, strict=True)
    ]


def _fused(asked: Query, found: Sequence[Candidate], weights: Weights) -> list[float]:
    """Fuse the arms to scores from 0 to 1: a convex combination of each arm's scores scaled to its own range.

    Reciprocal rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009) throws the distances away; the combination was
    better by 0.01 nDCG@10 here, as it was in Bruch, Gai, Ingber, ACM TOIS 42(1), 2023.
    """
    share = weights.lexical_share_for_a_name if asked.is_one_name else weights.lexical_share
    lexical = _scaled(found, lambda c: c.lexical_score)
    vector = _scaled(found, lambda c: c.vector_score)
    return [share * a + (1 - share) * b for a, b in zip(lexical, vector, strict=True)]


def _scaled(found: Sequence[Candidate], score: Callable[[Candidate], float | None]) -> list[float]:
    """Scale one arm's scores to 0 (its worst candidate) to 1 (its best); all 0 where they are equal.

    A candidate without a score gets 0. Those of several models must have been made comparable.
    """
    values = [score(c) for c in found]
    known = [value for value in values if value is not None]
    lowest, highest = min(known, default=0.0), max(known, default=0.0)
    if not highest > lowest:
        return [0.0] * len(values)
    return [0.0 if value is None else (value - lowest) / (highest - lowest) for value in values]


def _with_files_lifted(files: Sequence[_File], scores: Sequence[float], weights: Weights) -> list[float]:
    of_file: dict[_File, list[int]] = defaultdict(list)
    for i, file in enumerate(files):
        of_file[file].append(i)
    best = {
        file: sorted(chunks, key=lambda i: -scores[i])[: weights.file_lift_chunks]
        for file, chunks in of_file.items()
    }
    sums = {file: sum(scores[i] for i in chunks) for file, chunks in best.items()}
    most = max(sums.values(), default=0.0)
    lifted = list(scores)
    for file, chunks in best.items():
        if most > 0:
            lifted[chunks[0]] += weights.file_lift * sums[file] / most
    return lifted


def _with_repeats_decayed(
    best_first: Sequence[int], files: Sequence[_File], scores: Sequence[float], weights: Weights
) -> list[float]:
    """Lower each next chunk of a file. Within a file the order stays, since the scores fall along the list."""
    seen: dict[_File, int] = defaultdict(int)
    decayed = list(scores)
    for i in best_first:
        decayed[i] *= weights.repeat ** seen[files[i]]
        seen[files[i]] += 1
    return decayed
