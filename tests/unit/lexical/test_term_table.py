"""The terms of texts by numbers are those that the texts have, whatever the vocabulary met and forgot before."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from codebase_index.lexical import postings
from codebase_index.lexical.postings import find
from codebase_index.lexical.stemming import stem
from codebase_index.lexical.term_table import TermTable
from codebase_index.lexical.vocabulary import Vocabulary
from codebase_index.lexical.words import terms, words

WORD = st.sampled_from(
    ["self", "parseHTTP", "get_user", "users", "_", "__init__", "0xFF", "größe", "漢字", "caching"]
)
TEXT = st.lists(WORD, max_size=12).map(" + ".join) | st.text()
BATCHES = st.lists(st.lists(TEXT, max_size=5), max_size=5)


@given(BATCHES, st.integers(0, 20))
def test_terms_are_counted_for_each_text(batches: list[list[str]], max_words: int) -> None:
    vocabulary = Vocabulary(max_words)
    table = TermTable(vocabulary)
    for texts in batches:
        table.clear_if_full()
        encoded = postings.encode(table.occurrences(vocabulary.tokenize(texts)))
        part = postings.decode(encoded.vocabulary, encoded.payload)
        found = [Counter[str]() for _ in texts]
        for term in part.postings.terms:
            for document, times in zip(*find(part.postings, term), strict=True):
                found[document][term] = int(times)
        assert found == [Counter(stem(term) for term in terms(text)) for text in texts]


@given(BATCHES)
def test_a_part_has_the_words_of_its_texts(batches: list[list[str]]) -> None:
    vocabulary = Vocabulary()
    for texts in batches:
        tokenized = vocabulary.tokenize(texts)
        for begin in range(len(texts) + 1):
            part = tokenized.part(begin, len(texts))
            named = [vocabulary.words[number] for number in part.word_ids.tolist()]
            ends = part.offsets.tolist()
            assert [named[a:b] for a, b in pairwise(ends)] == [words(t) for t in texts[begin:]]


def test_long_words_are_forgotten_sooner() -> None:
    vocabulary = Vocabulary(max_words=100)
    for begin in range(0, 50, 10):
        vocabulary.tokenize([" ".join(f"{n:0200}" for n in range(begin, begin + 10))])
        vocabulary.clear_if_full()
    assert vocabulary.generation == 2
    assert len(vocabulary.words) <= 20


def test_words_are_forgotten_sooner_where_each_has_many_terms() -> None:
    vocabulary = Vocabulary(max_words=100)
    table = TermTable(vocabulary)
    for batch in range(10):
        table.clear_if_full()
        sentence = "".join(chr(0x4E00 + 60 * batch + n) for n in range(60))
        table.occurrences(vocabulary.tokenize([sentence]))
    assert vocabulary.generation == 4  # each has 120 terms, so that two have more than twice as many as words


def test_words_are_forgotten_between_batches_when_they_are_too_many() -> None:
    vocabulary = Vocabulary(max_words=2)
    vocabulary.tokenize(["one two"])
    vocabulary.clear_if_full()
    assert (vocabulary.tokenize(["two three"]).word_ids.tolist(), vocabulary.generation) == ([1, 2], 0)
    vocabulary.clear_if_full()
    assert (vocabulary.tokenize(["three"]).word_ids.tolist(), vocabulary.generation) == ([0], 1)
    assert vocabulary.words == ["three"]
