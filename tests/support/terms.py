"""Encoded terms for tests that need no words: counts in, as the indexer would have counted; and whole batches."""

from collections.abc import Mapping, Sequence

import numpy as np

from codebase_index.lexical import postings
from codebase_index.lexical.postings import EncodedTerms, Occurrences
from codebase_index.lexical.stemming import stem
from codebase_index.lexical.term_table import TermTable
from codebase_index.lexical.vocabulary import Interner, Vocabulary
from codebase_index.store.ingest.batch import FileResult, IndexedFile, PackedBatch, ProcessedBatch, pack


def encode(frequencies: Sequence[Mapping[str, int]]) -> EncodedTerms:
    """Encode how often each term occurs in each document; terms of one stem are one."""
    number = Interner()
    counted = [(d, number[stem(term)], n) for d, terms in enumerate(frequencies) for term, n in terms.items()]
    documents, terms, times = np.array(counted, np.int64).reshape(-1, 3).T
    held = Occurrences(len(frequencies), np.repeat(documents, times), np.repeat(terms, times), number.names)
    return postings.encode(held)


def encode_texts(texts: Sequence[str]) -> EncodedTerms:
    """Encode the terms of texts as a worker does."""
    vocabulary = Vocabulary()
    return postings.encode(TermTable(vocabulary).occurrences(vocabulary.tokenize(texts)))


def packed(results: Sequence[FileResult], terms: EncodedTerms | None = None) -> PackedBatch:
    """A batch as it is written; without `terms` its chunks have none."""
    terms = terms or encode([{}] * sum(r.count for r in results if isinstance(r, IndexedFile)))
    return pack(ProcessedBatch(results, [terms]))
