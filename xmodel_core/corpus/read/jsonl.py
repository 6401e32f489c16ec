"""JSON lines and what people call so: arrays, indented objects, UTF-16, several objects in a line.

Takes a file's bytes; gives its records. Lines end at the byte \\n alone: U+2028 inside a string is text. Rows count
lines from 0, blank ones too; a record of several lines has the row of its first. Brackets and commas around and between
records are no records. Of equal keys in an object the last one counts.
"""

import codecs
import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from xmodel_core.corpus.read.reader import Found
from xmodel_core.corpus.read.unpack import Gap

MAX_DIGITS = 4_000
"""Python makes no number of more (its time grows with the square); such a number stays the string of its digits."""
MAX_EXACT = 1 << 63
"""From here on, the fast parser's whole numbers are floating: the key of a record is then read once more."""
_BLANK = "\ufeff\0\x1e \t\r\n"  # around a value: byte order marks, holes in a file, separators of RFC 7464
_SEPARATORS = re.compile(r"[\ufeff\0\x1e \t\r\n,\]]*")
_PUNCTUATION = frozenset((b"[", b"]", b",", b"],"))
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with UTF-16's mark
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def json_records(unpacked: Iterator[bytes | Gap], max_line_bytes: int, id_field: str | None) -> Iterator[Found]:
    """The records of a file's unpacked bytes; a longer line is skipped, never held in memory."""
    indented: _Indented | None = None
    for row, (line, wrong) in enumerate(_lines(_as_utf8(unpacked), max_line_bytes)):
        if indented and (wrong or not indented.takes(line)):
            yield from indented.records(id_field)
            indented = None
        if indented:
            if indented.ended:
                yield from indented.records(id_field)
                indented = None
        elif wrong:
            yield Found(row, {}, wrong)
        elif line.strip():
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                if line.strip() == b"{":
                    indented = _Indented(row, line, max_line_bytes)
                else:
                    yield from _leniently(row, line)
                continue
            if isinstance(record, dict):
                yield Found(row, _with_exact_key(record, line, id_field))
            else:
                yield from _in_list(row, record)
    if indented:
        yield from indented.records(id_field)


class _Indented:
    """An object over several lines, from `{` to a line with the same indent and `}`."""

    def __init__(self, row: int, first: bytes, max_bytes: int) -> None:
        self.row, self.lines, self.room, self.ended = row, [first], max_bytes, False
        self.end = first.rstrip().replace(b"{", b"}")

    def takes(self, line: bytes) -> bool:
        """Whether the line belongs to it: it fits, and is no record by itself."""
        self.room -= len(line)
        if self.room < 0 or (line.startswith((b'{"', b'\xef\xbb\xbf{"')) and self._is_record(line)):
            return False
        self.lines.append(line)
        self.ended = line.rstrip(b", \t\r") == self.end
        return True

    @staticmethod
    def _is_record(line: bytes) -> bool:
        try:
            return isinstance(_DECODER.decode(line.decode("utf-8").strip(_BLANK).removesuffix(",")), dict)
        except (ValueError, RecursionError):
            return False

    def records(self, id_field: str | None) -> Iterator[Found]:
        """The object; or, where it is none, what each of its lines is by itself."""
        whole = b"\n".join(self.lines).rstrip(b", \t\r")
        try:
            yield Found(self.row, _with_exact_key(orjson.loads(whole), whole, id_field))
        except (ValueError, RecursionError):
            read = list(_leniently(self.row, whole)) if self.ended else []
            if read and not any(found.wrong for found in read):
                yield from read
                return
            for row, line in enumerate(self.lines, self.row):
                if line.strip():
                    yield from _leniently(row, line)


def _leniently(row: int, line: bytes) -> Iterator[Found]:
    """The records of a line that is not one JSON value to the fast parser.

    Python's own parser accepts what real files also hold: NaN, control characters, half a surrogate pair, deeper
    nesting, numbers of any length. Several objects may follow one another, as where files were joined."""
    if line.strip() in _PUNCTUATION:
        return
    try:
        text = line.decode("utf-8").strip(_BLANK).removesuffix(",")
        if not text:
            if b"\0" in line:
                yield Found(row, {}, "not JSON")
            return
        if text.startswith("[{") and not text.endswith("]"):
            text = text[1:]  # an array's first line
        value, at = _fast(text)
        if at < len(text) and not isinstance(value, dict):
            raise ValueError
        yield from [Found(row, value)] if isinstance(value, dict) else _in_list(row, value)
        while at := _SEPARATORS.match(text, at).end():  # pyright: ignore[reportOptionalMemberAccess] (it may be empty)
            if at == len(text):
                return
            value, at = _DECODER.raw_decode(text, at)
            yield Found(row, value) if isinstance(value, dict) else Found(row, {}, "not a JSON object")
    except UnicodeDecodeError:
        yield Found(row, {}, "invalid UTF-8")
    except (ValueError, RecursionError):
        yield Found(row, {}, "not JSON")


def _fast(text: str) -> tuple[Any, int]:
    """The first value of a text, by the fast parser if that is all, and where it ends. ValueError: there is none."""
    try:
        return orjson.loads(text), len(text)
    except ValueError:  # it also refuses what is no UTF-8 again
        return _DECODER.raw_decode(text)


def _with_exact_key(record: dict[str, Any], line: bytes, id_field: str | None) -> dict[str, Any]:
    """The record; a key that is a whole number of more than 64 bits has all of its digits."""
    if id_field and type(key := record.get(id_field)) is float and abs(key) >= MAX_EXACT:
        with contextlib.suppress(RecursionError):
            return {**record, id_field: _DECODER.decode(line.decode("utf-8"))[id_field]}
    return record


def _in_list(row: int, value: Any) -> Iterator[Found]:
    """The records of a value that is no object itself: an array of objects."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        yield from (Found(row, item) for item in value)
    else:
        yield Found(row, {}, "not a JSON object")


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_DIGITS else digits


_DECODER = json.JSONDecoder(strict=False, parse_int=_whole)


def _as_utf8(packed: Iterator[bytes | Gap]) -> Iterator[bytes | Gap]:
    """The same bytes as UTF-8, where the first ones say that they are UTF-16 or UTF-32."""
    decoder = None
    for number, piece in enumerate(packed):
        if number == 0 and isinstance(piece, bytes) and (encoding := _encoding(piece[:8])):
            decoder = codecs.getincrementaldecoder(encoding)("replace")
        yield decoder.decode(piece).encode() if decoder and isinstance(piece, bytes) else piece
    if decoder and (rest := decoder.decode(b"", final=True)):
        yield rest.encode()


def _encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by a byte order mark or by the zeros around a first ASCII character (RFC 4627, 3)."""
    for mark, name in _ENCODINGS:
        if head.startswith(mark):
            return name
    zeros = tuple(byte == 0 for byte in head)
    return {
        (False, True) * 4: "utf-16-le",
        (True, False) * 4: "utf-16-be",
        (False, True, True, True) * 2: "utf-32-le",
        (True, True, True, False) * 2: "utf-32-be",
    }.get(zeros)


def _lines(unpacked: Iterator[bytes | Gap], max_line_bytes: int) -> Iterator[tuple[bytes, str | None]]:
    """(line, why it cannot be read, if so)."""
    parts: list[bytes] = []
    held = rows = 0
    overlong = False
    too_long = f"longer than {max_line_bytes:,} bytes"
    for chunk in unpacked:
        if isinstance(chunk, Gap):
            # The started line, if any, is lost with what should have followed it: one record, named.
            yield b"", f"{chunk.why} after line {rows}"
            parts, held, overlong = [], 0, False
            rows += 1
            continue
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            if overlong or held + len(piece) > max_line_bytes:
                yield b"", too_long
            else:
                yield b"".join([*parts, piece]), None
            parts, held, overlong = [], 0, False
            rows += 1
        overlong = overlong or held + len(rest) > max_line_bytes
        parts, held = ([], 0) if overlong else ([*parts, rest] if held else [rest], held + len(rest))
    if overlong:
        yield b"", too_long
    elif held:
        yield b"".join(parts), None
