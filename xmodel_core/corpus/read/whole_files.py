"""Files that are a document each: web pages and plain text, plain or packed."""

from collections.abc import Iterator

from xmodel_core.corpus.read.encoding import Undecodable, decode
from xmodel_core.corpus.read.extract import MAX_PAGE_BYTES, Unextractable, extract
from xmodel_core.corpus.read.reader import Found, Reader
from xmodel_core.corpus.read.unpack import BrokenStream, read_all


class _WholeFileReader(Reader):
    """A file is a document."""

    max_bytes: int

    def text(self, data: bytes) -> str:
        """The document's text. Undecodable, Unextractable: there is none."""
        raise NotImplementedError

    def read_records(self, filepath: str) -> Iterator[Found]:
        """One record."""
        try:
            with self.opened(filepath) as stream:
                data = read_all(stream, self.max_bytes)
            wrong = f"longer than {self.max_bytes:,} bytes" if data is None else None
            yield Found(0, {} if data is None else {self.text_field: self.text(data)}, wrong)
        except (BrokenStream, Undecodable, Unextractable) as error:
            yield Found(0, {}, str(error))


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
