"""Reads a source's token shards as one sequence of tokens, in the order of the shards' names, with document ends.

Takes a shards artifact; gives its tokens by position. Files of this machine are memory-mapped; those on an object
store are fetched whole or, with a page cache, as they are read. The tokenizer room writes these files and training
reads them, so their reader is here. Files that are missing, changed since their receipt or from another tokenizer are
refused by name.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from xmodel_core.artifacts.fingerprint import file_digest
from xmodel_core.artifacts.folder import FileEntry
from xmodel_core.artifacts.object_store import RemoteFolder
from xmodel_core.artifacts.page_cache import PageCache, RemoteTokens
from xmodel_core.artifacts.remote import RemoteFile, in_parallel
from xmodel_core.artifacts.store import Artifact, Digest
from xmodel_core.errors import XmodelError

SPLITS = ("documents", "validation")


class TokenRanges(Protocol):
    """Ranges of consecutive tokens: where each starts and how long it is."""

    @property
    def starts(self) -> np.ndarray:
        """Positions among all tokens of the source, int64 `[range]`."""
        ...

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each range, int64 `[range]`; a range is inside one shard."""
        ...


def _read_digest(file: Path | RemoteFile) -> str:
    assert isinstance(file, Path), f"{file.address} is not on this machine: pass Store.digest"
    return file_digest(file)


def _refuse(what: str, entry: FileEntry, artifact: Artifact, found: object) -> XmodelError:
    return XmodelError(
        what,
        expected=f"{entry.bytes:,} bytes, sha256 {entry.sha256[:12]}…, as its receipt says",
        found=found,
        where=f"{artifact.folder}/{entry.path}",
        remedy=f"delete the folder {artifact.kind}/{artifact.label} and run again: it is encoded again",
    )


@dataclass(frozen=True)
class _File:
    """A .tokens file and its index."""

    tokens: FileEntry
    index: FileEntry


class TokenShards:
    """The tokens of one source: those to train on (`documents`) or those held out (`validation`)."""

    def __init__(
        self,
        artifact: Artifact,
        split: str = "documents",
        tokenizer: str | None = None,
        pages: PageCache | None = None,
    ) -> None:
        """`tokenizer`: fingerprint that the shards must have been encoded with. `pages`: cache for shards on an object
        store; without it they are fetched whole. Names and sizes are checked here, contents by `verify`.

        XmodelError: another tokenizer, a missing or damaged file, an index that does not belong to its tokens.
        """
        assert split in SPLITS, split
        facts = artifact.manifest()["facts"]
        if tokenizer is not None and facts["tokenizer"] != tokenizer:
            raise XmodelError(
                f"the shards {artifact.label} were encoded with another tokenizer",
                expected=f"tokenizer {tokenizer[:8]}",
                found=f"tokenizer {facts['tokenizer'][:8]}",
                where=artifact.folder,
                remedy="run `xmodel tokenizer-train` with the same recipe: it encodes with the tokenizer at hand",
            )
        self.artifact = artifact
        self.dtype = np.dtype(facts["dtype"]).newbyteorder("<")
        self._pages = pages if isinstance(artifact.folder, RemoteFolder) else None
        self._files = self._listed(artifact, split)
        self.names = [Path(file.tokens.path).stem for file in self._files]
        """The shards' names, in order."""
        self._starts = [0]
        for file in self._files:
            self._starts.append(self._starts[-1] + file.tokens.bytes // self.dtype.itemsize)
        self._maps = [self._tokens(file.tokens) for file in self._files]
        self.ends = [self._map(self._fetched(file.index), np.dtype("<u8")) for file in self._files]
        """Per shard, the end of each document in tokens, uint64 `[document]`; one of the other split has no length."""
        for file, ends in zip(self._files, self.ends, strict=True):
            counted, listed = file.tokens.bytes // self.dtype.itemsize, int(ends[-1]) if len(ends) else 0
            if counted != listed:
                sizes = f"{counted:,} tokens, and an index of {listed:,}"
                raise _refuse("a token shard and its index do not belong together", file.index, artifact, sizes)

    @staticmethod
    def _listed(artifact: Artifact, split: str) -> list[_File]:
        entries = {entry.path: entry for receipt in artifact.receipts().values() for entry in receipt.files}
        names = sorted(path for path in entries if path.startswith(f"{split}-") and path.endswith(".tokens"))
        files = [_File(entries[name], entries[name.removesuffix(".tokens") + ".index"]) for name in names]
        both = [entry for file in files for entry in (file.tokens, file.index)]
        for entry, size in zip(both, in_parallel(lambda entry: artifact.folder.size(entry.path), both), strict=True):
            if size is None:
                raise _refuse("a token shard is missing", entry, artifact, "no such file")
            if size != entry.bytes:
                raise _refuse("a token shard is damaged", entry, artifact, f"{size:,} bytes")
        return files

    def _tokens(self, entry: FileEntry) -> np.ndarray | RemoteTokens:
        if self._pages is None:
            return self._map(self._fetched(entry), self.dtype)
        raw = self.artifact.folder.raw(entry.path)
        if not isinstance(raw, RemoteFile):
            raise _refuse("a token shard is missing", entry, self.artifact, "no such file")
        return RemoteTokens(self._pages, raw, self.dtype)

    def _fetched(self, entry: FileEntry) -> Path:
        path = self.artifact.folder.file(entry.path, entry)
        if not path.exists():
            raise _refuse("a token shard is missing", entry, self.artifact, "no such file")
        return path

    def _map(self, path: Path, dtype: np.dtype) -> np.ndarray:
        # An empty file cannot be mapped; a shard whose documents are all in the other split has one.
        # A plain array: numpy's own class for mapped files is slow to slice.
        return np.memmap(path, dtype, mode="r").view(np.ndarray) if path.stat().st_size else np.empty(0, dtype)

    def verify(self, digest: Digest = _read_digest) -> None:
        """Compares every file's sha256 with its receipt. XmodelError, naming the first that is missing or differs."""
        for file in self._files:
            for entry in (file.tokens, file.index):
                raw = self.artifact.folder.raw(entry.path)
                if raw is None:
                    raise _refuse("a token shard is missing", entry, self.artifact, "no such file")
                if (sha256 := digest(raw)) != entry.sha256:
                    changed = "a token shard has changed since it was written"
                    raise _refuse(changed, entry, self.artifact, f"sha256 {sha256[:12]}…")

    def __len__(self) -> int:
        """Tokens, over all shards."""
        return self._starts[-1]

    def document_ends(self) -> np.ndarray:
        """The end of each document among all tokens, int64 `[document]`; one of the other split has no length."""
        joined = [ends.astype(np.int64) + start for ends, start in zip(self.ends, self._starts, strict=False)]
        return np.concatenate(joined) if joined else np.empty(0, np.int64)

    def _place(self, start: int) -> tuple[int, int]:
        shard = bisect_right(self._starts, start) - 1
        return shard, start - self._starts[shard]

    def read(self, starts: np.ndarray, lengths: np.ndarray, out: np.ndarray) -> None:
        """Copies ranges of tokens, each inside one shard, one after the other into `out`, `[sum of lengths]`."""
        at = 0
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            shard, inside = self._place(start)
            out[at : at + length] = self._maps[shard][inside : inside + length]
            at += length

    def fetch(self, ranges: Sequence[TokenRanges]) -> None:
        """Fetches ranges of tokens into the page cache, in parallel; does nothing for files of this machine."""
        if self._pages is None:
            return
        wanted = []
        for part in ranges:
            for start, length in zip(part.starts.tolist(), part.lengths.tolist(), strict=True):
                shard, inside = self._place(start)
                tokens = self._maps[shard]
                assert isinstance(tokens, RemoteTokens)
                wanted += tokens.pages(inside, inside + length)
        self._pages.fetch(wanted)

    def slice(self, start: int, length: int) -> np.ndarray:
        """`length` tokens from position `start` (modulo the total), wrapping around at the end."""
        total = len(self)
        assert total > 0 and length >= 0, f"{length} tokens from {total}"
        out = np.empty(length, self.dtype)
        position, filled = start % total, 0
        while filled < length:
            shard, inside = self._place(position)
            part = self._maps[shard][inside : inside + length - filled]
            out[filled : filled + len(part)] = part
            filled += len(part)
            position = (position + len(part)) % total
        return out
