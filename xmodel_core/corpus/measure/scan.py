"""The scan: the one pass over a source's text; everything later is decided on its columns.

Takes texts; gives columns: language, hash, features, perplexity, keys, line hashes and benchmark items. Our own stage
scans one raw file at a time into bounded groups of rows, `Scan` is a datatrove step for any pipeline,
and both go through `scanned`. Texts that differ only in white space have equal hashes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

from xmodel_core.artifacts import StoredFile, remote
from xmodel_core.corpus.boilerplate.lines import line_hashes
from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.contamination.benchmark_index import BenchmarkIndex, Hits
from xmodel_core.corpus.measure.features import FEATURES, features
from xmodel_core.corpus.measure.perplexity import PERPLEXITY, NgramModels
from xmodel_core.corpus.measure.signature import key_names, near_keys
from xmodel_core.corpus.read import READERS, LocalFolder
from xmodel_core.corpus.text import characters as char
from xmodel_core.corpus.text.batch import Array, TextBatch, make_batch
from xmodel_core.corpus.text.characters import well_formed
from xmodel_core.corpus.text.language import detect
from xmodel_core.specs import RawFile, Source
from xmodel_core.specs.listing import readable_name

Item = TypeVar("Item")

BATCH_CHARACTERS = 300_000  # texts scanned together: their arrays stay in the processor's cache
BATCH_TEXTS = 5_000
GROUP_CHARACTERS = 1_000_000  # of a group of rows in the scan's files
GROUP_ROWS = 20_000
FIELDS_NAMED = 30  # of a file's records, in its receipt; the field of the text is always among them


def text_hashes(batch: TextBatch) -> list[bytes]:
    """16 bytes per text, equal for texts that differ in blanks only. Case, width and punctuation count: what
    differs in those is left to the near stage, which folds them."""
    inked = batch.classes > char.SPACE
    read = inked.copy()
    read[1:] |= inked[:-1]  # of consecutive blanks the first, as a space; each text ends with the batch's own newline
    codes = np.where(inked, batch.codes, np.uint32(ord(" ")))[read]
    bounds = np.concatenate(([0], np.cumsum(read)))[batch.starts]
    return [xxhash.xxh3_128_digest(codes[begin:end].tobytes()) for begin, end in pairwise(bounds.tolist())]


def measured(
    texts: Sequence[str],
    batch: TextBatch,
    lang: Array,
    config: ScanConfig,
    index: BenchmarkIndex | None,
    models: NgramModels | None,
) -> dict[str, Any]:
    """Column → one value per text: sizes, features, perplexity, near keys, benchmark items. Depends on the texts alone,
    so a text without its boilerplate lines is measured like any other. `lang` [n] decides in which unit words are
    counted and which model scores them."""
    hits = index.hits(batch) if index else Hits(np.zeros(len(texts) + 1, np.int32), np.zeros(0, np.uint32))
    return {
        "chars": np.fromiter(map(len, texts), np.int64, len(texts)),
        "bytes": batch.bytes,
        "benchmark_items": pa.ListArray.from_arrays(pa.array(hits.offsets), pa.array(hits.items)),
        **features(batch, lang == "zh"),
        PERPLEXITY: models.perplexity(batch, lang) if models else np.full(len(texts), np.nan, np.float32),
        **dict(zip(key_names(config), near_keys(batch, config).T, strict=True)),
    }


def scanned(
    texts: Sequence[str], config: ScanConfig, index: BenchmarkIndex | None, models: NgramModels | None
) -> dict[str, Any]:
    """Column → one value per text, of texts that are scanned together: `measured` and lang, script, text_hash,
    line_hashes."""
    batch = make_batch(texts)
    languages, scripts = detect(texts, batch)
    lang = np.array(languages)
    return {
        "lang": languages,
        "script": scripts,
        "text_hash": text_hashes(batch),
        "line_hashes": _only(line_hashes(batch), (lang == "zh") | (lang == "en")),
        **measured(texts, batch, lang, config, index, models),
    }


def _only(lists: pa.ListArray, wanted: Array) -> pa.ListArray:
    """The lists where they are wanted, null elsewhere."""
    sizes = np.where(wanted, lists.value_lengths().to_numpy(), 0)
    values = lists.values.filter(pa.array(np.repeat(wanted, lists.value_lengths().to_numpy())))
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(~wanted))


class Scan(PipelineStep):
    """Adds to each document's metadata: lang, script, chars, bytes, text_hash, line_hashes, the features, the near
    keys, with an index of benchmarks the numbers of the items that it shares a passage with, and with n-gram models
    its perplexity."""

    type = "🔎 - SCAN"
    name = "Xmodel scan"

    def __init__(
        self,
        config: ScanConfig | None = None,
        index: BenchmarkIndex | None = None,
        models: NgramModels | None = None,
    ) -> None:
        super().__init__()
        self.config = config or ScanConfig()
        self.index = index
        self.models = models

    def run(self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Documents in, the same documents out in the same order; an unreadable one only gets a language, `other`."""
        for documents in batches(data or (), lambda document: len(document.text)):
            with self.track_time("batch"):
                columns = scanned([document.text for document in documents], self.config, self.index, self.models)
                columns |= {name: columns[name].to_pylist() for name in ("line_hashes", "benchmark_items")}
            for index, document in enumerate(documents):
                document.metadata.update({name: column[index] for name, column in columns.items()})
                self.stat_update(document.metadata["lang"])
                yield document


def batches(items: Iterable[Item], characters: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Consecutive items in batches of bounded size; a long text is a batch of its own, so the longest bounds memory."""
    batch: list[Item] = []
    size = 0
    for item in items:
        length = characters(item)
        if batch and (size + length > BATCH_CHARACTERS or len(batch) == BATCH_TEXTS):
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
        *((name, pa.float32()) for name in (*FEATURES, PERPLEXITY)),
        ("benchmark_items", pa.list_(pa.uint32())),
        *((name, pa.uint64()) for name in key_names(config)),
    ]


def load_index(stored: StoredFile | None) -> BenchmarkIndex | None:
    """A saved index, read once per process; None where there is none."""
    return _read_index(stored.path) if stored else None


@cache
def _read_index(path: Path) -> BenchmarkIndex:
    return BenchmarkIndex.load(path)


def load_models(stored: Mapping[str, StoredFile]) -> NgramModels | None:
    """Stored models by language, opened once per process; None where there are none."""
    return _open_models(tuple((lang, file.path) for lang, file in sorted(stored.items()))) if stored else None


@cache
def _open_models(files: tuple[tuple[str, Path], ...]) -> NgramModels:
    return NgramModels(dict(files))


def _rows(documents: Sequence[Document], columns: dict[str, Any], fields: pa.Schema) -> pa.RecordBatch:
    """Rows of a scan's file: the reader's documents and the scan's columns. Arrow arrays are used without a copy."""
    arrays: list[Any] = []
    for field in fields:
        if field.name in ("id", "text"):
            arrays.append(pa.array([getattr(document, field.name) for document in documents], pa.string()))
        elif isinstance(column := columns.get(field.name), pa.Array):
            arrays.append(column)
        elif column is not None:
            arrays.append(pa.array(column, field.type, from_pandas=True))  # not measured: NaN here, null there
        else:
            arrays.append(pa.array([document.metadata.get(field.name) for document in documents], field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=fields)


class RemoteData(DataFolder):
    """A folder on an object store or hub whose files are streamed, with retries."""

    def __init__(self, address: str) -> None:
        super().__init__(address, fs=remote.filesystem(address))
        self._address = address

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> BinaryIO:
        """A file for reading."""
        assert mode == "rb", mode
        return remote.open_stream(f"{self._address}/{path}")


def scan_file(
    source: Source,
    file: RawFile,
    config: ScanConfig,
    target: Path,
    index: BenchmarkIndex | None = None,
    models: NgramModels | None = None,
) -> dict[str, Any]:
    """Scans one raw file into one Parquet file, rows in the file's order; gives counts for the receipt."""
    # The file's name is relative to the reader's folder, so that ids never hold a machine's path.
    address, *parts = file.address.rsplit("/", file.name.count("/") + 1)
    folder = RemoteData(address) if remote.is_remote(address) else LocalFolder(address or "/")
    reader = READERS[source.format](folder, source.text_field, source.id_field, config, source.records)
    fields = schema(config)
    # Without statistics, since all rows of a column are read, and without dictionaries of numbers, which rarely repeat.
    with pq.ParquetWriter(
        target,
        fields,
        compression="zstd",
        compression_level=1,
        write_statistics=False,
        use_dictionary=["lang", "script", "unreadable"],  # pyright: ignore[reportArgumentType] (its stub knows a flag)
    ) as writer:
        group: list[pa.RecordBatch] = []
        size = rows = 0
        for documents in batches(reader.read_file("/".join(parts)), lambda document: len(document.text)):
            columns = scanned([document.text for document in documents], config, index, models)
            group.append(_rows(documents, columns, fields))
            size += int(columns["chars"].sum())
            rows += len(documents)
            if size >= GROUP_CHARACTERS or rows >= GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(group))
                group, size, rows = [], 0, 0
        if group:
            writer.write_table(pa.Table.from_batches(group))
    by_count = sorted(reader.fields.items(), key=lambda item: (item[0] != source.text_field, -item[1], item[0]))
    return {
        "source": source.name,
        "file": readable_name(file.name),
        "records": reader.records,
        "not_documents": dict(sorted(reader.not_documents.items())),
        "fields": {well_formed(name): records for name, records in by_count[:FIELDS_NAMED]},
        **({"meta_left_out": _some(reader.meta_left_out)} if reader.meta_left_out.total() else {}),
    }


def _some(counts: Counter[str]) -> dict[str, int]:
    return {well_formed(name): count for name, count in counts.most_common(FIELDS_NAMED) if count}
