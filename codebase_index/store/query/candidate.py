"""A search candidate before ranking. Pure, so that the ranking is."""

from typing import NamedTuple


class Candidate(NamedTuple):
    """A chunk that may answer. Lines count from 1, both ends included.

    `vector_score` is the cosine similarity (-1 to 1) by `model`, the model of its vector; None: the query has no
    vector of that model, or one of another dimension. `lexical_score` is the BM25 score, `terms` are the query's
    terms that the chunk contains in any inflection.
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
