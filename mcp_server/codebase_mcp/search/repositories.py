"""Selection of the indexes to search, and how fresh and complete each is. Pure."""

from collections.abc import Sequence
from typing import Final

from codebase_index.api.job import FINAL, JobState
from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.untrusted_text import named
from codebase_mcp.errors import UserError
from codebase_mcp.models import IndexFreshness, IndexState

MAX_LISTED_INDEXES: Final = 20


def select_indexes(indexes: Sequence[IndexRow], repos: Sequence[str]) -> list[IndexRow]:
    """Return the indexes that `repos` select, in the order of `indexes`; all of them for none.

    Each is a path or URL, a name, or the last part of a path, each also with `@ref`. Raises UserError if one of
    them matches no index, or several repositories. An index with filters is left out beside a complete one of the
    same source and ref without any, unless its own name is given.
    """
    if not repos or not indexes:
        return _without_filtered(indexes)
    selected = {index.id for repo in repos for index in _match_indexes(indexes, repo)}
    return [index for index in indexes if index.id in selected]


def _match_indexes(indexes: Sequence[IndexRow], repo: str) -> list[IndexRow]:
    wanted = repo.strip().rstrip("/").lower()
    for labels in (_exact_labels, _short_labels):  # a full path is never ambiguous with another's last part
        matching = [index for index in indexes if wanted in labels(index)]
        if len({index.source for index in matching}) > 1:
            raise UserError(
                f"ambiguous: repo {repo!r} means {describe_indexes(matching)}; give one of these paths"
            )
        if matching:
            without_ref = [index for index in matching if index.ref is None]
            return _without_filtered(without_ref or matching)
    raise UserError(
        f"not indexed: repo {repo!r}; indexed are {describe_indexes(indexes)}; give one of these, leave repo out "
        "to search all, or index it with start_indexing_background"
    )


def _without_filtered(indexes: Sequence[IndexRow]) -> list[IndexRow]:
    """Leave out filtered indexes of a source and ref that also has a full one."""
    full = {(index.source, index.ref) for index in indexes if index.indexed_at and not _is_filtered(index)}
    return [index for index in indexes if not (_is_filtered(index) and (index.source, index.ref) in full)]


def _is_filtered(index: IndexRow) -> bool:
    return bool(index.include or index.exclude)


def _exact_labels(index: IndexRow) -> set[str]:
    return _with_ref(index, {index.source.rstrip("/").lower()})


def _short_labels(index: IndexRow) -> set[str]:
    last = index.source.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git").lower()
    return _with_ref(index, {last} | ({index.name.lower()} if index.name else set()))


def _with_ref(index: IndexRow, labels: set[str]) -> set[str]:
    return labels | {f"{label}@{index.ref.lower()}" for label in labels if index.ref}


def describe_indexes(indexes: Sequence[IndexRow]) -> str:
    """Name indexes in a sentence, the first MAX_LISTED_INDEXES of them."""
    labels = [named(f"{index.source}@{index.ref}" if index.ref else index.source) for index in indexes]
    more = len(labels) - MAX_LISTED_INDEXES
    return ", ".join(labels[:MAX_LISTED_INDEXES]) + (f" and {more} more" if more > 0 else "")


def state_of(index: IndexRow) -> IndexState:
    """Return the state of an index: `partial` means that its last job ended early."""
    if index.job_state is not None and index.job_state not in FINAL:
        return "indexing"
    if index.job_state is JobState.COMPLETED or (index.job_state is None and index.indexed_at is not None):
        return "complete"
    return "partial"


def percent_of(index: IndexRow) -> int:
    """Return the percentage of the last job's work that is in the index."""
    return 100 if state_of(index) == "complete" else int(index.job_percent or 0)


def freshness(index: IndexRow) -> IndexFreshness:
    """Return which state of the repository an index holds.

    What the newest job saw and has not stored counts as behind: the server cannot read the repository itself, as
    only the indexer's pods mount it.
    """
    state = state_of(index)
    behind = state != "complete"
    is_counted = behind and index.job_files_total is not None
    return IndexFreshness(
        repository=index.source, name=index.name, ref=index.ref, include=list(index.include) or None,
        exclude=list(index.exclude) or None, commit=index.commit,
        indexed_at=index.indexed_at, state=state, percent_complete=percent_of(index),
        newer_commit=index.job_commit if behind and index.job_commit != index.commit else None,
        files_behind=max((index.job_files_total or 0) - (index.job_files_done or 0), 0) if is_counted else None,
    )  # fmt: skip


def result_sources(indexes: Sequence[IndexRow]) -> dict[int, str | None]:
    """Return the repository to name in the results of each index: None where only one is searched."""
    several = len({index.source for index in indexes}) > 1
    return {index.id: index.source if several else None for index in indexes}
