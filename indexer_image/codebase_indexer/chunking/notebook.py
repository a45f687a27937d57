"""Jupyter notebooks: chunks of their cells' source, with the line numbers of the .ipynb file. Pure.

Code cells are cut by the kernel's language, the others as Markdown. Outputs, images and metadata are not indexed:
they would be most of the file, and nobody asks for them.
"""

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tree_sitter import Node

from codebase_index.definitions import PlacedName
from codebase_indexer.chunking import grammars, syntax
from codebase_indexer.chunking.chunker import SourceChunk, SplitFile, split

FORMAT = "notebook"

MAX_CELLS = 5_000
"""A notebook with more is data: nobody writes so many by hand, and each cell is parsed by itself."""

_KERNELS = {"ir": "r", "c++": "cpp", "c#": "csharp", "sh": "bash", "javascript": "javascript"}


@dataclass(frozen=True)
class Cell:
    """A cell's source, in the strings of the file that make it up."""

    code: bool
    strings: list[Node]
    texts: list[str]

    @property
    def source(self) -> bytes:
        """What the strings say together."""
        return "".join(self.texts).encode(errors="replace")


def count_cells(data: bytes) -> int:
    """Return how many cells a notebook has; 0 for a text that is not one."""
    members = _notebook(data)
    return members[b"cells"].named_child_count if members else 0


def read(data: bytes) -> SplitFile | None:
    """Split a notebook; None: it is not one, and is to be split as the text that it is."""
    members = _notebook(data)
    if members is None:
        return None
    language = _kernel(members.get(b"metadata"), data)
    chunks: list[SourceChunk] = []
    definitions: list[PlacedName] = []
    for cell in _cells(members, data):
        inside = split(cell.source, language if cell.code else "markdown")
        places = _places(cell)
        chunks += (_placed_chunk(chunk, places) for chunk in inside.chunks)
        definitions += [_placed_name(name, places, len(definitions)) for name in inside.definitions]
    return SplitFile(chunks, definitions)


def redact(data: bytes, redacted: Callable[[bytes], tuple[bytes, int]]) -> tuple[bytes, int] | None:
    """Return a notebook whose cells' sources are redacted, and how many secrets they had; None: it is not one.

    It is done with what the strings say, which is what is indexed: in the file itself a token may stand behind an
    escape, and a mark with line ends would break it. Each string keeps its line ends, and its line.
    """
    members = _notebook(data)
    if members is None:
        return None
    parts: list[bytes] = []
    at = total = 0
    for cell in _cells(members, data):
        source, count = redacted(cell.source)
        if not count:
            continue
        total += count
        for string, text in zip(cell.strings, _shares(cell, source.decode()), strict=True):
            parts += [data[at : string.start_byte], json.dumps(text).encode()]
            at = string.end_byte
    return (b"".join([*parts, data[at:]]), total) if total else (data, 0)


def _shares(cell: Cell, source: str) -> Iterator[str]:
    """Yield what each string of a cell says when the cell has another source with as many lines."""
    lines = source.split("\n")
    at = 0
    for text in cell.texts[:-1]:
        end = at + text.count("\n")
        yield "".join(f"{line}\n" for line in lines[at:end])
        at = end
    yield "\n".join(lines[at:])


@functools.lru_cache(maxsize=1)  # redacted and cut one after the other, mostly unchanged
def _notebook(data: bytes) -> dict[bytes, Node] | None:
    """Parse a notebook; None: it is not one."""
    tree = grammars.load("json").parse(data)
    top = tree.root_node.named_child(0) if tree else None
    if top is None or top.type != "object" or tree is None or tree.root_node.has_error:
        return None
    members = dict(_members(top, data))
    cells = members.get(b"cells")
    return members if cells is not None and cells.type == "array" else None


def _cells(members: dict[bytes, Node], data: bytes) -> Iterator[Cell]:
    """Yield the cells that have a source."""
    for node in members[b"cells"].named_children:
        cell = _cell(node, data)
        if cell is not None and cell.source.strip():
            yield cell


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
    strings: list[Node] = []
    texts: list[str] = []
    for part in parts:
        if part.type == "string" and (value := _string(part, data)) is not None:
            strings.append(part)
            texts.append(value)
    return Cell(data[kind.start_byte : kind.end_byte] == b'"code"', strings, texts)


def _string(node: Node, data: bytes) -> str | None:
    try:
        value = json.loads(data[node.start_byte : node.end_byte].decode(errors="replace"), strict=False)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _placed_chunk(chunk: SourceChunk, places: list[Node]) -> SourceChunk:
    """Return a chunk of a cell, with its position in the file."""
    first, last = places[chunk.start_line - 1], places[chunk.end_line - 1]
    return chunk._replace(
        start=first.start_byte, end=last.end_byte,
        start_line=first.start_point[0] + 1, end_line=last.start_point[0] + 1,
    )  # fmt: skip


def _placed_name(name: PlacedName, places: list[Node], before: int) -> PlacedName:
    """Return a definition of a cell with its lines in the file; `before` others stand before the cell."""
    first, line, last = (
        places[number - 1].start_point[0] + 1 for number in (name.first_line, name.line, name.last_line)
    )
    parent = name.parent + before if name.parent >= 0 else -1
    return name._replace(parent=parent, first_line=first, line=line, last_line=last)


def _places(cell: Cell) -> list[Node]:
    """Return for each line of a cell's source the string in which it ends."""
    places: list[Node] = []
    for string, text in zip(cell.strings, cell.texts, strict=True):
        places += [string] * text.count("\n")
    return [*places, cell.strings[-1]]
