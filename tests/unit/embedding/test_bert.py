"""The encoder in NumPy: against plain formulas; tests/ollama compares it with another engine on the real model."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from codebase_index.embedding import EmbeddingRefused, create
from codebase_index.embedding.bert import Bert, gelu, read_safetensors

CONFIG = {
    "model_type": "bert", "hidden_act": "gelu", "num_attention_heads": 2, "num_hidden_layers": 1,
    "layer_norm_eps": 1e-12, "hidden_size": 8, "max_position_embeddings": 16,
}  # fmt: skip


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (20, 8), "embeddings.position_embeddings.weight": (16, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
    }  # fmt: skip
    layer = "encoder.layer.0"
    for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        shapes |= {f"{layer}.{part}.weight": (8, 8), f"{layer}.{part}.bias": (8,)}
    shapes |= {f"{layer}.intermediate.dense.weight": (12, 8), f"{layer}.intermediate.dense.bias": (12,)}
    shapes |= {f"{layer}.output.dense.weight": (8, 12), f"{layer}.output.dense.bias": (8,)}
    for part in ("embeddings", f"{layer}.attention.output", f"{layer}.output"):
        shapes |= {f"{part}.LayerNorm.weight": (8,), f"{part}.LayerNorm.bias": (8,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_the_activation_is_exact_to_what_float32_can_tell() -> None:
    x = np.linspace(-9, 9, 10_001, dtype=np.float32)[:, None]
    exact = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x[:, 0].tolist()]
    gelu(x)
    assert np.allclose(x[:, 0], exact, atol=1e-6)


def test_a_text_gets_the_same_states_whatever_is_beside_it() -> None:
    bert = Bert(weights(), CONFIG)
    texts = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10]]
    together = bert(texts)
    for text, states in zip(texts, together, strict=True):
        assert states.shape == (len(text), 8)
        assert np.allclose(states, bert([text])[0], atol=1e-5)


def test_another_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match="BERT"):
        Bert(weights(), {**CONFIG, "model_type": "t5"})
    with pytest.raises(KeyError):
        Bert({}, CONFIG)


def test_tensors_are_read_from_their_file(tmp_path: Path) -> None:
    data = np.arange(6, dtype="<f4").tobytes() + np.ones(2, dtype="<f2").tobytes()
    header = json.dumps(
        {
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "bert.b": {"dtype": "F16", "shape": [2], "data_offsets": [24, 28]},
            "__metadata__": {"format": "pt"},
        }
    ).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    tensors = read_safetensors(path)
    assert tensors["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors["b"].tolist() == [1, 1]
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(ValueError, match="not a safetensors file"):
        read_safetensors(path)


@pytest.mark.parametrize(("env", "model"), [({}, None), ({"CODEBASE_MODELS": "here"}, "../secret")])
def test_a_model_that_is_not_there_is_refused_with_what_to_do(
    env: dict[str, str], model: str | None, tmp_path: Path
) -> None:
    settings = {name: str(tmp_path) for name in env}
    with pytest.raises(EmbeddingRefused, match=r"CODEBASE_MODELS|name one of these"):
        create("sentence-transformers", model, settings)
