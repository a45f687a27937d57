from hypothesis import given
from hypothesis import strategies as st

from codebase_index.lexical.stemming import stem


def test_inflections_of_a_word_are_one_word() -> None:
    for words in ("cache caches cached caching", "map maps mapped mapping", "parse parsed parses parsing"):
        assert len({stem(word) for word in words.split()}) == 1, words


def test_short_words_numbers_identifiers_and_other_scripts_stay_as_they_are() -> None:
    for term in ("use", "as", "0xfe", "sha256", "get_users", "größe", "漢字", "e" * 3):
        assert stem(term) == term


@given(st.text(max_size=64))
def test_a_stem_is_never_empty_and_begins_the_term(term: str) -> None:
    found = stem(term)
    assert term.startswith(found)
    assert bool(found) == bool(term)
