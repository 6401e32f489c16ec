"""Readers: one raw file in, datatrove documents out, and no record lost.

One module per format; `reader` holds what they share, `unpack` reads gzip and zstd. Every record of a file
is a document, or is set aside with the reason, or is counted by its kind where it is not meant to be a document.
"""

from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from datatrove.data import Document
from datatrove.io import DataFolder

from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.read.jsonl import JsonLinesReader
from xmodel_core.corpus.read.parquet import ParquetReader
from xmodel_core.corpus.read.reader import Reader
from xmodel_core.corpus.read.warc import WarcReader
from xmodel_core.corpus.read.whole_files import HtmlReader, TextReader

READERS: dict[str, type[Reader]] = {
    "jsonl": JsonLinesReader,
    "parquet": ParquetReader,
    "warc": WarcReader,
    "html": HtmlReader,
    "text": TextReader,
}


class _OpenedFolder(DataFolder):
    """A folder that keeps the stream of its last file, whose position says how much was read."""

    stream: BinaryIO

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> BinaryIO:
        """A file for reading."""
        self.stream = cast(BinaryIO, super().open(path, mode))
        return self.stream


def first_documents(kind: str, path: Path, limit: int) -> tuple[list[Document], int]:
    """The first documents of a file of pages or texts, those set aside among them, and how many of the file's bytes
    they took."""
    folder = _OpenedFolder(str(path.parent))
    documents = READERS[kind](folder, "text", None, ScanConfig()).read_file(path.name)
    first = list(islice(documents, limit))
    stored = path.stat().st_size if len(first) < limit or folder.stream.closed else folder.stream.tell()
    documents.close()
    return first, stored
