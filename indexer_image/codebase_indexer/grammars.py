"""Parsers, and what the chunker needs to know of each grammar: which nodes define a name."""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from tree_sitter import Language, Node, Parser, Tree

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the pack's own imports
    from tree_sitter_language_pack import get_language

PARSE_SECONDS = 5.0
"""A file of the largest size indexed parses in 0.2 s; one that takes this long defeats the parser."""

_READ_BYTES = 65_536

MAX_NAME_BYTES = 200
"""A longer name is no name."""

_DEFINITIONS: Mapping[str, str] = {
    "python": "function_definition class_definition",
    "javascript": "function_declaration generator_function_declaration class_declaration method_definition "
    "variable_declarator",
    "typescript": "function_declaration generator_function_declaration class_declaration method_definition "
    "abstract_class_declaration interface_declaration type_alias_declaration enum_declaration function_signature "
    "variable_declarator internal_module module",
    "go": "function_declaration method_declaration type_spec type_alias",
    "rust": "function_item struct_item enum_item union_item trait_item impl_item mod_item type_item "
    "macro_definition function_signature_item",
    "java": "class_declaration interface_declaration enum_declaration record_declaration method_declaration "
    "constructor_declaration compact_constructor_declaration annotation_type_declaration",
    "c": "function_definition struct_specifier enum_specifier union_specifier type_definition "
    "preproc_function_def",
    "cpp": "function_definition class_specifier struct_specifier enum_specifier union_specifier type_definition "
    "namespace_definition preproc_function_def alias_declaration concept_definition",
    "ruby": "method singleton_method class module",
    "php": "function_definition class_declaration interface_declaration trait_declaration enum_declaration "
    "method_declaration namespace_definition",
    "csharp": "class_declaration struct_declaration interface_declaration record_declaration enum_declaration "
    "method_declaration constructor_declaration property_declaration delegate_declaration namespace_declaration "
    "local_function_statement",
    "bash": "function_definition",
}
"""Kinds of nodes that give a name to a piece of code, by grammar."""

_SCOPES = "namespace_definition namespace_declaration internal_module mod_item impl_item module"
"""Kinds of definitions that are only a place for others: a piece that opens one is named after what follows.

The root of a Python file is a `module` too, but no definition.
"""

_WRAPPERS = (
    "decorated_definition export_statement template_declaration type_declaration lexical_declaration "
    "variable_declaration ambient_declaration expression_statement declaration field_declaration "
    "linkage_specification"
)
"""Kinds of nodes around a definition that begin with it: decorators, `export`, `template<...>`, `const f =`."""

_STICKY = (
    "comment line_comment block_comment doc_comment attribute_item inner_attribute_item attribute_list decorator"
)
"""Kinds of nodes that belong to what follows them."""

_FUNCTIONS = frozenset(
    ["arrow_function", "function_expression", "function", "generator_function", "class", "class_body"]
)


@dataclass(frozen=True)
class Grammar:
    """A parser with the ids of the nodes that matter. For one thread."""

    parser: Parser
    definitions: frozenset[int]
    scopes: frozenset[int]
    wrappers: frozenset[int]
    sticky: frozenset[int]

    def parse(self, data: bytes) -> Tree | None:
        """Return the syntax tree, or None when parsing takes longer than PARSE_SECONDS."""
        deadline = time.monotonic() + PARSE_SECONDS

        def read(offset: int, _point: object) -> bytes:
            return data[offset : offset + _READ_BYTES]

        def late(_offset: int, _has_error: bool) -> bool:
            return time.monotonic() > deadline

        try:
            # The callback of progress works only together with the one that reads.
            return self.parser.parse(read, progress_callback=late)
        except ValueError:
            self.parser.reset()  # else the next file would continue this one
            return None


@cache
def load(name: str) -> Grammar:
    """Return the grammar of this name; it is compiled into an installed package, nothing is downloaded."""
    language = get_language(name)  # type: ignore[arg-type]
    kinds = _DEFINITIONS["typescript" if name == "tsx" else name]
    return Grammar(
        Parser(language),
        definitions=_ids(language, kinds),
        scopes=_ids(language, _SCOPES),
        wrappers=_ids(language, _WRAPPERS),
        sticky=_ids(language, _STICKY),
    )


def name_of(node: Node, data: bytes) -> str | None:
    """Return the name that a definition gives in a file's `data`, `Receiver.name` for a method of Go."""
    kind = node.type
    if kind == "variable_declarator":
        value = node.child_by_field_name("value")
        if value is None or value.type not in _FUNCTIONS:
            return None
    if kind == "impl_item":
        named = node.child_by_field_name("type")
    else:
        named = node.child_by_field_name("name") or _declared(node)
    if named is None or named.end_byte - named.start_byte > MAX_NAME_BYTES:
        return None
    # Not node.text: for a tree that was parsed through a callback it costs 30 times as much.
    name = _text(named, data)
    receiver = node.child_by_field_name("receiver") if kind == "method_declaration" else None
    if receiver is not None and (owner := _receiver_type(_text(receiver, data))):
        return f"{owner}.{name}"
    return name or None


def is_defined_here(node: Node) -> bool:
    """Say whether there is a body: ``struct stat s`` only mentions one, PHP's ``namespace App;`` holds nothing."""
    needs_body = node.type.endswith("_specifier") or node.type == "namespace_definition"
    return not needs_body or node.child_by_field_name("body") is not None


def _declared(node: Node) -> Node | None:
    """Follow the declarators of C: ``char *(*f(int))[3]`` declares `f`."""
    declarator = node.child_by_field_name("declarator")
    for _ in range(16):  # deeper ones are written to harm
        if declarator is None:
            return None
        inner = declarator.child_by_field_name("declarator")
        if inner is None and declarator.type in ("reference_declarator", "parenthesized_declarator"):
            inner = declarator.named_child(0)
        if inner is None:
            return declarator
        declarator = inner
    return None


def _receiver_type(text: str) -> str | None:
    """Return `Server` of Go's ``(s *Server[T])``."""
    words = text.strip("()").split("[")[0].replace("*", " ").split()
    return words[-1] if words else None


def _text(node: Node, data: bytes) -> str:
    return data[node.start_byte : node.end_byte].decode(errors="replace").replace("\0", "").strip()


def _ids(language: Language, kinds: str) -> frozenset[int]:
    return frozenset(
        number
        for number in range(language.node_kind_count)
        if language.node_kind_is_named(number) and language.node_kind_for_id(number) in set(kinds.split())
    )
