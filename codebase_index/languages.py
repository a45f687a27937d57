"""Programming languages: which one a file is in, by its name or first line, and what people call them. Pure."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Language:
    """`name` is what search filters by; `grammar` is a tree-sitter grammar, a format of `prose` or a notebook;
    None: chunked by lines. `data`: read by programs rather than by people.
    """

    name: str
    grammar: str | None = None
    data: bool = False


def _parsed(name: str, grammar: str | None = None) -> Language:
    return Language(name, grammar or name)


MAX_DATA_BYTES = 256 * 1024
"""A larger data file is not indexed: its hundreds of chunks would answer no question and crowd out the useful
ones. Manifests, settings, schemas and small fixtures are far smaller."""


def _data(name: str, grammar: str | None = None) -> Language:
    return Language(name, grammar, data=True)


LANGUAGES: dict[str, Language] = {
    extension: language
    for language, extensions in [
        (_parsed("python"), "py pyi pyw bzl star"),
        (_parsed("javascript"), "js jsx mjs cjs"),
        (_parsed("typescript"), "ts mts cts"),
        (_parsed("typescript", "tsx"), "tsx"),
        (_parsed("go"), "go"),
        (_parsed("rust"), "rs"),
        (_parsed("java"), "java"),
        (_parsed("c"), "c"),
        # A header may be either; the C++ grammar reads nearly all of C, not the other way round.
        (_parsed("c", "cpp"), "h"),
        (_parsed("cpp"), "cc cpp cxx c++ hh hpp hxx h++ inl ipp tpp cu cuh"),
        (_parsed("ruby"), "rb rake gemspec podspec"),
        (_parsed("php"), "php phtml php3 php4 php5 php7 phps"),
        (_parsed("csharp"), "cs csx"),
        (_parsed("bash"), "sh bash zsh ksh bats"),
        (_parsed("kotlin"), "kt kts"),
        (_parsed("swift"), "swift"),
        (_parsed("scala"), "scala sc"),
        (_parsed("lua"), "lua"),
        (_parsed("elixir"), "ex exs"),
        (_parsed("erlang"), "erl hrl"),
        (_parsed("haskell"), "hs lhs"),
        (_parsed("zig"), "zig"),
        (_parsed("dart"), "dart"),
        (_parsed("r"), "r"),
        (_parsed("julia"), "jl"),
        (_parsed("perl"), "pl pm t"),
        (_parsed("ocaml"), "ml"),
        (_parsed("ocaml", "ocaml_interface"), "mli"),
        (_parsed("clojure"), "clj cljs cljc edn"),
        (Language("groovy"), "groovy gradle"),
        (_parsed("objective-c", "objc"), "m mm"),
        (_parsed("commonlisp"), "lisp lsp cl"),
        (_parsed("scheme"), "scm ss sld"),
        (_parsed("racket"), "rkt"),
        (_parsed("emacs-lisp", "elisp"), "el"),
        (_parsed("fsharp"), "fs fsx"),
        (_parsed("elm"), "elm"),
        (_parsed("gleam"), "gleam"),
        (_parsed("solidity"), "sol"),
        (_parsed("fortran"), "f90 f95 f03 f08"),
        (_parsed("gdscript"), "gd"),
        (_parsed("glsl"), "glsl vert frag"),
        (_parsed("wgsl"), "wgsl"),
        (_parsed("tcl"), "tcl"),
        (_parsed("fish"), "fish"),
        (_parsed("thrift"), "thrift"),
        (_parsed("prisma"), "prisma"),
        (_parsed("bicep"), "bicep"),
        (_parsed("luau"), "luau"),
        (Language("assembly"), "s asm"),
        (_parsed("sql"), "sql"),
        (_parsed("protobuf", "proto"), "proto"),
        (_parsed("graphql"), "graphql gql"),
        (_parsed("terraform", "hcl"), "tf tfvars hcl"),
        (_parsed("powershell"), "ps1 psm1 psd1"),
        (_parsed("vue"), "vue"),
        (_parsed("svelte"), "svelte"),
        (_parsed("html"), "html htm xhtml"),
        (_parsed("css"), "css"),
        (_parsed("css", "scss"), "scss less"),
        (Language("css"), "sass"),
        (_parsed("markdown"), "md markdown mdx"),
        (_parsed("restructuredtext", "rst"), "rst"),
        (_parsed("asciidoc"), "adoc asciidoc"),
        (_parsed("org"), "org"),
        (Language("text"), "txt"),
        (_data("yaml", "yaml"), "yaml yml"),
        (_data("toml", "toml"), "toml"),
        (_data("json", "json"), "json jsonc json5"),
        (_data("json"), "jsonl ndjson"),
        (_parsed("notebook"), "ipynb"),
        (_data("xml"), "xml xsd xsl xslt svg plist csproj"),
        (_data("ini"), "ini cfg conf properties env"),
        (_data("csv"), "csv tsv"),
        (_parsed("cmake"), "cmake"),
        (_parsed("make"), "mk mak"),
        (_parsed("dockerfile"), "dockerfile containerfile"),
        (Language("template"), "tmpl tpl j2 jinja jinja2 erb"),
        (Language("diff"), "diff patch"),
        (_parsed("vim"), "vim"),
        (_parsed("nix"), "nix"),
        (_parsed("latex"), "tex sty cls bib"),
    ]
    for extension in extensions.split()
}

_BY_NAME: dict[str, Language] = {
    "makefile": _parsed("make"),
    "gnumakefile": _parsed("make"),
    "dockerfile": _parsed("dockerfile"),
    "containerfile": _parsed("dockerfile"),
    "cmakelists.txt": _parsed("cmake"),
    "jenkinsfile": Language("groovy"),
    "go.mod": Language("go-mod"),
    "go.work": Language("go-mod"),
    "rakefile": _parsed("ruby"),
    "gemfile": _parsed("ruby"),
    "vagrantfile": _parsed("ruby"),
    "podfile": _parsed("ruby"),
    "build": _parsed("python"),  # Bazel
    "build.bazel": _parsed("python"),
    "workspace": _parsed("python"),
    "sconstruct": _parsed("python"),
    "wscript": _parsed("python"),
    ".bashrc": _parsed("bash"),
    ".bash_profile": _parsed("bash"),
    ".profile": _parsed("bash"),
    ".zshrc": _parsed("bash"),
    "pkgbuild": _parsed("bash"),
}

_SPELLINGS: dict[str, str] = {
    spelling: name
    for name, spellings in {
        "python": "python3 cython", "javascript": "node nodejs ecmascript javascriptreact", "go": "golang",
        "typescript": "typescriptreact", "rust": "rustlang", "c": "ansi-c", "cpp": "cplusplus cuda",
        "csharp": "c# dotnet", "fsharp": "f#", "bash": "shell shellscript", "objective-c": "objc objectivec obj-c",
        "commonlisp": "common-lisp", "emacs-lisp": "elisp", "assembly": "assembler",
        "sql": "postgresql plpgsql mysql tsql", "notebook": "jupyter jupyter-notebook",
        "protobuf": "protocol-buffers proto3", "terraform": "opentofu", "powershell": "pwsh", "vue": "vuejs",
        "restructuredtext": "restructured-text", "text": "plaintext plain-text",
        "make": "makefile gnumake", "dockerfile": "docker", "vim": "vimscript viml", "go-mod": "gomod go.mod",
        "ini": "dotenv", "css": "stylesheet",
    }.items()
    for spelling in spellings.split()
}  # fmt: skip
"""What people call languages, besides their names here and the extensions of their files."""

NAMES: tuple[str, ...] = tuple(sorted({language.name for language in (*LANGUAGES.values(), *_BY_NAME.values())}))
"""The languages that files can be in."""

_SEPARATORS = re.compile(r"[\s_.-]+")
_CANONICAL = {
    **{extension: language.name for extension, language in LANGUAGES.items()},
    **_SPELLINGS,
    **{name: name for name in NAMES},
}
_CANONICAL_JOINED = {_SEPARATORS.sub("", spelling): name for spelling, name in _CANONICAL.items()}

_SHEBANG = re.compile(rb"#![^\n]*?\b(python|node|deno|ruby|php|bash|zsh|ksh|sh|perl|lua)[.\d]*(?:\s|$)")
_BY_INTERPRETER: dict[bytes, Language] = {
    b"python": _parsed("python"),
    b"node": _parsed("javascript"),
    b"deno": _parsed("typescript"),
    b"ruby": _parsed("ruby"),
    b"php": _parsed("php"),
    b"bash": _parsed("bash"),
    b"zsh": _parsed("bash"),
    b"ksh": _parsed("bash"),
    b"sh": _parsed("bash"),
    b"perl": _parsed("perl"),
    b"lua": _parsed("lua"),
}

_UNKNOWN = Language("")
_PROSE = frozenset(["markdown", "restructuredtext", "asciidoc", "org", "latex", "text"])


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


def is_prose(language: Language) -> bool:
    """Say whether a language is prose, written in paragraphs."""
    return language.name in _PROSE


def detect(path: str, head: bytes = b"") -> Language:
    """Return the language of a file: by its name, else by the `#!` line at its `head`.

    An unknown language has the empty name; its text is chunked by lines.

    >>> detect("src/app.py").name, detect("bin/run", b"#!/usr/bin/env node\\n").grammar
    ('python', 'javascript')
    """
    name = PurePosixPath(path).name.lower()
    if found := _BY_NAME.get(name):
        return found
    _, dot, extension = name.rpartition(".")
    if dot and (found := LANGUAGES.get(extension)):
        return found
    if name.startswith(("dockerfile.", "containerfile.")):
        return _BY_NAME["dockerfile"]
    match = _SHEBANG.match(head[:256])
    return _BY_INTERPRETER[match[1]] if match else _UNKNOWN


def same_kind(path: str, other: str) -> bool:
    """Say whether files of equal content have the same language under both names; their first line is equal."""
    return detect(path) == detect(other)
