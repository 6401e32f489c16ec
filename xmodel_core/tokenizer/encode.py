"""Encodes one file of kept documents: token ids on disk, EOS after each document, and an index of ends.

Takes a documents file and a tokenizer; gives documents-NNNNN and validation-NNNNN (.tokens: flat little-endian ids;
.index: uint64 end offsets, in tokens). Document n is entry n of both indexes, with length zero in the index of the
file that does not hold it: a row number is enough to find its tokens.
"""

import hashlib
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from xmodel_core.artifacts import Artifact, Folder, finished_shard, write_shard
from xmodel_core.tokenizer.documents import DocumentBatch, DocumentFile, held_out, read_documents
from xmodel_core.tokenizer.sample import Draw
from xmodel_core.tokenizer.tokenizer import Tokenizer

LARGEST_UINT16_VOCABULARY = 1 << 16


def token_dtype(vocab_size: int) -> str:
    """The type of a token on disk: uint16 where every id fits, else uint32."""
    return "uint16" if vocab_size <= LARGEST_UINT16_VOCABULARY else "uint32"


@dataclass(frozen=True)
class EncodeTask:
    """One documents file to encode: plain values, so that any process can run it."""

    file: DocumentFile
    held_out_below: int
    """The bound on hashes below which the source's documents are held out (see documents.py)."""
    tokenizer: Artifact
    folder: Folder
    """The shards artifact's folder."""
    label: str
    """The shards artifact's label, for the ledger."""
    lang: str
    """The source's declared language."""
    category: str
    draw: Draw
    """Which documents the tokenizer learned from; the others are text that it never saw."""

    @property
    def shard(self) -> str:
        """The shard's name, which its training tokens bear too."""
        return f"documents-{self.file.number}"


@lru_cache(maxsize=2)
def _tokenizer(artifact: Artifact) -> Tokenizer:
    return Tokenizer.load(artifact)


class _TokenFile:
    """A .tokens file that is being written, its checksum and its index."""

    def __init__(self, path: Path, dtype: str) -> None:
        self.stream = path.open("wb")
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._digest = hashlib.sha256()
        self._ends: list[np.ndarray] = []
        self.documents = self.tokens = self.bytes = 0

    def append(self, data: np.ndarray, ends: np.ndarray, selected: np.ndarray) -> None:
        """Appends the selected documents of a batch; the index gets an entry for every document of it.

        `data`: [token], all documents' tokens, EOS after each. `ends`: [document] int64, where each ends in `data`.
        `selected`: [document] bool."""
        starts = np.concatenate([[0], ends[:-1]])
        # Consecutive documents are written at once: mostly that is all of them, or few.
        change = np.flatnonzero(np.diff(selected, prepend=False, append=False))
        for first, after in change.reshape(-1, 2).tolist():
            run = data[starts[first] : ends[after - 1]]
            self.stream.write(run.data)
            self._digest.update(run.data)
        reached = self.tokens + np.cumsum((ends - starts) * selected)
        self._ends.append(reached)
        self.documents += int(selected.sum())
        self.tokens = int(reached[-1]) if len(reached) else self.tokens
        self.bytes = self.tokens * self._dtype.itemsize

    def index(self) -> bytes:
        """The end of every document, uint64 little-endian."""
        return np.concatenate(self._ends).astype("<u8").tobytes() if self._ends else b""

    def row(self, task: EncodeTask, shard: str) -> dict[str, object]:
        """The file's row of the ledger table token_shards."""
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


# Summed per language over all documents; the first three also over the documents that were not learned from.
MEASURES = ("chars", "bytes", "tokens", "byte_tokens", "unknown_tokens")
UNSEEN = ("unseen_chars", "unseen_bytes", "unseen_tokens")


def encode_file(task: EncodeTask) -> None:
    """Writes one shard: two .tokens files, their indexes, the ledger rows and counts of its receipt."""
    if finished_shard(task.folder, task.shard):
        return
    tokenizer = _tokenizer(task.tokenizer)
    dtype = token_dtype(tokenizer.vocab_size)
    measured: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(MEASURES) + len(UNSEEN), np.int64))
    held_out_bytes = 0

    with write_shard(task.folder, task.shard) as shard, ExitStack() as closing:
        names = {part: f"{part}-{task.file.number}" for part in ("documents", "validation")}
        files = {part: _TokenFile(shard.file(f"{name}.tokens"), dtype) for part, name in names.items()}
        for file in files.values():
            closing.enter_context(file.stream)
        for batch in read_documents(task.file):
            data, ends = _as_on_disk(tokenizer.encode_arrays(batch.utf8, eos=True), dtype)
            validation = held_out(task.file.source, batch.ids, task.held_out_below)
            files["documents"].append(data, ends, ~validation)
            files["validation"].append(data, ends, validation)
            learned = task.draw.takes(task.file.source, task.category, batch.ids, batch.languages) & ~validation
            counts = _measure(tokenizer, batch, data, ends, learned)
            held_out_bytes += int(counts[validation, 1].sum())
            languages = np.array(batch.languages)
            for lang in sorted(set(batch.languages)):
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
    """All documents' tokens as one array of the type on disk, and [document] int64: where each ends in it."""
    ends = np.cumsum([len(tokens) for tokens in encoded], dtype=np.int64)
    data = np.empty(int(ends[-1]) if encoded else 0, np.dtype(dtype).newbyteorder("<"))
    if encoded:
        np.concatenate(encoded, out=data, casting="unsafe")
    return data, ends


def _measure(
    tokenizer: Tokenizer, batch: DocumentBatch, data: np.ndarray, ends: np.ndarray, learned: np.ndarray
) -> np.ndarray:
    """[document, MEASURES + UNSEEN] int64. A document's EOS is not counted among its tokens."""
    lengths = np.diff(ends, prepend=0)
    first, last = tokenizer.byte_ids
    # Byte pieces and <unk> have low ids in every model: one pass over all tokens leaves the few that may be one.
    low = np.flatnonzero(data <= max(last, tokenizer.unknown_id))
    ids = data[low]

    def of_each(which: np.ndarray) -> np.ndarray:
        """[document]: how many of its tokens are among these ([low token] bool); mostly there are none at all."""
        before = np.searchsorted(low[which], [ends - lengths, ends])
        return before[1] - before[0]

    in_bytes, unknown = of_each((ids >= first) & (ids <= last)), of_each(ids == tokenizer.unknown_id)
    counts = np.stack([batch.characters, batch.sizes, lengths - 1, in_bytes, unknown], 1)
    return np.concatenate([counts, counts[:, : len(UNSEEN)] * ~learned[:, None]], 1)
