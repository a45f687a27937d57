"""Sentence-transformers models of the BERT kind, from their own folders, computed in this process by NumPy.

The folder is what sentence-transformers saves: modules.json, config.json, model.safetensors, tokenizer.json and
1_Pooling/config.json. Nothing is ever fetched. See docs/decisions/0010 for why there is no framework.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from codebase_index.embedding.bert import Bert, Matrix, read_safetensors
from codebase_index.embedding.models import traits_of
from codebase_index.embedding.normalization import to_unit_length
from codebase_index.embedding.protocol import EmbeddingRefused, EmbeddingResult, Vectors

DEFAULT_MODEL = "all-MiniLM-L6-v2"

BATCH_TEXTS = 8
"""Texts computed at once: more are not faster, and take 3 MB each."""


class SentenceTransformersEmbedder:
    """An Embedder for one model. Safe for several threads at once; each call takes one core."""

    def __init__(self, model: str, bert: Bert, tokenizer: Tokenizer, pooling: str, max_tokens: int) -> None:
        """Take the parts. `pooling` is mean or cls; a text is cut after `max_tokens`."""
        self.name = f"sentence-transformers/{model}"
        self.dimension = bert.dimension
        self.traits = replace(traits_of(model), batch_texts=BATCH_TEXTS, max_tokens=max_tokens)
        self.concurrency = 1
        self._bert = bert
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._pooling = pooling

    def check(self) -> None:
        """Return at once: what it needs lies in this process."""

    def embed(self, texts: Sequence[str], seconds: float = math.inf) -> EmbeddingResult:
        """Return one unit vector a text, and how many texts were cut. No service is waited for."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        truncated = 0
        for start in range(0, len(texts), BATCH_TEXTS):
            batch = [self.traits.document_prefix + text for text in texts[start : start + BATCH_TEXTS]]
            ids, cut = self._tokens(batch)
            truncated += cut
            vectors[start : start + len(batch)] = [self._pooled(states) for states in self._bert(ids)]
        return EmbeddingResult(to_unit_length(vectors), truncated)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, float32 of shape (len(texts), dimension)."""
        return self.embed(texts).vectors

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector of a query, float32 of shape (dimension,)."""
        ids, _ = self._tokens([self.traits.query_prefix + text])
        vector: Vectors = to_unit_length(self._pooled(self._bert(ids)[0])[None])[0]
        return vector

    def _tokens(self, texts: Sequence[str]) -> tuple[list[list[int]], int]:
        # One by one, because the batch call starts threads: this call is given one core.
        encodings = [self._tokenizer.encode(text.encode("utf-8", "replace").decode()) for text in texts]
        return [encoding.ids for encoding in encodings], sum(bool(encoding.overflowing) for encoding in encodings)

    def _pooled(self, states: Matrix) -> Vectors:
        pooled: Vectors = states[0] if self._pooling == "cls" else states.mean(axis=0)
        return pooled


def load(models: str | None, model: str | None, concurrency: int = 1) -> SentenceTransformersEmbedder:
    """Open a model: a folder below `models`. `concurrency` is the number of cores to use.

    Raises EmbeddingRefused when it is not there, or is none that can be computed here.
    """
    name = model or DEFAULT_MODEL
    if not models:
        raise EmbeddingRefused(
            "this image has no sentence-transformers models; use one that hack/images/models.Dockerfile made, "
            "or mount a folder of models and name it in CODEBASE_MODELS"
        )
    root = Path(models).resolve()
    folder = (root / name).resolve()
    if not folder.is_relative_to(root) or not (folder / "model.safetensors").is_file():
        there = ", ".join(sorted(str(p.parent.relative_to(root)) for p in root.glob("**/model.safetensors")))
        raise EmbeddingRefused(
            f"the model {name} is not in {models}, which has {there or 'none'}; name one of these, or put it there"
        )
    try:
        embedder = _open(name, folder)
    except (OSError, KeyError, ValueError) as error:
        raise EmbeddingRefused(
            f"the model in {folder} can not be computed here ({error}); use a BERT model with mean or CLS "
            "pooling, or serve it by Ollama or an OpenAI-compatible service"
        ) from error
    embedder.concurrency = concurrency
    return embedder


def _open(name: str, folder: Path) -> SentenceTransformersEmbedder:
    config = _json(folder / "config.json")
    bert = Bert(read_safetensors(folder / "model.safetensors"), config)
    kinds = [module["type"].rpartition(".")[2] for module in _json(folder / "modules.json")]
    if kinds not in (["Transformer", "Pooling", "Normalize"], ["Transformer", "Pooling"]):
        raise ValueError(f"its modules are {', '.join(kinds)}")
    longest = _json(folder / "sentence_bert_config.json").get("max_seq_length") or bert.most_tokens
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pooling = _pooling(_json(folder / "1_Pooling" / "config.json"))
    return SentenceTransformersEmbedder(name, bert, tokenizer, pooling, min(longest, bert.most_tokens))


def _pooling(config: Mapping[str, Any]) -> str:
    modes = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
    if modes == ["pooling_mode_mean_tokens"]:
        return "mean"
    if modes == ["pooling_mode_cls_token"]:
        return "cls"
    raise ValueError(f"its pooling is {', '.join(modes) or 'unknown'}")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
