"""The outline of a file from its syntax tree: candidate cuts and definitions. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice
from typing import NamedTuple

from tree_sitter import Node

from codebase_index.symbols import MINOR, Kind
from codebase_indexer.chunking import grammars, syntax
from codebase_indexer.chunking.grammars import Grammar
from codebase_indexer.chunking.names import NamedSymbol

MAX_BYTES = 1500
"""A chunk's size: only nodes that are larger are entered for places to cut."""

MAX_NODES = 200_000
"""Nodes looked at in one file: ten times what a 2 MiB file of ordinary code needs."""

MAX_WRAPPERS = 8
"""How many wrappers deep a definition is looked for: ``export default`` needs two, a section of a file four."""

MAX_WRAPPED = 8
"""Children of a large wrapper that is looked through; one with more is a section of a file."""

CONTAINERS = frozenset(
    [Kind.CLASS, Kind.INTERFACE, Kind.STRUCT, Kind.ENUM, Kind.MODULE, Kind.SERVICE, Kind.MESSAGE]
)
"""Entered for their members even if they are small."""

MAX_SCRIPTS = 20
"""Scripts parsed in one page."""


class Context(IntEnum):
    """What encloses a node: the file, a type or a function."""

    TOP = 0
    TYPE = 1
    FUNCTION = 2


class Definition(NamedTuple):
    """A name given to bytes `start` to `end` (exclusive), the comments above included.

    `head` is where it begins after them. `scope`: it is only a place for other definitions, like a namespace.
    """

    start: int
    end: int
    head: int
    name: str
    kind: Kind
    scope: bool = False


@dataclass
class Outline:
    """Cuts as offset -> depth (0 is outermost), definitions in order."""

    cuts: dict[int, int] = field(default_factory=dict)
    definitions: list[Definition] = field(default_factory=list)


def read(data: bytes, grammar_name: str) -> Outline | None:
    """Return the outline of a file, or None if it can not be parsed in time."""
    grammar = grammars.load(grammar_name)
    tree = grammar.parse(data)
    if tree is None:
        return None
    walker = _TreeWalker(data, grammar)
    if not walker.run(tree.root_node):
        return None
    if embedded := syntax.EMBEDDED.get(grammar_name):
        _add_scripts(data, embedded, walker.outline)
    walker.outline.definitions.sort(key=lambda d: (d.start, -d.end))
    return walker.outline


def _add_scripts(data: bytes, grammar_name: str, outer: Outline) -> None:
    """Add the outlines of the scripts in a page."""
    for start, end in islice(_scripts(data), MAX_SCRIPTS):
        inner = read(data[start:end], grammar_name)
        if inner is None:
            return
        outer.cuts.update((start + offset, depth + 1) for offset, depth in inner.cuts.items() if offset)
        outer.definitions += [
            d._replace(start=d.start + start, end=d.end + start, head=d.head + start) for d in inner.definitions
        ]


def _scripts(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the content of each script begins and ends. Each byte is looked at once."""
    end = 0
    while (begin := data.find(b"<script", end)) >= 0:
        start, end = data.find(b">", begin) + 1, data.find(b"</script", begin)
        if start == 0 or end < 0:
            return
        if start < end:
            yield start, end


class _TreeWalker:
    """One pass over a tree, without recursion: only into nodes larger than a chunk, and into containers."""

    def __init__(self, data: bytes, grammar: Grammar) -> None:
        self._data = data
        self._grammar = grammar
        self.outline = Outline()
        self._stack: list[tuple[Node, int, Context]] = []

    def run(self, root: Node) -> bool:
        """Walk the tree; return False if it has more nodes than any real file."""
        self._stack.append((root, 0, Context.TOP))
        seen = 0
        while self._stack:
            node, depth, context = self._stack.pop()
            children = node.children
            seen += len(children)
            if seen > MAX_NODES:
                return False
            self._collect(children, depth, context)
        return True

    def _collect(self, children: list[Node], depth: int, context: Context) -> None:
        """Note the cuts and definitions among a node's children; put those to enter on the stack."""
        data, cuts, grammar = self._data, self.outline.cuts, self._grammar
        sticky, continued = grammar.sticky, grammar.continued
        wanted = grammar.inside if context else grammar.outermost
        comments_start: int | None = None  # where the comments before the next child begin
        for child in children:
            kind = child.kind_id
            begin, end = child.start_byte, child.end_byte
            before = data[begin - 1] if begin else _NEWLINE
            if before == _NEWLINE:
                start: int | None = begin
            else:
                start = _line_start(data, begin) if before in _SPACES else None
            if start is not None and kind in sticky:
                comments_start = start if comments_start is None else comments_start
                continue
            if kind in continued and self._continue(child, depth):
                comments_start = None
                continue
            cut = comments_start if comments_start is not None else start
            if cut is not None and cut not in cuts:
                cuts[cut] = depth
            comments_start = None
            large = end - begin > MAX_BYTES
            if kind in wanted and self._define(child, begin if cut is None else cut, depth, context, large):
                continue
            if large:
                self._stack.append((child, depth + 1, context))

    def _define(self, node: Node, start: int, depth: int, context: Context, large: bool) -> bool:
        """Note what a node defines, itself or inside its wrappers; say whether it needs no further look."""
        if node.kind_id in self._grammar.definitions and (symbol := self._grammar.name(node, self._data)):
            if not context or symbol[1] not in MINOR:
                self._add(node, start, node.end_byte, symbol, depth, large)
                return True
            return False
        found = self._find(node, context)
        if not found:
            return False
        if len(found) == 1:
            ((inner, symbol),) = found
            if large and 2 * (inner.end_byte - inner.start_byte) < node.end_byte - node.start_byte:
                return False  # there is more in the wrapper than what it is named after
            self._add(inner, start, node.end_byte, symbol, depth, large)
            return True
        if large:
            return False
        for inner, symbol in found:
            self._add(inner, start, inner.end_byte, symbol, depth, large)
            start = inner.end_byte
        return True

    def _add(self, node: Node, start: int, end: int, symbol: NamedSymbol, depth: int, large: bool) -> None:
        name, kind = symbol
        scope = kind is Kind.MODULE or node.kind_id in self._grammar.scopes
        self.outline.definitions.append(Definition(start, end, node.start_byte, name, kind, scope))
        self._enter(node, kind, depth, large)

    def _enter(self, node: Node, kind: Kind, depth: int, large: bool) -> None:
        if large:
            context = Context.TOP if kind in _OPEN else Context.TYPE if kind in CONTAINERS else Context.FUNCTION
            self._stack.append((node, depth + 1, context))
        elif kind in CONTAINERS:
            self._stack.append((self._body(node), depth + 2, Context.TOP if kind in _OPEN else Context.TYPE))

    def _body(self, node: Node) -> Node:
        """Return the node whose children are the members of a small container."""
        if body := node.child_by_field_name("body"):
            return body
        last = node.named_children[-3:]
        if not last or any(child.kind_id in self._grammar.outermost for child in last):
            return node
        return last[-1].child_by_field_name("body") or last[-1]  # a class that is a value

    def _find(self, node: Node, context: Context) -> list[tuple[Node, NamedSymbol]]:
        """Return the definitions that a wrapper (decorator, export, template) holds, through further ones."""
        grammar, data = self._grammar, self._data
        found: list[tuple[Node, NamedSymbol]] = []
        stack = [(node, 0)]
        while stack:
            node, depth = stack.pop()
            kind = node.kind_id
            if kind in grammar.definitions and (symbol := grammar.name(node, data)):
                if not context or symbol[1] not in MINOR:
                    found.append((node, symbol))
                continue
            if kind in grammar.wrappers and depth < MAX_WRAPPERS:
                wanted = grammar.inside if context else grammar.outermost
                inner = [child for child in node.named_children if child.kind_id in wanted]
                stack += [(child, depth + 1) for child in reversed(inner)]
        return found

    def _continue(self, body: Node, depth: int) -> bool:
        """Extend the definition before a body to the end of that body, where the grammar puts the two side by
        side.
        """
        definitions = self.outline.definitions
        if not definitions or definitions[-1].end > body.start_byte:
            return False
        last = definitions[-1]
        definitions[-1] = last._replace(end=body.end_byte)
        if body.end_byte - body.start_byte > MAX_BYTES:
            self._stack.append((body, depth + 1, Context.FUNCTION))
        return True


_NEWLINE = 0x0A
_SPACES = b" \t\r"

_OPEN = frozenset([Kind.MODULE, Kind.KEY, Kind.RESOURCE, Kind.TABLE])
"""Kinds whose members count as top-level."""


def _line_start(data: bytes, offset: int) -> int | None:
    """Return the start of the line, if only white space is between it and `offset`."""
    start = data.rfind(b"\n", 0, offset) + 1
    return start if data[start:offset].isspace() else None
