"""The outline of a file from its syntax tree: candidate cuts and definitions. Pure."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from tree_sitter import Node

from codebase_index.symbols import MINOR, Kind
from codebase_indexer.chunking import grammars, syntax
from codebase_indexer.chunking.grammars import Grammar
from codebase_indexer.chunking.names import NamedSymbol
from codebase_indexer.chunking.nested import Marks

MAX_BYTES = 1500
"""A chunk's size: only nodes that are larger are entered for places to cut."""

MAX_NODES = 200_000
"""Nodes looked at in one file: ten times what a 2 MiB file of ordinary code needs."""

MAX_SMALL_NODES = 100_000
"""Further ones, inside of small nodes: beyond, definitions in small functions are left out."""

MIN_MARKED = 8
"""Bytes: nothing shorter than ``fn f(){}`` holds a definition, and most nodes are words and signs."""

MAX_WRAPPERS = 8
"""How many wrappers deep a definition is looked for: ``export default`` needs two, a section of a file four."""

CONTAINERS = frozenset(
    [Kind.CLASS, Kind.INTERFACE, Kind.STRUCT, Kind.ENUM, Kind.MODULE, Kind.SERVICE, Kind.MESSAGE]
)
"""Entered for their members even if they are small."""

MAX_SCRIPTS = 20
"""Scripts parsed in one page."""


TOP, TYPE, FUNCTION = range(3)
"""What encloses a node: the file, a type or a function."""

_MODULE = Kind.MODULE  # an enum's members are slow to reach before Python 3.12, and this is asked of every node


class Definition(NamedTuple):
    """A name given to bytes `start` to `end` (exclusive), the comments above included.

    `head` is where it begins after them, and after what it is wrapped in; `body` is where its body begins, 0 if it
    has none. `place` are the bytes of the definition itself: with its decorators, `export` and the like, without
    comments above it and without a section of the file of which it is all. `scope`: it is only a place for other
    definitions, like a namespace.
    """

    start: int
    end: int
    head: int
    name: str
    kind: Kind
    scope: bool = False
    place: tuple[int, int] = (0, 0)
    body: int = 0


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
    walker = _TreeWalker(data, grammar, Marks(data, grammar_name))
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
        outer.definitions += [_moved(d, start) for d in inner.definitions]


def _moved(definition: Definition, by: int) -> Definition:
    """Return a definition so many bytes further on."""
    begin, end = definition.place
    return definition._replace(
        start=definition.start + by, end=definition.end + by, head=definition.head + by,
        place=(begin + by, end + by), body=definition.body and definition.body + by,
    )  # fmt: skip


def _scripts(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the content of each script begins and ends. Each byte is looked at once."""
    end = 0
    while (begin := data.find(b"<script", end)) >= 0:
        start, end = data.find(b">", begin) + 1, data.find(b"</script", begin)
        if start == 0 or end < 0:
            return
        if start < end:
            yield start, end


class _Found(NamedTuple):
    """A node that defines a name, and the outermost node around it that is nothing but this definition."""

    node: Node
    symbol: NamedSymbol
    place: Node


_Starts = tuple[int, int | None]
"""Where a definition begins with the comments above it, and with decorators that are not part of its node."""


_Visit = tuple[Node, int, int, bool]
"""A node to enter, with its depth and what encloses it. True: not only for the definitions in it, but for places
to cut, too. There are many, so it is no class.
"""


class _TreeWalker:
    """One pass over a tree, without recursion: only into nodes larger than a chunk, into containers, and into
    small nodes where the marks say that there are definitions.
    """

    def __init__(self, data: bytes, grammar: Grammar, marks: Marks) -> None:
        self._data = data
        self._grammar = grammar
        self._marks = marks
        self.outline = Outline()
        self._stack: list[_Visit] = []

    def run(self, root: Node) -> bool:
        """Walk the tree; return False if it has more nodes than any real file."""
        stack = self._stack
        stack.append((root, 0, TOP, True))
        seen = small = 0
        while stack:
            node, depth, context, cut = stack.pop()
            if cut:
                children = node.children
                seen += len(children)
                if seen > MAX_NODES:
                    return False
                self._collect(children, depth, context)
            elif small <= MAX_SMALL_NODES:
                children = node.children
                small += len(children)
                self._search(children, depth, context)
        return True

    def _collect(self, children: list[Node], depth: int, context: int) -> None:
        """Note the cuts and definitions among a node's children; put those to enter on the stack."""
        data, cuts, grammar, marks = self._data, self.outline.cuts, self._grammar, self._marks.offsets
        sticky, continued, stack = grammar.sticky, grammar.continued, self._stack
        wanted, if_marked = (grammar.inside, grammar.marked) if context else (grammar.outermost, _NOTHING)
        comments_start: int | None = None  # where the comments before the next child begin
        decorated: int | None = None  # where its decorators begin, if they are not part of it
        at = bisect_left(marks, children[0].start_byte) if children else 0
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
                if decorated is None and kind in grammar.decorators:
                    decorated = begin
                continue
            if kind in continued and self._continue(child, depth):
                comments_start = decorated = None
                continue
            cut = comments_start if comments_start is not None else start
            if cut is not None and cut not in cuts:
                cuts[cut] = depth
            if marks[at] < begin:
                at = bisect_left(marks, begin, at)
            size = end - begin
            large, marked = size > MAX_BYTES, marks[at] < end and size >= MIN_MARKED
            is_defined = (kind in wanted or (marked and kind in if_marked)) and self._define(
                child, (begin if cut is None else cut, decorated), depth, context, large
            )
            if not is_defined and (large or marked):
                stack.append((child, depth + 1, context, large))
            comments_start = decorated = None

    def _search(self, children: list[Node], depth: int, context: int) -> None:
        """Note the definitions among a small node's children: in a function those that have marks."""
        grammar, marks = self._grammar, self._marks.offsets
        wanted = grammar.marked if context else grammar.outermost
        unmarked = grammar.inside if context else wanted
        if context == FUNCTION and self._marks.complete:
            unmarked = _NOTHING
        at = bisect_left(marks, children[0].start_byte) if children else 0
        for number, child in enumerate(children):
            end = child.end_byte
            if end <= marks[at] and not unmarked:
                continue
            begin, kind = child.start_byte, child.kind_id
            if marks[at] < begin:
                at = bisect_left(marks, begin, at)
            marked = marks[at] < end and end - begin >= MIN_MARKED
            if kind in grammar.sticky or not (marked or kind in unmarked):
                continue
            if kind in wanted and self._define(child, self._above(children, number), depth, context, False):
                continue
            if marked:
                self._stack.append((child, depth + 1, context, False))

    def _above(self, children: list[Node], number: int) -> "_Starts":
        """Return where the comments and decorators before a child begin."""
        start, decorated = children[number].start_byte, None
        for before in reversed(children[:number]):
            if before.kind_id not in self._grammar.sticky:
                break
            start = before.start_byte
            if before.kind_id in self._grammar.decorators:
                decorated = start
        return start, decorated

    def _define(self, node: Node, starts: "_Starts", depth: int, context: int, large: bool) -> bool:
        """Note what a node defines, itself or inside its wrappers; say whether it needs no further look."""
        namer = self._grammar.definitions.get(node.kind_id)
        if namer and (symbol := namer(node, self._data)):
            if not context or symbol[1] not in MINOR:
                self._add(node, symbol, node, starts, node.end_byte, depth, large)
                return True
            return False
        found = self._find(node, context)
        if not found:
            return False
        if len(found) == 1:
            inner = found[0].node
            if large and 2 * (inner.end_byte - inner.start_byte) < node.end_byte - node.start_byte:
                return False  # there is more in the wrapper than what it is named after
            self._add(*found[0], starts, node.end_byte, depth, large)
            return True
        if large:
            return False
        for inner, symbol, _ in found:
            self._add(inner, symbol, inner, starts, inner.end_byte, depth, large)
            starts = (inner.end_byte, None)
        return True

    def _add(
        self, node: Node, symbol: NamedSymbol, place: Node, starts: "_Starts", end: int, depth: int, large: bool
    ) -> None:
        (name, kind), (start, decorated) = symbol, starts
        scope = kind is _MODULE or node.kind_id in self._grammar.scopes
        body = node.child_by_field_name("body")
        begin = place.start_byte if decorated is None else decorated
        body_start = body.start_byte if body else 0
        self.outline.definitions.append(
            Definition(start, end, node.start_byte, name, kind, scope, (begin, place.end_byte), body_start)
        )
        self._enter(node, body, kind, depth, large)

    def _enter(self, node: Node, body: Node | None, kind: Kind, depth: int, large: bool) -> None:
        if large:
            context = TOP if kind in _OPEN else TYPE if kind in CONTAINERS else FUNCTION
            self._stack.append((node, depth + 1, context, True))
        elif kind in CONTAINERS:
            context = TOP if kind in _OPEN else TYPE
            self._stack.append((body or self._last_body(node), depth + 2, context, True))
        elif self._marks.within(body.start_byte if body else node.start_byte + 1, node.end_byte):
            self._stack.append((body or node, depth + 1, FUNCTION, False))

    def _last_body(self, node: Node) -> Node:
        """Return the node whose children are the members of a small container without the field `body`."""
        last = node.named_children[-3:]
        if not last or any(child.kind_id in self._grammar.outermost for child in last):
            return node
        return last[-1].child_by_field_name("body") or last[-1]  # a class that is a value

    def _find(self, node: Node, context: int) -> list["_Found"]:
        """Return the definitions that a wrapper (decorator, export, template) holds, through further ones."""
        grammar, data = self._grammar, self._data
        found: list[_Found] = []
        stack = [(node, 0, node)]
        while stack:
            node, depth, place = stack.pop()
            kind = node.kind_id
            namer = grammar.definitions.get(kind)
            if namer and (symbol := namer(node, data)):
                if not context or symbol[1] not in MINOR:
                    found.append(_Found(node, symbol, place))
                continue
            if kind in grammar.wrappers and depth < MAX_WRAPPERS:
                wanted = grammar.marked if context else grammar.outermost
                inner = [child for child in node.named_children if child.kind_id in wanted]
                section = kind in grammar.sections
                stack += [(child, depth + 1, child if section else place) for child in reversed(inner)]
        return found

    def _continue(self, body: Node, depth: int) -> bool:
        """Extend the definition before a body to the end of that body, where the grammar puts the two side by
        side.
        """
        definitions = self.outline.definitions
        if not definitions or definitions[-1].end > body.start_byte:
            return False
        last = definitions[-1]
        place = (last.place[0], body.end_byte)
        definitions[-1] = last._replace(end=body.end_byte, place=place, body=body.start_byte)
        if body.end_byte - body.start_byte > MAX_BYTES:
            self._stack.append((body, depth + 1, FUNCTION, True))
        return True


_NEWLINE = 0x0A
_NOTHING: frozenset[int] = frozenset()
_SPACES = b" \t\r"

_OPEN = frozenset([Kind.MODULE, Kind.KEY, Kind.RESOURCE, Kind.TABLE])
"""Kinds whose members count as top-level."""


def _line_start(data: bytes, offset: int) -> int | None:
    """Return the start of the line, if only white space is between it and `offset`."""
    start = data.rfind(b"\n", 0, offset) + 1
    return start if data[start:offset].isspace() else None
