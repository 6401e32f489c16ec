"""The scan: the one pass over a source's text; everything later is decided on its columns.

Takes datatrove documents; gives them back with language, hash, features, keys and line hashes. `Scan` is a
datatrove step that may stand in any pipeline; our own stage drives it one raw file at a time and
writes bounded groups of rows. Equal text but for white space has an equal hash.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from datatrove.data import Document
from datatrove.io import DataFolder
from datatrove.pipeline.base import PipelineStep

from xmodel_core.artifacts import remote
from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.decontaminate import BenchmarkIndex
from xmodel_core.corpus.features import FEATURES, features
from xmodel_core.corpus.language import detect
from xmodel_core.corpus.layout import Array, Layout, lay_out
from xmodel_core.corpus.lines import line_hashes
from xmodel_core.corpus.read import READERS
from xmodel_core.corpus.signature import key_names, near_keys
from xmodel_core.specs import RawFile, Source

Item = TypeVar("Item")

BATCH_CHARACTERS = 300_000  # texts scanned together: their arrays stay in the processor's cache
GROUP_CHARACTERS = 4_000_000  # of a group of rows in the scan's files
GROUP_ROWS = 20_000


def text_hash(text: str) -> bytes:
    """16 bytes, equal for texts that differ in white space only. Case, width and punctuation count: what
    differs in those is left to the near stage, which folds them."""
    return xxhash.xxh3_128_digest(" ".join(text.split()).encode())


def measured(
    texts: Sequence[str], layout: Layout, chinese: Array, config: ScanConfig, index: BenchmarkIndex | None
) -> dict[str, Any]:
    """Column → one value per text: sizes, features, near keys, benchmark items. Depends on the texts alone, so a text
    whose boilerplate lines went is measured like any other. `chinese` [n] says in which unit words are counted."""
    hits = index.hits(layout) if index else None
    return {
        "chars": [len(text) for text in texts],
        "bytes": [len(text.encode()) for text in texts],
        "benchmark_items": [hits.items[a:b] for a, b in pairwise(hits.offsets)] if hits else [()] * len(texts),
        **features(layout, chinese),
        **dict(zip(key_names(config), near_keys(layout, config).T, strict=True)),
    }


class Scan(PipelineStep):
    """Adds to each document's metadata: lang, script, chars, bytes, text_hash, line_hashes, the features, the near
    keys, and with an index of benchmarks the numbers of the items that it shares a passage with."""

    type = "🔎 - SCAN"
    name = "Xmodel scan"

    def __init__(self, config: ScanConfig | None = None, index: BenchmarkIndex | None = None) -> None:
        super().__init__()
        self.config = config or ScanConfig()
        self.index = index

    def run(self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Documents in, the same documents out in the same order; an unreadable one only gets a language, `other`."""
        for documents in batches(data or (), lambda document: len(document.text)):
            with self.track_time("batch"):
                self._scan(documents)
            for document in documents:
                self.stat_update(document.metadata["lang"])
                yield document

    def _scan(self, documents: list[Document]) -> None:
        texts = [document.text for document in documents]
        layout = lay_out(texts)
        languages, scripts = detect(texts, layout.counts)
        columns = {
            "lang": languages,
            "script": scripts,
            "text_hash": map(text_hash, texts),
            "line_hashes": [
                None if language in ("code", "other") else lines.values.to_numpy()
                for language, lines in zip(languages, line_hashes(layout), strict=True)
            ],
            **measured(texts, layout, np.array(languages) == "zh", self.config, self.index),
        }
        for document, *values in zip(documents, *columns.values(), strict=True):
            document.metadata.update(zip(columns, values, strict=True))


def batches(items: Iterable[Item], characters: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Runs of items of bounded size; a long text stands alone, so that memory is bounded by the longest."""
    batch: list[Item] = []
    size = 0
    for item in items:
        length = characters(item)
        if batch and size + length > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length + 1
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
            ("line_hashes", pa.list_(pa.uint64())),
            *measured_fields(config),
        ]
    )


def measured_fields(config: ScanConfig) -> list[tuple[str, pa.DataType]]:
    """The columns of `measured` that every scan and rescan has beside the sizes."""
    return [
        *((name, pa.float32()) for name in FEATURES),
        ("benchmark_items", pa.list_(pa.uint32())),
        *((name, pa.uint64()) for name in key_names(config)),
    ]


@cache
def load_index(path: Path) -> BenchmarkIndex:
    """A saved index, read once per process."""
    return BenchmarkIndex.load(path)


def _table(documents: list[Document], columns: pa.Schema) -> pa.Table:
    metadata = [document.metadata for document in documents]
    arrays: list[Any] = []
    for field in columns:
        if field.name in ("id", "text"):
            arrays.append(pa.array([getattr(document, field.name) for document in documents], pa.string()))
        elif field.name in FEATURES:
            arrays.append(pa.array(np.array([row[field.name] for row in metadata], np.float32)))
        else:
            arrays.append(pa.array([row.get(field.name) for row in metadata], field.type))
    return pa.Table.from_arrays(arrays, schema=columns)


class RemoteData(DataFolder):
    """A folder on an object store or hub whose files are streamed, patiently."""

    def __init__(self, address: str) -> None:
        super().__init__(address, fs=remote.filesystem(address))
        self._address = address

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> BinaryIO:
        """A file for reading."""
        assert mode == "rb", mode
        return remote.open_stream(f"{self._address}/{path}")


def scan_file(
    source: Source, file: RawFile, config: ScanConfig, target: Path, benchmarks: Path | None = None
) -> dict[str, Any]:
    """Scans one raw file into one Parquet file, rows in the file's order; gives counts for the receipt.
    `benchmarks`: where an index of benchmarks was saved."""
    # The reader's folder is what the file's name is relative to, so that ids never hold a machine's path.
    address = file.address.removesuffix(f"/{file.name}")
    folder = RemoteData(address) if remote.is_remote(address) else address
    reader = READERS[source.format](folder, source.text_field, source.id_field, config, source.records)
    step = Scan(config, load_index(benchmarks) if benchmarks else None)
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
