"""The order of a source's documents: a new one each epoch, a function of source, seed and epoch.

Takes where the documents of each shard end; gives the token ranges at any place of all epochs end to end. Documents are
shuffled in groups, each of many blocks that are far apart in the source: as good as a shuffle of everything, and only
one group has to be in memory at a time.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
BLOCKS_PER_GROUP = 64
"""Blocks of consecutive documents that make up a group."""


def shuffled(size: int, *key: object) -> Integers:
    """A permutation [size] of 0 … size-1, a function of its key: the order of SplitMix64's outputs. Our own arithmetic,
    since numpy's generators may change between versions."""
    seed = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    values = np.arange(size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.frombuffer(seed[:8], "<u8")
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(values ^ (values >> np.uint64(31)), kind="stable")


@dataclass(frozen=True)
class TokenRanges:
    """Ranges of a source's tokens, each inside one document."""

    starts: Integers
    """[ranges] Where each begins; tokens count over all shards in order."""
    lengths: Integers
    """[ranges] Tokens of each."""

    def __getitem__(self, which: slice | np.ndarray) -> "TokenRanges":
        return TokenRanges(self.starts[which], self.lengths[which])


def joined(parts: list[TokenRanges]) -> TokenRanges:
    """The ranges of all parts, in order."""
    return TokenRanges(np.concatenate([p.starts for p in parts]), np.concatenate([p.lengths for p in parts]))


class Documents:
    """The documents of one source, epoch after epoch. Tokens count over all shards in order."""

    def __init__(self, source: str, ends: Sequence[np.ndarray], seed: int, shuffle_tokens: int) -> None:
        """`ends`: per shard [documents] uint64, the end of each document in tokens, as the shard's .index holds them
        (they stay memory-mapped); `shuffle_tokens`: about how many tokens a group of documents has."""
        self.source, self.seed, self._ends = source, seed, ends
        totals = [int(shard[-1]) if len(shard) else 0 for shard in ends]
        self._before = np.cumsum([0, *totals], dtype=np.int64)
        self.tokens = int(self._before[-1])
        blocks = self._blocks(max(1, shuffle_tokens // BLOCKS_PER_GROUP))
        mixed = blocks[shuffled(len(blocks), seed, source, "groups")]
        self._groups = [mixed[at : at + BLOCKS_PER_GROUP] for at in range(0, len(mixed), BLOCKS_PER_GROUP)]
        self.group_tokens = np.array([int(group[:, 3].sum()) for group in self._groups], dtype=np.int64)
        self.group = lru_cache(maxsize=4)(self._group)
        self.groups_of = lru_cache(maxsize=2)(self._groups_of)

    def _blocks(self, tokens: int) -> Integers:
        """[blocks, 4] (shard, first row, end row, tokens) of blocks of consecutive documents, about `tokens` tokens
        each."""
        blocks_of_shards = []
        for shard, ends in enumerate(self._ends):
            total = int(ends[-1]) if len(ends) else 0
            # In the index's own type: otherwise all of it would be converted, and read.
            cuts = np.arange(tokens, total, tokens, dtype=np.uint64)
            rows = np.unique([0, *(np.searchsorted(ends, cuts) + 1), len(ends)]) if total else np.zeros(1, np.int64)
            rows = rows[rows <= len(ends)].astype(np.int64)
            at = np.array([int(ends[row - 1]) if row else 0 for row in rows], dtype=np.int64)
            blocks_of_shards.append(np.stack([np.full(len(rows) - 1, shard), rows[:-1], rows[1:], np.diff(at)], 1))
        blocks = np.concatenate(blocks_of_shards) if blocks_of_shards else np.empty((0, 4), np.int64)
        return blocks[blocks[:, 3] > 0]

    def whole_group(self, group: int) -> TokenRanges:
        """The documents of a group, uncut, in the order of the source."""
        parts = []
        for shard, first, end, _ in self._groups[group]:
            ends = np.asarray(self._ends[shard][max(0, first - 1) : end]).astype(np.int64)
            borders = ends if first else np.concatenate(([0], ends))
            parts.append(TokenRanges(self._before[shard] + borders[:-1], np.diff(borders)))
        documents = joined(parts)
        return documents[documents.lengths > 0]  # a document held out for validation has no tokens here

    def _group(self, epoch: int, group: int) -> tuple[TokenRanges, Integers]:
        """The documents of a group in the order of an epoch, and [documents] the end of each in that order, in
        tokens."""
        documents = self.whole_group(group)
        documents = documents[shuffled(len(documents.starts), self.seed, self.source, epoch, group)]
        return documents, np.cumsum(documents.lengths)

    def _groups_of(self, epoch: int) -> tuple[Integers, Integers]:
        """[groups] the groups in the order of an epoch, and [groups] the end of each in tokens."""
        order = shuffled(len(self._groups), self.seed, self.source, epoch)
        return order, np.cumsum(self.group_tokens[order])

    def ranges(self, first: int, length: int) -> TokenRanges:
        """The token ranges at places `first` to `first + length` (excluded) of all epochs end to end."""
        parts = []
        while length > 0:
            epoch, inside = divmod(first, self.tokens)
            groups, ends = self.groups_of(epoch)
            slot = int(ends.searchsorted(inside, side="right"))
            documents, document_ends = self.group(epoch, int(groups[slot]))
            inside -= int(ends[slot - 1]) if slot else 0
            one = int(document_ends.searchsorted(inside, side="right"))
            last = min(int(document_ends.searchsorted(inside + length)), len(document_ends) - 1)
            starts, lengths = documents.starts[one : last + 1].copy(), documents.lengths[one : last + 1].copy()
            skipped = inside - int(document_ends[one] - lengths[0])
            starts[0] += skipped
            lengths[0] -= skipped
            taken = min(length, int(document_ends[last]) - inside)
            lengths[-1] -= int(document_ends[last]) - inside - taken
            parts.append(TokenRanges(starts, lengths))
            first, length = first + taken, length - taken
        return parts[0] if len(parts) == 1 else joined(parts)

    def locate(self, token: int) -> tuple[int, int, int]:
        """(shard, document's row, offset inside the document in tokens) of one of the source's tokens."""
        shard = int(np.searchsorted(self._before, token, side="right")) - 1
        inside = token - int(self._before[shard])
        row = int(np.searchsorted(self._ends[shard], np.uint64(inside), side="right"))
        return shard, row, inside - (int(self._ends[shard][row - 1]) if row else 0)

    def groups_with(self, start: int, end: int) -> list[int]:
        """The groups that hold any of the source's tokens from `start` to `end` (excluded)."""
        first, last = self.locate(start)[:2], self.locate(end - 1)[:2]
        return [
            number
            for number, group in enumerate(self._groups)
            if any((shard, low) <= last and first < (shard, high) for shard, low, high, _ in group.tolist())
        ]
