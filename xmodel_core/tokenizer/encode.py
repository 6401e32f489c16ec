"""Encodes one file of kept documents: token ids on disk, EOS after each document, and an index of ends.

Takes a documents file and a tokenizer; gives documents-NNNNN and validation-NNNNN (.tokens: flat
little-endian ids; .index: uint64 end offsets, in tokens). Document n is entry n of both indexes, and
has no length in the one of the file that it is not in: a row number is all it takes to find its tokens.
"""

import hashlib
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from xmodel_core.artifacts import Artifact, Folder, write_shard
from xmodel_core.tokenizer.documents import DocumentFile, Rows, held_out, read_documents
from xmodel_core.tokenizer.sample import Draw
from xmodel_core.tokenizer.tokenizer import Tokenizer

LARGEST_UINT16_VOCABULARY = 1 << 16


def token_dtype(vocab_size: int) -> str:
    """How wide a token is on disk: uint16 where every id fits, else uint32."""
    return "uint16" if vocab_size <= LARGEST_UINT16_VOCABULARY else "uint32"


@dataclass(frozen=True)
class EncodeTask:
    """One documents file to encode: plain values, so that any process can do it."""

    file: DocumentFile
    held_out_below: int
    """The bound of the source's held-out documents (see documents.py)."""
    tokenizer: Artifact
    folder: Folder
    """The shards artifact's folder."""
    label: str
    """The shards artifact's label, for the ledger."""
    lang: str
    """The source's declared language."""
    category: str
    draw: Draw
    """What the tokenizer learned from: the rest is text that it never saw."""

    @property
    def shard(self) -> str:
        """The shard's name, also that of its train tokens."""
        return f"documents-{self.file.number}"


@lru_cache(maxsize=2)
def _tokenizer(artifact: Artifact) -> Tokenizer:
    return Tokenizer.load(artifact)


class _TokenFile:
    """A .tokens file in the making, its checksum and its index."""

    def __init__(self, path: Path, dtype: str) -> None:
        self.stream = path.open("wb")
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._digest = hashlib.sha256()
        self._ends: list[np.ndarray] = []
        self.documents = self.tokens = self.bytes = 0

    def append(self, documents: list[np.ndarray], mine: np.ndarray, eos: int) -> None:
        """Appends those of `documents` that are `mine`; the index gets an entry for each of them all."""
        lengths = np.array([len(tokens) + 1 for tokens in documents], np.int64) * mine
        ends = np.cumsum(lengths)
        data = np.empty(int(lengths.sum()), self._dtype)
        for row in np.flatnonzero(mine):
            end = ends[row] - 1
            data[end - len(documents[row]) : end] = documents[row]
            data[end] = eos
        self._ends.append(self.tokens + ends)
        self.stream.write(data.data)
        self._digest.update(data.data)
        self.documents += int(mine.sum())
        self.tokens += len(data)
        self.bytes += data.nbytes

    def index(self) -> bytes:
        """The end of every document, uint64 little-endian."""
        return np.concatenate(self._ends).astype("<u8").tobytes() if self._ends else b""

    def row(self, task: EncodeTask, shard: str) -> dict[str, object]:
        """The file's row of the ledger's table token_shards."""
        return {
            "shards": task.label,
            "source": task.file.source,
            "lang": task.lang,
            "shard": shard,
            "docs": self.documents,
            "tokens": self.tokens,
            "bytes": self.bytes,
            "sha256": self._digest.hexdigest(),
        }


# What is summed per language, of every document; the first three of it also over documents that were not learned from.
MEASURES = ("chars", "bytes", "tokens", "byte_tokens", "unknown_tokens")
UNSEEN = ("unseen_chars", "unseen_bytes", "unseen_tokens")


def encode_file(task: EncodeTask) -> None:
    """Writes one shard: its two .tokens files, their indexes, its ledger rows and its counts."""
    tokenizer = _tokenizer(task.tokenizer)
    dtype = token_dtype(tokenizer.vocab_size)
    measured: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(MEASURES) + len(UNSEEN), np.int64))
    held_out_bytes = 0

    with write_shard(task.folder, task.shard) as shard, ExitStack() as closing:
        names = {part: f"{part}-{task.file.number}" for part in ("documents", "validation")}
        files = {part: _TokenFile(shard.file(f"{name}.tokens"), dtype) for part, name in names.items()}
        for file in files.values():
            closing.enter_context(file.stream)
        for rows in read_documents(task.file):
            encoded = tokenizer.encode_arrays(rows.texts)
            aside = held_out(task.file.source, rows.ids, task.held_out_below)
            files["documents"].append(encoded, ~aside, tokenizer.eos_id)
            files["validation"].append(encoded, aside, tokenizer.eos_id)
            seen = task.draw.takes(task.file.source, task.category, rows.ids, rows.languages) & ~aside
            counts = _measure(tokenizer, rows, encoded, seen)
            held_out_bytes += int(counts[aside, 1].sum())
            for lang, row in zip(rows.languages, counts, strict=True):
                measured[lang] += row
        closing.close()  # on disk before the shard is put in place

        for part, name in names.items():
            shard.file(f"{name}.index").write_bytes(files[part].index())
            shard.rows("token_shards", [files[part].row(task, name)])
        # Sums, not ratios: the ledger adds up shards and divides last. A document's EOS is no part of its text.
        key = {"tokenizer": task.tokenizer.label, "source": task.file.source, "category": task.category}
        sums = [
            key | {"lang": lang} | dict(zip((*MEASURES, *UNSEEN), row.tolist(), strict=True))
            for lang, row in sorted(measured.items())
        ]
        shard.rows("tokenizer_fertility", sums)
        shard.facts.update(
            docs=sum(file.documents for file in files.values()),
            train_tokens=files["documents"].tokens,
            validation_tokens=files["validation"].tokens,
            validation_docs=files["validation"].documents,
            validation_bytes=held_out_bytes,
        )


def _measure(tokenizer: Tokenizer, rows: Rows, encoded: list[np.ndarray], seen: np.ndarray) -> np.ndarray:
    """int64, documents x (MEASURES + UNSEEN)."""
    counts = np.zeros((len(encoded), len(MEASURES) + len(UNSEEN)), np.int64)
    for row, (text, tokens) in enumerate(zip(rows.texts, encoded, strict=True)):
        in_bytes = int(np.count_nonzero(tokenizer.is_byte[tokens]))
        unknown = int(np.count_nonzero(tokens == tokenizer.unknown_id))
        counts[row, : len(MEASURES)] = (len(text), len(text.encode()), len(tokens), in_bytes, unknown)
    counts[~seen, len(MEASURES) :] = counts[~seen, : len(UNSEEN)]
    return counts
