"""The vectors of queries, by every model that what is searched has vectors of."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from codebase_index.embedding import Embedder
from codebase_mcp.search.query_vectors.query_model import Missing, QueryModel, QueryVector


@dataclass(frozen=True)
class Embedded:
    """A query's vectors by model, and why a model has none."""

    vectors: Mapping[str, QueryVector]
    missing: Mapping[str, Missing]


class QueryEmbedding:
    """Owns the server's embedders: nobody else has them, and each is called in one way only.

    The event loop opens an embedder in a thread, which knows nothing else of it, and from then on calls it by
    itself; a slow one, which promises to be safe for several threads at once, it calls in threads of that model's
    own, so that a service that hangs holds up no other model.
    """

    def __init__(
        self, embedder_of: Callable[[str], Embedder], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take what opens the embedder of a model's name."""
        self._embedder_of = embedder_of
        self._clock = clock
        self._models: dict[str, QueryModel] = {}

    async def embed(
        self,
        models: Collection[str],
        query: str,
        waiting: Callable[[], AbstractAsyncContextManager[None]],
        caller: str = "",
    ) -> Embedded:
        """Embed a query by each model. `waiting` is entered while only slow models are worked on.

        Callers who ask a slow model at the same time have equal shares of it.
        """
        several = len(models) > 1
        known = [self._model(name) for name in models]
        if all(model.answers_at_once for model in known):
            answers = [await model.ask(query, several, caller) for model in known]
        else:
            async with waiting():
                answers = await asyncio.gather(*(model.ask(query, several, caller) for model in known))
        of_model = dict(zip(models, answers, strict=True))
        return Embedded(
            {name: answer for name, answer in of_model.items() if isinstance(answer, QueryVector)},
            {name: answer for name, answer in of_model.items() if isinstance(answer, Missing)},
        )

    def close(self) -> None:
        """Stop the threads. Those that wait for a service end when that answers, or their patience does."""
        for model in self._models.values():
            model.close()

    def _model(self, name: str) -> QueryModel:
        if name not in self._models:
            self._models[name] = QueryModel(name, self._embedder_of, self._clock)
        return self._models[name]
