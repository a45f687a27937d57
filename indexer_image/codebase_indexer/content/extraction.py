"""Extracts the text of a file: decoded, checked for skip reasons, secrets redacted. Pure.

Chunks, terms, vectors and symbols of a file are all made from the text that is extracted here.
"""

from dataclasses import dataclass

from codebase_index.languages import Language, detect, is_large_data
from codebase_indexer.chunking import notebook
from codebase_indexer.content.encodings import decode, has_mark
from codebase_indexer.content.redaction import redact
from codebase_indexer.content.secret_files import SecretPolicy, is_secret_by_content
from codebase_indexer.content.skipping import Skip, by_content, by_size, is_binary


@dataclass(frozen=True)
class ExtractedText:
    """A file's text as UTF-8, with the lines that it has on disk.

    `encoding` is what it was decoded from, None for UTF-8; `redacted` is the number of redacted secrets.
    """

    text: bytes
    language: Language
    encoding: str | None = None
    redacted: int = 0


def extract(path: str, data: bytes, secrets: SecretPolicy) -> ExtractedText | Skip:
    """Return the text of a file to index, or the reason to skip it."""
    if reason := by_size(len(data)):
        return reason
    if is_binary(data) and not has_mark(data):
        return Skip.BINARY
    decoded = decode(data)
    if decoded is None:
        return Skip.BINARY if is_binary(data) else Skip.UNDECODABLE
    text = decoded.data
    language = detect(path, text[:256])
    if reason := _reason_by_text(text, language):
        return reason
    if secrets.skip_files and is_secret_by_content(path, text):
        return Skip.SENSITIVE_CONTENT
    redacted = 0
    if secrets.redact:
        text, redacted = _redact(text, language)
    return ExtractedText(text, language, decoded.encoding, redacted)


def _reason_by_text(text: bytes, language: Language) -> Skip | None:
    reason = by_content(text, is_prose=language.prose)
    if reason in (None, Skip.MINIFIED) and language.grammar == notebook.FORMAT:
        # Its long lines are images, which are left out.
        return Skip.MANY_CELLS if notebook.count_cells(text) > notebook.MAX_CELLS else None
    return reason or (Skip.LARGE_DATA if is_large_data(language, len(text)) else None)


def _redact(text: bytes, language: Language) -> tuple[bytes, int]:
    """Return a text without its secrets, and how many there were: of a notebook, in the sources of its cells."""
    found = notebook.redact(text, redact) if language.grammar == notebook.FORMAT else None
    return redact(text) if found is None else found
