"""Finds the name that a syntax node defines, and its kind where the node type alone does not determine it."""

import re
from collections.abc import Callable, Mapping

from tree_sitter import Node

from codebase_index.symbols import Kind
from codebase_indexer.chunking.syntax import IDENTIFIERS

MAX_NAME_BYTES = 200
"""A longer text is not a name."""

NamedSymbol = tuple[str, Kind]
"""A name as it is written, and its kind."""

_DECLARATORS = 16
"""Declarators around a name; deeper ones are written to harm."""

_FUNCTIONS = frozenset(
    ["arrow_function", "function_expression", "function", "generator_function", "class", "class_body"]
)

_EXPORTS = re.compile(r"^(?:this\.|(?:module\.)?exports(?:\.|$))")
"""What stands before the name of something that a module exports, or an object has."""

_DOTTED = re.compile(r"[\w$.]*")


def text_of(node: Node | None, data: bytes) -> str | None:
    """Return a name's text on one line, None if it is too long to be one.

    Not `node.text`: for a tree that was parsed through a callback it costs 30 times as much.
    """
    if node is None or node.end_byte - node.start_byte > MAX_NAME_BYTES:
        return None
    text = data[node.start_byte : node.end_byte].decode(errors="replace")
    if text.isidentifier():  # nearly all are
        return text
    text = text.replace("\0", "")
    return " ".join(text.split()).strip("\"'`") or None


def follow(node: Node, path: str) -> Node | None:
    """Go from a node along `path`, as `syntax` describes it."""
    current: Node | None = node
    for step in path.split("/"):
        assert current is not None
        field, _, kind = step.partition(":")
        found = current.child_by_field_name(field)
        if found is None and not kind:
            found = next((c for c in current.named_children[:16] if c.type == field), None)
        if found is None or (kind and found.type != kind):
            return None
        current = found
    return current


def find_name(node: Node) -> Node | None:
    """Return the name node in its usual position: field, declarator, first identifier."""
    named = node.child_by_field_name("name") or _innermost_declarator(node)
    if named is not None:
        return named
    return next((child for child in node.named_children[:8] if child.type in IDENTIFIERS), None)


def _innermost_declarator(node: Node) -> Node | None:
    """Follow the declarators of C: ``char *(*f(int))[3]`` declares `f`."""
    declarator = node.child_by_field_name("declarator")
    for _ in range(_DECLARATORS):
        if declarator is None:
            return None
        inner = declarator.child_by_field_name("declarator")
        if inner is None and declarator.type in ("reference_declarator", "parenthesized_declarator"):
            inner = declarator.named_child(0)
        if inner is None:
            return declarator
        declarator = inner
    return None


def _javascript(node: Node, data: bytes) -> NamedSymbol | None:
    """``const f = () => ...`` is a function; any other value is a constant, unless it comes from elsewhere."""
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    if name is None or name.type != "identifier" or value is None:
        return None
    if value.type in _FUNCTIONS:
        kind = Kind.CLASS if value.type == "class" else Kind.FUNCTION
    elif data.startswith((b"require(", b"await "), value.start_byte):
        return None
    else:
        kind = Kind.CONSTANT
    text = text_of(name, data)
    return (text, kind) if text else None


def _assigned(node: Node, data: bytes) -> NamedSymbol | None:
    """``app.use = function () {}`` is `app.use`, and ``Mux.prototype.run = ...`` `Mux.run`.

    What it is exported by is no part of its name: ``module.exports = function use () {}`` is `use`.
    """
    target, value = node.child_by_field_name("left"), node.child_by_field_name("right")
    if target is None or target.type not in ("identifier", "member_expression"):
        return None
    if value is None or value.type not in _FUNCTIONS:
        return None
    name = _EXPORTS.sub("", (text_of(target, data) or "").replace(".prototype.", "."))
    if not _DOTTED.fullmatch(name):  # ``load().use = ...``
        name = text_of(target.child_by_field_name("property"), data) or ""
    name = name or text_of(value.child_by_field_name("name"), data) or ""
    kind = Kind.CLASS if value.type == "class" else Kind.METHOD if "." in name else Kind.FUNCTION
    return (name, kind) if name else None


def _member(node: Node, data: bytes) -> NamedSymbol | None:
    """``run = () => {}`` in a class and ``run: function () {}`` in an object are methods."""
    value = node.child_by_field_name("value")
    if value is None or value.type not in _FUNCTIONS:
        return None
    name = next(filter(None, map(node.child_by_field_name, ("name", "property", "key"))), None)
    text = text_of(name, data) if name is not None and name.type != "computed_property_name" else None
    return (text.removeprefix("#"), _METHOD) if text else None


def _go(node: Node, data: bytes) -> NamedSymbol | None:
    """``func (s *Server[T]) Run()`` is `Server.Run`; a type is a struct, an interface or another."""
    name = text_of(node.child_by_field_name("name"), data)
    if name is None:
        return None
    if node.type == "type_spec":
        value = node.child_by_field_name("type")
        return name, _GO_TYPES.get(value.type if value else "", _TYPE)
    receiver = text_of(node.child_by_field_name("receiver"), data) or ""
    words = receiver.strip("()").split("[")[0].replace("*", " ").split()
    return (f"{words[-1]}.{name}" if words else name), _METHOD


_TYPE, _METHOD = Kind.TYPE, Kind.METHOD  # an enum's members are slow to reach before Python 3.12
_GO_TYPES = {"struct_type": Kind.STRUCT, "interface_type": Kind.INTERFACE}


def _kotlin(node: Node, data: bytes) -> NamedSymbol | None:
    name = text_of(find_name(node), data)
    words = {child.type for child in node.children[:6]}
    kind = Kind.INTERFACE if "interface" in words else Kind.ENUM if "enum" in words else Kind.CLASS
    return (name, kind) if name else None


def _swift(node: Node, data: bytes) -> NamedSymbol | None:
    """One node stands for classes, structs, enums, actors and extensions."""
    name = text_of(node.child_by_field_name("name"), data)
    word = text_of(node.child_by_field_name("declaration_kind"), data)
    kind = {"struct": Kind.STRUCT, "enum": Kind.ENUM}.get(word or "", Kind.CLASS)
    return (name, kind) if name else None


def _init(_node: Node, _data: bytes) -> NamedSymbol:
    return "init", Kind.METHOD


def _operator(node: Node, data: bytes) -> NamedSymbol | None:
    """C#'s ``operator ==``, its conversions by their type, and what stands behind ``this[...]``."""
    if node.type == "indexer_declaration":
        return "this[]", Kind.METHOD
    text = text_of(node.child_by_field_name("operator") or node.child_by_field_name("type"), data)
    return (f"operator {text}", Kind.METHOD) if text else None


def _lua(node: Node, data: bytes) -> NamedSymbol | None:
    value = follow(node, "expression_list/value")
    if value is None or value.type != "function_definition":
        return None
    name = text_of(follow(node, "variable_list/name"), data)
    return (name, Kind.FUNCTION) if name else None


_ELIXIR = {
    "def": Kind.FUNCTION, "defp": Kind.FUNCTION, "defdelegate": Kind.FUNCTION, "defguard": Kind.FUNCTION,
    "defmacro": Kind.MACRO, "defmacrop": Kind.MACRO, "defmodule": Kind.MODULE, "defprotocol": Kind.INTERFACE,
    "defimpl": Kind.CLASS, "test": Kind.TEST, "describe": Kind.TEST,
}  # fmt: skip


def _elixir(node: Node, data: bytes) -> NamedSymbol | None:
    """All of Elixir's definitions are calls: ``def f(a) when a > 1 do``."""
    kind = _ELIXIR.get(text_of(node.child_by_field_name("target"), data) or "")
    arguments = next((c for c in node.named_children[:3] if c.type == "arguments"), None) if kind else None
    named = arguments.named_child(0) if arguments else None
    if named is not None and named.type == "binary_operator":  # a guard
        named = named.child_by_field_name("left")
    if named is not None and named.type == "call":
        named = named.child_by_field_name("target")
    name = text_of(named, data)
    return (name, kind) if name and kind else None


def _zig(node: Node, data: bytes) -> NamedSymbol | None:
    if function := text_of(follow(node, "FnProto/function"), data):
        return function, Kind.FUNCTION
    name = text_of(follow(node, "VarDecl/variable_type_function"), data)
    container = follow(node, "VarDecl/ErrorUnionExpr/SuffixExpr/ContainerDecl/ContainerDeclType")
    if name is None:
        return None
    if container is None:
        return name, Kind.CONSTANT
    return name, Kind.ENUM if data.startswith(b"enum", container.start_byte) else Kind.STRUCT


def _dockerfile(node: Node, data: bytes) -> NamedSymbol | None:
    name = text_of(node.child_by_field_name("as") or follow(node, "image_spec/name"), data)
    return (name, Kind.STAGE) if name else None


_YAML_KIND = re.compile(rb"^kind: *([A-Za-z]+) *\r?$", re.MULTILINE)
_YAML_NAME = re.compile(rb"^metadata:[^\n]*\n(?:[ #][^\n]*\n)*?  name: *[\"']?([\w.-]{1,100})", re.MULTILINE)


def _kubernetes(node: Node, data: bytes) -> NamedSymbol | None:
    """An object of Kubernetes, as `kubectl` would name it: ``Service/web``."""
    head = data[node.start_byte : min(node.end_byte, node.start_byte + 2000)]
    kind, name = _YAML_KIND.search(head), _YAML_NAME.search(head)
    if kind is None or name is None:
        return None
    return f"{kind[1].decode()}/{name[1].decode()}", Kind.RESOURCE


def _toml(node: Node, data: bytes) -> NamedSymbol | None:
    key = node.named_child(0)
    name = text_of(key, data)
    return (name, Kind.KEY if node.type == "pair" else Kind.TABLE) if name else None


def _terraform(node: Node, data: bytes) -> NamedSymbol | None:
    """A block by its address: `aws_instance.web`, `var.region`, `module.network`; others by type and labels."""
    words = []
    for child in node.named_children[:6]:
        if child.type not in ("identifier", "string_lit") or (word := text_of(child, data)) is None:
            break
        words.append(word)
    if not words:
        return None
    if words[0] == "resource" and len(words) > 1:
        words = words[1:]
    elif words[0] == "variable" and len(words) > 1:
        words[0] = "var"
    return ".".join(words), Kind.RESOURCE


def _r(node: Node, data: bytes) -> NamedSymbol | None:
    value, name = node.child_by_field_name("rhs"), node.child_by_field_name("lhs")
    if value is None or value.type != "function_definition" or name is None or name.type != "identifier":
        return None
    text = text_of(name, data)
    return (text, Kind.FUNCTION) if text else None


def _julia(node: Node, data: bytes) -> NamedSymbol | None:
    """``g(x) = x`` is a function."""
    call = node.named_child(0)
    name = text_of(call.named_child(0), data) if call is not None and call.type == "call_expression" else None
    return (name, Kind.FUNCTION) if name else None


_LISP = {
    "defun": Kind.FUNCTION, "defn": Kind.FUNCTION, "defn-": Kind.FUNCTION, "defmulti": Kind.FUNCTION,
    "defmethod": Kind.FUNCTION, "define": Kind.FUNCTION, "defgeneric": Kind.FUNCTION,
    "define/contract": Kind.FUNCTION,
    "defmacro": Kind.MACRO, "define-syntax": Kind.MACRO, "define-syntax-rule": Kind.MACRO,
    "def": Kind.CONSTANT, "defonce": Kind.CONSTANT, "defvar": Kind.CONSTANT, "defparameter": Kind.CONSTANT,
    "defconstant": Kind.CONSTANT, "defprotocol": Kind.INTERFACE, "defclass": Kind.CLASS, "defstruct": Kind.STRUCT,
    "defrecord": Kind.STRUCT, "deftype": Kind.TYPE, "struct": Kind.STRUCT, "define-record-type": Kind.STRUCT,
    "deftest": Kind.TEST,
}  # fmt: skip
_LISP_HEAD = re.compile(rb"\(\s*([\w/-]+)\s+(?:\^\S+\s+)*(\(?)\s*([^\s()\[\]{}\";]+)\s*(\(lambda)?")


def _lisp(node: Node, data: bytes) -> NamedSymbol | None:
    """``(defn f ...)``, ``(define (f x) ...)``: the form's first two words say all, whatever the grammar."""
    head = _LISP_HEAD.match(data, node.start_byte, node.start_byte + MAX_NAME_BYTES)
    kind = _LISP.get(head[1].decode(errors="replace")) if head else None
    if head is None or kind is None:
        return None
    if head[1] == b"define" and not head[2] and not head[4]:
        kind = Kind.CONSTANT
    return head[3].decode(errors="replace"), kind


RULES: Mapping[str, Callable[[Node, bytes], NamedSymbol | None]] = {
    "javascript": _javascript, "assigned": _assigned, "member": _member, "go": _go, "kotlin": _kotlin,
    "swift": _swift, "init": _init, "operator": _operator, "lua": _lua, "elixir": _elixir, "zig": _zig,
    "dockerfile": _dockerfile, "kubernetes": _kubernetes, "toml": _toml, "terraform": _terraform, "r": _r,
    "julia": _julia, "lisp": _lisp,
}  # fmt: skip
"""The rules that `syntax` calls by name."""
