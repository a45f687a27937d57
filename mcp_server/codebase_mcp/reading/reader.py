"""Lines of a file, as many as fit an answer."""

from collections.abc import Sequence
from typing import Final

from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.store.query.files import FileRow, FileSnapshot
from codebase_mcp.errors import UserError
from codebase_mcp.reading.answers import CodePart, ReadAnswer
from codebase_mcp.reading.passages import MAX_CHUNKS, MAX_TEXT_TOKENS, PassagePage, fit, join, select
from codebase_mcp.search.page import join_sentences
from codebase_mcp.search.repositories import index_status

LAST_LINE: Final = 2**31 - 1
_NOTEBOOK: Final = "A notebook: the sources of its cells, each at its lines in the file"


async def read_lines(
    snapshot: FileSnapshot, indexes: Sequence[IndexRow], file: FileRow, start_line: int, end_line: int | None
) -> ReadAnswer:
    """Return lines of a file (from 1, inclusive; None: to its end). Raises UserError."""
    last = LAST_LINE if end_line is None else end_line
    _check_lines(file, start_line, last)
    shown = await read_passages(snapshot, file, start_line, last, MAX_TEXT_TOKENS)
    return ReadAnswer(
        parts=[
            CodePart(
                path=file.path, start_line=p.start_line, end_line=p.end_line, language=file.language, text=p.text
            )
            for p in shown.passages
        ],
        message=join_sentences(_NOTEBOOK if _is_notebook(file) else None, _cut(shown), _goes_on(file, shown)),
        next_line=shown.next_line,
        file_lines=file.lines,
        indexes=[index_status(index) for index in indexes if index.id == file.index_id],
    )  # fmt: skip


async def read_passages(snapshot: FileSnapshot, file: FileRow, first: int, last: int, room: int) -> PassagePage:
    """Return lines of a file (from 1, inclusive) in passages, as many as fit so many tokens."""
    chunks = await snapshot.texts(file, first, last, MAX_CHUNKS)
    passages = join(chunks, is_notebook=_is_notebook(file))
    last = min(last, file.lines)
    if len(chunks) < MAX_CHUNKS or chunks[-1].end_line >= last:
        return fit(select(passages, first, last), room)
    # The next chunk may begin within the last line of these.
    in_line = not chunks[-1].text.endswith("\n") and not _is_notebook(file)
    end = max(chunks[-1].end_line - in_line, first)
    shown = fit(select(passages, first, end), room)
    return shown if shown.next_line else PassagePage(shown.passages, end + 1, shown.is_cut)


def _check_lines(file: FileRow, first: int, last: int) -> None:
    if last < first:
        raise UserError(
            f"validation: end_line {last} is before start_line {first}; give lines in the file's order",
            start_line=last, end_line=first,
        )  # fmt: skip
    if first > max(file.lines, 1):
        raise UserError(
            f"validation: start_line {first} is after the last line of the file, {file.lines}",
            start_line=1, end_line=None,
        )  # fmt: skip


def _is_notebook(file: FileRow) -> bool:
    return file.language == "notebook"


def _cut(shown: PassagePage) -> str | None:
    last = shown.passages[-1].end_line if shown.is_cut else None
    return f"Line {last} is longer than an answer: its beginning is shown" if last else None


def _goes_on(file: FileRow, shown: PassagePage) -> str | None:
    at = shown.next_line
    return f"Goes on at line {at} of {file.lines}: repeat with start_line={at}" if at else None
