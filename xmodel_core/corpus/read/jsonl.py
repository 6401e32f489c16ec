"""JSON lines. Lines end at the byte \\n alone: U+2028 inside a string is text. Rows count from 0, blank lines too."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson
from datatrove.data import Document

from xmodel_core.corpus.read.reader import Reader
from xmodel_core.corpus.read.unpack import READ_BYTES, BrokenStream, unpacked


def _lines(stream: BinaryIO, max_line_bytes: int) -> Iterator[tuple[bytes, str | None]]:
    """(line, why it cannot be read, if so); a line that is too long is skipped, never held in memory."""
    parts: list[bytes] = []
    held = rows = 0
    overlong = False
    try:
        for chunk in unpacked(stream):
            *ended, rest = chunk.split(b"\n")
            for piece in ended:
                if overlong or held + len(piece) > max_line_bytes:
                    yield b"", f"longer than {max_line_bytes:,} bytes"
                else:
                    yield b"".join([*parts, piece]), None
                parts, held, overlong = [], 0, False
                rows += 1
            overlong = overlong or held + len(rest) > max_line_bytes
            parts, held = ([], 0) if overlong else ([*parts, rest] if held else [rest], held + len(rest))
    except BrokenStream as error:
        # The started line, if any, is lost with what should have followed it: one record, named.
        yield b"", f"{error} after line {rows}"
        return
    if overlong:
        yield b"", f"longer than {max_line_bytes:,} bytes"
    elif held:
        yield b"".join(parts), None


class JsonLinesReader(Reader):
    """Reads JSON lines: plain, gzip or zstd, recognised by their first bytes."""

    name = "JSON lines"

    def read_file(self, filepath: str) -> Iterator[Document]:
        """A document per line that is not blank."""
        # A character takes at most six bytes when escaped (\\uXXXX); other fields get as much again.
        limit = 12 * self.config.max_document_chars + READ_BYTES
        with self.data_folder.open(filepath, "rb") as stream:
            for row, (line, wrong) in enumerate(_lines(stream, limit)):
                if wrong:
                    yield self.aside(filepath, row, wrong)
                    continue
                if row == 0:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if not line.strip():
                    continue
                try:
                    record = _parsed(line)
                except UnicodeDecodeError:
                    yield self.aside(filepath, row, "invalid UTF-8")
                except (ValueError, RecursionError):
                    yield self.aside(filepath, row, "not JSON")
                else:
                    if isinstance(record, dict):
                        yield self.document(filepath, row, record)
                    else:
                        yield self.aside(filepath, row, "not a JSON object")


def _parsed(line: bytes) -> Any:
    """The value that a line holds. Whole numbers beyond 64 bits become floating. ValueError: it is no JSON;
    UnicodeDecodeError: no UTF-8."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        # Python's own parser accepts what real files also hold: NaN, half a surrogate pair, deeper nesting.
        return json.loads(line.decode("utf-8"))
