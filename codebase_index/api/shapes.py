"""Shapes that the strings of a spec may have: one source for pydantic, for the CRD's schema, and for the tools.

A pattern is RE2 and anchored, so that the API server reads it as we do. What does not fit is answered in words: a
pattern tells a person nothing.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class Shape:
    """An annotation of a string: what it must match, and how that is said to people."""

    pattern: str
    allowed: str
    """Completes the sentence "must be ..."."""

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(python_pattern(self.pattern))

    def check(self, value: str) -> str:
        """Return the value. Raises ValueError, with what is allowed, for one of another shape."""
        if not self._compiled.fullmatch(value):
            raise ValueError(f"must be {self.allowed}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}


def python_pattern(pattern: str) -> str:
    """Return a pattern of the API server's dialect in Python's, for `fullmatch`: they spell code points apart."""
    return re.sub(r"\\x\{([0-9a-f]{4})\}", r"\\u\1", pattern)


_UNPRINTABLE: Final = r"\x00-\x1f\x7f-\x9f\x{2028}\x{2029}\x{202a}-\x{202e}\x{2066}-\x{2069}"
"""Control characters, line ends, and marks that turn the direction of all text after them."""

_PRINTED: Final = "without line ends, control characters and marks of direction"

LINE: Final = Shape(rf"^[^{_UNPRINTABLE}]*$", f"one line of text, {_PRINTED}")
PATH: Final = Shape(rf"^/[^{_UNPRINTABLE}]*$", f"an absolute path, {_PRINTED}")

GIT_URL: Final = Shape(
    r"^(https|ssh)://([A-Za-z0-9_][A-Za-z0-9._-]{0,63}@)?[A-Za-z0-9][A-Za-z0-9.-]{0,252}(:[0-9]{1,5})?"
    r"/[A-Za-z0-9._~%!$&'()*+,;=:@/ -]+$",
    "https://HOST/PATH or ssh://USER@HOST/PATH, without password, query and fragment",
)
"""What nothing may lie outside of; codebase_index.api.git_url, which every reader calls too, is stricter."""

_REF_CHARACTER: Final = rf"[^{_UNPRINTABLE}\s~^:?*\[\\;|&$<>\"'`(){{}}!/.]"
_REF_PART: Final = rf"{_REF_CHARACTER}+(\.{_REF_CHARACTER}+)*"
REF: Final = Shape(
    rf"^[^{_UNPRINTABLE}\s~^:?*\[\\;|&$<>\"'`(){{}}!/.@+-]{_REF_CHARACTER}*(\.{_REF_CHARACTER}+)*(/{_REF_PART})*$",
    "the name of a branch or tag, or a commit's hash: visible characters, no range or expression, nothing that "
    "means something to a shell",
)
"""Names that git takes (git-check-ref-format), less those that look like an option, a refspec or a command."""

MODEL: Final = Shape(
    r"^[A-Za-z0-9][A-Za-z0-9_:@+-]*([./][A-Za-z0-9_:@+-]+)*$",
    "a model's name: letters, digits and . _ : / @ + -, such as BAAI/bge-m3 or nomic-embed-text:v1.5",
)

SECRET_NAME: Final = Shape(
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
    "the name of a Secret: lower-case letters, digits, - and .",
)

CPU: Final = Shape(
    r"^([1-9][0-9]{0,2}(\.[0-9]{1,3})?|0\.[0-9]{0,2}[1-9]0{0,2}|[1-9][0-9]{0,5}m)$",
    "cores above 0 and below 1000, such as 2, 0.5 or 1500m",
)
MEMORY: Final = Shape(r"^([1-9][0-9]{0,3}Gi|[1-9][0-9]{0,6}Mi)$", "memory above 0, such as 512Mi or 4Gi")
