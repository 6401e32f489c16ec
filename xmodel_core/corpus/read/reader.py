"""From a file's records to documents, the same for every format.

A format's module gives the records of a file (`Found`); here each becomes a datatrove `Document`. A record that
cannot be read is a document without text whose metadata give the reason (`unreadable`); reading continues. Text and id
decide whether a record is read; the rest of it, `meta`, is kept as well as it can be.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, cast

from datatrove.data import Document
from datatrove.io import DataFolder
from datatrove.pipeline.readers.base import BaseDiskReader

from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.read.fields import NotText, as_json, hoisted, text_of
from xmodel_core.corpus.read.instructions import NotOfTheForm, as_text
from xmodel_core.corpus.read.unpack import READ_BYTES
from xmodel_core.corpus.text.characters import well_formed
from xmodel_core.specs.listing import readable_name


class Found(NamedTuple):
    """A record of a file."""

    row: int
    """Its number in the file, from 0; what is no document has one, too."""
    fields: dict[str, Any]
    wrong: str | None = None
    """Why it cannot be read; `fields` is then what is known of it all the same."""


class Reader(BaseDiskReader):
    """What all formats share: from a record's fields to a document."""

    read_bytes = READ_BYTES
    """Stored bytes that are read at a time, as far as a format leaves it open."""

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
        self._paths = [field for field in (text_field, id_field) if field and "." in field]
        self.fields: Counter[str] = Counter()
        """How many records had each field: a wrong field name in the spec is recognised by it."""
        self.records = 0
        """Records that are documents or are set aside."""
        self.not_documents: Counter[str] = Counter()
        """Records that are not meant to be documents (requests, images …), by kind."""
        self.meta_left_out: Counter[str] = Counter()
        """Values that could not become part of `meta`, by field."""

    def opened(self, filepath: str) -> BinaryIO:
        """A file's bytes, as they are stored."""
        return cast(BinaryIO, self.data_folder.open(filepath, "rb"))

    def read_records(self, filepath: str) -> Iterator[Found]:
        """The records of a file, in its order."""
        raise NotImplementedError

    def read_file(self, filepath: str) -> Iterator[Document]:
        """A document per record that is meant to be one; what cannot be read is set aside."""
        name = readable_name(filepath)
        for found in self.read_records(filepath):
            yield self.document(name, found)

    def document(self, file: str, found: Found) -> Document:
        """The document that a record holds, or the record set aside. `file`: its readable name."""
        self.records += 1
        try:
            return self._document(file, found)
        except (NotText, NotOfTheForm) as error:
            url = found.fields.get("url") if found.wrong else None
            aside = {"raw_row": found.row, "unreadable": str(error), **({"url": url} if url else {})}
            return Document(text="", id=f"{file}:{found.row}", metadata=aside)

    def _document(self, file: str, found: Found) -> Document:
        row, record, wrong = found
        if wrong is not None:
            raise NotText(wrong)
        for name in record:
            self.fields[name] += 1
        for path in self._paths:
            if path not in record and (nested := hoisted(record, path)) is not None:
                record = nested
                self.fields[path] += 1
        if self.form != "text":
            record = as_text(record, self.form, self.text_field)
        text = record.get(self.text_field)
        if text is None:
            raise NotText(
                f"{self.text_field!r} is null" if self.text_field in record else f"no field {self.text_field!r}"
            )
        if type(text) is not str:
            text = text_of(text, self.text_field)
        if not text or text.isspace():
            raise NotText("empty text")
        if len(text) > self.config.max_document_chars:
            raise NotText(f"longer than {self.config.max_document_chars:,} characters")
        name = record.get(self.id_field) if self.id_field else None
        named = isinstance(name, str | int) and not isinstance(name, bool) and str(name)
        url = record.get("url")
        used = [self.text_field]
        # An id or address of another type is no key; it stays among the rest.
        if self.id_field and (named or name is None or name == ""):
            used.append(self.id_field)
        if url is None or isinstance(url, str):
            used.append("url")
        kept = {key: value for key, value in record.items() if key not in used}
        return Document(
            text=well_formed(text),
            id=well_formed(str(name)) if named else f"{file}:{row}",
            metadata={
                "raw_row": row,
                "url": well_formed(url) if isinstance(url, str) else None,
                "meta": as_json(kept, self.meta_left_out),
            },
        )
