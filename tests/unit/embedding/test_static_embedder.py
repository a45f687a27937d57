"""The static embedder against vectors that model2vec itself computed (hack/scripts/distill_model.py --golden)."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from codebase_index.embedding import Vectors
from codebase_index.embedding.shipped import STATIC_FOLDER
from codebase_index.embedding.static import StaticEmbedder
from codebase_index.embedding.wordpiece import WordPiece
from codebase_index.lexical.vocabulary import Vocabulary

DATA = Path(__file__).parent / "data"
TEXTS: list[str] = json.loads((DATA / "embedding_golden.json").read_text())

# The oracle is in float32, our token table in float16: measured 0.99999990 at worst.
EQUAL = 0.999999


@pytest.fixture(scope="module")
def embedder() -> StaticEmbedder:
    return StaticEmbedder.load()


@pytest.fixture(scope="module")
def table() -> NDArray[np.float16]:
    """The vectors of the tokens, as they are shipped."""
    vectors: NDArray[np.float16] = np.load(STATIC_FOLDER / "vectors.npy", mmap_mode="r")
    return vectors


TOKENIZER = (STATIC_FOLDER / "tokenizer.json").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def golden() -> Vectors:
    vectors: Vectors = np.load(DATA / "embedding_golden.npy")
    return vectors


@pytest.mark.parametrize("row", range(len(TEXTS)), ids=[text[:24] for text in TEXTS])
def test_equals_model2vec(embedder: StaticEmbedder, golden: Vectors, row: int) -> None:
    assert embedder.embed_query(TEXTS[row]) @ golden[row] > EQUAL


def test_a_batch_gives_what_single_texts_give(embedder: StaticEmbedder, golden: Vectors) -> None:
    vectors = embedder.embed_documents(TEXTS * 20)  # more than one internal batch
    assert vectors.shape == (20 * len(TEXTS), embedder.dimension)
    assert vectors.dtype == np.float32
    assert (np.sum(vectors * np.tile(golden, (20, 1)), axis=1) > EQUAL).all()


@pytest.mark.parametrize("max_words", [0, 1, 40, 120], ids=["none fits", "one fits", "some fit", "most fit"])
def test_a_small_vocabulary_changes_nothing(table: NDArray[np.float16], golden: Vectors, max_words: int) -> None:
    small = StaticEmbedder("small", table, TOKENIZER, Vocabulary(max_words))
    for text, vector in zip(TEXTS, golden, strict=True):
        assert small.embed_query(text) @ vector > EQUAL
    assert (np.sum(small.embed_documents(TEXTS) * golden, axis=1) > EQUAL).all()
    assert small.vocabulary.generation > 0


@pytest.mark.parametrize("text", ["", " \n", "\x00", "\u200b", "w" * 101], ids=ascii)
def test_a_text_without_known_tokens_gets_the_last_axis(embedder: StaticEmbedder, text: str) -> None:
    vector = embedder.embed_query(text)
    assert vector[-1] == 1.0
    assert np.count_nonzero(vector) == 1


@given(text=st.text())
def test_every_text_gets_a_unit_vector(embedder: StaticEmbedder, text: str) -> None:
    assert np.linalg.norm(embedder.embed_query(text)) == pytest.approx(1.0, abs=1e-5)


@given(text=st.text(st.characters(max_codepoint=0x2FF)))
def test_the_fast_way_equals_the_real_tokenizer(
    embedder: StaticEmbedder, table: NDArray[np.float16], text: str
) -> None:
    ids = embedder.tokenizer.encode(text, add_special_tokens=False).ids
    expected = table[ids].astype(np.float32).sum(axis=0)
    length = float(np.linalg.norm(expected))
    if length > 0.0:
        assert embedder.embed_query(text) @ (expected / length) > EQUAL


PIECES = WordPiece(json.loads(TOKENIZER)["model"]["vocab"])


@settings(deadline=None)
@given(word=st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=120))
def test_wordpiece_equals_the_real_tokenizer(embedder: StaticEmbedder, word: str) -> None:
    unknown = embedder.tokenizer.token_to_id("[UNK]")
    ids = embedder.tokenizer.encode(word, add_special_tokens=False).ids
    assert PIECES.tokens(word) == [i for i in ids if i != unknown]


def test_lone_surrogates_are_no_obstacle(embedder: StaticEmbedder) -> None:
    undecodable = b"caf\xe9 = 1".decode("utf-8", "surrogateescape")
    assert np.isfinite(embedder.embed_query(undecodable)).all()


def test_no_texts_give_no_rows(embedder: StaticEmbedder) -> None:
    assert embedder.embed_documents([]).shape == (0, 256)


def test_related_text_is_nearer_than_unrelated(embedder: StaticEmbedder) -> None:
    query = embedder.embed_query("send an HTTP request and retry on failure")
    related, unrelated = embedder.embed_documents(
        ["def fetch(url, attempts):\n    return http.get(url, retry=attempts)", "matrix = numpy.eye(3) * scale"]
    )
    assert query @ related > query @ unrelated + 0.1


def test_says_which_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        StaticEmbedder.load(tmp_path)


def test_name_tells_provider_and_model(embedder: StaticEmbedder) -> None:
    assert (embedder.name, embedder.dimension) == ("static/minilm-256", 256)
    assert STATIC_FOLDER.name.endswith("256")
