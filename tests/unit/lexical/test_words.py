"""Words and terms: the examples are the contract, the properties hold for any text."""

import doctest
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.lexical import words as words_module
from codebase_index.lexical.words import MAX_SPLIT_LENGTH, MAX_TERM_LENGTH, split, terms, words

NAMES = st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8), min_size=1, max_size=6)

EXAMPLES = [
    ("snake_case", ["snake_case", "snake", "case"]),
    ("camelCase", ["camelcase", "camel", "case"]),
    ("HTTPServer", ["httpserver", "http", "server"]),
    ("getHTTP2Frame", ["gethttp2frame", "get", "http", "2", "frame"]),
    ("sha256", ["sha256", "sha", "256"]),
    ("MAX_SIZE", ["max_size", "max", "size"]),
    ("__init__", ["__init__", "init"]),
    ("_private", ["_private", "private"]),
    ("word", ["word"]),
    ("A", ["a"]),
    ("0xDEADbeef", ["0xdeadbeef"]),
    ("404", ["404"]),
    ("2fa_token", ["2fa_token", "2", "fa", "token"]),
    ("kebab-case", ["kebab", "case"]),
    ("a.b(c)", ["a", "b", "c"]),
    ("_ __ ()", []),
    ("", []),
    ("größeÄndern", ["grösseändern", "grösse", "ändern"]),
    ("имяФайла", ["имяфайла", "имя", "файла"]),
    ("हिन्दी", ["हिन्दी"]),
    ("ﬁle", ["file"]),
    ("日本語", ["日本語", "日本", "本語", "日", "本", "語"]),
    ("锁", ["锁"]),
    ("加锁。用户Login", ["加锁", "加", "锁", "用户login", "用户", "用", "户", "login"]),
    ("キャッシュ", ["キャッシュ", "キャ", "ャッ", "ッシ", "シュ"]),
    ("로그인이", ["로그인이", "로그", "그인", "인이"]),
    ("รหัส", ["รหัส", "รหั", "หัส"]),
]


@pytest.mark.parametrize(("source", "expected"), EXAMPLES, ids=[source or "empty" for source, _ in EXAMPLES])
def test_terms(source: str, expected: list[str]) -> None:
    assert terms(source) == expected


def test_docstrings_are_true() -> None:
    result = doctest.testmod(words_module)
    assert result.attempted >= 3
    assert result.failed == 0


def test_ascii_and_unicode_ways_agree() -> None:
    source = "class HTTPServer2(_Base): x[0] = sha256(raw_bytes)"
    assert terms(source + " é") == [*terms(source), "é"]


def test_a_long_name_is_cut_and_still_divided() -> None:
    name = "_".join(["verylongpart"] * 10)
    assert terms(name) == [name[:MAX_TERM_LENGTH], *["verylongpart"] * 10]


def test_data_gives_one_term() -> None:
    blob = "aB3" * MAX_SPLIT_LENGTH
    assert terms(blob) == [blob.lower()[:MAX_TERM_LENGTH]]


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_module, "CACHE_WORDS", 10)
    monkeypatch.setattr(words_module, "_terms_of_word", {})
    for number in range(100):
        assert terms(f"name{number}") == [f"name{number}", "name", str(number)]
        assert len(words_module._terms_of_word) <= 10


@given(st.text())
def test_terms_are_folded_bounded_and_repeatable(source: str) -> None:
    found = terms(source)
    assert found == terms(source)
    for term in found:
        assert 0 < len(term) <= MAX_TERM_LENGTH
        assert term == words_module.fold(term)
        assert not any(char.isspace() for char in term)


@given(st.text(min_size=1).filter(lambda text: words(text) == [text]))
def test_a_word_is_split_alone_as_in_a_text(word: str) -> None:
    assert list(split(word)) == terms(word)


@given(NAMES)
def test_joined_parts_come_apart_again(parts: list[str]) -> None:
    expected = parts if len(parts) > 1 else []
    camel = parts[0] + "".join(part.capitalize() for part in parts[1:])
    assert terms("_".join(parts)) == ["_".join(parts), *expected]
    if all(len(part) > 1 for part in parts):  # aB + C: nobody can tell where BC is to be divided
        assert terms(camel) == [camel.lower(), *expected]


@given(NAMES, st.sampled_from([" ", ".", "->", "\n", "::", "/"]))
def test_separators_separate(names: list[str], separator: str) -> None:
    assert words(separator.join(names)) == names


def test_folding_twice_changes_no_character() -> None:
    for code in range(sys.maxunicode + 1):
        for term in terms(chr(code)):
            assert words_module.fold(term) == term, hex(code)
