"""What a chunk defines: names and their kinds, the same words for every language.

docs/languages.md says which construct of which language is of which kind.
"""

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What sort of thing a name stands for. A closed set: a new language maps its own words to these."""

    FUNCTION = "function"
    """Also procedures, subroutines, shell functions, predicates."""
    METHOD = "method"
    """A function that lies directly in a class, interface, struct or enum, constructors included."""
    CLASS = "class"
    """Also records, objects, actors, and implementations of them (Rust's `impl`, Objective-C's category)."""
    INTERFACE = "interface"
    """Also traits, protocols, type classes, module signatures."""
    STRUCT = "struct"
    """Also unions."""
    ENUM = "enum"
    TYPE = "type"
    """Another name for a type, and algebraic data types."""
    MODULE = "module"
    """Also namespaces and packages: a place for other definitions."""
    CONSTANT = "constant"
    """A value with a name at the top level; variables too, where a language does not tell them apart."""
    PROPERTY = "property"
    """A named value of a class that has code of its own."""
    MACRO = "macro"
    HEADING = "heading"
    """Of a document; its name is the path of headings that leads to it."""
    RESOURCE = "resource"
    """What a configuration declares: Terraform's blocks, an object of Kubernetes."""
    MESSAGE = "message"
    """Of Protocol Buffers."""
    SERVICE = "service"
    """Of Protocol Buffers."""
    TABLE = "table"
    """Of SQL or TOML; views too."""
    KEY = "key"
    """Of a data file, its outermost ones."""
    RULE = "rule"
    """Of a style sheet: its name is the selector. Also a target of a makefile."""
    STAGE = "stage"
    """Of a Dockerfile."""
    TEST = "test"
    """Where a language has a construct for it."""


MINOR = frozenset([Kind.CONSTANT, Kind.KEY])
"""Noted outside of functions and classes only, and no chunk is named after them: in the header of a chunk a
constant's name misleads more than it helps."""


KINDS = frozenset(kind.value for kind in Kind)
"""All of them, as they are stored."""


class Symbol(NamedTuple):
    """A definition that begins in a chunk.

    `name` is qualified by what encloses it, outermost first (``Store.put``), `plain` is what it is called there
    (``put``).
    """

    name: str
    plain: str
    kind: Kind
