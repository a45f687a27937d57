"""Jupyter notebooks: chunks of their cells' source, with the line numbers of the .ipynb file. Pure.

Code cells are cut by the kernel's language, the others as Markdown. Outputs, images and metadata are not indexed:
they would be most of the file, and nobody asks for them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tree_sitter import Node

from codebase_indexer.chunking import grammars, syntax
from codebase_indexer.chunking.chunker import SourceChunk, split

FORMAT = "notebook"

MAX_CELLS = 5_000

_KERNELS = {"ir": "r", "c++": "cpp", "c#": "csharp", "sh": "bash", "javascript": "javascript"}


@dataclass(frozen=True)
class Cell:
    """A cell's source, and for each of its lines the line of the file (from 1) and the bytes where it stands."""

    code: bool
    source: bytes
    lines: list[int]
    spans: list[tuple[int, int]]


def read(data: bytes) -> list[SourceChunk] | None:
    """Split a notebook; None: it is not one, and is to be split as JSON text."""
    tree = grammars.load("json").parse(data)
    top = tree.root_node.named_child(0) if tree else None
    if top is None or top.type != "object" or tree is None or tree.root_node.has_error:
        return None
    members = dict(_members(top, data))
    cells = members.get(b"cells")
    if cells is None or cells.type != "array":
        return None
    language = _kernel(members.get(b"metadata"), data)
    chunks: list[SourceChunk] = []
    for node in cells.named_children[:MAX_CELLS]:
        cell = _cell(node, data)
        if cell is not None and cell.source.strip():
            chunks += _split_cell(cell, language if cell.code else "markdown")
    return chunks


def _members(node: Node, data: bytes) -> Iterator[tuple[bytes, Node]]:
    for pair in node.named_children:
        key, value = pair.child_by_field_name("key"), pair.child_by_field_name("value")
        if key is not None and value is not None:
            yield data[key.start_byte + 1 : key.end_byte - 1], value


def _kernel(metadata: Node | None, data: bytes) -> str | None:
    """Return the grammar of a notebook's code; Python by default."""
    if metadata is None:
        return "python"
    try:
        values = json.loads(data[metadata.start_byte : metadata.end_byte])
        name = (
            values.get("kernelspec", {}).get("language") or values.get("language_info", {}).get("name") or "python"
        )
        name = _KERNELS.get(name.lower(), name.lower())
    except (ValueError, AttributeError, RecursionError):
        return None
    return name if name in syntax.DEFINITIONS else None


def _cell(node: Node, data: bytes) -> Cell | None:
    members = dict(_members(node, data)) if node.type == "object" else {}
    kind, source = members.get(b"cell_type"), members.get(b"source")
    if kind is None or source is None:
        return None
    parts = source.named_children if source.type == "array" else [source]
    text: list[str] = []
    lines: list[int] = []
    spans: list[tuple[int, int]] = []
    for part in parts:
        if part.type != "string" or (value := _string(part, data)) is None:
            continue
        text.append(value)
        # A part that goes on where the one before did not end is the same line.
        count = value.count("\n") + (part == parts[-1] and not value.endswith("\n"))
        lines += [part.start_point[0] + 1] * count
        spans += [(part.start_byte, part.end_byte)] * count
    source_text = "".join(text).encode(errors="replace")
    return Cell(data[kind.start_byte : kind.end_byte] == b'"code"', source_text, lines, spans)


def _string(node: Node, data: bytes) -> str | None:
    try:
        value = json.loads(data[node.start_byte : node.end_byte].decode(errors="replace"), strict=False)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _split_cell(cell: Cell, grammar: str | None) -> Iterator[SourceChunk]:
    """Split a cell, with the positions of its chunks in the file."""
    if not cell.lines:
        return
    last = len(cell.lines) - 1
    for chunk in split(cell.source, grammar):
        first, end = min(chunk.start_line - 1, last), min(chunk.end_line - 1, last)
        yield replace(
            chunk,
            start=cell.spans[first][0], end=cell.spans[end][1],
            start_line=cell.lines[first], end_line=cell.lines[end],
        )  # fmt: skip
