"""Reads a source's token shards: one long row of tokens, memory-mapped, in the order of its shards' names.

Takes a shards artifact; gives its tokens by position, across the borders of files and round again at
the end. The tokenizer room writes these files and training reads them, so their reader belongs to neither.
What is missing, changed since its receipt, or from another tokenizer is refused by name.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xmodel_core.artifacts.fingerprint import file_digest
from xmodel_core.artifacts.folder import FileEntry
from xmodel_core.artifacts.store import Artifact
from xmodel_core.errors import XmodelError

SPLITS = ("documents", "validation")


def _refuse(what: str, entry: FileEntry, artifact: Artifact, found: object) -> XmodelError:
    return XmodelError(
        what,
        expected=f"{entry.bytes:,} bytes, sha256 {entry.sha256[:12]}…, as its receipt says",
        found=found,
        where=f"{artifact.folder}/{entry.path}",
        remedy=f"delete the folder {artifact.kind}/{artifact.label} and run again: it is encoded anew",
    )


@dataclass(frozen=True)
class _File:
    """One .tokens file and the one that indexes it."""

    tokens: FileEntry
    index: FileEntry


class TokenShards:
    """The tokens of one source: those to train on (`documents`) or those held out (`validation`)."""

    def __init__(self, artifact: Artifact, split: str = "documents", tokenizer: str | None = None) -> None:
        """`tokenizer`: fingerprint of the one that must have encoded them. Names and sizes are checked here."""
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
        self._files = self._listed(artifact, split)
        self._starts = np.cumsum([0, *(file.tokens.bytes // self.dtype.itemsize for file in self._files)])
        self._maps = [
            self._map(artifact.folder.file(file.tokens.path, file.tokens), file.tokens.bytes) for file in self._files
        ]

    @staticmethod
    def _listed(artifact: Artifact, split: str) -> list[_File]:
        entries = {entry.path: entry for receipt in artifact.receipts().values() for entry in receipt.files}
        names = sorted(path for path in entries if path.startswith(f"{split}-") and path.endswith(".tokens"))
        files = [_File(entries[name], entries[name.removesuffix(".tokens") + ".index"]) for name in names]
        for file in files:
            for entry in (file.tokens, file.index):
                path = artifact.folder.file(entry.path, entry)
                if not path.exists():
                    raise _refuse("a token shard is missing", entry, artifact, "no such file")
                if path.stat().st_size != entry.bytes:
                    raise _refuse("a token shard is damaged", entry, artifact, f"{path.stat().st_size:,} bytes")
        return files

    def _map(self, path: Path, size: int) -> np.ndarray:
        # An empty file cannot be mapped; a shard whose documents are all in the other split has one.
        return np.memmap(path, self.dtype, mode="r") if size else np.empty(0, self.dtype)

    def verify(self) -> None:
        """Reads every file and compares its sha256 with its receipt. XmodelError names the first that differs."""
        for file in self._files:
            for entry in (file.tokens, file.index):
                if (digest := file_digest(self.artifact.folder.file(entry.path, entry))) != entry.sha256:
                    found = f"sha256 {digest[:12]}…"
                    raise _refuse("a token shard has changed since it was written", entry, self.artifact, found)

    def __len__(self) -> int:
        """Tokens, over all shards."""
        return int(self._starts[-1])

    def slice(self, start: int, length: int) -> np.ndarray:
        """`length` tokens from position `start` (modulo the total), going on from the first after the last."""
        total = len(self)
        assert total > 0 and length >= 0, f"{length} tokens from {total}"
        out = np.empty(length, self.dtype)
        position, filled = start % total, 0
        while filled < length:
            shard = int(np.searchsorted(self._starts, position, side="right")) - 1
            inside = position - int(self._starts[shard])
            part = self._maps[shard][inside : inside + length - filled]
            out[filled : filled + len(part)] = part
            filled += len(part)
            position = (position + len(part)) % total
        return out
