"""The keywords that begin definitions in programming languages, by what they define. Pure.

Those that mean the same in every language that has them: who reads lines, names or chunks adds what holds there.
"""

from typing import Final

FUNCTIONS: Final = frozenset(["def", "func", "fn", "fun", "function", "sub"])
TYPES: Final = frozenset(
    ["class", "struct", "union", "interface", "enum", "trait", "protocol", "type", "object", "record"]
)
MODULES: Final = frozenset(["module", "mod", "namespace"])
VALUES: Final = frozenset(["const", "let", "var", "val"])
MACROS: Final = frozenset(["macro_rules!", "#define"])
