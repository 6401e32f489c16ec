"""Web archives: WARC and WET, plain or gzip.

A `response` or `resource` that holds HTML is a page, whose main text is extracted; a `conversion` (WET) is text.
Other records are no documents and are counted by kind. fastwarc reads the records; where it cannot continue, one record
is set aside for the damage, and reading resumes where the next record starts.
"""

import io
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from fastwarc.stream_io import BrotliReader, ChunkedReader
from fastwarc.warc import ArchiveIterator, HeaderMap, WarcRecord

from xmodel_core.corpus.read.encoding import Undecodable, decode
from xmodel_core.corpus.read.extract import MAX_PAGE_BYTES, Unextractable, extract
from xmodel_core.corpus.read.reader import Found, Reader
from xmodel_core.corpus.read.unpack import READ_BYTES, BrokenStream, FailureRecorder, unpacked

MAX_SKIPPED_BYTES = 1 << 30
"""A longer record is not read to its end, the next start is searched: packed, it may hold any number of bytes."""
MAX_RESTARTS = 1_000
"""In a file; each costs a few megabytes of reading at most."""
HTML = ("text/html", "application/xhtml+xml")
_GZIP_START = b"\x1f\x8b\x08"
_PLAIN_START = re.compile(rb"WARC/[01]\.\d{1,2}\r?\n[A-Za-z-]{1,40}:")  # mid-line too: what precedes it may be cut
_CHUNK_START = re.compile(rb"[0-9a-fA-F]{1,8}[ \t]*(?:;[^\r\n]*)?\r?\n")
_HTML_START = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)\b", re.I)
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^\s;"']+)""", re.I)


class Damaged(Exception):
    """A record is incomplete or cannot be decoded; the message says why."""


def _next_start(stream: BinaryIO, after: int, packed: bool) -> int | None:
    """Where, from `after` on, the next record starts: a gzip member that begins with one, or its first line."""
    margin = 1024 if packed else 64  # kept from one window to the next: a start may span both
    stream.seek(after)
    begin, window = after, stream.read(READ_BYTES)
    while window:
        at = window.find(_GZIP_START) if packed else next((m.start() for m in _PLAIN_START.finditer(window)), -1)
        while packed and at >= 0:
            if len(window) - at < margin:
                window += stream.read(margin)
            try:
                if zlib.decompressobj(wbits=31).decompress(window[at : at + margin], 5) == b"WARC/":
                    break
            except zlib.error:
                pass
            at = window.find(_GZIP_START, at + 1)
        if at >= 0:
            return begin + at
        rest = window[-margin:]
        more = stream.read(READ_BYTES)
        if not more:
            return None
        begin += len(window) - len(rest)
        window = rest + more
    return None


def _decoded(body: bytes, headers: HeaderMap, max_bytes: int) -> bytes:
    """The body of an HTTP message without its transfer and content encodings. Damaged: an encoding is broken.

    Crawlers often undo an encoding and keep its header, so the first bytes must be those of the encoding."""
    if "chunked" in (headers.get("Transfer-Encoding") or "").lower() and _CHUNK_START.match(body):
        try:
            body = ChunkedReader(io.BytesIO(body)).read(max_bytes + 1)
        except OSError:
            raise Damaged("badly chunked") from None
    encoding = (headers.get("Content-Encoding") or "").strip().lower()
    try:
        if encoding in ("gzip", "x-gzip") and body.startswith(b"\x1f\x8b"):
            parts = io.BytesIO()
            for piece in unpacked(io.BytesIO(body)):
                parts.write(piece)
                if parts.tell() > max_bytes:
                    break
            return parts.getvalue()
        if encoding == "deflate" and body[:1] == b"\x78":
            return zlib.decompressobj().decompress(body, max_bytes + 1)
        if encoding == "br" and not _HTML_START.match(body):
            return BrotliReader(io.BytesIO(body)).read(max_bytes + 1)
    except (BrokenStream, zlib.error, OSError):
        raise Damaged(f"broken content encoding {encoding}") from None
    return body


def _type(value: str | None) -> str:
    return (value or "").partition(";")[0].strip().lower()


class WarcReader(Reader):
    """Reads WARC and WET archives. `raw_row` counts all records, those too that are no documents."""

    name = "WARC"

    def read_records(self, filepath: str) -> Iterator[Found]:
        """A record per page or text, and one for each damaged place."""
        with self.opened(filepath) as stream:
            row, start, restarts = 0, 0, 0
            head = stream.read(5)
            packed = head[:2] == _GZIP_START[:2]
            if not packed and head != b"WARC/":  # its beginning is damaged
                packed = _next_start(stream, 0, packed=True) is not None
            while start is not None:
                recorded = FailureRecorder(stream)
                stream.seek(start)
                before, wrong = row, None
                try:
                    for record in ArchiveIterator(recorded, parse_http=False):
                        start = max(start, record.stream_pos)
                        try:
                            found = self._record(row, record, packed)
                        except Damaged as error:
                            found, wrong = Found(row, {}, str(error)), error
                        row += 1
                        if found is not None:
                            yield found
                        if wrong:
                            break
                    else:
                        return
                except (OSError, ValueError) as error:
                    if recorded.failure:
                        raise recorded.failure from None
                    # Where nothing could be read since the last damage, it is still the same one.
                    if row > before or restarts == 0:
                        yield Found(row, {}, f"damaged archive: {_sentence(error)}")
                        row += 1
                restarts += 1
                if restarts > MAX_RESTARTS:
                    yield Found(row, {}, f"damaged in more than {MAX_RESTARTS:,} places: the rest is not read")
                    return
                start = _next_start(stream, start + 1, packed)

    def _record(self, row: int, record: WarcRecord, packed: bool) -> Found | None:
        """The record's text, or why it has none; None where it is no document, counted by kind. Damaged: it is
        incomplete."""
        length = record.content_length
        kind = str(record.record_type)
        head = record.reader.read(min(length, READ_BYTES))
        http, begin = HeaderMap(), 0
        if kind == "response" or (kind == "resource" and head.startswith(b"HTTP/")):
            try:
                begin = http.parse(io.BytesIO(head))
            except (OSError, ValueError):
                raise Damaged("no HTTP header can be read") from None
        media = _type(http.get("Content-Type") if begin else record.headers.get("Content-Type"))
        if kind in ("response", "resource"):
            media = media or _type(record.headers.get("WARC-Identified-Payload-Type"))
            status = http.status_code if begin else None
            page = media in HTML or (not media and _HTML_START.match(head[begin:]) is not None)
            if begin and status is not None and not 200 <= status < 300:
                page, kind = False, f"{kind} with status {status}"
            else:
                kind = f"{kind} of {media or 'no stated type'}"
        else:
            page = False
        text = kind == "conversion"
        limit = 4 * self.config.max_document_chars if text else MAX_PAGE_BYTES
        if not (page or text) or length > limit + READ_BYTES:
            self._read_past(record, length, len(head))
            if page or text:
                return _aside(row, record, f"longer than {limit:,} bytes")
            self.not_documents[kind] += 1
            return None
        block = head + _rest(record, length - len(head))
        if len(block) < length:
            raise Damaged(f"truncated: {len(block):,} of {length:,} bytes")
        # Packed records are members of their own; in a plain archive a length that is wrong swallows what follows.
        if not packed and _PLAIN_START.search(block):
            raise Damaged("it runs into the next record")
        try:
            if text:
                content = decode(block)
            else:
                body = _decoded(block[begin:], http, limit)
                if len(body) > limit:
                    return _aside(row, record, f"longer than {limit:,} bytes")
                charset = _CHARSET.search(http.get("Content-Type") or record.headers.get("Content-Type") or "")
                content = extract(body, charset[1] if charset else None)
        except (Damaged, Undecodable, Unextractable) as error:
            return _aside(row, record, str(error))
        fields = {"url": _header(record, "WARC-Target-URI"), "date": _header(record, "WARC-Date")}
        return Found(row, {self.text_field: content, **{k: v for k, v in fields.items() if v}})

    @staticmethod
    def _read_past(record: WarcRecord, length: int, read: int) -> None:
        if length > MAX_SKIPPED_BYTES:
            raise Damaged(f"a record that says it has {length:,} bytes")
        read += record.consume()
        if read < length:
            raise Damaged(f"truncated: {read:,} of {length:,} bytes")


def _aside(row: int, record: WarcRecord, why: str) -> Found:
    """A complete record that gives no text, with its address."""
    return Found(row, {"url": _header(record, "WARC-Target-URI")}, why)


def _rest(record: WarcRecord, size: int) -> bytes:
    """The next `size` bytes of a record, fewer if it is cut off."""
    parts = []
    while size > 0 and (piece := record.reader.read(size)):
        parts.append(piece)
        size -= len(piece)
    return b"".join(parts)


def _header(record: WarcRecord, name: str) -> str | None:
    """Old writers put addresses in angle brackets (WARC 1.0)."""
    value = record.headers.get(name)
    return value.strip().removeprefix("<").removesuffix(">") if value else None


def _sentence(error: Exception) -> str:
    """fastwarc's message, shortened."""
    return str(error).rstrip(".")[:100].lower()
