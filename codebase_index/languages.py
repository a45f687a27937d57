"""Programming languages: which one a file is in, by its name or first line, and what people call them. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import PurePosixPath


class Comments(StrEnum):
    """How a language writes its comments."""

    HASHES = "#"
    SLASHES = "//"
    """Also `/* ... */`."""
    DASHES = "--"


@dataclass(frozen=True)
class Language:
    """`name` is what search filters by; `grammar` is a tree-sitter grammar, a format of `prose` or a notebook;
    None: chunked by lines. The rest is what other modules ask: a trait is a field, not a list of names elsewhere.
    """

    name: str
    grammar: str | None = None
    data: bool = False
    """Read by programs rather than by people."""
    prose: bool = False
    """Written in paragraphs."""
    markup: bool = False
    """Text between tags."""
    script: bool = False
    """JavaScript, and what is written like it or holds it."""
    typed: bool = False
    """A type stands before what has it: ``Store store``."""
    comments: Comments | None = None
    """Where the server tells them from code; None: it takes all for code."""


MAX_DATA_BYTES = 256 * 1024
"""A larger data file is not indexed: its hundreds of chunks would answer no question and crowd out the useful
ones. Manifests, settings, schemas and small fixtures are far smaller."""


@dataclass(frozen=True)
class _Row:
    """A language, and the words by which it is recognised: `extensions` of files (`tsx=tsx`: with another grammar;
    `sass=`: with none), names of `files` in lower case, `interpreters` in a `#!` line, `aliases` in requests.
    """

    language: Language
    extensions: str = ""
    files: str = ""
    interpreters: str = ""
    aliases: str = ""

    def by_extension(self) -> Iterator[tuple[str, Language]]:
        """Yield each extension with the language under its grammar."""
        for extension in self.extensions.split():
            name, own, grammar = extension.partition("=")
            yield name, replace(self.language, grammar=grammar or None) if own else self.language


def _code(name: str, grammar: str = "", comments: Comments | None = None, **traits: bool) -> Language:
    return Language(name, grammar or name, comments=comments, **traits)


def _script(name: str) -> Language:
    return _code(name, comments=SLASHES, script=True)


def _data(
    name: str, grammar: str | None = None, comments: Comments | None = None, *, markup: bool = False
) -> Language:
    return Language(name, grammar, data=True, markup=markup, comments=comments)


def _prose(name: str, grammar: str | None = None) -> Language:
    return Language(name, grammar, prose=True)


HASHES, SLASHES, DASHES = Comments

_TABLE = (
    _Row(
        _code("python", comments=HASHES), "py pyi pyw bzl star",
        files="build build.bazel workspace sconstruct wscript",  # the first three: Bazel
        interpreters="python", aliases="python3 cython",
    ),
    _Row(
        _script("javascript"), "js jsx mjs cjs",
        interpreters="node", aliases="node nodejs ecmascript javascriptreact",
    ),
    _Row(_script("typescript"), "ts mts cts tsx=tsx", interpreters="deno", aliases="typescriptreact"),
    _Row(_code("go", comments=SLASHES), "go", aliases="golang"),
    _Row(_code("rust", comments=SLASHES), "rs", aliases="rustlang"),
    _Row(_code("java", comments=SLASHES, typed=True), "java"),
    # A header may be either; the C++ grammar reads nearly all of C, not the other way round.
    _Row(_code("c", comments=SLASHES, typed=True), "c h=cpp", aliases="ansi-c"),
    _Row(
        _code("cpp", comments=SLASHES, typed=True), "cc cpp cxx c++ hh hpp hxx h++ inl ipp tpp cu cuh",
        aliases="cplusplus cuda",
    ),
    _Row(
        _code("ruby", comments=HASHES), "rb rake gemspec podspec",
        files="rakefile gemfile vagrantfile podfile", interpreters="ruby",
    ),
    _Row(_code("php", comments=SLASHES), "php phtml php3 php4 php5 php7 phps", interpreters="php"),
    _Row(_code("csharp", comments=SLASHES, typed=True), "cs csx", aliases="c# dotnet"),
    _Row(
        _code("bash", comments=HASHES), "sh bash zsh ksh bats",
        files=".bashrc .bash_profile .profile .zshrc pkgbuild",
        interpreters="bash zsh ksh sh", aliases="shell shellscript",
    ),
    _Row(_code("kotlin", comments=SLASHES), "kt kts"),
    _Row(_code("swift", comments=SLASHES), "swift"),
    _Row(_code("scala", comments=SLASHES), "scala sc"),
    _Row(_code("lua", comments=DASHES), "lua", interpreters="lua"),
    _Row(_code("elixir", comments=HASHES), "ex exs"),
    _Row(_code("erlang"), "erl hrl"),
    _Row(_code("haskell"), "hs lhs"),
    _Row(_code("zig", comments=SLASHES), "zig"),
    _Row(_code("dart", comments=SLASHES, typed=True), "dart"),
    _Row(_code("r", comments=HASHES), "r"),
    _Row(_code("julia", comments=HASHES), "jl"),
    _Row(_code("perl", comments=HASHES), "pl pm t", interpreters="perl"),
    _Row(_code("ocaml"), "ml mli=ocaml_interface"),
    _Row(_code("clojure"), "clj cljs cljc edn"),
    _Row(Language("groovy", comments=SLASHES, typed=True), "groovy gradle", files="jenkinsfile"),
    _Row(_code("objective-c", "objc", SLASHES, typed=True), "m mm", aliases="objc objectivec obj-c"),
    _Row(_code("commonlisp"), "lisp lsp cl", aliases="common-lisp"),
    _Row(_code("scheme"), "scm ss sld"),
    _Row(_code("racket"), "rkt"),
    _Row(_code("emacs-lisp", "elisp"), "el", aliases="elisp"),
    _Row(_code("fsharp"), "fs fsx", aliases="f#"),
    _Row(_code("elm"), "elm"),
    _Row(_code("gleam"), "gleam"),
    _Row(_code("solidity"), "sol"),
    _Row(_code("fortran"), "f90 f95 f03 f08"),
    _Row(_code("gdscript"), "gd"),
    _Row(_code("glsl"), "glsl vert frag"),
    _Row(_code("wgsl"), "wgsl"),
    _Row(_code("tcl"), "tcl"),
    _Row(_code("fish"), "fish"),
    _Row(_code("thrift"), "thrift"),
    _Row(_code("prisma"), "prisma"),
    _Row(_code("bicep"), "bicep"),
    _Row(_code("luau"), "luau"),
    _Row(Language("assembly"), "s asm", aliases="assembler"),
    _Row(_code("sql", comments=DASHES), "sql", aliases="postgresql plpgsql mysql tsql"),
    _Row(_code("protobuf", "proto"), "proto", aliases="protocol-buffers proto3"),
    _Row(_code("graphql"), "graphql gql"),
    _Row(_code("terraform", "hcl"), "tf tfvars hcl", aliases="opentofu"),
    _Row(_code("powershell"), "ps1 psm1 psd1", aliases="pwsh"),
    _Row(_script("vue"), "vue", aliases="vuejs"),
    _Row(_script("svelte"), "svelte"),
    _Row(_code("html", markup=True), "html htm xhtml"),
    _Row(_code("css"), "css scss=scss less=scss sass=", aliases="stylesheet"),
    _Row(_prose("markdown", "markdown"), "md markdown mdx"),
    _Row(_prose("restructuredtext", "rst"), "rst", aliases="restructured-text"),
    _Row(_prose("asciidoc", "asciidoc"), "adoc asciidoc"),
    _Row(_prose("org", "org"), "org"),
    _Row(_prose("text"), "txt", aliases="plaintext plain-text"),
    _Row(_data("yaml", "yaml", HASHES), "yaml yml"),
    _Row(_data("toml", "toml", HASHES), "toml"),
    _Row(_data("json", "json"), "json jsonc json5 jsonl= ndjson="),
    _Row(_code("notebook"), "ipynb", aliases="jupyter jupyter-notebook"),
    _Row(_data("xml", markup=True), "xml xsd xsl xslt svg plist csproj"),
    _Row(_data("ini"), "ini cfg conf properties env", aliases="dotenv"),
    _Row(_data("csv"), "csv tsv"),
    _Row(_code("cmake"), "cmake", files="cmakelists.txt"),
    _Row(_code("make", comments=HASHES), "mk mak", files="makefile gnumakefile", aliases="makefile gnumake"),
    _Row(
        _code("dockerfile", comments=HASHES), "dockerfile containerfile",
        files="dockerfile containerfile", aliases="docker",
    ),
    _Row(Language("go-mod"), files="go.mod go.work", aliases="gomod go.mod"),
    _Row(Language("template"), "tmpl tpl j2 jinja jinja2 erb"),
    _Row(Language("diff"), "diff patch"),
    _Row(_code("vim"), "vim", aliases="vimscript viml"),
    _Row(_code("nix"), "nix"),
    _Row(_prose("latex", "latex"), "tex sty cls bib"),
)  # fmt: skip

LANGUAGES: dict[str, Language] = {extension: found for row in _TABLE for extension, found in row.by_extension()}
"""The languages by the extensions of files."""

_BY_FILE = {name: row.language for row in _TABLE for name in row.files.split()}
_BY_INTERPRETER = {name.encode(): row.language for row in _TABLE for name in row.interpreters.split()}

NAMES: tuple[str, ...] = tuple(sorted(row.language.name for row in _TABLE))
"""The languages that files can be in."""

_SEPARATORS = re.compile(r"[\s_.-]+")
_CANONICAL = {
    **{extension: language.name for extension, language in LANGUAGES.items()},
    **{alias: row.language.name for row in _TABLE for alias in row.aliases.split()},
    **{name: name for name in NAMES},
}
_CANONICAL_JOINED = {_SEPARATORS.sub("", spelling): name for spelling, name in _CANONICAL.items()}

_SHEBANG = re.compile(rb"#![^\n]*?\b(%b)[.\d]*(?:\s|$)" % b"|".join(_BY_INTERPRETER))

_UNKNOWN = Language("")


def canonical_name(text: str) -> str | None:
    """Return the name of the language that people call so, in any letter case, or by an extension. None: unknown.

    >>> canonical_name("TSX"), canonical_name("C++"), canonical_name("*.py"), canonical_name("Objective C")
    ('typescript', 'cpp', 'python', 'objective-c')
    """
    wanted = text.strip().lower().removeprefix("*").removeprefix(".")
    return _CANONICAL.get(wanted) or _CANONICAL_JOINED.get(_SEPARATORS.sub("", wanted))


def is_large_data(language: Language, size: int) -> bool:
    """Say whether a file of `size` bytes is a data file too large to be worth indexing."""
    return language.data and size > MAX_DATA_BYTES


def detect(path: str, head: bytes = b"") -> Language:
    """Return the language of a file: by its name, else by the `#!` line at its `head`.

    An unknown language has the empty name; its text is chunked by lines.

    >>> detect("src/app.py").name, detect("bin/run", b"#!/usr/bin/env node\\n").grammar
    ('python', 'javascript')
    """
    name = PurePosixPath(path).name.lower()
    if found := _BY_FILE.get(name):
        return found
    _, dot, extension = name.rpartition(".")
    if dot and (found := LANGUAGES.get(extension)):
        return found
    if name.startswith(("dockerfile.", "containerfile.")):
        return _BY_FILE["dockerfile"]
    match = _SHEBANG.match(head[:256])
    return _BY_INTERPRETER[match[1]] if match else _UNKNOWN


def same_kind(path: str, other: str) -> bool:
    """Say whether files of equal content have the same language under both names; their first line is equal."""
    return detect(path) == detect(other)
