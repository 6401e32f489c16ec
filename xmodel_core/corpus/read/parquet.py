"""Parquet, a few rows at a time: a record per row.

Takes a file and the columns without which a row is not read; gives its rows. A value of another column that Python has
no form for (a date beyond the year 9999, an unknown time zone, a string that is not UTF-8) becomes a string, or is left
out and counted; a column that cannot be read is left out. Of a group of rows whose needed columns cannot be read, each
row that is lost is named.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from xmodel_core.corpus.read.fields import MendedText
from xmodel_core.corpus.read.reader import Found
from xmodel_core.corpus.read.unpack import FailureRecorder

PARQUET_MARK = b"PAR1"
ROWS_AT_A_TIME = 256
_BROKEN = (pa.ArrowException, OSError)
_LEFT_OUT: Any = object()


def parquet_records(stream: FailureRecorder, needed: frozenset[str], left_out: Counter[str]) -> Iterator[Found]:
    """The rows of a file. `left_out` counts the values that are not in them, by column."""
    try:
        file = pq.ParquetFile(cast(BinaryIO, stream))
        columns = file.schema_arrow.names
    except (*_BROKEN, UnicodeDecodeError):
        if stream.failure:
            raise stream.failure from None
        yield Found(0, {}, "broken or truncated Parquet: its footer cannot be read")
        return
    row = 0
    for group in range(file.num_row_groups):
        begin, end = row, row + _rows_of(file, group)
        try:
            for batch in file.iter_batches(ROWS_AT_A_TIME, row_groups=[group], use_threads=False):
                for record in _plain_rows(batch, left_out):
                    yield Found(row, record)
                    row += 1
        except _BROKEN:
            if stream.failure:
                raise stream.failure from None
            for record in _by_column(file, group, row - begin, [name for name in columns if name in needed], left_out):
                yield Found(row, record)
                row += 1
            if stream.failure:
                raise stream.failure from None
            for lost in range(row, end):
                yield Found(lost, {}, "broken Parquet row group")
        row = max(row, end)


def _rows_of(file: pq.ParquetFile, group: int) -> int:
    """The rows of a group: where its metadata contradict each other, the fewest, so that a flipped bit names no
    thousand million rows."""
    metadata = file.metadata.row_group(group)
    flat = [n for n in range(metadata.num_columns) if file.schema.column(n).max_repetition_level == 0]
    return max(min(metadata.num_rows, *(metadata.column(n).num_values for n in flat), metadata.num_rows), 0)


def _plain_rows(batch: pa.RecordBatch, left_out: Counter[str]) -> list[dict[str, Any]]:
    """The rows of a batch as plain values."""
    try:
        return batch.to_pylist()
    except Exception:
        # Whatever a library of dates or time zones says of one value: it is that value's alone, and counted below.
        columns = {name: _plain_values(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for name, values in columns.items():
        left_out[name] += sum(value is _LEFT_OUT for value in values)
    return [
        {name: values[row] for name, values in columns.items() if values[row] is not _LEFT_OUT}
        for row in range(batch.num_rows)
    ]


def _plain_values(array: pa.Array) -> list[Any]:
    try:
        return array.to_pylist()
    except Exception:  # as above
        return [_plain_value(value) for value in array]


def _plain_value(value: Any) -> Any:
    """A value as Python has it, else as a string, else `_LEFT_OUT`."""
    with contextlib.suppress(Exception):
        return value.as_py()
    with contextlib.suppress(Exception):
        if pa.types.is_dictionary(value.type):
            return _plain_value(value.dictionary[value.index.as_py()])
        if pa.types.is_string(value.type) or pa.types.is_large_string(value.type):
            return MendedText(value.as_buffer().to_pybytes().decode("utf-8", "replace"))
        if pa.types.is_struct(value.type):
            fields = {name: _plain_value(value[name]) for name in value.type.names}
            return {name: each for name, each in fields.items() if each is not _LEFT_OUT}
        if (
            pa.types.is_list(value.type)
            or pa.types.is_large_list(value.type)
            or pa.types.is_fixed_size_list(value.type)
        ):
            return [each for each in _plain_values(value.values) if each is not _LEFT_OUT]
        return str(value.value)  # a date beyond Python's: its number
    with contextlib.suppress(Exception):
        return str(value.cast(pa.string()).as_py())
    return _LEFT_OUT


def _by_column(
    file: pq.ParquetFile, group: int, skipped: int, needed: Sequence[str], left_out: Counter[str]
) -> Iterator[dict[str, Any]]:
    """The rows of a group after the first `skipped`, as far as the needed columns can be read; with what can be read of
    the others."""
    parts = {
        name: file.iter_batches(ROWS_AT_A_TIME, row_groups=[group], columns=[name], use_threads=False)
        for name in dict.fromkeys(file.schema_arrow.names)
    }
    unread: list[str] = []
    while parts:
        columns: dict[str, list[Any]] = {}
        for name in list(parts):
            try:
                batch = next(parts[name], None)
                columns[name] = [row.get(name, _LEFT_OUT) for row in _plain_rows(batch, left_out)] if batch else []
            except _BROKEN:
                if name in needed:
                    return
                del parts[name]
                unread.append(name)
        rows = max((len(columns[name]) for name in needed or columns), default=0)
        if rows == 0:
            return
        left_out.update({name: rows for name in unread})
        whole = {name: values for name, values in columns.items() if len(values) == rows}
        for row in range(min(skipped, rows), rows):
            yield {name: values[row] for name, values in whole.items() if values[row] is not _LEFT_OUT}
        skipped = max(0, skipped - rows)
