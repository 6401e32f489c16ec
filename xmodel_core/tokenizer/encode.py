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

    def append(self, data: np.ndarray, ends: np.ndarray, mine: np.ndarray) -> None:
        """Appends those documents that are `mine`; the index gets an entry for each of them all.
        `data`: all documents' tokens, EOS after each; `ends`: where each ends in it."""
        starts = np.concatenate([[0], ends[:-1]])
        # Documents that lie together are written together: mostly that is all of them, or few.
        change = np.flatnonzero(np.diff(mine, prepend=False, append=False))
        for first, after in change.reshape(-1, 2).tolist():
            run = data[starts[first] : ends[after - 1]]
            self.stream.write(run.data)
            self._digest.update(run.data)
        reached = self.tokens + np.cumsum((ends - starts) * mine)
        self._ends.append(reached)
        self.documents += int(mine.sum())
        self.tokens = int(reached[-1]) if len(reached) else self.tokens
        self.bytes = self.tokens * self._dtype.itemsize

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
            data, ends = _as_on_disk(tokenizer.encode_arrays(rows.utf8, eos=True), dtype)
            aside = held_out(task.file.source, rows.ids, task.held_out_below)
            files["documents"].append(data, ends, ~aside)
            files["validation"].append(data, ends, aside)
            seen = task.draw.takes(task.file.source, task.category, rows.ids, rows.languages) & ~aside
            counts = _measure(tokenizer, rows, data, ends, seen)
            held_out_bytes += int(counts[aside, 1].sum())
            languages = np.array(rows.languages)
            for lang in sorted(set(rows.languages)):
                measured[lang] += counts[languages == lang].sum(0)
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


def _as_on_disk(encoded: list[np.ndarray], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """All documents' tokens as they stand on disk, in one copy; and where each ends (int64)."""
    ends = np.cumsum([len(tokens) for tokens in encoded], dtype=np.int64)
    data = np.empty(int(ends[-1]) if encoded else 0, np.dtype(dtype).newbyteorder("<"))
    if encoded:
        np.concatenate(encoded, out=data, casting="unsafe")
    return data, ends


def _measure(tokenizer: Tokenizer, rows: Rows, data: np.ndarray, ends: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """int64, documents x (MEASURES + UNSEEN). A document's EOS is none of its tokens."""
    lengths = np.diff(ends, prepend=0)
    first, last = tokenizer.byte_ids
    # Both have low ids in every model: one look at all tokens leaves the few that may be one.
    low = np.flatnonzero(data <= max(last, tokenizer.unknown_id))
    ids = data[low]

    def of_each(which: np.ndarray) -> np.ndarray:
        """How many of each document's tokens are among these (bool per low token); mostly there are none at all."""
        before = np.searchsorted(low[which], [ends - lengths, ends])
        return before[1] - before[0]

    in_bytes, unknown = of_each((ids >= first) & (ids <= last)), of_each(ids == tokenizer.unknown_id)
    known = [rows.characters, rows.sizes, lengths - 1, in_bytes, unknown]
    counts = np.stack(known, 1)
    return np.concatenate([counts, counts[:, : len(UNSEEN)] * ~seen[:, None]], 1)
