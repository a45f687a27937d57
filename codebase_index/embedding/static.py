"""The default embedder: token vectors looked up and summed, no neural network at run time.

Gives what model2vec's `encode` gives (see hack/scripts/distill_model.py), several times
faster: model2vec tokenizes every word again and again, while source code repeats a few
names. Here each distinct word is tokenized once and its token vectors are summed once;
a batch of texts is then the product of a sparse matrix (texts by words, counts) and the
dense table of word sums. The order of tokens does not matter to a sum, so the result is
equal up to rounding.
"""

import json
import re
import threading
from collections.abc import Sequence
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from codebase_index.embedding.normalization import to_unit_length
from codebase_index.embedding.protocol import Traits, Vectors
from codebase_index.embedding.shipped import STATIC_FOLDER, static_name
from codebase_index.embedding.sparse import sum_rows
from codebase_index.embedding.wordpiece import WordPiece
from codebase_index.lexical.vocabulary import TokenizedTexts, Vocabulary

_BATCH_TEXTS = 256  # bounds the matrices
_BATCH_WORDS = 4_096

# What BERT's normalizer and pre-tokenizer do to visible ASCII: letters lose their case, letters and
# digits make words, and each other character is a word of its own (these are counted, not split off).
# A word of the vocabulary is such words joined by underscores.
_PUNCTUATION = np.array([c for c in range(33, 127) if not chr(c).isalnum()])

# The rest is odd: other scripts, and control characters, which the normalizer deletes. The look-behind
# lets a match start only where a field starts: linear time, however long the fields are.
_CONTROLS = bytes(c for c in [*range(32), 127] if chr(c) not in "\t\n\r")
_ODD_FIELD = re.compile(r"(?<![^ \t\n\r])[!-~]*+[^ \t\n\r!-~][^ \t\n\r]*")


class StaticEmbedder:
    """Embeds with the static model of a folder; `StaticEmbedder.load()` takes the one that we ship.

    Thread-safe: calls take turns. But `embed_tokenized` must be called by the thread that also uses its
    `vocabulary`: clearing that makes word ids void. Processes share the memory of the token table, which is mapped
    from its file.
    """

    def __init__(
        self,
        name: str,
        vectors: NDArray[np.float16],
        tokenizer: str,
        vocabulary: Vocabulary,
    ) -> None:
        """Take a token table of shape (tokens, dimension) and the tokenizer, as JSON, whose ids are its rows.

        Keeps a sum for each of at most `vocabulary.max_words` words: 1 KB each.
        """
        self.name = name
        self.traits = Traits(batch_texts=_BATCH_TEXTS)
        self._vectors = vectors
        self._tokenizer_json = tokenizer
        # Words get numbers and sums while a text is embedded: a second thread would give a word another one's sum.
        self._turn = threading.RLock()
        self._pieces = WordPiece(json.loads(tokenizer)["model"]["vocab"])
        self._tokens = _Tokens(self._pieces)
        self.vocabulary = vocabulary
        # Pages of an empty array cost no memory until they are written: the table grows with the vocabulary.
        self._word_sums = np.empty((vocabulary.max_words, self.dimension), dtype=np.float32)
        self._summed = 0  # words that have their sum
        self._generation = vocabulary.generation
        self._punctuation_sums = self._sum_tokens([self._pieces.tokens(chr(c)) for c in _PUNCTUATION])

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """Open the shipped model, or the one in `folder`, in a fraction of a second.

        Raises OSError when one of the model's three files is missing or cannot be read.
        """
        folder = folder or STATIC_FOLDER
        name = static_name(folder)
        tokenizer = (folder / "tokenizer.json").read_text(encoding="utf-8")
        vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        return cls(name, vectors, tokenizer, Vocabulary())

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The real tokenizer, opened when a text first needs it: most never do."""
        return Tokenizer.from_str(self._tokenizer_json)

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
        with self._turn:
            self.vocabulary.clear_if_full()
            return self.embed_tokenized(self.vocabulary.tokenize(texts))

    def embed_tokenized(self, tokenized: TokenizedTexts) -> Vectors:
        """Embed documents that its vocabulary has tokenized already."""
        vectors = np.empty((len(tokenized.texts), self.dimension), dtype=np.float32)
        with self._turn:
            self._extend()
            for start in range(0, len(vectors), _BATCH_TEXTS):
                end = min(start + _BATCH_TEXTS, len(vectors))
                vectors[start:end] = self._sum_texts(tokenized.part(start, end))
        return to_unit_length(vectors)

    def _sum_texts(self, tokenized: TokenizedTexts) -> Vectors:
        """Sum the token vectors of each text."""
        divided = [_divide(text) for text in tokenized.texts]
        plain = [text for text, _ in divided]
        sums = self._sum_tokenized(tokenized)
        if odd := [i for i, (_, text) in enumerate(divided) if text is not None]:
            # Their words are those of the whole text, and cut where the normalizer only deletes something.
            sums[odd] = self._sum_tokenized(self.vocabulary.tokenize([plain[i] for i in odd]))
            sums[odd] += self._sum_odd([divided[i][1] or "" for i in odd])
        sums += _count_punctuation(plain) @ self._punctuation_sums
        return sums

    def _sum_tokenized(self, tokenized: TokenizedTexts) -> Vectors:
        is_summed = tokenized.word_ids < self._summed
        if is_summed.all():
            return sum_rows(tokenized.word_ids, tokenized.offsets, self._word_sums[: self._summed])
        ends = np.append(0, np.cumsum(is_summed))[tokenized.offsets]
        sums = sum_rows(tokenized.word_ids[is_summed], ends, self._word_sums[: self._summed])
        # Words beyond the table: those of one huge list of words, and of each batch until the vocabulary is
        # cleared.
        ends = tokenized.offsets - ends
        rest = [self.vocabulary.words[number] for number in tokenized.word_ids[~is_summed].tolist()]
        sums += self._sum_words([rest[begin:end] for begin, end in pairwise(ends.tolist())])
        return sums

    def _extend(self) -> None:
        """Sum the words that are new in the vocabulary, as far as the table has room."""
        if self._generation != self.vocabulary.generation:
            self._generation, self._summed = self.vocabulary.generation, 0
            self._tokens.clear()
        new = self.vocabulary.words[self._summed : len(self._word_sums)]
        for start in range(0, len(new), _BATCH_WORDS):
            some = new[start : start + _BATCH_WORDS]
            self._word_sums[self._summed : self._summed + len(some)] = self._sum_words([[word] for word in some])
            self._summed += len(some)

    def _sum_words(self, texts: Sequence[Sequence[str]]) -> Vectors:
        """Sum the tokens of words as the vocabulary has them."""
        tokens = self._tokens
        return self._sum_tokens(
            [[t for word in some for part in word.lower().split("_") for t in tokens[part]] for some in texts]
        )

    def _sum_odd(self, texts: Sequence[str]) -> Vectors:
        """Sum by the real tokenizer: right for every script, and slow."""
        # One by one, because the batch call starts threads, and a process with threads must not fork.
        encodings = [self.tokenizer.encode(text, add_special_tokens=False) for text in texts]
        return self._sum_tokens([encoding.ids for encoding in encodings])

    def _sum_tokens(self, texts: Sequence[Sequence[int]]) -> Vectors:
        ends = np.cumsum([0, *map(len, texts)])
        tokens = np.fromiter(chain.from_iterable(texts), np.int32, ends[-1])
        distinct, rows = np.unique(tokens, return_inverse=True)
        return sum_rows(rows, ends, self._vectors[distinct].astype(np.float32))


class _Tokens(dict[str, list[int]]):
    """The tokens of words without underscores, kept because many names are made of few of them."""

    def __init__(self, pieces: WordPiece) -> None:
        super().__init__()
        self._pieces = pieces

    def __missing__(self, word: str) -> list[int]:
        self[word] = tokens = self._pieces.tokens(word)
        return tokens


def _divide(text: str) -> tuple[str, str | None]:
    """Divide a text into its plain fields and the odd ones, None if there are none.

    Only the real tokenizer gets the odd ones right. Fields are what white space separates; tokens never reach
    across it, and their order does not matter to a sum.
    """
    if text.isascii() and len(text.encode().translate(None, _CONTROLS)) == len(text):
        return text, None
    odd = " ".join(_ODD_FIELD.findall(text))
    # Lone surrogates are left behind by undecodable bytes, and refused by the tokenizer.
    return _ODD_FIELD.sub(" ", text), odd.encode("utf-8", "replace").decode()


def _count_punctuation(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return how often each character of _PUNCTUATION occurs, of shape (texts, characters)."""
    counts = [np.bincount(np.frombuffer(text.encode(), np.uint8), minlength=128) for text in texts]
    return np.stack(counts)[:, _PUNCTUATION].astype(np.float32)
