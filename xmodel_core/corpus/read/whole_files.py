"""Files that are a document each: web pages and plain text, plain or packed."""

from collections.abc import Iterator

from datatrove.data import Document

from xmodel_core.corpus.read.encoding import Undecodable, decode
from xmodel_core.corpus.read.extract import MAX_PAGE_BYTES, Unextractable, extract
from xmodel_core.corpus.read.reader import Reader
from xmodel_core.corpus.read.unpack import BrokenStream, read_all


class _WholeFileReader(Reader):
    """A file is a document."""

    max_bytes: int

    def text(self, data: bytes) -> str:
        """The document's text. Undecodable, Unextractable: there is none."""
        raise NotImplementedError

    def read_file(self, filepath: str) -> Iterator[Document]:
        """One document, or the file set aside."""
        try:
            with self.data_folder.open(filepath, "rb") as stream:
                data = read_all(stream, self.max_bytes)
            if data is None:
                yield self.aside(filepath, 0, f"longer than {self.max_bytes:,} bytes")
                return
            text = self.text(data)
        except (BrokenStream, Undecodable, Unextractable) as error:
            yield self.aside(filepath, 0, str(error))
        else:
            yield self.document(filepath, 0, {self.text_field: text})


class HtmlReader(_WholeFileReader):
    """Reads web pages."""

    name = "HTML"
    max_bytes = MAX_PAGE_BYTES

    def text(self, data: bytes) -> str:
        """The page's main text."""
        return extract(data)


class TextReader(_WholeFileReader):
    """Reads plain text and Markdown, in whatever encoding."""

    name = "text"

    @property
    def max_bytes(self) -> int:
        """A character takes at most four bytes in UTF-8, UTF-16 and GB18030."""
        return 4 * self.config.max_document_chars

    def text(self, data: bytes) -> str:
        """The file as it is, lines ended by \\n."""
        return decode(data).replace("\r\n", "\n")
