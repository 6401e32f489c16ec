"""A scanned file: one raw file's documents as columns and text, without their boilerplate lines.

Takes the Parquet file of a scan and, where its source repeats lines, the rescan of the documents that lost some;
gives both as one: a row of the rescan replaces the scan's. Decisions, comparisons and written documents all read
through here, so they work on the same text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xmodel_core.artifacts import StoredFile
from xmodel_core.corpus.text.batch import Array
from xmodel_core.specs import Source

REMOVED = ("lines_removed", "chars_removed", "bytes_removed")
"""Columns that only a rescan has; 0 for the documents of a scan, from which nothing was removed."""


@dataclass(frozen=True)
class ScannedFile:
    """One raw file of a source, the scan of it, and the rescan if there is one."""

    source: Source
    index: int
    """Its place in the source's order."""
    raw: str
    """The raw file's name, relative to the source."""
    scan: StoredFile
    rescan: StoredFile | None = None

    @property
    def name(self) -> str:
        """The name of its shards of documents and decisions."""
        return f"{self.source.name}-{self.index:05d}"

    @cached_property
    def rows(self) -> int:
        """Documents in it."""
        return pq.read_metadata(self.scan.path).num_rows

    def columns(self, names: Sequence[str]) -> pa.Table:
        """These columns of all rows."""
        scan = pq.ParquetFile(self.scan.path, memory_map=True)  # read_table costs milliseconds more for each file
        table = scan.read([name for name in names if name not in REMOVED], use_threads=False)
        for name in (name for name in names if name in REMOVED):
            table = table.append_column(name, pa.array(np.zeros(len(table), np.int64)))
        rescan = pq.ParquetFile(self.rescan.path, memory_map=True) if self.rescan else None
        if rescan and rescan.metadata.num_rows:
            known = rescan.schema_arrow.names
            again = rescan.read(["row", *(name for name in names if name in known)], use_threads=False)
            which = np.arange(len(table))
            which[again["row"].to_numpy()] = len(table) + np.arange(len(again))
            for name in again.column_names[1:]:
                both = pa.chunked_array([*table[name].chunks, *again[name].chunks], table.schema.field(name).type)
                table = table.set_column(table.column_names.index(name), name, both.take(pa.array(which)))
        return table.select(names)

    def groups(self, names: Sequence[str], rows: Array | None = None) -> Iterator[tuple[int, pa.Table]]:
        """(first row, columns) of each group of rows, `text` among them: a bounded part of the file at a time. With
        `rows` (ascending) only the groups that hold one of them."""
        scan, end = pq.ParquetFile(self.scan.path), 0
        changed = self._changed()
        row, new = next(changed, (self.rows, ""))
        for group in range(scan.num_row_groups):
            begin, end = end, end + scan.metadata.row_group(group).num_rows
            news = []
            while row < end:
                news.append((row - begin, new))
                row, new = next(changed, (self.rows, ""))
            if rows is not None and not np.searchsorted(rows, end) > np.searchsorted(rows, begin):
                continue
            table = scan.read_row_group(group, columns=list(names), use_threads=False)
            if news:
                texts = table["text"].to_pylist()
                for at, text in news:
                    texts[at] = text
                table = table.set_column(table.column_names.index("text"), "text", pa.array(texts, pa.string()))
            yield begin, table

    def _changed(self) -> Iterator[tuple[int, str]]:
        if self.rescan:
            for batch in pq.ParquetFile(self.rescan.path).iter_batches(
                1000, columns=["row", "text"], use_threads=False
            ):
                yield from zip(batch["row"].to_pylist(), batch["text"].to_pylist(), strict=True)

    def texts(self, rows: Array) -> Iterator[tuple[int, str]]:
        """(row, text) of these rows, ascending."""
        for begin, table in self.groups(["text"], rows):
            in_group = rows[(rows >= begin) & (rows < begin + len(table))]
            for row in in_group.tolist():
                yield row, table["text"][row - begin].as_py()


def first_rows(files: Sequence[ScannedFile]) -> Array:
    """int64 [files + 1]: the position of each file's first document among those of all files."""
    return np.concatenate(([0], np.cumsum([file.rows for file in files], dtype=np.int64)))


def digests(column: pa.ChunkedArray) -> Array:
    """uint64 [n, 2]: a column of 16-byte hashes; zeros where there is none."""
    filled = pc.call_function("coalesce", [column, pa.scalar(bytes(16), pa.binary(16))])
    parts = [np.frombuffer(part.buffers()[1], np.uint64)[2 * part.offset :][: 2 * len(part)] for part in filled.chunks]
    return np.concatenate([np.zeros(0, np.uint64), *parts]).reshape(-1, 2)
