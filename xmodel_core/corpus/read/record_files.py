"""Files of many records: JSON lines and Parquet. The first bytes decide which of them a file is, not its name."""

from collections.abc import Iterator

from xmodel_core.corpus.read.instructions import FORM_FIELDS
from xmodel_core.corpus.read.jsonl import json_records
from xmodel_core.corpus.read.parquet import PARQUET_MARK, parquet_records
from xmodel_core.corpus.read.reader import Found, Reader
from xmodel_core.corpus.read.unpack import READ_BYTES, FailureRecorder, pieces

_JSON_STARTS = (
    b"{",
    b"[",
    b"\xef\xbb\xbf{",
    b"\xef\xbb\xbf[",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
)


class _RecordsReader(Reader):
    def read_records(self, filepath: str) -> Iterator[Found]:
        """The records of a file, in its order."""
        with self.opened(filepath) as stream:
            head = stream.read(16)
            stream.seek(0)
            if self.is_parquet(head):
                yield from parquet_records(FailureRecorder(stream), self._needed(), self.meta_left_out)
            else:
                # A character takes at most six bytes when escaped (\\uXXXX); other fields get as much again.
                limit = 12 * self.config.max_document_chars + READ_BYTES
                yield from json_records(pieces(stream, self.read_bytes), limit, self.id_field)

    def is_parquet(self, head: bytes) -> bool:
        """Whether a file with these first bytes is read as Parquet."""
        raise NotImplementedError

    def _needed(self) -> frozenset[str]:
        """The columns without which a row is not read."""
        fields = (self.text_field, *(FORM_FIELDS if self.form != "text" else ()))
        return frozenset(name for field in fields for name in (field, field.partition(".")[0]))


class JsonLinesReader(_RecordsReader):
    """Reads JSON lines: plain, gzip or zstd, recognised by their first bytes."""

    name = "JSON lines"

    def is_parquet(self, head: bytes) -> bool:
        """Whether it begins as Parquet does."""
        return head.startswith(PARQUET_MARK)


class ParquetReader(_RecordsReader):
    """Reads Parquet, a few rows at a time."""

    name = "Parquet"

    def is_parquet(self, head: bytes) -> bool:
        """Whether it does not begin as JSON lines do."""
        return not head.lstrip(b" \t\r\n").startswith(_JSON_STARTS)
