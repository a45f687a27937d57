"""What list_files and list_repositories show: pages of files, a tree, entries of repositories."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from codebase_index.api.job import index_name
from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.store.query.files import FileCount, FileSnapshot
from codebase_index.store.query.filters import Filters
from codebase_mcp.reading.answers import FileList, LanguageCount, ListedPath, Repository
from codebase_mcp.reading.passages import MAX_TEXT_TOKENS
from codebase_mcp.reading.requests import ListFilesRequest
from codebase_mcp.reading.tree import draw_tree
from codebase_mcp.search.budget import estimate_tokens
from codebase_mcp.search.page import join_sentences
from codebase_mcp.search.repositories import MAX_LISTED_INDEXES, index_status, result_sources
from codebase_mcp.selection.scope import Scope

MAX_TREE_FILES: Final = 100_000
"""Files that a tree is drawn of: some 10 MB of paths."""

MAX_LANGUAGES: Final = 6


async def list_files(snapshot: FileSnapshot, scope: Scope, request: ListFilesRequest) -> FileList:
    """Return the files that match, by path: a page of them, or all as a tree."""
    file_counts = await snapshot.file_counts([index.id for index in scope.indexes], scope.filters)
    summary: dict[str, Any] = {
        "total_count": sum(count.files for count in file_counts),
        "languages": _languages(file_counts),
        "indexes": [index_status(index) for index in scope.indexes[:MAX_LISTED_INDEXES]],
    }
    if not file_counts:
        return FileList(files=[], message=_no_files(scope.filters), **summary)
    if request.tree:
        return await _tree(snapshot, scope, request.limit, summary)
    return await _page(snapshot, scope, request, summary)


async def _page(
    snapshot: FileSnapshot, scope: Scope, request: ListFilesRequest, summary: dict[str, Any]
) -> FileList:
    ids, sources = [index.id for index in scope.indexes], result_sources(scope.indexes)
    rows = await snapshot.page(ids, scope.filters, request.limit, request.offset)
    listed = [
        ListedPath(path=row.path, lines=row.lines, language=row.language, repository=sources[row.index_id])
        for row in rows
    ]
    shown = listed[: _count_fitting(file.model_dump_json() for file in listed)]
    end = request.offset + len(shown)
    return FileList(files=shown, next_offset=end if shown and end < summary["total_count"] else None, **summary)


async def _tree(snapshot: FileSnapshot, scope: Scope, room: int, summary: dict[str, Any]) -> FileList:
    files = await snapshot.paths([index.id for index in scope.indexes], scope.filters, MAX_TREE_FILES)
    sources = result_sources(scope.indexes)
    roots = {index_id: f"{source.strip('/')}/" if source else "" for index_id, source in sources.items()}
    lines = draw_tree((roots[index_id] + path for index_id, path in files), room)
    count = min(_count_fitting(lines), room)
    left = len(lines) - count
    more = f"{left} more {'lines are' if left > 1 else 'line is'} left out: narrow it with path" if left else None
    cut = f"Only the first {MAX_TREE_FILES:,} files are drawn: narrow it with path"
    message = join_sentences(more, cut if len(files) == MAX_TREE_FILES else None)
    return FileList(tree="\n".join(lines[:count]), message=message, **summary)


def describe_repository(index: IndexRow, file_counts: Iterable[FileCount], *, with_name: bool) -> Repository:
    """Return the entry of an index in a list; `with_name`: also its name in rules about who may read it."""
    own = [count for count in file_counts if count.index_id == index.id]
    return Repository(
        **dict(index_status(index)),
        access_name=index_name(index.source, index.target) if with_name else None,
        files=sum(count.files for count in own),
        chunks=sum(count.chunks for count in own),
        languages=_languages(own),
    )


def _count_fitting(entries: Iterable[str]) -> int:
    """Return how many of the first entries fit an answer."""
    room, count = MAX_TEXT_TOKENS, 0
    for entry in entries:
        room -= estimate_tokens(entry)
        if room < 0:
            break
        count += 1
    return count


def _languages(file_counts: Iterable[FileCount]) -> list[LanguageCount]:
    counts: Counter[str] = Counter()
    for count in file_counts:
        counts[count.language or "other"] += count.files
    return [LanguageCount(language=name, files=files) for name, files in counts.most_common(MAX_LANGUAGES)]


def _no_files(filters: Filters) -> str:
    if filters:
        return "No indexed file fits path and language; leave one out, or see all with tree=true"
    return "The index is empty: its job has stored nothing yet, or ended early; list_repositories shows its state"
