"""From a record's fields to a document, the same for every format.

Takes what a format's module found in a file; gives a datatrove `Document` per record. A record that
cannot be read is a document without text whose metadata give the reason (`unreadable`); reading continues.
"""

import json
from collections import Counter
from typing import Any

from datatrove.data import Document
from datatrove.io import DataFolder
from datatrove.pipeline.readers.base import BaseDiskReader

from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.read.instructions import NotOfTheForm, as_text
from xmodel_core.corpus.text.characters import well_formed


class Reader(BaseDiskReader):
    """What all formats share: from a record's fields to a document."""

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
        """How many records had each field: a wrong field name in the spec is recognised by it."""
        self.records = 0
        """Records that are documents or are set aside."""
        self.not_documents: Counter[str] = Counter()
        """Records that are not meant to be documents (requests, images …), by kind."""

    def aside(self, file: str, row: int, why: str) -> Document:
        """A record that cannot be read: counted, named, without text."""
        self.records += 1
        return Document(text="", id=f"{file}:{row}", metadata={"raw_row": row, "unreadable": why})

    def document(self, file: str, row: int, record: dict[str, Any]) -> Document:
        """The document that a record holds, or the record set aside."""
        for name in record:
            self.fields[name] += 1
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
