"""The keywords that begin definitions in programming languages, by what they define. Pure.

Only those that mean the same in every language that has them; other modules add what holds for what they read.
"""

from typing import Final

FUNCTIONS: Final = frozenset(["def", "func", "fn", "fun", "function", "sub"])
TYPES: Final = frozenset(
    ["class", "struct", "union", "interface", "enum", "trait", "protocol", "type", "object", "record"]
)
MODULES: Final = frozenset(["module", "mod", "namespace"])
VALUES: Final = frozenset(["const", "let", "var", "val"])
MACROS: Final = frozenset(["macro_rules!", "#define"])
