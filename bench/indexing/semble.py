"""semble (MIT), the fastest open code indexer known to us, as the anchor of speed: it keeps its index in memory.

It is installed into an environment of its own below `.bench/`, never beside the product. Its default model is
downloaded at run time, which a sealed machine cannot do, so it gets ours, converted: both programs then look up
tokens in a table of equal size, and with 256 numbers a token it is the same work as with its own model.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from bench.indexing.measured import POLL_SECONDS, Meter, Run
from codebase_index.embedding.shipped import STATIC_FOLDER

VERSION = "0.7.0"
CACHE = Path(__file__).resolve().parents[2] / ".bench"
MAX_BYTES, MIN_BYTES = 1_000_000, 128
"""It skips files outside these limits, and so the trees of a comparison hold none."""

# Runs inside its environment. All three kinds of content, because we index them all.
_PROGRAM = """
import json, sys
from pathlib import Path
from semble.index.create import create_index_from_path
from semble.index.dense import load_model
from semble.types import ContentType
model, _ = load_model(sys.argv[2])
kinds = (ContentType.CODE, ContentType.DOCS, ContentType.CONFIG)
_, _, chunks, manifest = create_index_from_path(Path(sys.argv[1]), model, content=kinds)
megabytes = sum(len(chunk.content.encode()) for chunk in chunks) / 1e6
print(json.dumps({"files": len(manifest), "chunks": len(chunks), "megabytes": megabytes}))
"""

_CONFIG = {"model_type": "model2vec", "architectures": ["StaticModel"], "normalize": True, "hidden_dim": 256}


def install() -> Path:
    """Return the interpreter of semble's environment, made when it is first asked for."""
    python = CACHE / f"semble-{VERSION}" / "bin" / "python"
    if not (python.parent / "semble").exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", f"semble=={VERSION}"], check=True)
    return python


def model() -> Path:
    """Return the folder of our model in its format."""
    folder = CACHE / "model"
    folder.mkdir(parents=True, exist_ok=True)
    table = np.load(STATIC_FOLDER / "vectors.npy").astype("<f4")
    (folder / "tokenizer.json").write_bytes((STATIC_FOLDER / "tokenizer.json").read_bytes())
    place = {"dtype": "F32", "shape": list(table.shape), "data_offsets": [0, table.nbytes]}
    # safetensors: the length of a header, the header, the arrays.
    header = json.dumps({"embeddings": place}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + table.tobytes())
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    return folder


def index(folder: Path, workers: int) -> Run:
    """Index a folder in a process of its own; 0 workers: as it ships, in that process alone."""
    python, table = install(), model()
    # With the number of threads that it chooses itself, whatever this program has set for its own.
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment = {**inherited, "SEMBLE_INDEX_WORKERS": str(workers), "HF_HUB_OFFLINE": "1"}
    command = [str(python), "-c", _PROGRAM, str(folder), str(table)]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=errors)
        meter = Meter(process.pid)
        # A zombie until it is waited for, so that its CPU time can still be read.
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            meter.read()
            time.sleep(POLL_SECONDS)
        run = Run(seconds=round(time.perf_counter() - start, 2))
        meter.results(run)
        if process.wait() != 0:
            errors.seek(0)
            raise SystemExit(f"semble ended with {process.returncode}: {errors.read()[-2000:]}")
        output.seek(0)
        found = json.loads(output.read())
    run.files, run.chunks, run.megabytes = found["files"], found["chunks"], round(found["megabytes"], 2)
    return run
