"""How the files stand to what is searched, and what is done about it: the part of freshness that a search asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.untrusted_text import named
from codebase_mcp.freshness.own import OwnRepositories
from codebase_mcp.freshness.refresh import Refresher
from codebase_mcp.freshness.working_tree import HEAD, Newer
from codebase_mcp.freshness.working_trees import WorkingTrees

BY_HAND = "start_indexing_background refreshes it"


class NotIndexedYet(Exception):
    """A search asks for repositories of which nothing is indexed: the refresher may begin that."""

    def __init__(self, sources: Sequence[str], refresher: Refresher) -> None:
        super().__init__(", ".join(sources))
        self.sources = sources
        self.refresher = refresher


@dataclass(frozen=True)
class Standing:
    """What is newer than its index, by index id; a sentence for the caller; the jobs that will change it."""

    newer: Mapping[int, Newer] = field(default_factory=dict)
    message: str | None = None
    jobs: tuple[UUID, ...] = ()


class Freshness:
    """Answers a search's questions about the files beside the index. Without a refresher, nothing is started."""

    def __init__(self, own: OwnRepositories, trees: WorkingTrees, refresher: Refresher | None = None) -> None:
        self._own = own
        self._trees = trees
        self.refresher = refresher

    async def own(
        self, repos: Sequence[str], folders: Sequence[str], indexes: Sequence[IndexRow], *, may_miss: bool
    ) -> list[str]:
        """Return the caller's own repositories.

        Raises NotIndexedYet where one that is asked for has no index, and this could be begun, unless `may_miss`.
        """
        own = await self._own.of(folders, indexes)
        if self.refresher is not None and not may_miss:
            is_own = all(repo.strip() == "." for repo in repos)
            indexed = {index.source for index in indexes}
            missing = [source for source in own if source not in indexed] if is_own else []
            missing += await self._own.unindexed(repos, indexes)
            if missing:
                raise NotIndexedYet(missing, self.refresher)
        return own

    async def standing(self, indexes: Sequence[IndexRow], *, found: bool = True) -> Standing:
        """Return which of these indexes are older than their files, and start what brings them up to date.

        Where nothing was `found`, what was written a moment ago may be what is looked for.
        """
        newer = await self._trees.newer(indexes, now=self.refresher is not None and not found)
        if self.refresher is not None:
            self.refresher.watch(indexes)
        sentences, jobs = [], [index.job_id for index in indexes if index.is_changing and index.job_id]
        for index in indexes:
            found_newer = newer.get(index.id, Newer({}))
            if found_newer.unreadable:
                sentences.append(_unreadable(index, found_newer))
            if not found_newer.stamps:
                continue
            says = BY_HAND
            if self.refresher is not None:
                refresh = await self.refresher.refresh(index, found_newer)
                says, jobs = refresh.says, [*jobs, *([refresh.job_id] if refresh.job_id else [])]
            sentences.append(f"{_changed(index, found_newer)}: {says}")
        return Standing(newer, "; ".join(sentences) or None, tuple(jobs))

    def close(self) -> None:
        """End the looks that go on."""
        self._trees.close()


def _unreadable(index: IndexRow, newer: Newer) -> str:
    first, *others = sorted(newer.unreadable)
    more = f" and {len(others)} more" * bool(others)
    return (
        f"files of {named(index.source)} cannot be read ({named(first)}{more}), so they are searched as they were "
        "when they could: give the user of the indexer the right to read them, or leave them out in .mcpignore"
    )


def _changed(index: IndexRow, newer: Newer) -> str:
    what = "HEAD has moved" if newer.first == HEAD else named(newer.first)
    more = f" and {newer.count - 1} more" * (newer.count > 1)
    return f"{named(index.source)} has changed since it was indexed ({what}{more})"
