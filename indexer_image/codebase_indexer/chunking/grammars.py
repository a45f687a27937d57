"""Parsers, each with the node ids that the chunker looks for, loaded when a file first needs them."""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from tree_sitter import Language, Node, Parser, Tree

from codebase_index.symbols import MINOR, Kind
from codebase_indexer.chunking import names, syntax

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the pack's own imports
    from tree_sitter_language_pack import get_language

PARSE_SECONDS = 5.0
"""Of processor time. A file of the largest size indexed parses in 0.2 s; one that takes this long defeats the
parser."""

Namer = Callable[[Node, bytes], names.NamedSymbol | None]
"""Gives name and kind of a definition in a file's bytes; None if it has no name or is none after all."""


@dataclass(frozen=True)
class Grammar:
    """A parser with the ids of the nodes that matter. For one thread.

    `definitions` maps the ids of nodes that define a name to what tells it; `outermost` are those and the
    `wrappers`, `inside` the same without what is only looked for at the top level, or, as `marked`, where a mark
    says that it holds a definition. `sections` are the wrappers that are no part of what they hold. `scopes` are
    only a place for others. `sticky` belong to what follows, `decorators` are those of them that are part of it.
    """

    parser: Parser
    definitions: Mapping[int, Namer]
    wrappers: frozenset[int]
    sections: frozenset[int]
    outermost: frozenset[int]
    inside: frozenset[int]
    marked: frozenset[int]
    scopes: frozenset[int]
    sticky: frozenset[int]
    decorators: frozenset[int]
    continued: frozenset[int]

    def parse(self, data: bytes) -> Tree | None:
        """Return the syntax tree, or None when parsing takes longer than PARSE_SECONDS."""
        deadline, cpu_deadline = time.monotonic() + PARSE_SECONDS, time.thread_time() + PARSE_SECONDS

        def is_late(_offset: int, _has_error: bool) -> bool:  # the clock is quicker to read, and never behind
            return time.monotonic() > deadline and time.thread_time() > cpu_deadline

        # tree-sitter 0.26 never lets go of what it was given to read. A view that is released holds no data.
        views: list[memoryview] = []

        def read(offset: int, _point: object) -> memoryview:
            views.append(memoryview(data)[offset:])
            return views[-1]

        try:
            # The callback of progress works only together with the one that reads.
            return self.parser.parse(read, progress_callback=is_late)
        except ValueError:
            self.parser.reset()  # else the next file would continue this one
            return None
        finally:
            for view in views:
                view.release()


@cache
def load(name: str) -> Grammar:
    """Return the grammar of this name; it is compiled into an installed package, nothing is downloaded."""
    language = get_language(name)  # type: ignore[arg-type]  # the pack lists its names as literals
    continued = syntax.CONTINUED if name in syntax.HIDDEN_BODIES else ""
    definitions = _definitions(language, syntax.DEFINITIONS[syntax.SAME_AS.get(name, name)])
    wrappers = frozenset(_ids(language, syntax.WRAPPERS))
    outermost = wrappers | definitions.keys()
    minor = [node for node, (kind, _) in definitions.items() if kind in MINOR]
    bodiless = frozenset(_ids(language, syntax.BODILESS))
    return Grammar(
        Parser(language),
        definitions={node: _namer(*found, node in bodiless) for node, found in definitions.items()},
        wrappers=wrappers,
        marked=outermost.difference(minor),
        sections=frozenset(_ids(language, syntax.SECTIONS)),
        outermost=outermost,
        inside=outermost.difference(minor, _ids(language, syntax.TOP_ONLY)),
        scopes=frozenset(_ids(language, syntax.SCOPES)),
        sticky=frozenset(_ids(language, syntax.STICKY)),
        decorators=frozenset(_ids(language, syntax.DECORATORS)),
        continued=frozenset(_ids(language, continued)),
    )


def _namer(kind: Kind, path: str, needs_body: bool) -> Namer:
    """Return what names nodes of a kind, by the way to the name (empty: the usual one) or the rule of `names`."""
    if path.startswith("@"):
        return names.RULES[path[1:]]

    def name(node: Node, data: bytes) -> names.NamedSymbol | None:
        if needs_body and node.child_by_field_name("body") is None:
            return None
        text = names.text_of(names.follow(node, path) if path else names.find_name(node), data)
        return (text, kind) if text else None

    return name


def _definitions(language: Language, table: str) -> dict[int, tuple[Kind, str]]:
    """Return the kind of each node that defines a name, and the way to that."""
    paths: dict[str, tuple[Kind, str]] = {}
    for line in table.strip().splitlines():
        kind, *nodes = line.split()
        for node in nodes:
            node_kind, _, path = node.partition("=")
            paths[node_kind] = Kind(kind), path
    ids = _ids(language, " ".join(paths))
    return {number: paths[language.node_kind_for_id(number) or ""] for number in ids}


def _ids(language: Language, kinds: str) -> list[int]:
    wanted = set(kinds.split())
    return [
        number
        for number in range(language.node_kind_count)
        if language.node_kind_is_named(number) and language.node_kind_for_id(number) in wanted
    ]
