"""Readers: one raw file in, datatrove documents out, and nothing lost on the way.

One module per format; `reader` holds what they share, `unpack` reads gzip and zstd. Every record of a file
is a document, or is set aside with why, or is counted by its kind where it is no document by its nature.
"""

from xmodel_core.corpus.read.jsonl import JsonLinesReader
from xmodel_core.corpus.read.pages import HtmlReader, TextReader
from xmodel_core.corpus.read.parquet import ParquetReader
from xmodel_core.corpus.read.reader import Reader
from xmodel_core.corpus.read.warc import WarcReader

READERS: dict[str, type[Reader]] = {
    "jsonl": JsonLinesReader,
    "parquet": ParquetReader,
    "warc": WarcReader,
    "html": HtmlReader,
    "text": TextReader,
}
