"""Detects the encoding of a file and decodes it to UTF-8. Pure.

In this order: a byte-order mark, the escapes of seven-bit encodings, UTF-8, what the file itself declares, a
detector. The detector is Firefox's (chardetng), made for text that is short and mostly ASCII, such as sources with
non-ASCII comments alone. It always answers, and a declaration may be wrong, so the result must look like text;
otherwise the file is not decoded at all, since users would find and believe garbled text.
"""

import codecs
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass

MAX_SAMPLE_BYTES = 64 * 1024
"""Of non-ASCII lines given to the detector: it is confident after far less."""

DECLARED_WITHIN_BYTES = 1024
"""The head of a file in which its encoding may be declared."""

MIN_BYTES = 3
"""Non-ASCII bytes below which only Western European is believed: a single one is © or é in most files."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, which begins alike
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LABEL = rb"([A-Za-z][\w.:-]{1,30})"
_DECLARATIONS = (
    # Python and Ruby (PEP 263), Emacs and Vim: a comment in one of the first lines. Code may name other encodings.
    rb"\A(?:[^\n]*\n){0,4}[ \t\f]*(?:[#;%!\"'*]|//|/\*|--|<!--|rem\b)[^\n]{0,200}?coding[:=][ \t]*" + _LABEL,
    rb"\A\s*<\?xml[^>]{0,200}?\bencoding\s*=\s*[\"']" + _LABEL,
    rb"\A\s*(?=[<{]).{0,1024}?<meta[^>]{0,200}?\bcharset\s*=\s*[\"']?" + _LABEL,
    rb"\A\s*(?=[<{]).{0,1024}?<%@\s*page[^>]{0,200}?(?:\bcharset\s*=\s*|\bpageEncoding\s*=\s*[\"'])" + _LABEL,
    rb"\A\s*@charset\s+[\"']" + _LABEL,
)
_DECLARED = [re.compile(pattern, re.IGNORECASE | re.DOTALL) for pattern in _DECLARATIONS]
_WIDER = {
    "iso8859-1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949",
    "big5": "big5hkscs",
}  # fmt: skip
"""Encodings and the supersets that browsers use for them."""

_OF_TEXT = re.compile(r"iso8859|cp\d|koi8|mac[-_]|gb|big5|euc_|shift_jis|johab|tis[-_]620|kz1048|ptcp154")
_MULTI_BYTE = frozenset(
    ["gb18030", "big5hkscs", "cp932", "euc_jp", "euc_jis_2004", "euc_jisx0213", "cp949", "johab"]
)
_WESTERN = "cp1252"
_ESCAPE_TO_MULTI_BYTE = re.compile(rb"\x1b\$(?:[@AB]|[()][A-Q])")
_ISO_2022 = ("iso2022_jp", "iso2022_jp_ext", "iso2022_jp_2", "iso2022_jp_2004", "iso2022_kr")
_UTF_7 = re.compile(rb"(?:unicode[-_]1[-_]1[-_])?utf[-_]?7", re.IGNORECASE)
# Pairs of letters between ~{ and ~}; no tilde among them, which is common in the format strings of Lisp.
_HZ_BEGIN, _HZ_RUN = b"~{", re.compile(rb"~\{(?:[\x21-\x77][\x21-\x7d])+~\}")
# Distinguishes Japanese and Korean from Chinese, whose bytes may be the same.
_OWN_LETTERS = {"euc_jp": re.compile(r"[\u3041-\u30ff]"), "cp949": re.compile(r"[\uac00-\ud7a3]")}

_HALF_WIDTH_KATAKANA = re.compile(r"[\uff61-\uff9f]")
_DETECTABLE = frozenset(["gb18030", "big5hkscs", "cp932", "euc_jp", "cp949", "cp1251", "koi8-r", _WESTERN])
"""Encodings that the detector tells from each other, as it cannot those of DOS, of the Mac, or Latin ones."""
_LATIN = frozenset(letter for letter in map(chr, range(0x80, 0x250)) if letter.isalpha())

_HIGH = re.compile(rb"[\x80-\xff]")
_CONTROLS = re.compile(r"[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f\ufffd\ue000-\uf8ff]")
_MAX_CONTROLS = 0.005
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
# What a wrong guess makes of Latin letters: a capital after a small one, two accented capitals, a sign in a word.
_ODD_LATIN = re.compile(
    r"[a-zß-öø-ÿ][À-ÖØ-ÞŠŽŸŒ]|[À-ÖØ-ÞŠŽŸŒ]{2}|[A-Za-zß-öø-ÿ][¡-¦¨-³µ-¶¸-¿×÷‚„†-•‰‹›€™“”ˆ˜ƒ][A-Za-zß-öø-ÿ]|[¡-¿]{2}"
)
_MAX_ODD = 0.2


@dataclass(frozen=True)
class _Sample:
    """The non-ASCII lines of a file, up to MAX_SAMPLE_BYTES: what its encoding is judged by.

    `complete`: these are all. `high` is the number of bytes above 127.
    """

    data: bytes
    complete: bool
    high: int


@dataclass(frozen=True)
class DecodedText:
    """A file's text as UTF-8 without a byte-order mark. `encoding` is None where it was UTF-8 all along."""

    data: bytes
    encoding: str | None = None


def has_mark(data: bytes) -> bool:
    """Say whether a file begins with a byte-order mark, so that NUL bytes may be part of its text."""
    return data.startswith(tuple(mark for mark, _ in _MARKS))


def decode(data: bytes) -> DecodedText | None:
    """Return a file's text; None if its encoding is uncertain.

    Line numbers stay the same. A UTF-8 file costs one validation: a nanosecond per byte.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            text = _decoded(data[len(mark) :], encoding)
            return _as_utf8(text, encoding) if text is not None and _is_text(text) else None
    if data.isascii():
        return _decode_seven_bit(data)
    if _decoded(data, "utf-8") is not None:
        return DecodedText(data)
    sample = _sample(data)
    declared = _decode_declared(data, sample)
    if declared is None:
        return _decode_as(data, _detected(sample))
    return None if _is_contradicted(sample, declared.encoding) else declared


def _decode_as(data: bytes, encoding: str | None) -> DecodedText | None:
    text = _decoded(data, encoding) if encoding else None
    return _as_utf8(text, encoding) if encoding and text is not None and _is_text(text) else None


def _decode_seven_bit(data: bytes) -> DecodedText | None:
    """Return the text of a file without a byte above 127: ASCII, or an encoding that switches by escapes."""
    if _ESCAPE_TO_MULTI_BYTE.search(data):
        encodings: tuple[str, ...] = _ISO_2022
    elif _HZ_BEGIN in data and len(_HZ_RUN.findall(data)) == data.count(_HZ_BEGIN):
        encodings = ("hz",)
    elif b"utf" in data[:DECLARED_WITHIN_BYTES].lower() and any(map(_UTF_7.fullmatch, _labels(data))):
        return _decode_utf_7(data)
    else:
        return DecodedText(data)
    for encoding in encodings:
        if (text := _decoded(data, encoding)) is not None and _is_text(text):
            return _as_utf8(text, encoding)
    return DecodedText(data) if encodings == ("hz",) else None


def _decode_utf_7(data: bytes) -> DecodedText | None:
    """Return the text of a file that declares UTF-7, in which a line end may be written as letters, too."""
    text = _decoded(data, "utf-7")
    if text is None:
        return DecodedText(data)  # the declaration is wrong: not every ASCII text is UTF-7
    return _as_utf8(text, "utf-7") if _is_text(text) and text.count("\n") == data.count(b"\n") else None


def _as_utf8(text: str, encoding: str) -> DecodedText:
    return DecodedText(text.encode(), None if encoding == "utf-8" else encoding)


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeError:
        return None


def _labels(data: bytes) -> Iterator[bytes]:
    """Yield the names of encodings that the head of a file declares."""
    matches = (pattern.match(data, 0, DECLARED_WITHIN_BYTES) for pattern in _DECLARED)
    return (match[1] for match in matches if match)


def _decode_declared(data: bytes, sample: _Sample) -> DecodedText | None:
    """Return the text in the encoding that a file declares; None where it declares none, or it reads badly so."""
    encoding = next(filter(None, (_codec(label.decode()) for label in _labels(data))), None)
    if encoding is None:
        return None
    plausible = encoding in _MULTI_BYTE or sample.high < MIN_BYTES or _is_plausible(sample.data, encoding)
    return _decode_as(data, encoding) if plausible else None


def _is_contradicted(sample: _Sample, declared: str | None) -> bool:
    """Say whether the detector is sure of another text than the declared encoding makes, where it can tell.

    Latin-1 takes every byte, and is declared by many who mean nothing by it.
    """
    if declared not in _DETECTABLE or sample.high < MIN_BYTES:
        return False
    detected = _detected(sample)
    if detected is None:
        return False
    text = sample.data.decode(detected, errors="replace")
    if declared == _WESTERN:
        return not any(letter in _LATIN for letter in text if not letter.isascii())
    return text != sample.data.decode(declared, errors="replace")


def _codec(label: str) -> str | None:
    """Return Python's name for a text encoding; None for UTF-8, which was tried, and for unknown ones."""
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    return _WIDER.get(name, name) if _OF_TEXT.match(name) and _keeps_ascii(name) else None


def _keeps_ascii(encoding: str) -> bool:
    """Say whether ASCII letters are themselves in an encoding: in EBCDIC no ASCII declaration could be read."""
    letters = string.ascii_letters + string.digits
    return _decoded(letters.encode(), encoding) == letters


def _detected(sample: _Sample) -> str | None:
    """Return the detected encoding, if there is enough text to detect it."""
    if _is_damaged_utf8(sample.data):
        return None
    # Not above: most repositories have no such file, and each process would load it.
    from chardetng_py import EncodingDetector

    detector = EncodingDetector()
    detector.feed(sample.data, last=sample.complete)
    label, confident = detector.guess_assess(tld=None, allow_utf8=False)
    guess = _codec(label) if confident else None
    isolated = sample.high == len(re.findall(rb"[\x80-\xff]+", sample.data))
    if (sample.high < MIN_BYTES and isolated) or (isolated and guess in _MULTI_BYTE):
        guess = _WESTERN
    return guess if guess and _is_plausible(sample.data, guess) else None


def _sample(data: bytes) -> _Sample:
    """Return the non-ASCII lines up to the limit."""
    lines: list[bytes] = []
    room = MAX_SAMPLE_BYTES
    complete = True
    for line in _non_ascii_lines(data):
        complete = len(line) <= room
        lines.append(line[:room])
        room -= len(lines[-1])
        if not complete:
            break
    sample = b"".join(lines)
    return _Sample(sample, complete, len(_HIGH.findall(sample)))


def _non_ascii_lines(data: bytes) -> Iterator[bytes]:
    end = 0
    while found := _HIGH.search(data, end):
        begin = data.rfind(b"\n", 0, found.start()) + 1
        end = data.find(b"\n", found.start()) + 1 or len(data)
        yield data[begin:end]


def _is_damaged_utf8(sample: bytes) -> bool:
    """Say whether most of the non-ASCII text is UTF-8: then the rest is damage, or a second encoding."""
    text = sample.decode(errors="replace")
    damaged = text.count("\ufffd")
    return len(_NON_ASCII.findall(text)) - damaged > damaged


def _is_plausible(sample: bytes, encoding: str) -> bool:
    """Say whether the text, decoded this way, looks like natural writing."""
    text = sample.decode(encoding, errors="replace")
    non_ascii = _NON_ASCII.findall(text)
    if encoding in _MULTI_BYTE:
        own = _OWN_LETTERS.get(encoding)
        if 2 * len(_HALF_WIDTH_KATAKANA.findall(text)) > len(non_ascii):
            return False  # each is a single byte, so almost any noise is made of them
        return len(non_ascii) > 1 and (own is None or own.search(text) is not None)
    letters = [character for character in non_ascii if character.isalpha()]
    # Greek and Cyrillic: words are mostly small letters.
    if any("\u0370" <= letter <= "\u04ff" for letter in letters):
        small = [letter for letter in letters if letter.islower()]
        return len(non_ascii) >= MIN_BYTES and 2 * len(small) > len(non_ascii)
    return len(_ODD_LATIN.findall(text)) <= _MAX_ODD * len(non_ascii)


def _is_text(text: str) -> bool:
    return len(_CONTROLS.findall(text)) <= _MAX_CONTROLS * len(text)
