"""How well the best places fit a query: a scale from 0 to 1 that the answers of all searches share. Pure.

The ranking's points say which of the candidates is better, not whether any is good: each arm is scaled to its own
range, so something is best in any repository. What is absolute is the similarity and how many of the query's words
a place holds, each weighed by how rare it is in all that was searched.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from codebase_index.store.query.candidate import Candidate

FLOOR: Final = 0.37
"""Below it probably nothing fits. Over 13 repositories, 1 of 100 questions about them is below, 94 of 100 about
quite other things, and 42 of 100 about the other repositories, which have much in common."""

BEST: Final = 5
"""How many of the best places may hold the words."""

MEASURED_MODELS: Final = "static/"
"""The models that the floor is measured for; those of others are far from 0 for texts without relation."""


def fit(best: Sequence[Candidate], found: Collection[Candidate], weight_of: Mapping[str, float]) -> float:
    """Return the mean of the highest similarity and the highest share of the query's words: 0 to 1.

    `best` are the first of the ranking, `found` all candidates with their similarities as the models gave them,
    `weight_of` the inverse document frequency of each term of the query. Without a measured model it is the share
    alone.
    """
    total = math.fsum(weight_of.values())
    held = (math.fsum(weight_of.get(term, 0.0) for term in sorted(c.terms)) for c in best[:BEST])
    share = max(held, default=0.0) / total if total else 0.0
    similarities = similarities_of(found)
    return (share + max(0.0, *similarities)) / 2 if similarities else share


def is_measured(found: Collection[Candidate]) -> bool:
    """Say whether there are similarities, and all of them can be compared with the floor."""
    models = {c.model for c in found if c.vector_score is not None}
    return bool(models) and all(model is not None and model.startswith(MEASURED_MODELS) for model in models)


def similarities_of(found: Collection[Candidate]) -> list[float]:
    """Return the similarities that can be compared with the floor."""
    return [
        c.vector_score
        for c in found
        if c.vector_score is not None and c.model is not None and c.model.startswith(MEASURED_MODELS)
    ]
