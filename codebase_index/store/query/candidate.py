"""What search finds, before it is ranked. Pure, so that the ranking is."""

from typing import NamedTuple


class Candidate(NamedTuple):
    """A chunk that may answer. Lines count from 1, both ends included.

    `vector_score` is the cosine similarity (-1 to 1) by `model`, the one that its vector is of; None: the query
    has no vector of that model, or none of that length. `lexical_score` is the BM25 score, `terms` are those of
    the query that it holds in any inflection.
    """

    id: int
    index_id: int
    path: str
    language: str | None
    start_line: int
    end_line: int
    symbol: str | None
    text: str
    vector_score: float | None
    lexical_score: float
    terms: frozenset[str]
    model: str | None = None
