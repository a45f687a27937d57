"""Speed of the static embedder and of the lexical terms, in MB of source per second on one core.

    python bench/embedding.py [FOLDER ...] [--json FILE]

Without a folder: Python's standard library. Cold begins with empty word caches, warm is the same
text once more. Reading is not timed. Run it alone on the machine; the best of the rounds counts.
"""

import os

# One core is what the figures are about; before numpy starts its pool.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")

import argparse
import json
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from codebase_index import text as text_module
from codebase_index.embedding.static import StaticEmbedder
from codebase_index.text import term_frequencies

CHUNK_CHARACTERS = 1_200  # the middle of the chunker's window
BATCH_CHUNKS = 256
SUFFIXES = {".py", ".go", ".rs", ".java", ".c", ".h", ".cc", ".cpp", ".js", ".ts", ".rb", ".php", ".cs", ".sh"}


def read_chunks(folders: list[Path], megabytes: float) -> list[str]:
    """Cut source files into chunks, up to a total size."""
    chunks: list[str] = []
    left = int(megabytes * 1e6)
    for path in (path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES):
        if not path.is_file():
            continue
        source = path.read_text(errors="replace")
        chunks += [source[i : i + CHUNK_CHARACTERS] for i in range(0, len(source), CHUNK_CHARACTERS)]
        left -= len(source)
        if left <= 0:
            break
    return chunks


def batches(chunks: list[str]) -> Iterator[list[str]]:
    """Divide the chunks as the indexer does."""
    for start in range(0, len(chunks), BATCH_CHUNKS):
        yield chunks[start : start + BATCH_CHUNKS]


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(chunks: list[str], rounds: int) -> dict[str, float]:
    """Return the best time of each stage in seconds."""
    best: dict[str, float] = {}

    def note(stage: str, work: Callable[[], object]) -> None:
        best[stage] = min(best.get(stage, float("inf")), seconds(work))

    for _ in range(rounds):
        note("load model", StaticEmbedder.load)
        embedder = StaticEmbedder.load()

        def embed(embedder: StaticEmbedder = embedder) -> None:
            for batch in batches(chunks):
                embedder.embed_documents(batch)

        def count_terms() -> None:
            for chunk in chunks:
                term_frequencies(chunk)

        text_module._terms_of_word.clear()
        for temperature in ("cold", "warm"):
            note(f"embed {temperature}", embed)
            note(f"terms {temperature}", count_terms)
    return best


def main() -> None:
    """Measure, print a table, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path(sysconfig.get_path("stdlib"))])
    parser.add_argument("--megabytes", type=float, default=30.0, help="how much source to take (default 30)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    chunks = read_chunks(options.folders, options.megabytes)
    megabytes = sum(len(chunk.encode(errors="replace")) for chunk in chunks) / 1e6
    times = measure(chunks, options.rounds)
    figures = {
        "megabytes": round(megabytes, 2),
        "chunks": len(chunks),
        "load_seconds": round(times.pop("load model"), 3),
        "megabytes_per_second": {stage: round(megabytes / time, 1) for stage, time in times.items()},
    }
    print(f"{megabytes:.1f} MB in {len(chunks):,} chunks; model loads in {figures['load_seconds']} s")
    for stage, time_taken in times.items():
        print(f"{stage:<12} {megabytes / time_taken:8.1f} MB/s")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
