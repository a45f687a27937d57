"""What a parser process answers passes only if an honest one could have said it."""

import contextlib
import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from codebase_index.embedding.static import StaticEmbedder
from codebase_index.store.ingest.batch import (
    PackedBatch,
    PackedFile,
    ProcessedBatch,
    SearchData,
    SkippedFile,
    StoredFile,
    UnchangedFile,
    WorkItem,
    pack,
)
from codebase_indexer.pipeline import channel
from codebase_indexer.pipeline.answer_check import decode_answer
from codebase_indexer.pipeline.channel import FrameRefused
from codebase_indexer.pipeline.files import FileProcessor
from codebase_indexer.pipeline.parser_protocol import ParseRequest, ParserSettings, Ready, encode_answer

FILES: Final = {
    "a.py": "class Größe:\n    def put(self):\n        return 1\n\n\nLIMIT = 2\n" * 40,
    "b.md": "# One\n\ntext\n\n## Two\n\nmore\n",
    "c.txt": "no definition at all\n",
    "gone.py": None,
    "d.py": "x = 1\n",
}
EMBEDDER: Final = StaticEmbedder.load()
DIMENSION: Final = EMBEDDER.dimension


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers")
    for name, text in FILES.items():
        if text is not None:
            (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def request_(folder: Path) -> ParseRequest:
    """Of five files, one of which is gone and one known."""
    items = [WorkItem(10 + number, name, 1) for number, name in enumerate(FILES)]
    (known,) = FileProcessor("1", None).process(folder, items[-1:], {}).results
    assert not isinstance(known, SkippedFile | UnchangedFile)
    return ParseRequest(items, {"d.py": StoredFile(77, known.blob, "1", 1)})


@pytest.fixture(scope="module")
def packed(folder: Path, request_: ParseRequest) -> PackedBatch:
    return pack(FileProcessor("1", EMBEDDER).process(folder, request_.items, request_.known))


@pytest.fixture(scope="module")
def processed(folder: Path, request_: ParseRequest) -> ProcessedBatch:
    return FileProcessor("1", None).process(folder, request_.items, request_.known)


def test_an_honest_answer_comes_back_as_it_was(
    packed: PackedBatch, processed: ProcessedBatch, request_: ParseRequest
) -> None:
    assert decode_answer(encode_answer(packed), request_, DIMENSION) == packed
    found = decode_answer(encode_answer(processed), request_, None)
    assert (str(found.results), found.parts) == (str(processed.results), processed.parts)
    kinds = [type(result) for result in packed.results]
    assert kinds == [PackedFile, PackedFile, PackedFile, SkippedFile, UnchangedFile]


def test_what_the_main_process_says_comes_back_as_it_was(request_: ParseRequest, folder: Path) -> None:
    settings = ParserSettings(folder, folder.parent, "1", ("static", None))
    assert ParserSettings.decode(settings.encode()) == settings
    assert ParseRequest.decode(request_.encode()) == request_
    assert Ready.decode(Ready(["a"], 3).encode()) == Ready(["a"], 3)


def with_first(batch: PackedBatch, **changes: Any) -> PackedBatch:
    first = batch.results[0]
    assert isinstance(first, PackedFile)
    rows = {name: changes.pop(name) for name in ("chunks", "starts", "vectors") if name in changes}
    changed = replace(first, rows=replace(first.rows, **rows), **changes)
    return PackedBatch([changed, *batch.results[1:]], batch.parts)


def with_part(batch: PackedBatch, **changes: Any) -> PackedBatch:
    part: SearchData = batch.parts[0]
    terms = {name: changes.pop(name) for name in ("vocabulary", "payload", "total_length") if name in changes}
    changed = replace(part, terms=replace(part.terms, **terms), **changes)
    return PackedBatch(batch.results, [changed, *batch.parts[1:]])


def first_of(batch: PackedBatch) -> PackedFile:
    first = batch.results[0]
    assert isinstance(first, PackedFile)
    return first


def row_within_a_row(batch: PackedBatch) -> PackedBatch:
    """A row of another index, with keys of its own, behind the last one of a file."""
    return with_first(batch, chunks=first_of(batch).rows.chunks + first_of(batch).rows.chunks)


def patched(data: bytes, at: int, value: bytes) -> bytes:
    at %= len(data)
    return data[:at] + value + data[at + len(value) :]


def definitions(count: int, body: bytes) -> bytes:
    return b"\x01" + zlib.compress(struct.pack("<I", count) + body)


UNTRUE: Final[dict[str, Callable[[PackedBatch], PackedBatch]]] = {
    "a row within a row": row_within_a_row,
    "a row that is cut off": lambda b: with_first(b, chunks=first_of(b).rows.chunks[:-1]),
    "rows that begin elsewhere": lambda b: with_first(b, starts=patched(first_of(b).rows.starts, 0, b"\1")),
    "rows from behind": lambda b: with_first(b, starts=patched(first_of(b).rows.starts, 0, b"\xff" * 4)),
    "text that is no UTF-8": lambda b: with_first(b, chunks=first_of(b).rows.chunks.replace(b"\xc3", b"\xff")),
    "text with NUL": lambda b: with_first(b, chunks=first_of(b).rows.chunks.replace(b"return", b"retur\0")),
    "another kind": lambda b: with_first(b, chunks=first_of(b).rows.chunks.replace(b"class", b"klass")),
    "line 0": lambda b: with_first(b, chunks=patched(first_of(b).rows.chunks, 42, bytes(4))),
    "fewer vectors": lambda b: with_first(b, vectors=first_of(b).rows.vectors[:-2]),
    "a vector without end": lambda b: with_first(b, vectors=patched(first_of(b).rows.vectors, 0, b"\x7c\0")),
    "another file": lambda b: with_first(b, seq=4711),
    "a language of its own": lambda b: with_first(b, language="klingon"),
    "a larger file than there is": lambda b: with_first(b, size=2**40),
    "definitions of another format": lambda b: with_first(b, definitions=b"\2"),
    "definitions that are cut off": lambda b: with_first(b, definitions=first_of(b).definitions[:-5]),
    "definitions that fill the memory": lambda b: with_first(b, definitions=definitions(0, bytes(2**25))),
    "more definitions than there are": lambda b: with_first(b, definitions=definitions(9, b"")),
    "a definition that encloses itself": lambda b: with_first(
        b, definitions=definitions(1, struct.pack("<4I", 1, 0, 0, 1) + b"class\na\nb")
    ),
    "a definition on line 0": lambda b: with_first(
        b, definitions=definitions(1, struct.pack("<4I", 0, 0, 0, 0) + b"class\na\nb")
    ),
    "a definition that never ends": lambda b: with_first(
        b, definitions=definitions(1, struct.pack("<4I", 1, 0, 2**31, 0) + b"class\na\nb")
    ),
    "fewer codes": lambda b: with_part(b, quantized=b.parts[0].quantized[:-1]),
    "a scale without end": lambda b: with_part(b, quantized=patched(b.parts[0].quantized, -2, b"\0\x7c")),
    "a shorter filter": lambda b: with_part(b, grams=b.parts[0].grams[:-1]),
    "postings that are cut off": lambda b: with_part(b, payload=b.parts[0].terms.payload[:-1]),
    "postings of chunks that are not there": lambda b: with_part(
        b, payload=b.parts[0].terms.payload.replace(b"\1\0", b"\xff\xff")
    ),
    "terms out of order": lambda b: with_part(
        b, vocabulary="\n".join(reversed(b.parts[0].terms.vocabulary.split("\n")))
    ),
    "a term twice": lambda b: with_part(
        b, vocabulary="\n".join(["a"] * (b.parts[0].terms.vocabulary.count("\n") + 1))
    ),
    "another sum": lambda b: with_part(b, total_length=1),
}


@pytest.mark.parametrize("change", UNTRUE.values(), ids=UNTRUE)
def test_what_postgres_or_a_search_would_stumble_over_is_refused(
    change: Callable[[PackedBatch], PackedBatch], packed: PackedBatch, request_: ParseRequest
) -> None:
    answer = encode_answer(change(packed))
    assert answer != encode_answer(packed)
    with pytest.raises(FrameRefused):
        decode_answer(answer, request_, DIMENSION)


HEADS: Final[dict[str, Callable[[Any], Any]]] = {
    "unchanged, though the index does not have it": lambda f: {"is": "unchanged", "seq": f["seq"]},
    "a reason of its own": lambda f: {"is": "skipped", "seq": f["seq"], "reason": "because"},
    "a field of its own": lambda f: {**f, "path": "/etc/passwd"},
    "another number of chunks": lambda f: {**f, "count": f["count"] + 1},
    "a number in words": lambda f: {**f, "count": "1"},
    "a blob of another length": lambda f: {**f, "blob": "00"},
    "a blob of white space": lambda f: {**f, "blob": 40 * " "},
    "no object": lambda f: [f],
    "a file of another kind": lambda f: {**f, "is": "directory"},
}


@pytest.mark.parametrize("change", HEADS.values(), ids=HEADS)
def test_what_is_said_of_a_file_is_of_the_form_that_is_agreed(
    change: Callable[[Any], Any], packed: PackedBatch, request_: ParseRequest
) -> None:
    head, *large = channel.split(encode_answer(packed))
    said = json.loads(head)
    said["files"][0] = change(said["files"][0])
    with pytest.raises(FrameRefused):
        decode_answer(channel.join([json.dumps(said).encode(), *large]), request_, DIMENSION)


def test_results_without_vectors_are_not_taken_for_those_with_them(
    packed: PackedBatch, processed: ProcessedBatch, request_: ParseRequest
) -> None:
    with pytest.raises(FrameRefused):
        decode_answer(encode_answer(processed), request_, DIMENSION)
    with pytest.raises(FrameRefused):
        decode_answer(encode_answer(packed), request_, None)


@pytest.mark.parametrize("dimension", [DIMENSION, None], ids=["with vectors", "without"])
def test_no_noise_raises_anything_else(
    dimension: int | None, packed: PackedBatch, processed: ProcessedBatch, request_: ParseRequest
) -> None:
    whole = encode_answer(packed if dimension else processed)
    dice = random.Random(19)
    for _ in range(300):
        answer = bytearray(whole)
        for _ in range(dice.choice([1, 3, 10])):
            # Most of it is vectors and filters, in which a change may well be true: half of them in the head.
            answer[dice.randrange(dice.choice([2_000, len(answer)]))] = dice.randrange(256)
        cut = dice.choice([len(answer), dice.randrange(len(answer))])
        with contextlib.suppress(FrameRefused):
            decode_answer(bytes(answer[:cut]), request_, dimension)
