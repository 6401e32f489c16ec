"""Readers: one raw file in, datatrove documents out, and no record lost.

One module per format; `reader` holds what they share, `unpack` reads gzip and zstd. Every record of a file
is a document, or is set aside with the reason, or is counted by its kind where it is not meant to be a document.
`first_records` gives the beginning of a file as a scan sees it, to whoever inspects it.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.io import DataFolder

from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.read.reader import Found, Reader
from xmodel_core.corpus.read.record_files import JsonLinesReader, ParquetReader
from xmodel_core.corpus.read.warc import WarcReader
from xmodel_core.corpus.read.whole_files import HtmlReader, TextReader

READERS: dict[str, type[Reader]] = {
    "jsonl": JsonLinesReader,
    "parquet": ParquetReader,
    "warc": WarcReader,
    "html": HtmlReader,
    "text": TextReader,
}
SMALL_READ_BYTES = 4096
"""So that a stream's position says closely how much of it was needed."""


class LocalFolder(DataFolder):
    """A folder of this machine, whatever characters its path has."""

    def __init__(self, folder: Path | str) -> None:
        super().__init__("/")
        self._folder = Path(folder)

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> BinaryIO:
        """A file for reading."""
        assert mode == "rb", mode
        return (self._folder / path).open("rb")


class _Watched(LocalFolder):
    """A folder that keeps the stream of its last file."""

    stream: BinaryIO

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> BinaryIO:
        """A file for reading."""
        self.stream = super().open(path, mode)
        return self.stream


@dataclass(frozen=True)
class FirstRecords:
    """The first records of a file."""

    found: list[Found]
    share: float
    """Of the file that they are: 1 where it ends with them."""


def first_records(kind: str, path: Path, most: int, most_characters: int) -> FirstRecords:
    """The first records of a file, those set aside among them, as a scan of it reads them."""
    folder, found, characters = _Watched(path.parent), [], 0
    reader = READERS[kind](folder, "text", None, ScanConfig())
    reader.read_bytes = SMALL_READ_BYTES
    records = reader.read_records(path.name)
    for record in records:
        found.append(record)
        characters += sum(len(value) for value in record.fields.values() if isinstance(value, str))
        if len(found) >= most or characters >= most_characters:
            break
    else:
        return FirstRecords(found, 1.0)
    share = folder.stream.tell() / max(path.stat().st_size, 1)
    records.close()  # type: ignore[attr-defined]
    with suppress(pa.ArrowException, OSError):  # of Parquet, which is not read from its beginning on
        share = len(found) / pq.read_metadata(path).num_rows
    return FirstRecords(found, min(share, 1.0))


def documents_of(
    kind: str, files: Sequence[tuple[str, list[Found]]], text_field: str, id_field: str | None, form: str
) -> tuple[list[Document], Counter[str]]:
    """The documents that a scan makes of some files' records, and why others are none."""
    reader = READERS[kind](LocalFolder("/"), text_field, id_field, ScanConfig(), form)
    made = [reader.document(file, record) for file, records in files for record in records]
    wrong = Counter(document.metadata["unreadable"] for document in made if document.metadata.get("unreadable"))
    return [document for document in made if document.text], wrong
