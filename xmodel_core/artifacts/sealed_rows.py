"""Rows in a Parquet file that carries their digest: a file by itself, which nothing else lists while its run goes on.

Takes a table; gives the bytes of a Parquet file whose metadata hold the sha256 of its rows. A reader compares; what was
written before there were such digests passes.
"""

import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq

from xmodel_core.errors import XmodelError

DIGEST = b"rows_sha256"


def _digest(table: pa.Table) -> bytes:
    return hashlib.sha256(repr([table.column_names, table.to_pylist()]).encode()).hexdigest().encode()


def seal_rows(table: pa.Table) -> bytes:
    """The table as one Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({DIGEST: _digest(table)}), buffer)
    return buffer.getvalue()


def open_rows(data: bytes, where: object) -> pa.Table:
    """The table of such a file. XmodelError, naming `where`: it cannot be read, or its rows are not those that were
    written."""
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read()
        written = (table.schema.metadata or {}).get(DIGEST)
        if written is not None and written != _digest(table):
            raise ValueError("its rows are not those that were written")
    except (OSError, ValueError, OverflowError, pa.ArrowException) as error:
        raise XmodelError(
            "a part of a run's metrics cannot be read",
            expected="a complete Parquet file with the rows that were written",
            found=error,
            where=where,
            remedy="delete this part; its steps are then missing from the curves",
        ) from None
    return table.replace_schema_metadata(None)
