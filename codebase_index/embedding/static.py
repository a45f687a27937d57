"""The default embedder: token vectors looked up and summed, no neural network at run time.

Gives what model2vec's `encode` gives (see scripts/distill_model.py), several times
faster: model2vec tokenizes every word again and again, while source code repeats a few
names. Here each distinct word is tokenized once and its token vectors are summed once;
a batch of texts is then the product of a sparse matrix (texts by words, counts) and the
dense table of word sums. The order of tokens does not matter to a sum, so the result is
equal up to rounding.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from tokenizers import Tokenizer

from codebase_index.embedding.protocol import Traits, Vectors
from codebase_index.embedding.shipped import STATIC_FOLDER, static_name
from codebase_index.embedding.vectors import to_unit_length
from codebase_index.embedding.wordpiece import WordPiece

CACHED_WORDS = 65_536
"""Distinct words whose sums are kept, 1 KB each: 64 MB when full, in each process; then the cache starts afresh.
31 MB of Go have 58,000; with half as many places 29 % more words are summed again, 7 us each."""

_BATCH_TEXTS = 256  # bounds the matrices, and what one batch can ask of the cache

# What BERT's normalizer and pre-tokenizer do to visible ASCII: letters lose their case, letters and
# digits make words, and each other character is a word of its own (these are counted, not split off).
_WORDS = "".join(c.lower() if c.isalnum() else " " for c in map(chr, range(128)))
_PUNCTUATION = np.array([c for c in range(33, 127) if not chr(c).isalnum()])

# The rest is odd: other scripts, and control characters, which the normalizer deletes. The look-behind
# lets a match start only where a field starts: linear time, however long the fields are.
_CONTROLS = bytes(c for c in [*range(32), 127] if chr(c) not in "\t\n\r")
_ODD_FIELD = re.compile(r"(?<![^ \t\n\r])[!-~]*+[^ \t\n\r!-~][^ \t\n\r]*")


class StaticEmbedder:
    """Embeds with the static model of a folder; `StaticEmbedder.load()` takes the one that we ship.

    Not for use by several threads at once: the word cache has no lock. Processes share
    the memory of the token table, which is mapped from its file.
    """

    def __init__(
        self,
        name: str,
        vectors: NDArray[np.float16],
        tokenizer: Tokenizer,
        cached_words: int = CACHED_WORDS,
    ) -> None:
        """Take a token table of shape (tokens, dimension) and the tokenizer whose ids are its rows."""
        self.name = name
        self.traits = Traits(batch_texts=_BATCH_TEXTS)
        self._vectors = vectors
        self._tokenizer = tokenizer
        self._pieces = WordPiece(tokenizer.get_vocab())
        self._capacity = cached_words
        self._rows = _RowNumbers()  # word -> its row in _word_sums
        # Pages of an empty array cost no memory until they are written: the table grows with the cache.
        self._word_sums = np.empty((cached_words, self.dimension), dtype=np.float32)
        self._punctuation_sums = self._sum_words(map(chr, _PUNCTUATION))

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """Open the shipped model, or the one in `folder`, in a fraction of a second.

        Raises OSError when one of the model's three files is missing or cannot be read.
        """
        folder = folder or STATIC_FOLDER
        name = static_name(folder)
        tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
        vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        return cls(name, vectors, tokenizer)

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return int(self._vectors.shape[1])

    def check(self) -> None:
        """Return at once: what it needs lies in this process."""

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector of a query, float32 of shape (dimension,)."""
        vector: Vectors = self.embed_documents([text])[0]
        return vector

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, float32 of shape (len(texts), dimension).

        A text without any known token gets the last unit vector of the basis, the axis
        that carries the least variance (PCA orders them): see to_unit_length.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), _BATCH_TEXTS):
            batch = texts[start : start + _BATCH_TEXTS]
            vectors[start : start + len(batch)] = self._sum_texts(batch)
        return to_unit_length(vectors)

    def _sum_texts(self, texts: Sequence[str]) -> Vectors:
        """Sum the token vectors of each text."""
        divided = [_divide(text) for text in texts]
        plain = [text for text, _ in divided]
        sums = self._sum_cached_words([text.translate(_WORDS).split() for text in plain])
        sums += _count_punctuation(plain) @ self._punctuation_sums
        odd = [i for i, (_, text) in enumerate(divided) if text]
        if odd:
            sums[odd] += self._sum_odd([divided[i][1] for i in odd])
        return sums

    def _sum_cached_words(self, texts: Sequence[Sequence[str]]) -> Vectors:
        count = sum(map(len, texts))  # all might be new
        if count > self._capacity:
            return self._sum_tokens([[t for word in text for t in self._pieces.tokens(word)] for text in texts])
        if len(self._rows) + count > self._capacity:
            self._rows.clear()
        start = len(self._rows)
        rows = [list(map(self._rows.__getitem__, text)) for text in texts]
        end = len(self._rows)
        added = list(islice(reversed(self._rows), end - start))[::-1]
        self._word_sums[start:end] = self._sum_words(added)
        return _sum_rows(rows, self._word_sums[:end])

    def _sum_words(self, words: Iterable[str]) -> Vectors:
        return self._sum_tokens([self._pieces.tokens(word) for word in words])

    def _sum_odd(self, texts: Sequence[str]) -> Vectors:
        """Sum by the real tokenizer: right for every script, and slow."""
        # One by one, because the batch call starts threads, and a process with threads must not fork.
        encodings = [self._tokenizer.encode(text, add_special_tokens=False) for text in texts]
        return self._sum_tokens([encoding.ids for encoding in encodings])

    def _sum_tokens(self, texts: Sequence[Sequence[int]]) -> Vectors:
        distinct = sorted(set().union(*texts))
        row = {token: i for i, token in enumerate(distinct)}
        table = self._vectors[distinct].astype(np.float32)
        return _sum_rows([[row[token] for token in tokens] for tokens in texts], table)


class _RowNumbers(dict[str, int]):
    """Gives every new word the next row."""

    def __missing__(self, word: str) -> int:
        self[word] = row = len(self)
        return row


def _sum_rows(rows: Sequence[Sequence[int]], table: Vectors) -> Vectors:
    """Return, for each list of row numbers, the sum of these rows of the table (with repetition)."""
    ends = np.cumsum([0, *map(len, rows)])
    columns = np.fromiter(chain.from_iterable(rows), np.int32, ends[-1])
    counts = csr_array((np.ones(len(columns), np.float32), columns, ends), shape=(len(rows), len(table)))
    sums: Vectors = counts @ table
    return sums


def _divide(text: str) -> tuple[str, str]:
    """Divide a text into its plain fields and the odd ones, which only the real tokenizer gets right.

    Fields are what white space separates; tokens never reach across it, and their order
    does not matter to a sum.
    """
    if text.isascii() and len(text.encode().translate(None, _CONTROLS)) == len(text):
        return text, ""
    odd = " ".join(_ODD_FIELD.findall(text))
    # Lone surrogates are left behind by undecodable bytes, and refused by the tokenizer.
    return _ODD_FIELD.sub(" ", text), odd.encode("utf-8", "replace").decode()


def _count_punctuation(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return how often each character of _PUNCTUATION occurs, of shape (texts, characters)."""
    counts = [np.bincount(np.frombuffer(text.encode(), np.uint8), minlength=128) for text in texts]
    return np.stack(counts)[:, _PUNCTUATION].astype(np.float32)
