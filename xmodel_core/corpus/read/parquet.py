"""Parquet, a few rows at a time: a document per row."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document

from xmodel_core.corpus.read.reader import Reader

ROWS_AT_A_TIME = 256


class ParquetReader(Reader):
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
    """The rows of a batch as plain values, or why a row cannot be read: Arrow does not check UTF-8."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for row in range(batch.num_rows):
            try:
                yield batch.slice(row, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield "invalid UTF-8"
