"""Names of chunks, as they are stored. What they are worth is tested with the ranking."""

from hypothesis import given
from hypothesis import strategies as st

from codebase_index.names import NO_NAMES, from_text, names_of, to_text

PATHS = ["a.py", "pkg/__init__.py", "src/a.rs", "index.ts"]
LINES = [
    "class Basket:", "def total(self):", "from .a import (B,\n C)", "pub use x::{Y};", "é (", "const z = 1",
    "export { A } from './a'", "# A heading\t(", "func (b *Box) Add(x", "Basket.total = 3", "total (",
]  # fmt: skip


@given(
    st.sampled_from(PATHS),
    st.lists(st.sampled_from(LINES)).map("\n".join),
    st.sampled_from([None, "Basket.total", "A heading\t", "é"]),
)
def test_stored_names_are_read_as_they_were(path: str, text: str, symbol: str | None) -> None:
    names = names_of(path, text, symbol)
    assert from_text(to_text(names)) == names
    assert bool(to_text(names)) == (names != NO_NAMES)
