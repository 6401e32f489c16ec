"""Readers: one raw file in, datatrove documents out, and nothing lost on the way.

Takes JSON lines (plain, gzip, zstd) or Parquet as bytes; gives a `Document` per record. A record
that cannot be read is a document without text whose metadata say why (`unreadable`); the rest goes
on. Lines end at the byte \\n alone: U+2028 inside a string is text. Rows count from 0.
"""

import contextlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.io import DataFolder
from datatrove.pipeline.readers.base import BaseDiskReader

from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.instructions import NotOfTheForm, as_text

READ_BYTES = 1 << 16
ROWS_AT_A_TIME = 256
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class BrokenStream(Exception):
    """The bytes of a compressed file end, or stop making sense, before their end."""


def _inflated(decoder: Any, packed: bytes) -> Iterator[bytes]:
    """What `packed` holds, up to where it breaks; bounded pieces, however well it is packed."""
    while packed:
        before = decoder.copy()
        try:
            piece = decoder.decompress(packed, READ_BYTES * 16)
        except zlib.error as error:
            # zlib gives nothing of a call that fails: once more, byte by byte, for what stands before the damage.
            with contextlib.suppress(zlib.error):
                for at in range(len(packed)):
                    yield before.decompress(packed[at : at + 1])
            raise BrokenStream("broken gzip") from error
        yield piece
        packed = decoder.unconsumed_tail


def _gunzipped(stream: BinaryIO) -> Iterator[bytes]:
    """Everything that can be got out of a gzip file, up to where it breaks."""
    decoder, begun = zlib.decompressobj(wbits=31), False
    while chunk := stream.read(READ_BYTES):
        while chunk:
            if decoder.eof:
                chunk = chunk.lstrip(b"\0")  # padding between members
                if not chunk:
                    break
                decoder = zlib.decompressobj(wbits=31)
            begun = True
            yield from _inflated(decoder, chunk)
            chunk = decoder.unused_data
    if begun and not decoder.eof:
        raise BrokenStream("truncated gzip")


def _plain(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes of a file, unpacked if they are packed: the first bytes tell, not the name."""
    magic = stream.read(4)
    stream.seek(0)
    if magic[:2] == b"\x1f\x8b":
        yield from _gunzipped(stream)
    elif magic == b"\x28\xb5\x2f\xfd":
        unpacked = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
        while True:
            try:
                chunk = unpacked.read(READ_BYTES)
            except (OSError, pa.ArrowInvalid) as error:
                kind = "truncated" if "end of" in str(error).lower() or "truncated" in str(error).lower() else "broken"
                raise BrokenStream(f"{kind} zstd") from error
            if not chunk:
                return
            yield chunk
    else:
        while chunk := stream.read(READ_BYTES):
            yield chunk


def _lines(stream: BinaryIO, max_line_bytes: int) -> Iterator[tuple[bytes, str | None]]:
    """(line, what is wrong with it); a line that is too long is skipped, never held in memory whole."""
    parts: list[bytes] = []
    held = rows = 0
    overlong = False
    try:
        for chunk in _plain(stream):
            *whole, rest = chunk.split(b"\n")
            for piece in whole:
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


class _Reader(BaseDiskReader):
    """What both formats share: from a record's fields to a document."""

    def __init__(
        self,
        data_folder: str | DataFolder,
        text_field: str,
        id_field: str | None,
        config: ScanConfig,
        form: str = "text",
    ) -> None:
        super().__init__(data_folder, add_file_path=False)
        self.text_field, self.id_field, self.config, self.form = text_field, id_field, config, form
        self.fields: Counter[str] = Counter()
        """How many records had each field; what a wrong field name is recognised by."""
        self.records = 0

    def aside(self, file: str, row: int, why: str) -> Document:
        """A record that cannot be read: counted, named, without text."""
        self.records += 1
        return Document(text="", id=f"{file}:{row}", metadata={"raw_row": row, "unreadable": why})

    def document(self, file: str, row: int, record: dict[str, Any]) -> Document:
        """The document that a record holds, or the record set aside."""
        self.fields.update(map(str, record))
        if self.form != "text":
            try:
                record = as_text(record, self.form, self.text_field)
            except NotOfTheForm as error:
                return self.aside(file, row, str(error))
        text = record.get(self.text_field)
        if text is None:
            why = f"{self.text_field!r} is null" if self.text_field in record else f"no field {self.text_field!r}"
            return self.aside(file, row, why)
        if not isinstance(text, str):
            return self.aside(file, row, f"{self.text_field!r} is {type(text).__name__}, not text")
        if not text or text.isspace():
            return self.aside(file, row, "empty text")
        if len(text) > self.config.max_document_chars:
            return self.aside(file, row, f"longer than {self.config.max_document_chars:,} characters")
        self.records += 1
        name = record.get(self.id_field) if self.id_field else None
        named = isinstance(name, str | int) and not isinstance(name, bool) and str(name)
        kept = {key: value for key, value in record.items() if key not in (self.text_field, self.id_field, "url")}
        url = record.get("url")
        return Document(
            text=well_formed(text),
            id=well_formed(str(name)) if named else f"{file}:{row}",
            metadata={
                "raw_row": row,
                "url": well_formed(url) if isinstance(url, str) else None,
                "meta": json.dumps(kept, sort_keys=True, default=str) if kept else None,
            },
        )


def well_formed(text: str) -> str:
    """The text as it is, but a lone surrogate (a JSON escape that is no character) becomes U+FFFD."""
    return _LONE_SURROGATE.sub("\ufffd", text)


class JsonLinesReader(_Reader):
    """Reads JSON lines: plain, gzip or zstd, told by their first bytes."""

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
                    record = json.loads(line.decode("utf-8"))
                except UnicodeDecodeError:
                    yield self.aside(filepath, row, "invalid UTF-8")
                except (ValueError, RecursionError):
                    yield self.aside(filepath, row, "not JSON")
                else:
                    if isinstance(record, dict):
                        yield self.document(filepath, row, record)
                    else:
                        yield self.aside(filepath, row, "not a JSON object")


class ParquetReader(_Reader):
    """Reads Parquet, a few rows at a time."""

    name = "Parquet"

    def read_file(self, filepath: str) -> Iterator[Document]:
        """A document per row; of a group of rows that cannot be read, each row is set aside."""
        with self.data_folder.open(filepath, "rb") as stream:
            try:
                file = pq.ParquetFile(stream)
            except (pa.ArrowInvalid, OSError):
                yield self.aside(filepath, 0, "broken or truncated Parquet: its footer cannot be read")
                return
            begin = 0
            for group in range(file.num_row_groups):
                end = begin + file.metadata.row_group(group).num_rows
                row = begin
                try:
                    for batch in file.iter_batches(ROWS_AT_A_TIME, row_groups=[group], use_threads=False):
                        for record in _rows(batch):
                            if isinstance(record, str):
                                yield self.aside(filepath, row, record)
                            else:
                                yield self.document(filepath, row, record)
                            row += 1
                except (pa.ArrowException, OSError):
                    for lost in range(row, end):
                        yield self.aside(filepath, lost, "broken Parquet row group")
                begin = end


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    """The rows of a batch as plain values, or what is wrong with a row: Arrow does not check UTF-8."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for row in range(batch.num_rows):
            try:
                yield batch.slice(row, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield "invalid UTF-8"


READERS: dict[str, type[_Reader]] = {"jsonl": JsonLinesReader, "parquet": ParquetReader}
