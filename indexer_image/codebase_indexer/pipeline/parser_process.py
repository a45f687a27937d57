"""A parser process: requests in, rows out. Imported by those processes alone."""

import contextlib
import os
import signal
from multiprocessing.connection import Connection

from codebase_index import logs
from codebase_index.embedding import factory
from codebase_index.embedding.static import StaticEmbedder
from codebase_index.store.ingest.batch import pack
from codebase_index.vectors.centroid import SNIPPETS, centroid_of
from codebase_indexer.content.secret_files import SecretPolicy
from codebase_indexer.pipeline.files import FileProcessor
from codebase_indexer.pipeline.parser_protocol import READY, ParseRequest


def serve(pipe: Connection, fingerprint: str, model: tuple[str, str | None] | None, secrets: SecretPolicy) -> None:
    """Answer requests until the pipe is closed. `model` is provider and name, None: no vectors."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the main process's to handle
    logs.configure("indexer", os.environ.get("CODEBASE_LOG_LEVEL") or "INFO")
    embedder = factory.create(*model) if model else None
    assert embedder is None or isinstance(embedder, StaticEmbedder)  # the others are the main process's
    centroid = centroid_of(embedder.embed_documents(SNIPPETS)) if embedder else None
    processor = FileProcessor(fingerprint, embedder, secrets)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(READY)
        while True:
            batch: ParseRequest = pipe.recv()
            processed = processor.process(batch.folder, batch.items, batch.known, batch.boundary)
            # Not without vectors: they are made elsewhere, from the texts.
            pipe.send(pack(processed, centroid) if embedder else processed)
