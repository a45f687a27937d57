"""The vectors of a query by each model of the searched indexes."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from codebase_index.embedding import Embedder
from codebase_mcp.search.query_vectors.query_model import MissingVector, QueryModel, QueryVector


@dataclass(frozen=True)
class QueryVectors:
    """A query's vectors by model, and why a model has none."""

    vectors: Mapping[str, QueryVector]
    missing: Mapping[str, MissingVector]


class QueryEmbedder:
    """Owns the server's embedders.

    An embedder is opened in a thread, and then called on the event loop; a slow one, which must be thread-safe, is
    called in threads of its model, so that a hanging service delays no other model.
    """

    def __init__(
        self, open_embedder: Callable[[str], Embedder], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`open_embedder` opens the embedder of a model by name."""
        self._open_embedder = open_embedder
        self._clock = clock
        self._models: dict[str, QueryModel] = {}

    async def embed(
        self,
        models: Collection[str],
        query: str,
        while_waiting: Callable[[], AbstractAsyncContextManager[None]],
        caller: str = "",
    ) -> QueryVectors:
        """Embed a query by each model. `while_waiting` is entered while only slow models are worked on.

        Concurrent callers have equal shares of a slow model.
        """
        several = len(models) > 1
        query_models = [self._model(name) for name in models]
        if all(model.is_immediate for model in query_models):
            answers = [await model.embed(query, several, caller) for model in query_models]
        else:
            async with while_waiting():
                answers = await asyncio.gather(*(model.embed(query, several, caller) for model in query_models))
        by_model = dict(zip(models, answers, strict=True))
        return QueryVectors(
            {name: answer for name, answer in by_model.items() if isinstance(answer, QueryVector)},
            {name: answer for name, answer in by_model.items() if isinstance(answer, MissingVector)},
        )

    def close(self) -> None:
        """Stop the threads. Those that wait for a service end when it answers or they time out."""
        for model in self._models.values():
            model.close()

    def _model(self, name: str) -> QueryModel:
        if name not in self._models:
            self._models[name] = QueryModel(name, self._open_embedder, self._clock)
        return self._models[name]
