"""A BERT encoder in NumPy: what sentence-transformers' small models compute, without a framework.

The weights are mapped from the safetensors file, so that processes share their memory. All texts of a batch
lie one behind the other in one matrix of tokens, without padding; only attention looks at each text alone.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

_GELU_ROWS = 64
"""Rows that the activation takes at a time: its intermediate results stay in the processor's cache."""

_DTYPES: dict[str, "np.dtype[np.floating]"] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}


def read_safetensors(path: Path) -> dict[str, Matrix]:
    """Return the tensors of a file by name, as float32. Those that are float32 already stay on the disk, mapped.

    The format: 8 bytes with the header's length, a JSON header, the data. Tensors of integers are left out.
    Raises OSError, and ValueError for another format.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError(f"{path} is not a safetensors file")
        header = json.loads(file.read(length))
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)
    tensors = {}
    for name, about in header.items():
        if name == "__metadata__" or about["dtype"] not in _DTYPES:
            continue
        begin, end = about["data_offsets"]
        tensor = np.frombuffer(data[begin:end], dtype=_DTYPES[about["dtype"]]).reshape(about["shape"])
        tensors[name.removeprefix("bert.")] = tensor.astype(np.float32, copy=False)
    return tensors


class Bert:
    """The encoder. Safe for several threads at once: nothing is kept between calls."""

    def __init__(self, weights: Mapping[str, Matrix], config: Mapping[str, object]) -> None:
        """Take the weights and Hugging Face's config.json. Raises KeyError or ValueError for other models."""
        if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
            raise ValueError("only BERT models with the activation gelu can be computed")
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ValueError("only absolute positions can be computed")
        self._weights = weights
        self._heads = int(str(config["num_attention_heads"]))
        self._layers = int(str(config["num_hidden_layers"]))
        self._epsilon = float(str(config["layer_norm_eps"]))
        self.dimension = int(str(config["hidden_size"]))
        self.most_tokens = int(str(config["max_position_embeddings"]))
        for layer in range(self._layers):
            for part in ("attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense"):
                weights[f"encoder.layer.{layer}.{part}.weight"]

    def __call__(self, texts: Sequence[Sequence[int]]) -> list[Matrix]:
        """Return the last hidden state of each text: from token ids, float32 of shape (tokens, dimension)."""
        borders = np.cumsum([0, *map(len, texts)])
        spans = [slice(a, b) for a, b in pairwise(borders)]
        weights = self._weights
        states = weights["embeddings.word_embeddings.weight"][np.concatenate([np.asarray(t) for t in texts])]
        for span in spans:
            states[span] += weights["embeddings.position_embeddings.weight"][: span.stop - span.start]
        states += weights["embeddings.token_type_embeddings.weight"][0]
        self._normalise(states, "embeddings")
        for layer in range(self._layers):
            states = self._layer(states, spans, f"encoder.layer.{layer}")
        return [states[span] for span in spans]

    def _layer(self, states: Matrix, spans: Sequence[slice], name: str) -> Matrix:
        attended = self._attention(states, spans, f"{name}.attention.self")
        middle = self._linear(attended, f"{name}.attention.output.dense")
        middle += states
        self._normalise(middle, f"{name}.attention.output")
        wide = self._linear(middle, f"{name}.intermediate.dense")
        gelu(wide)
        result = self._linear(wide, f"{name}.output.dense")
        result += middle
        self._normalise(result, f"{name}.output")
        return result

    def _attention(self, states: Matrix, spans: Sequence[slice], name: str) -> Matrix:
        query, key, value = (self._linear(states, f"{name}.{part}") for part in ("query", "key", "value"))
        query *= 1 / math.sqrt(self.dimension / self._heads)
        result = np.empty_like(states)
        for span in spans:
            q, k, v = (self._by_head(matrix[span]) for matrix in (query, key, value))
            scores = q @ k.transpose(0, 2, 1)
            scores -= scores.max(axis=2, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=2, keepdims=True)
            result[span] = (scores @ v).transpose(1, 0, 2).reshape(-1, self.dimension)
        return result

    def _by_head(self, matrix: Matrix) -> Matrix:
        """(tokens, dimension) as (heads, tokens, dimension of a head), without a copy."""
        return matrix.reshape(len(matrix), self._heads, -1).transpose(1, 0, 2)

    def _linear(self, states: Matrix, name: str) -> Matrix:
        product: Matrix = states @ self._weights[f"{name}.weight"].T
        product += self._weights[f"{name}.bias"]
        return product

    def _normalise(self, states: Matrix, name: str) -> None:
        """Layer normalisation, in place."""
        states -= states.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", states, states)[:, None] / states.shape[1]
        states /= np.sqrt(variance + self._epsilon, dtype=np.float32)
        states *= self._weights[f"{name}.LayerNorm.weight"]
        states += self._weights[f"{name}.LayerNorm.bias"]


def gelu(states: Matrix) -> None:
    """Apply the activation x · Φ(x) in place.

    erf by Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: off by at most 1.5e-7, what float32
    can tell, and twice as fast as SciPy's.
    """
    for block in _blocks(states):
        size = np.abs(block)
        size *= math.sqrt(0.5)
        t = 1 / (1 + np.float32(0.3275911) * size)
        tail = np.float32(1.061405429) * t
        for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
            tail += np.float32(coefficient)
            tail *= t
        size *= size
        np.negative(size, out=size)
        np.exp(size, out=size)
        tail *= size  # 1 - erf(|x| / √2)
        tail -= 1
        np.copysign(tail, block, out=tail)
        tail += 1
        tail *= 0.5
        block *= tail


def _blocks(states: Matrix) -> Iterator[Matrix]:
    for start in range(0, len(states), _GELU_ROWS):
        yield states[start : start + _GELU_ROWS]
