"""Ranking of candidates: pure functions, no I/O.

The scores of both arms are fused; then come the features of code (`features.py`) and those of whole files. The
weights are in `weights.py`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from codebase_index.store.query.candidate import Candidate
from codebase_mcp.ranking import copies
from codebase_mcp.ranking.definitions import NO_NAMES, ChunkNames, chunk_names
from codebase_mcp.ranking.features import (
    Idf,
    coverage_score,
    definition_score,
    kind_factor,
    path_score,
    path_stems,
)
from codebase_mcp.ranking.paths import possible_heads
from codebase_mcp.ranking.query import Query
from codebase_mcp.ranking.weights import DEFAULT, Weights

_File: TypeAlias = tuple[int, str]


@dataclass(frozen=True)
class Ranked:
    """A candidate and its score, which compares only within one ranking. `copies` are other places of its code."""

    candidate: Candidate
    score: float
    copies: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class Features:
    """The candidates of a query in order of path and line, and their features before any weight."""

    query: Query
    candidates: Sequence[Candidate]
    names: Sequence[ChunkNames]
    term_sets: Sequence[frozenset[str]]
    """For each candidate, the stems of the query's terms that it holds."""

    idf: Idf
    path_idf: Idf


def rank(query: Query, candidates: Collection[Candidate], limit: int, weights: Weights = DEFAULT) -> list[Ranked]:
    """Return the best `limit` candidates, best first; ties by repository, path and line.

    The order depends on the candidates' scores and content alone, never on the order in which they come.
    """
    return order(extract_features(query, candidates), weights)[:limit]


def extract_features(query: Query, candidates: Collection[Candidate]) -> Features:
    """Read candidates for a query: nearly all of a ranking's time.

    A chunk without a term of the query defines none of its names, so these are not read.
    """
    found = sorted(candidates, key=_tie_break)
    term_set_of = {terms: query.term_set(terms) for terms in {c.terms for c in found}}
    term_sets = [term_set_of[c.terms] for c in found]
    paths = [path_stems(path) for path in {c.path for c in found}]
    return Features(
        query=query,
        candidates=found,
        names=[
            NO_NAMES if query.terms.isdisjoint(c.terms) else chunk_names(c.path, c.text, c.symbol) for c in found
        ],
        term_sets=term_sets,
        idf=Idf(query.stems, term_sets),
        path_idf=Idf(frozenset().union(*paths), paths),
    )


def order(features: Features, weights: Weights) -> list[Ranked]:
    """Return all candidates, best first; of copies the best one, which holds the others."""
    files = [(c.index_id, c.path) for c in features.candidates]
    scores = _boost_files(files, _scores(features, weights), weights)
    best_first = sorted(range(len(files)), key=lambda i: -scores[i])
    scores = _decay_repeats(best_first, files, scores, weights)
    last = sorted(best_first, key=lambda i: -scores[i])
    in_order = [features.candidates[i] for i in last]
    return [
        Ranked(in_order[first], scores[last[first]], tuple(in_order[n] for n in others))
        for first, *others in copies.group(in_order)
    ]


def _tie_break(candidate: Candidate) -> tuple[int, str, int, int, int]:
    return (candidate.index_id, candidate.path, candidate.start_line, candidate.end_line, candidate.id)


def _scores(features: Features, weights: Weights) -> list[float]:
    """Score each candidate by itself: the fused arms and all features of code."""
    query, paths = features.query, {c.path for c in features.candidates}
    location = {path: path_score(query, path, features.path_idf, weights) for path in paths}
    factor = {path: kind_factor(query, path, weights) for path in paths}
    covered = {
        term_set: coverage_score(query, term_set, features.idf, weights) for term_set in set(features.term_sets)
    }
    fused = _fused(query, features.candidates, weights)
    return [
        factor[c.path]
        * (score + definition_score(query, names, features.idf, weights) + covered[term_set] + location[c.path])
        for c, names, term_set, score in zip(
            features.candidates, features.names, features.term_sets, fused, strict=True
        )
    ]


def _fused(query: Query, found: Sequence[Candidate], weights: Weights) -> list[float]:
    """Fuse the arms to scores from 0 to 1: a convex combination of each arm's scores scaled to its own range.

    Reciprocal rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009) discards the distances between scores; the
    combination ranks better here, as it does in Bruch, Gai, Ingber, ACM TOIS 42(1), 2023.
    """
    share = weights.lexical_share_for_name if query.is_single_name else weights.lexical_share
    lexical = _scaled(found, lambda c: c.lexical_score)
    vector = _scaled(found, lambda c: c.vector_score)
    return [share * a + (1 - share) * b for a, b in zip(lexical, vector, strict=True)]


def _scaled(found: Sequence[Candidate], score: Callable[[Candidate], float | None]) -> list[float]:
    """Scale one arm's scores to 0 (its worst candidate) to 1 (its best); all 0 where they are equal.

    A candidate without a score gets 0. Those of several models must have been made comparable.
    """
    values = [score(c) for c in found]
    present = [value for value in values if value is not None]
    lowest, highest = min(present, default=0.0), max(present, default=0.0)
    if not highest > lowest:
        return [0.0] * len(values)
    return [0.0 if value is None else (value - lowest) / (highest - lowest) for value in values]


def _boost_files(files: Sequence[_File], scores: Sequence[float], weights: Weights) -> list[float]:
    of_file: dict[_File, list[int]] = defaultdict(list)
    for i, file in enumerate(files):
        of_file[file].append(i)
    best = {
        file: sorted(chunks, key=lambda i: -scores[i])[: weights.file_boost_chunks]
        for file, chunks in of_file.items()
    }
    own = {file: sum(scores[i] for i in chunks) for file, chunks in best.items()}
    sums = dict(own)
    for index_id, path in own:
        for head in possible_heads(path):
            if (index_id, head) in own:
                sums[index_id, head] += weights.part_share * own[index_id, path]
    most = max(sums.values(), default=0.0)
    lifted = list(scores)
    for file, chunks in best.items():
        if most > 0:
            lifted[chunks[0]] += weights.file_boost * sums[file] / most
    return lifted


def _decay_repeats(
    best_first: Sequence[int], files: Sequence[_File], scores: Sequence[float], weights: Weights
) -> list[float]:
    """Lower each next chunk of a file, the less the more of the candidates are in that file.

    Within a file the order stays, since the scores fall along the list.
    """
    seen: Counter[_File] = Counter()
    total = Counter(files)
    decayed = list(scores)
    for i in best_first:
        if again := seen[files[i]]:
            elsewhere = 1 - total[files[i]] / len(files)
            decayed[i] *= max(weights.repeat_decay ** (elsewhere * again), weights.repeat_floor)
        seen[files[i]] += 1
    return decayed
