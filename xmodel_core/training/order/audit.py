"""Proof of the order against the shards: every document counted, shares after every step, the stream's digest.

Takes a stream and reads it from its first step; gives counts, or an XmodelError that names the first thing that does
not add up. It does not rely on the order's own arithmetic: token ranges must tile each epoch, tokens are counted as
they come, and the ends of documents are taken from the shards' indexes.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xmodel_core.errors import XmodelError

if TYPE_CHECKING:
    from xmodel_core.training.loader import TokenStream


@dataclass(frozen=True)
class SourceAudit:
    """What the steps read of one source."""

    source: str
    documents: int
    """Documents of its train shards."""
    tokens: int
    """Tokens of those."""
    read_tokens: int
    """Tokens that the steps read of them."""
    whole_epochs: int
    """How often every token was read, each once before any again."""
    documents_in_part: int
    """Documents of which the epoch after those read something, none of their tokens twice."""
    padding_tokens: int
    largest_deviation: float
    """Most sequences that it was off its share of a phase after any step."""


@dataclass(frozen=True)
class Audit:
    """The counts of a stream that add up."""

    steps: int
    tokens: int
    """Padding included."""
    sha256: str
    """Of every token in order, 4 bytes each."""
    sources: tuple[SourceAudit, ...]


def _mismatch(what: str, where: str, expected: object, found: object) -> XmodelError:
    return XmodelError(what, expected=expected, found=found, where=where, remedy="this is a bug: please report it")


class _Account:
    """Collects the token ranges of one source, in order."""

    def __init__(self, source: str, ends: np.ndarray) -> None:
        self.source = source
        self.ends = ends
        self.starts: list[np.ndarray] = []
        self.lengths: list[np.ndarray] = []
        self.positions = 0
        self.deviation = 0.0

    def add(self, starts: np.ndarray, lengths: np.ndarray, positions: int) -> None:
        """`starts` and `lengths` [ranges] of one sequence of `positions` tokens, padding included."""
        self.starts.append(starts)
        self.lengths.append(lengths)
        self.positions += positions

    def epochs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(starts, ends), both [ranges], of each epoch, sorted; the last epoch may be incomplete."""
        if not self.starts:
            return
        total = int(self.ends[-1])
        starts, lengths = np.concatenate(self.starts), np.concatenate(self.lengths)
        after = np.cumsum(lengths)
        number = (after - 1) // total
        if ((after - lengths) // total != number).any():
            raise _mismatch(
                "a range of tokens spans two epochs", self.source, "an epoch that ends with its last token", "none"
            )
        for epoch in range(int(number[-1]) + 1):
            order = np.argsort(starts[number == epoch], kind="stable")
            yield starts[number == epoch][order], (starts + lengths)[number == epoch][order]

    def close(self) -> SourceAudit:
        """The source's counts; XmodelError where a token came twice before all had come, or was left out."""
        total, complete, in_part, read = int(self.ends[-1]) if len(self.ends) else 0, 0, 0, 0
        for number, (starts, ends) in enumerate(self.epochs(), 1):
            where = f"source {self.source}, epoch {number}"
            if (starts[1:] < ends[:-1]).any():
                at = int(starts[1:][starts[1:] < ends[:-1]][0])
                raise _mismatch(
                    "a token was repeated before the epoch's end", where, "each token once", f"token {at:,}"
                )
            documents = np.searchsorted(self.ends, starts, side="right")
            if (documents != np.searchsorted(self.ends, ends - 1, side="right")).any():
                raise _mismatch("a range of tokens crosses the end of a document", where, "one document", "two")
            tokens = int((ends - starts).sum())
            read += tokens
            if tokens == total:
                complete += 1  # nothing twice, and as many as there are: all of them
            else:
                in_part = len(np.unique(documents))
        return SourceAudit(
            source=self.source,
            documents=int((np.diff(self.ends, prepend=0) > 0).sum()),
            tokens=total,
            read_tokens=read,
            whole_epochs=complete,
            documents_in_part=in_part,
            padding_tokens=self.positions - read,
            largest_deviation=round(self.deviation, 6),
        )


def _all_ends(ends: list[np.ndarray]) -> np.ndarray:
    """[documents] The end of each document among all of a source's tokens."""
    lengths = [np.diff(shard.astype(np.int64), prepend=0) for shard in ends]
    return np.cumsum(np.concatenate(lengths)) if lengths else np.empty(0, np.int64)


def audit(stream: "TokenStream", steps: int) -> Iterator[tuple[int, Audit | None]]:
    """(tokens of the step, None) for each step, then (0, the counts). XmodelError where something does not add up."""
    accounts = {source: _Account(source, _all_ends(list(tokens.ends))) for source, tokens in stream.tokens.items()}
    digest = hashlib.sha256()
    tokens, counts = 0, np.zeros(len(stream.sources))
    phase_now = -1
    for step, batch in enumerate(stream.batches(1), 1):
        if step > steps:
            break
        number, before = stream.phase_of(step)
        phase = stream.phases[number]
        if number != phase_now:
            phase_now, counts = number, np.zeros(len(stream.sources))
        for source, _, k in stream.sequences(step):
            ranges = stream.packed[source].sequence(number, k)
            accounts[source].add(ranges.starts, ranges.lengths, phase.sequence_length)
            counts[stream.sources.index(source)] += 1
        off = np.abs(counts - np.array(phase.sequences) * ((step - before) / phase.steps))
        for account, deviation in zip(accounts.values(), off.tolist(), strict=True):
            account.deviation = max(account.deviation, deviation)
            if deviation > 1:
                at = f"source {account.source}, step {step}"
                raise _mismatch("a share is more than a sequence off", at, "at most 1", f"{deviation:.3f} sequences")
        digest.update(batch.tokens_BT.astype("<u4").tobytes())
        tokens += batch.tokens_BT.size
        yield batch.tokens_BT.size, None
    audits = tuple(account.close() for account in accounts.values())
    read = stream.read_tokens(steps)
    for one in audits:
        if read[one.source] != one.read_tokens:
            what, where = "the order's own count differs", f"source {one.source}, after step {steps}"
            raise _mismatch(what, where, f"{one.read_tokens:,} tokens, as they were read", f"{read[one.source]:,}")
    yield 0, Audit(steps, tokens, digest.hexdigest(), audits)
