"""The messages between the indexer's main process and its parser processes: JSON, and after it what is large.

No pickles: whoever takes a parser process over could run code in the main process with one. What comes from there
is read by `answer_check.py`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from codebase_index.lexical.postings import EncodedTerms
from codebase_index.store.ingest.batch import (
    Chunk,
    IndexedFile,
    PackedBatch,
    PackedFile,
    ProcessedBatch,
    SearchData,
    SkippedFile,
    StoredFile,
    UnchangedFile,
    WorkItem,
)
from codebase_indexer.content.secret_files import DEFAULT_POLICY, SecretPolicy
from codebase_indexer.pipeline import channel

MAX_FRAME_BYTES: Final = 32 * 2**20
"""Of one message: a batch of MAX_BATCH_BYTES of source is answered with a few times that."""


@dataclass(frozen=True)
class ParserSettings:
    """What a parser process is told first.

    `folder` is the only one whose files it may open, and no link is followed below `boundary`. `model` is provider
    and name, None: results have no vectors.
    """

    folder: Path
    boundary: Path
    fingerprint: str
    model: tuple[str, str | None] | None
    secrets: SecretPolicy = DEFAULT_POLICY

    def encode(self) -> bytes:
        """Return the message."""
        return json.dumps({
            "folder": str(self.folder), "boundary": str(self.boundary), "fingerprint": self.fingerprint,
            "model": self.model, "secrets": asdict(self.secrets),
        }).encode()  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> "ParserSettings":
        """Read the message."""
        value = json.loads(data)
        model = tuple(value["model"]) if value["model"] else None
        return cls(
            Path(value["folder"]), Path(value["boundary"]), value["fingerprint"], model,
            SecretPolicy(**value["secrets"]),
        )  # fmt: skip


@dataclass(frozen=True)
class Ready:
    """What a parser process says once it is confined, before it reads any file.

    `unconfined` has a sentence for each means of confinement that the system does not have.
    """

    unconfined: Sequence[str]
    dimension: int | None
    """Of its vectors; None without a model."""

    def encode(self) -> bytes:
        """Return the message."""
        return json.dumps({"unconfined": list(self.unconfined), "dimension": self.dimension}).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Ready":
        """Read the message, of a process that has read no file yet."""
        return cls(**json.loads(data))


@dataclass(frozen=True)
class ParseRequest:
    """Files to parse, and what the index already has of them."""

    items: Sequence[WorkItem]
    known: Mapping[str, StoredFile]

    def encode(self) -> bytes:
        """Return the message."""
        known = {
            path: (file.file_id, file.blob.hex(), file.fingerprint, file.chunks)
            for path, file in self.known.items()
        }
        items = [(item.seq, item.path, item.size) for item in self.items]
        return json.dumps({"items": items, "known": known}).encode()

    @classmethod
    def decode(cls, data: bytes) -> "ParseRequest":
        """Read the message."""
        value = json.loads(data)
        known = {
            path: StoredFile(file_id, bytes.fromhex(blob), fingerprint, chunks)
            for path, (file_id, blob, fingerprint, chunks) in value["known"].items()
        }
        return cls([WorkItem(*item) for item in value["items"]], known)


# --- answers: a JSON object, then the large values of each file, then those of each part -------------------------


def encode_answer(batch: PackedBatch | ProcessedBatch) -> bytes:
    """Return the message with the results of a request."""
    head = {"files": [_file(r) for r in batch.results], "parts": [_terms_of(p).chunks for p in batch.parts]}
    large: list[bytes] = []
    for result in batch.results:
        if isinstance(result, PackedFile):
            large += (result.rows.chunks, result.rows.starts, result.rows.vectors, result.definitions)
    for part in batch.parts:
        terms = _terms_of(part)
        large += (terms.total_length.to_bytes(8), terms.vocabulary.encode(), terms.payload)
        if isinstance(part, SearchData):
            large += (part.quantized, part.grams)
    return channel.join([json.dumps(head).encode(), *large])


def _terms_of(part: SearchData | EncodedTerms) -> EncodedTerms:
    return part.terms if isinstance(part, SearchData) else part


def _file(result: PackedFile | IndexedFile | UnchangedFile | SkippedFile) -> dict[str, Any]:
    """Return what is said of a file, without its path, which the main process knows."""
    if isinstance(result, SkippedFile):
        return {"is": "skipped", "seq": result.seq, "reason": result.reason}
    if isinstance(result, UnchangedFile):
        return {"is": "unchanged", "seq": result.seq}
    common = {
        "seq": result.seq, "language": result.language, "blob": result.blob.hex(), "size": result.size,
        "encoding": result.encoding, "redacted": result.redacted,
    }  # fmt: skip
    if isinstance(result, PackedFile):
        return {"is": "packed", **common, "count": result.count}
    return {
        "is": "indexed", **common, "chunks": list(_chunks(result.chunks)), "definitions": list(result.definitions),
    }  # fmt: skip


def _chunks(chunks: Iterable[Chunk]) -> Iterable[tuple[Any, ...]]:
    return ((c.start_line, c.end_line, c.symbol, c.text, c.kind, list(c.defines), c.signature) for c in chunks)
