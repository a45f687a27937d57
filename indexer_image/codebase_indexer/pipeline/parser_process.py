"""A parser process: requests in, rows out. Imported by those processes alone."""

import contextlib
import os
import signal

from codebase_index import logs
from codebase_index.beneath import Tree
from codebase_index.embedding import factory
from codebase_index.embedding.static import StaticEmbedder
from codebase_index.store.ingest.batch import pack
from codebase_index.vectors.centroid import SNIPPETS, centroid_of
from codebase_indexer.confinement import sandbox
from codebase_indexer.pipeline.channel import Channel
from codebase_indexer.pipeline.files import FileProcessor
from codebase_indexer.pipeline.parser_protocol import (
    MAX_FRAME_BYTES,
    ParseRequest,
    ParserSettings,
    Ready,
    encode_answer,
)


def serve(descriptor: int) -> None:
    """Answer requests from a socket until it is closed. Raises OSError if the folder cannot be opened."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the main process's to handle
    logs.configure("indexer", os.environ.get("CODEBASE_LOG_LEVEL") or "INFO")
    channel = Channel(descriptor, MAX_FRAME_BYTES)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        settings = ParserSettings.decode(channel.receive() or b"")
        embedder = factory.create(*settings.model) if settings.model else None
        assert embedder is None or isinstance(embedder, StaticEmbedder)  # the others are the main process's
        centroid = centroid_of(embedder.embed_documents(SNIPPETS)) if embedder else None
        processor = FileProcessor(settings.fingerprint, embedder, settings.secrets)
        unconfined = confine(settings)
        channel.send(Ready(unconfined, embedder.dimension if embedder else None).encode())
        while True:
            request = ParseRequest.decode(channel.receive() or b"")
            processed = processor.process(settings.folder, request.items, request.known, settings.boundary)
            # Not without vectors: they are made elsewhere, from the texts.
            channel.send(encode_answer(pack(processed, centroid) if embedder else processed))


def confine(settings: ParserSettings) -> list[str]:
    """Give up what a parser does not need; return what the system refused."""
    with Tree(settings.folder, settings.boundary) as tree:
        source = tree.directory(b"")
        try:
            return sandbox.enter(source)
        finally:
            os.close(source)
