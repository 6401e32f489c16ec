"""The scan: the one pass over a source's text; everything later is decided on its columns.

Takes datatrove documents; gives them back with language, hash, features and signature. `Scan` is a
datatrove step that may stand in any pipeline; our own stage drives it one raw file at a time and
writes bounded groups of rows. Equal text but for white space has an equal hash.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.decontaminate import BenchmarkIndex
from xmodel_core.corpus.features import FEATURES, features
from xmodel_core.corpus.language import detect
from xmodel_core.corpus.layout import lay_out
from xmodel_core.corpus.read import READERS
from xmodel_core.corpus.signature import signatures
from xmodel_core.specs import RawFile, Source

BATCH_CHARACTERS = 300_000  # texts scanned together: their arrays stay in the processor's cache
GROUP_CHARACTERS = 4_000_000  # of a group of rows in the scan's files
GROUP_ROWS = 20_000


def text_hash(text: str) -> bytes:
    """16 bytes, equal for texts that differ in white space only. Case, width and punctuation count: what
    differs in those is left to the near stage, which folds them."""
    return xxhash.xxh3_128_digest(" ".join(text.split()).encode())


class Scan(PipelineStep):
    """Adds to each document's metadata: lang, script, chars, bytes, text_hash, signature, the features, and with an
    index of benchmarks the numbers of the items that it shares a passage with."""

    type = "🔎 - SCAN"
    name = "Xmodel scan"

    def __init__(self, config: ScanConfig | None = None, index: BenchmarkIndex | None = None) -> None:
        super().__init__()
        self.config = config or ScanConfig()
        self.index = index

    def run(self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Documents in, the same documents out in the same order; an unreadable one only gets a language, `other`."""
        for documents in _batches(data or ()):
            with self.track_time("batch"):
                self._scan(documents)
            for document in documents:
                self.stat_update(document.metadata["lang"])
                yield document

    def _scan(self, documents: list[Document]) -> None:
        texts = [document.text for document in documents]
        layout = lay_out(texts)
        languages, scripts = detect(texts, layout.counts)
        columns = features(layout, np.array([language == "zh" for language in languages]))
        signature = signatures(layout, self.config.bands * self.config.rows)
        hits = self.index.hits(layout) if self.index else None
        for index, document in enumerate(documents):
            text = document.text
            document.metadata.update(
                lang=languages[index],
                script=scripts[index],
                chars=len(text),
                bytes=len(text.encode()),
                text_hash=text_hash(text),
                signature=signature[index],
                benchmark_items=hits.items[hits.offsets[index] : hits.offsets[index + 1]] if hits else (),
                **{name: column[index] for name, column in columns.items()},
            )


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        # A long document is scanned alone, so that memory is bounded by the longest.
        if batch and size + len(document.text) > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += len(document.text) + 1
    if batch:
        yield batch


def schema(config: ScanConfig) -> pa.Schema:
    """The columns of a scan's files."""
    return pa.schema(
        [
            ("id", pa.string()),
            ("text", pa.string()),
            ("lang", pa.string()),
            ("script", pa.string()),
            ("chars", pa.int64()),
            ("bytes", pa.int64()),
            ("url", pa.string()),
            ("meta", pa.string()),
            ("raw_row", pa.int64()),
            ("unreadable", pa.string()),
            ("text_hash", pa.binary(16)),
            *((name, pa.float32()) for name in FEATURES),
            ("benchmark_items", pa.list_(pa.uint32())),
            ("signature", pa.list_(pa.uint32(), config.bands * config.rows)),
        ]
    )


@cache
def _load_index(path: Path) -> BenchmarkIndex:
    return BenchmarkIndex.load(path)


def _table(documents: list[Document], columns: pa.Schema) -> pa.Table:
    metadata = [document.metadata for document in documents]
    arrays: list[Any] = []
    for field in columns:
        if field.name in ("id", "text"):
            arrays.append(pa.array([getattr(document, field.name) for document in documents], pa.string()))
        elif field.name == "signature":
            flat = np.concatenate([row["signature"] for row in metadata])
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), field.type.list_size))
        elif field.name in FEATURES:
            arrays.append(pa.array(np.array([row[field.name] for row in metadata], np.float32)))
        else:
            arrays.append(pa.array([row.get(field.name) for row in metadata], field.type))
    return pa.Table.from_arrays(arrays, schema=columns)


def scan_file(
    source: Source, file: RawFile, config: ScanConfig, target: Path, benchmarks: Path | None = None
) -> dict[str, Any]:
    """Scans one raw file into one Parquet file, rows in the file's order; gives counts for the receipt.
    `benchmarks`: where an index of benchmarks was saved."""
    # The reader's folder is what the file's name is relative to, so that ids never hold a machine's path.
    folder = file.path
    for _ in Path(file.name).parts:
        folder = folder.parent
    reader = READERS[source.format](str(folder), source.text_field, source.id_field, config)
    step = Scan(config, _load_index(benchmarks) if benchmarks else None)
    columns = schema(config)
    # Statistics and dictionaries would only cost time: these columns are read whole.
    with pq.ParquetWriter(target, columns, compression="zstd", compression_level=1, write_statistics=False) as writer:
        group: list[Document] = []
        size = 0
        for document in step.run(reader.read_file(file.name)):
            group.append(document)
            size += len(document.text)
            if size >= GROUP_CHARACTERS or len(group) >= GROUP_ROWS:
                writer.write_table(_table(group, columns))
                group, size = [], 0
        if group:
            writer.write_table(_table(group, columns))
    return {
        "source": source.name,
        "file": file.name,
        "records": reader.records,
        "fields": dict(sorted(reader.fields.items(), key=lambda item: (-item[1], item[0]))[:30]),
    }
