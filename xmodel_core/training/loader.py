"""The batches of a run: the order of the tokens (order/), read from the token shards.

Takes a plan, each source's tokens and the seed; gives batches, exact counts of what was consumed, and the steps that
saw given tokens of a source. The loader has no state to save or restore: a step's batch is a function of its number,
and a worker's share of it is every world-th sequence.
"""

import hashlib
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from xmodel_core.errors import XmodelError
from xmodel_core.training.order.best_fit import BestFit, Pieces
from xmodel_core.training.order.concat import Concat
from xmodel_core.training.order.documents import Documents, Integers, TokenRanges
from xmodel_core.training.order.packing import Packing
from xmodel_core.training.order.shares import Shares

NO_TARGET = -100
"""The target of positions that the loss ignores: what would follow the end of a document, and padding."""


class Tokens(Protocol):
    """The train tokens of one source, all shards in order (artifacts.token_shards)."""

    @property
    def ends(self) -> Sequence[np.ndarray]:
        """Per shard [documents] uint64, the end of each document in tokens."""
        ...

    def __len__(self) -> int:
        """Tokens of all shards."""
        ...

    def read(self, starts: np.ndarray, lengths: np.ndarray, out: np.ndarray, /) -> None:
        """Copies the token ranges `starts`, `lengths` [ranges], one after the other, into `out` [tokens]."""
        ...

    def fetch(self, ranges: Sequence[TokenRanges], /) -> None:
        """Prepares token ranges for reading, all at once: from an object store their pages are fetched together."""
        ...


@dataclass(frozen=True)
class PhaseOrder:
    """One phase of a plan: its steps and lengths, and how many sequences of each source it holds."""

    name: str
    steps: int
    sequence_length: int
    """Tokens."""
    batch_sequences: int
    """Sequences per step, all workers together."""
    sequences: tuple[int, ...]
    """[sources] Of the whole phase."""

    @property
    def batch_tokens(self) -> int:
        """Tokens of a step, padding included."""
        return self.batch_sequences * self.sequence_length


@dataclass(frozen=True)
class Batch:
    """A worker's share of a step. Letters of shapes: B sequences, T sequence length in tokens."""

    tokens_BT: Integers
    targets_BT: Integers
    """The token after each; NO_TARGET where there is none to learn."""
    documents_BT: np.ndarray | None
    """int32: the number of each token's document inside its sequence, -1 for padding; None where attention crosses
    documents (`concat`)."""
    step_targets: int
    """Targets of the whole step, all workers together."""


class TokenStream:
    """The batches of one run. Steps count from 1 over all phases."""

    def __init__(
        self,
        phases: Sequence[PhaseOrder],
        tokens: Mapping[str, Tokens],
        seed: int,
        packing: Literal["concat", "best-fit"] = "concat",
        shuffle_tokens: int = 1 << 26,
    ) -> None:
        """`phases[i].sequences` are in the order of `tokens`. XmodelError where a phase's sequences do not fill its
        steps."""
        self.phases = list(phases)
        self.tokens = dict(tokens)
        self.sources = list(tokens)
        self.packing = packing
        for phase in phases:
            if sum(phase.sequences) != phase.steps * phase.batch_sequences:
                raise XmodelError(
                    f"the plan's phase {phase.name} differs in length from the schedule's",
                    expected=f"{phase.steps} steps of {phase.batch_sequences} sequences",
                    found=f"{sum(phase.sequences)} sequences",
                    remedy="the plan belongs to another schedule; run again from `xmodel pretrain`",
                )
        self._shares = [Shares(phase.sequences, phase.steps, phase.batch_sequences) for phase in phases]
        self.packed: dict[str, Packing] = {}
        for number, (source, source_tokens) in enumerate(self.tokens.items()):
            documents = Documents(source, source_tokens.ends, seed, shuffle_tokens)
            lengths = [(phase.sequence_length, phase.sequences[number]) for phase in phases]
            self.packed[source] = (Concat if packing == "concat" else BestFit)(documents, lengths)

    @property
    def total_steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    def phase_of(self, step: int) -> tuple[int, int]:
        """(number of the phase, steps before it) for a step."""
        before = 0
        for number, phase in enumerate(self.phases):
            if step <= before + phase.steps:
                return number, before
            before += phase.steps
        raise AssertionError(f"step {step} of {before}")

    def tokens_after(self, step: int) -> int:
        """Tokens of steps 1 to `step`, padding included."""
        done = 0
        for phase in self.phases:
            done += min(step, phase.steps) * phase.batch_tokens
            step = max(0, step - phase.steps)
        return done

    def sequences(self, step: int) -> list[tuple[str, int, int]]:
        """(source, phase number, k) of each sequence of a step's global batch."""
        number, before = self.phase_of(step)
        sources, ks = self._shares[number].of_step(step - before)
        return [(self.sources[s], number, k) for s, k in zip(sources.tolist(), ks.tolist(), strict=True)]

    def where(self, step: int) -> list[list[tuple[str, int, int, int, int]]]:
        """For each sequence of a step's global batch its token ranges, each as (source, shard number, document's row,
        offset inside the document, tokens)."""
        places = []
        for source, phase, k in self.sequences(step):
            ranges, documents = self.packed[source].sequence(phase, k), self.packed[source].documents
            pairs = zip(ranges.starts.tolist(), ranges.lengths.tolist(), strict=True)
            places.append([(source, *documents.locate(start), length) for start, length in pairs])
        return places

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The share of worker `rank` of `world` in a step: [global batch / world, sequence length]."""
        length = self.phases[self.phase_of(step)[0]].sequence_length
        global_batch = self.sequences(step)
        share = global_batch[rank::world]
        if self.packing == "concat":
            packings = [self.packed[source] for source, _, _ in share]
            ranges = [
                packing.and_the_next(phase, k)
                for packing, (_, phase, k) in zip(packings, share, strict=True)
                if isinstance(packing, Concat)
            ]
            rows = self._read([source for source, _, _ in share], ranges, length + 1)
            return Batch(rows[:, :-1], rows[:, 1:], None, len(global_batch) * length)
        packings = [self.packed[source] for source, _, _ in global_batch]
        pieces = [
            packing.pieces(phase, k)
            for packing, (_, phase, k) in zip(packings, global_batch, strict=True)
            if isinstance(packing, BestFit)
        ]
        targets = sum(int(each.ranges.lengths.sum()) - int(np.count_nonzero(each.closes)) for each in pieces)
        return self._separated_batch([source for source, _, _ in share], pieces[rank::world], length, targets)

    def _read(self, sources: list[str], ranges: list[TokenRanges], width: int) -> Integers:
        """The tokens [sequences, width] of the sequences that `sources` and `ranges` [sequences] name, 0 where they are
        shorter."""
        for source in dict.fromkeys(sources):
            self.tokens[source].fetch([each for of, each in zip(sources, ranges, strict=True) if of == source])
        rows = np.zeros((len(ranges), width), dtype=np.int64)
        for row, source, each in zip(rows, sources, ranges, strict=True):
            self.tokens[source].read(each.starts, each.lengths, row)
        return rows

    def _separated_batch(self, sources: list[str], pieces: list[Pieces], length: int, step_targets: int) -> Batch:
        """A batch whose documents attention keeps apart. A document that continues in another sequence still predicts
        its next token."""
        tokens = self._read(sources, [each.ranges for each in pieces], length)
        targets = np.full_like(tokens, NO_TARGET)
        targets[:, :-1] = tokens[:, 1:]
        documents = np.full(tokens.shape, -1, dtype=np.int32)
        for row, (source, each) in enumerate(zip(sources, pieces, strict=True)):
            starts, lengths, closes = each.ranges.starts, each.ranges.lengths, each.closes
            last = lengths.cumsum() - 1
            used = int(last[-1]) + 1
            documents[row, :used] = np.arange(len(last)).repeat(lengths)
            targets[row, used:] = NO_TARGET
            targets[row, last] = NO_TARGET
            if not closes.all():
                following = (starts + lengths)[~closes]
                after = np.empty(len(following), dtype=np.int64)
                self.tokens[source].read(following, np.ones_like(following), after)
                targets[row, last[~closes]] = after
        return Batch(tokens, targets, documents, step_targets)

    def batches(self, first: int, rank: int = 0, world: int = 1, ahead: int = 0) -> Generator[Batch]:
        """The shares of worker `rank` of `world` from step `first` to the last, up to `ahead` steps made in advance by
        a thread."""
        if not ahead:
            for step in range(first, self.total_steps + 1):
                yield self.batch(step, rank, world)
            return
        pending: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(1, "batches") as thread:
            try:
                for step in range(first, self.total_steps + 1):
                    while len(pending) <= ahead and step + len(pending) <= self.total_steps:
                        pending.append(thread.submit(self.batch, step + len(pending), rank, world))
                    yield pending.popleft().result()
            finally:
                thread.shutdown(cancel_futures=True)

    def _after(self, step: int) -> list[tuple[int, list[int]]]:
        """(phase number, sequences of each source in it) of the phases that steps 1 to `step` reach."""
        reached = []
        for number, phase in enumerate(self.phases):
            if step > 0:
                reached.append((number, self._shares[number].after(min(step, phase.steps)).tolist()))
            step -= phase.steps
        return reached

    def consumed(self, step: int) -> dict[str, int]:
        """Tokens of each source in steps 1 to `step`, padding included, from the plan's arithmetic alone."""
        counts = dict.fromkeys(self.sources, 0)
        for number, of_sources in self._after(step):
            for source, sequences in zip(self.sources, of_sources, strict=True):
                counts[source] += sequences * self.phases[number].sequence_length
        return counts

    def read_tokens(self, step: int) -> dict[str, int]:
        """Tokens of documents of each source in steps 1 to `step`: what was consumed less its padding."""
        reached = self._after(step)
        if not reached:
            return dict.fromkeys(self.sources, 0)
        number, of_sources = reached[-1]
        return {
            source: self.packed[source].tokens_before(number, sequences)
            for source, sequences in zip(self.sources, of_sources, strict=True)
        }

    def steps_of(self, source: str, start: int, end: int) -> list[int]:
        """The steps that consumed any of a source's tokens `start` to `end` (excluded) as input."""
        number = self.sources.index(source)
        before = np.cumsum([0, *(phase.steps for phase in self.phases)])
        sequences = self.packed[source].sequences_with(start, end)
        return sorted({int(before[phase]) + self._shares[phase].step_of(number, k) for phase, k in sequences})

    def digest(self, upto: int) -> str:
        """SHA-256 of every token of steps 1 to `upto`, in order, 4 bytes each: runs with the same digest saw the same
        stream."""
        digest = hashlib.sha256()
        for step in range(1, upto + 1):
            digest.update(self.batch(step).tokens_BT.astype("<u4").tobytes())
        return digest.hexdigest()


def phases_of(plan: dict[str, Any], sources: list[str]) -> list[PhaseOrder]:
    """The phases of a plan.json, with each source's sequences in the order of `sources`."""
    phases = []
    for phase in plan["phases"]:
        sequences = {planned["source"]: planned["sequences"] for planned in phase["sources"]}
        length = phase["sequence_length"]
        lengths = length, phase["global_batch_tokens"] // length
        phases.append(PhaseOrder(phase["name"], phase["steps"], *lengths, tuple(sequences.get(s, 0) for s in sources)))
    return phases
