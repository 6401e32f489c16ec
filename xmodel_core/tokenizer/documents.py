"""Reads the kept documents of a corpus, and decides which of them are held out for validation.

Takes a corpus artifact; gives each source's document files (found through receipts) and their documents in batches.
A document is held out when the hash of its (source, id) is among its source's lowest: one rule for the sample and
for the shards, with no list to keep, independent of files and their order.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from xmodel_core.artifacts import Artifact, StoredFile
from xmodel_core.errors import XmodelError

LARGEST_HELD_OUT_SHARE = 1 / 20
# A constant unlike any sample's seed: what is held out must not depend on what the sample draws.
HOLDOUT_SEED = 0x686F6C646F7574


@dataclass(frozen=True)
class DocumentFile:
    """One file of a source's kept documents; `number` is that of the raw file behind it, five digits."""

    source: str
    number: str
    stored: StoredFile
    documents: int


Files = Mapping[str, Sequence[DocumentFile]]
"""Source → its document files."""


@dataclass(frozen=True)
class DocumentBatch:
    """Consecutive documents of one file."""

    ids: list[str]
    languages: list[str]
    """Detected, not declared."""
    column: pa.Array
    """The texts as Arrow strings."""

    @property
    def texts(self) -> list[str]:
        """The texts as Python strings."""
        return self.column.to_pylist()

    @property
    def utf8(self) -> list[bytes]:
        """The texts in UTF-8, as SentencePiece reads them: no Python string is made."""
        return self.column.cast(pa.binary()).to_pylist()

    @property
    def characters(self) -> np.ndarray:
        """[document] int64: characters of each text."""
        return pc.call_function("utf8_length", [self.column]).to_numpy().astype(np.int64)

    @property
    def sizes(self) -> np.ndarray:
        """[document] int64: UTF-8 bytes of each text."""
        return pc.call_function("binary_length", [self.column]).to_numpy().astype(np.int64)


def documents_digests(corpus: Artifact) -> dict[str, str]:
    """Source → digest of its kept documents: all that tokenizer and shards depend on."""
    sources: dict[str, dict[str, str]] = corpus.manifest()["facts"]["sources"]
    return {name: facts["documents_digest"] for name, facts in sources.items()}


def document_files(corpus: Artifact) -> dict[str, list[DocumentFile]]:
    """Source → its document files in the order of its raw files. XmodelError where one is missing."""
    files: dict[str, list[DocumentFile]] = {name: [] for name in documents_digests(corpus)}
    for receipt in corpus.receipts().values():
        for entry in receipt.files:
            if not entry.path.startswith("documents/"):
                continue
            if corpus.folder.size(entry.path) is None:
                raise XmodelError(
                    "a file of kept documents is missing",
                    expected=f"{entry.bytes:,} bytes, as its receipt says",
                    where=f"{corpus.folder}/{entry.path}",
                    remedy=f"delete {corpus.label}/manifest.json and run again: the missing file is built again",
                )
            source = receipt.facts["source"]
            number = Path(entry.path).stem.removeprefix(f"{source}-")
            files[source].append(DocumentFile(source, number, StoredFile(corpus.folder, entry), receipt.facts["docs"]))
    return {source: sorted(parts, key=lambda file: file.number) for source, parts in files.items()}


def read_groups(file: DocumentFile, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of a file's documents, one row group at a time, in row order. A row group has bounded characters
    (the corpus room sees to it) and is read alone, on this thread: memory does not grow with the file."""
    with pq.ParquetFile(file.stored.path) as parquet:
        for group in range(parquet.num_row_groups):
            yield parquet.read_row_group(group, columns=list(columns), use_threads=False)


def read_documents(file: DocumentFile) -> Iterator[DocumentBatch]:
    """The documents of a file, a row group at a time, in row order."""
    for table in read_groups(file, ("id", "lang", "text")):
        yield DocumentBatch(table["id"].to_pylist(), table["lang"].to_pylist(), table["text"].combine_chunks())


def hashes(source: str, ids: Sequence[str], seed: int) -> np.ndarray:
    """[document] uint64: the hash of each document key (source, id)."""
    keys = (xxhash.xxh64_intdigest(f"{source}\0{identifier}", seed) for identifier in ids)
    return np.fromiter(keys, np.uint64, len(ids))


def held_out_below(files: Sequence[DocumentFile], documents: int) -> int:
    """The bound on a source's hashes below which documents are held out.

    That holds out `documents` of them, or a twentieth of the source where it is smaller than that.
    """
    count = min(documents, int(sum(file.documents for file in files) * LARGEST_HELD_OUT_SHARE))
    if count == 0:
        return 0
    lowest = np.empty(0, np.uint64)
    for file in files:
        for table in read_groups(file, ("id",)):
            merged = np.concatenate([lowest, hashes(file.source, table["id"].to_pylist(), HOLDOUT_SEED)])
            merged.sort()
            lowest = merged[: count + 1]
    return int(lowest[count])


def held_out(source: str, ids: Sequence[str], below: int) -> np.ndarray:
    """[document] bool: whether it is held out."""
    return hashes(source, ids, HOLDOUT_SEED) < np.uint64(below)
