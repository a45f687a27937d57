"""The tool delete_index, where the server is set to allow it: an index is gone at once, its contents in time."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Final

from pydantic import Field

from codebase_index.api.job import FINAL
from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.store.catalog.removal import Removal
from codebase_index.store.database import Database
from codebase_index.store.errors import IndexInUse, StoreError
from codebase_index.untrusted_text import quoted
from codebase_mcp.answer import Reply
from codebase_mcp.errors import NotIndexed, UserError
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.selection.repositories import describe_indexes

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 30.0
"""Pause after the database refused: what is left of a detached index is in nobody's way."""


class DeleteResult(Reply):
    """The answer of delete_index."""

    repository: str
    ref: str | None
    message: Annotated[str, Field(description="what happens now")]

    @property
    def touched(self) -> list[str]:
        """Repositories that it is of."""
        return [self.repository]


class IndexRemoval:
    """Deletes indexes. A detached one that a stop of the server left half deleted is finished after its start."""

    def __init__(self, indexes: VisibleIndexes, removal: Removal) -> None:
        self._indexes, self._removal = indexes, removal
        self._wanted = asyncio.Event()
        self.idle = asyncio.Event()
        """Set while nothing is left to delete."""

    @classmethod
    @asynccontextmanager
    async def running(
        cls, database: Database, indexes: VisibleIndexes, namespaces: Sequence[str] | None = None
    ) -> AsyncIterator["IndexRemoval"]:
        """Yield one for the visible indexes of some namespaces; it deletes contents in the background."""
        self = cls(indexes, Removal(database, namespaces))
        self._wanted.set()
        task = asyncio.create_task(self._work())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def delete(self, repo: str) -> DeleteResult:
        """Detach the index of a repository, so that nobody finds it. Raises UserError and StoreUnavailable."""
        index = _named(await self._indexes.list(), repo)
        try:
            await self._removal.detach(index.id)
        except IndexInUse as error:
            if index.job_id is None or index.job_state in FINAL:
                raise UserError("in use: its last job has just ended; try again in 10 seconds") from error
            raise UserError(
                f"in use: job {index.job_id} is {index.job_state} and writes into it; wait for its end, or "
                "cancel it with cancel_indexing_background, then delete again"
            ) from error
        self.idle.clear()
        self._wanted.set()
        return DeleteResult(
            repository=index.source, ref=index.ref,
            message="Deleted: no search finds it any more. Its room in the database is freed in the background",
        )  # fmt: skip

    async def _work(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                for index_id in await self._removal.detached():
                    await self._removal.delete_contents(index_id, lambda files, chunks: None)
            except StoreError as error:
                log.warning("a removal is tried again", extra={"error": str(error)})
                await asyncio.sleep(RETRY_SECONDS)
                self._wanted.set()
            if not self._wanted.is_set():
                self.idle.set()


def _named(indexes: Sequence[IndexRow], repo: str) -> IndexRow:
    """Return the index that a caller names. Raises UserError.

    As it is listed, unlike in a search: nothing that is only likely to be meant may be deleted.
    """
    wanted = repo.rstrip("/")
    matching = [index for index in indexes if wanted in _labels(index)]
    if not matching:
        raise NotIndexed(
            f"repo {quoted(repo)}; give a path, URL or name, with @ref if it has one, exactly as "
            "list_repositories shows it"
        )
    if len(matching) > 1:
        raise UserError(
            f"ambiguous: repo {quoted(repo)} means {describe_indexes(matching)}; delete them one by one, as "
            "they stand here"
        )
    return matching[0]


def _labels(index: IndexRow) -> set[str]:
    names = {index.source.rstrip("/"), index.name or index.source}
    return names | {f"{name}@{index.ref}" for name in names if index.ref}
