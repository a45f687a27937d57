"""What the cards of well-known embedding models say, by the names that the providers give them."""

from dataclasses import replace

from codebase_index.embedding.protocol import Traits

BATCH_TEXTS = 64
"""Texts a request carries: enough to keep a service busy, few enough to answer within seconds."""

_UNKNOWN = Traits(batch_texts=BATCH_TEXTS)

# A model's name begins with the key, after its owner (`intfloat/`). The first match wins.
_KNOWN = {
    "nomic-embed-text": replace(
        _UNKNOWN, document_prefix="search_document: ", query_prefix="search_query: ", max_tokens=2048
    ),
    "mxbai-embed-large": replace(
        _UNKNOWN, query_prefix="Represent this sentence for searching relevant passages: ", max_tokens=512
    ),
    "snowflake-arctic-embed": replace(
        _UNKNOWN, query_prefix="Represent this sentence for searching relevant passages: ", max_tokens=512
    ),
    "multilingual-e5": replace(_UNKNOWN, document_prefix="passage: ", query_prefix="query: ", max_tokens=512),
    "e5-": replace(_UNKNOWN, document_prefix="passage: ", query_prefix="query: ", max_tokens=512),
    "bge-m3": replace(_UNKNOWN, max_tokens=8192),
    "bge-": replace(
        _UNKNOWN, query_prefix="Represent this sentence for searching relevant passages: ", max_tokens=512
    ),
    "all-minilm": replace(_UNKNOWN, max_tokens=256),
    "text-embedding-3": replace(_UNKNOWN, max_tokens=8191),
}


def traits_of(model: str) -> Traits:
    """Return what is known of a model; of an unknown one, that nothing goes in front of its texts."""
    name = model.rpartition("/")[2].lower()
    return next((traits for start, traits in _KNOWN.items() if name.startswith(start)), _UNKNOWN)
