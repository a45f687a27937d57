"""Reads what a parser process answers. It may have been taken over, so nothing is believed before it is checked.

What passes is what an honest process could have said of the files it was asked about. It can still be untrue: that
process has read them, and nobody else.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from pydantic_core import CoreSchema, SchemaValidator, ValidationError, core_schema

from codebase_index import definitions, languages
from codebase_index.definitions import PlacedName
from codebase_index.lexical import gram_filter, postings
from codebase_index.lexical.postings import EncodedTerms
from codebase_index.store.ingest import binary_copy
from codebase_index.store.ingest.batch import (
    Chunk,
    IndexedFile,
    PackedBatch,
    PackedFile,
    ProcessedBatch,
    SearchData,
    SkippedFile,
    UnchangedFile,
    WorkItem,
)
from codebase_index.symbols import KINDS, Kind, Symbol
from codebase_index.vectors import quantization
from codebase_indexer.content.skipping import MAX_FILE_BYTES, Skip
from codebase_indexer.pipeline import channel
from codebase_indexer.pipeline.channel import FrameRefused
from codebase_indexer.pipeline.parser_protocol import ParseRequest

_KINDS: Final = frozenset(kind.encode() for kind in KINDS)
_MAX_CHUNKS: Final = 65_536
"""Of one file: as many ids as are reserved together (store/ingest/chunks.py)."""


def _object(**fields: CoreSchema) -> CoreSchema:
    """Return the schema of a JSON object with these fields, all of them, and no others."""
    required = {name.strip("_"): core_schema.typed_dict_field(schema) for name, schema in fields.items()}
    return core_schema.typed_dict_schema(required, extra_behavior="forbid")


def _list(schema: CoreSchema, min_length: int = 0, max_length: int | None = None) -> CoreSchema:
    # The first error is enough: a million of them would fill the memory.
    return core_schema.list_schema(schema, min_length=min_length, max_length=max_length, fail_fast=True)


def _optional(schema: CoreSchema) -> CoreSchema:
    return core_schema.nullable_schema(schema)


# The validator of pydantic without its models: these take 20 ms to make, which a small job would notice.
_LINE: Final = core_schema.int_schema(ge=1, lt=2**31)
_TEXT: Final = core_schema.str_schema()  # a pattern takes a millisecond to compile, at each place
_KIND: Final = core_schema.literal_schema(sorted(KINDS))
_SEQ: Final = core_schema.int_schema()
_READ: Final = {
    "seq": _SEQ,
    "language": _optional(core_schema.literal_schema(list(languages.NAMES))),
    "blob": core_schema.str_schema(min_length=40, max_length=40),
    "size": _optional(core_schema.int_schema(ge=0, le=MAX_FILE_BYTES)),
    "encoding": _optional(core_schema.str_schema(max_length=64)),
    "redacted": core_schema.int_schema(ge=0, le=MAX_FILE_BYTES),
}
_CHUNK: Final = core_schema.tuple_schema([
    _LINE, _LINE, _optional(_TEXT), _TEXT, _optional(_KIND),
    _list(core_schema.tuple_schema([_TEXT, _TEXT, _KIND])), _optional(_TEXT),
])  # fmt: skip
_DEFINITION: Final = core_schema.tuple_schema([
    _TEXT, _KIND, core_schema.int_schema(ge=-1), _TEXT, _LINE, _LINE, _LINE,
])  # fmt: skip
_FILE: Final = core_schema.tagged_union_schema(
    {
        "skipped": _object(is_=_TEXT, seq=_SEQ, reason=core_schema.literal_schema([s.value for s in Skip])),
        "unchanged": _object(is_=_TEXT, seq=_SEQ),
        "packed": _object(is_=_TEXT, count=core_schema.int_schema(ge=1, le=_MAX_CHUNKS), **_READ),
        "indexed": _object(
            is_=_TEXT, chunks=_list(_CHUNK, min_length=1, max_length=_MAX_CHUNKS),
            definitions=_list(_DEFINITION), **_READ,
        ),
    },
    discriminator="is",
)  # fmt: skip
_HEAD: Final = SchemaValidator(
    _object(files=_list(_FILE), parts=_list(core_schema.int_schema(ge=1, le=postings.MAX_DOCUMENTS))),
    core_schema.CoreConfig(strict=True),
)
_NO_VECTORS: Final = np.empty((0, 0), dtype=np.float32)

Said = dict[str, Any]
"""What a process says of a file, of the form that is agreed."""


def decode_answer(data: bytes, request: ParseRequest, dimension: int | None) -> PackedBatch | ProcessedBatch:
    """Return the results of a request. `dimension` is that of the vectors, None: there are none.

    Raises FrameRefused for anything that no honest process would answer.
    """
    try:
        head, *large = channel.split(data)
        said = _HEAD.validate_json(head)
        if [file["seq"] for file in said["files"]] != [item.seq for item in request.items]:
            raise ValueError("other files than were asked for")
        values = iter(large)
        read = [
            _file(file, item, request, values, dimension)
            for file, item in zip(said["files"], request.items, strict=True)
        ]
        parts = [_part(chunks, values, dimension) for chunks in said["parts"]]
        if next(values, None) is not None:
            raise ValueError("more than was announced")
        # The batch checks that the parts cover the chunks of its files.
        return ProcessedBatch(read, parts) if dimension is None else PackedBatch(read, parts)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise FrameRefused(f"{first['msg']} at {'.'.join(map(str, first['loc']))}"[:500]) from None
    except (ValueError, StopIteration) as error:
        raise FrameRefused(str(error) or "less than was announced") from error


def _file(
    file: Said, item: WorkItem, request: ParseRequest, values: Iterator[bytes], dimension: int | None
) -> SkippedFile | UnchangedFile | PackedFile | IndexedFile:
    match file["is"]:
        case "skipped":
            return SkippedFile(item.seq, Skip(file["reason"]))
        case "unchanged" if known := request.known.get(item.path):
            return UnchangedFile(item.seq, known.file_id, known.chunks)
        case "packed" if dimension is not None:
            return _packed(file, item, values, dimension)
        case "indexed" if dimension is None:
            return _indexed(file, item)
    raise ValueError(f"a file is called {file['is']}, which it cannot be")


def _packed(file: Said, item: WorkItem, values: Iterator[bytes], dimension: int) -> PackedFile:
    rows = binary_copy.Rows(next(values), next(values), next(values))
    binary_copy.check(rows, file["count"], dimension, _KINDS)
    packed = next(values)
    definitions.check(packed)
    return PackedFile(
        item.seq, item.path, file["language"], _blob(file["blob"]), file["count"], rows, file["size"],
        file["encoding"], file["redacted"], packed,
    )  # fmt: skip


def _indexed(file: Said, item: WorkItem) -> IndexedFile:
    chunks = [
        Chunk(first, last, symbol, text, kind and Kind(kind), tuple(map(_symbol, defines)), signature)
        for first, last, symbol, text, kind, defines, signature in file["chunks"]
    ]
    if any(chunk.end_line < chunk.start_line for chunk in chunks):
        raise ValueError("a chunk that ends before it begins")
    for chunk in chunks:
        names = (text for symbol in chunk.defines for text in (symbol.name, symbol.plain))
        _check_texts(chunk.text, chunk.symbol or "", chunk.signature or "", *names)
    return IndexedFile(
        item.seq, item.path, file["language"], _blob(file["blob"]), chunks, _NO_VECTORS, file["size"],
        file["encoding"], file["redacted"], _placed(file["definitions"]),
    )  # fmt: skip


def _symbol(values: tuple[str, str, str]) -> Symbol:
    name, plain, kind = values
    return Symbol(name, plain, Kind(kind))


def _blob(text: str) -> bytes:
    blob = bytes.fromhex(text)
    if len(blob) != 20:  # white space is left out
        raise ValueError("a blob id of another length")
    return blob


def _check_texts(*texts: str) -> None:
    for text in texts:
        if "\0" in text:
            raise ValueError("a text holds NUL, which Postgres refuses")
        text.encode()  # no half of a surrogate pair: UnicodeEncodeError is a ValueError


def _placed(found: Sequence[tuple[str, str, int, str, int, int, int]]) -> list[PlacedName]:
    places = [PlacedName(name, Kind(kind), *rest) for name, kind, *rest in found]  # type: ignore[arg-type]
    last = 0
    for number, place in enumerate(places):
        if (
            place.parent >= number
            or not last <= place.first_line <= place.line
            or place.last_line < place.first_line
        ):
            raise ValueError("definitions out of order")
        if "\n" in place.name or "\n" in place.signature:
            raise ValueError("a definition of several lines")
        _check_texts(place.name, place.signature)
        last = place.first_line
    return places


def _part(chunks: int, values: Iterator[bytes], dimension: int | None) -> EncodedTerms | SearchData:
    total = int.from_bytes(next(values)[:8])
    terms = EncodedTerms(chunks, total, next(values).decode(), next(values))
    postings.check(terms)
    if dimension is None:
        return terms
    quantized, grams = next(values), next(values)
    quantization.check(quantized, chunks, dimension)
    gram_filter.check(grams, chunks)
    return SearchData(terms, quantized, grams)
