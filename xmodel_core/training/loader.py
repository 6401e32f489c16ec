"""The batches of a run: what stands at each place of the order (order.py), read from the token shards.

Takes a plan, each source's tokens and the seed; gives batches, exact counts of what was consumed, and the steps that
saw a given stretch of tokens. There is nothing to save and nothing to restore: a step's batch is a function of its
number, and a worker's share of it is every world-th sequence.
"""

import hashlib
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from xmodel_core.errors import XmodelError
from xmodel_core.training.order import BestFit, Concat, Documents, Integers, Packing, Pieces, Shares, TokenRanges

NO_TARGET = -100
"""A target that nothing is learned from: what would follow the end of a document, and padding."""


class Tokens(Protocol):
    """The train tokens of one source, all shards in order (artifacts.token_shards)."""

    @property
    def ends(self) -> Sequence[np.ndarray]:
        """Per shard, the end of each document in tokens."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...

    def read(self, starts: np.ndarray, lengths: np.ndarray, out: np.ndarray) -> None:
        """Copies stretches of tokens, one after the other, into `out`."""
        ...

    def fetch(self, ranges: Sequence[TokenRanges]) -> None:
        """Brings stretches of tokens near, together."""
        ...


@dataclass(frozen=True)
class PhaseOrder:
    """One phase of a plan: its steps and lengths, and how many sequences of each source it holds."""

    name: str
    steps: int
    sequence_length: int
    batch_sequences: int
    sequences: tuple[int, ...]

    @property
    def batch_tokens(self) -> int:
        """Tokens of a step, padding included."""
        return self.batch_sequences * self.sequence_length


@dataclass(frozen=True)
class Batch:
    """A worker's share of a step. Letters of shapes: B sequences, T sequence length."""

    tokens_BT: Integers
    targets_BT: Integers
    """The token after each; NO_TARGET where there is none to learn."""
    documents_BT: np.ndarray | None
    """Which of the sequence's documents each token belongs to, -1 for padding; None: they are not told apart."""
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
        """`phases[i].sequences` go by the order of `tokens`. XmodelError where steps and sequences differ."""
        self.phases = list(phases)
        self.tokens = dict(tokens)
        self.sources = list(tokens)
        self.packing = packing
        for phase in phases:
            if sum(phase.sequences) != phase.steps * phase.batch_sequences:
                raise XmodelError(
                    f"the plan's phase {phase.name} is not of the schedule's length",
                    expected=f"{phase.steps} steps of {phase.batch_sequences} sequences",
                    found=f"{sum(phase.sequences)} sequences",
                    remedy="the plan belongs to another schedule; run again from `xmodel pretrain`",
                )
        self._shares = [Shares(phase.sequences, phase.steps, phase.batch_sequences) for phase in phases]
        self.packed: dict[str, Packing] = {}
        for number, (source, its) in enumerate(self.tokens.items()):
            documents = Documents(source, its.ends, seed, shuffle_tokens)
            given = [(phase.sequence_length, phase.sequences[number]) for phase in phases]
            self.packed[source] = (Concat if packing == "concat" else BestFit)(documents, given)

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
        """For each sequence of a step (source, shard number, document's row, offset in it, tokens) of its stretches."""
        found = []
        for source, phase, k in self.sequences(step):
            its, documents = self.packed[source].sequence(phase, k), self.packed[source].documents
            pairs = zip(its.starts.tolist(), its.lengths.tolist(), strict=True)
            found.append([(source, *documents.locate(start), length) for start, length in pairs])
        return found

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """A worker's share of a step."""
        length = self.phases[self.phase_of(step)[0]].sequence_length
        every = self.sequences(step)
        mine = every[rank::world]
        if self.packing == "concat":
            packings = [self.packed[source] for source, _, _ in mine]
            made = [
                one.and_the_next(phase, k)
                for one, (_, phase, k) in zip(packings, mine, strict=True)
                if isinstance(one, Concat)
            ]
            rows = self._read(mine, made, length + 1)
            return Batch(rows[:, :-1], rows[:, 1:], None, len(every) * length)
        pieces = [
            one.pieces(phase, k)
            for one, (_, phase, k) in zip([self.packed[source] for source, _, _ in every], every, strict=True)
            if isinstance(one, BestFit)
        ]
        targets = sum(int(its.stretches.lengths.sum()) - int(np.count_nonzero(its.closes)) for its in pieces)
        return self._apart(mine, pieces[rank::world], length, targets)

    def _read(self, places: list[tuple[str, int, int]], made: list[TokenRanges], width: int) -> Integers:
        """The tokens of some sequences, 0 where they are short of the width."""
        self._fetch(places, made)
        rows = np.zeros((len(made), width), dtype=np.int64)
        for row, (source, _, _), its in zip(rows, places, made, strict=True):
            self.tokens[source].read(its.starts, its.lengths, row)
        return rows

    def _fetch(self, places: list[tuple[str, int, int]], made: list[TokenRanges]) -> None:
        for source in dict.fromkeys(source for source, _, _ in places):
            self.tokens[source].fetch([its for place, its in zip(places, made, strict=True) if place[0] == source])

    def _apart(
        self,
        places: list[tuple[str, int, int]],
        pieces: list[Pieces],
        length: int,
        step_targets: int,
    ) -> Batch:
        """Sequences whose documents are told apart. A document that goes on elsewhere still predicts its next token."""
        tokens = self._read(places, [its.stretches for its in pieces], length)
        targets = np.full_like(tokens, NO_TARGET)
        targets[:, :-1] = tokens[:, 1:]
        documents = np.full(tokens.shape, -1, dtype=np.int32)
        for row, (source, _, _), its in zip(range(len(pieces)), places, pieces, strict=True):
            starts, lengths, closes = its.stretches.starts, its.stretches.lengths, its.closes
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
        """The batches from a step to the last, up to `ahead` of them made in a thread before they are asked for."""
        if not ahead:
            for step in range(first, self.total_steps + 1):
                yield self.batch(step, rank, world)
            return
        coming: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(1, "batches") as thread:
            try:
                for step in range(first, self.total_steps + 1):
                    while len(coming) <= ahead and step + len(coming) <= self.total_steps:
                        coming.append(thread.submit(self.batch, step + len(coming), rank, world))
                    yield coming.popleft().result()
            finally:
                thread.shutdown(cancel_futures=True)

    def _after(self, step: int) -> list[tuple[int, list[int]]]:
        """(phase number, sequences of each source in it) of the phases that steps 1 to `step` reach."""
        found = []
        for number, phase in enumerate(self.phases):
            if step > 0:
                found.append((number, self._shares[number].after(min(step, phase.steps)).tolist()))
            step -= phase.steps
        return found

    def consumed(self, step: int) -> dict[str, int]:
        """Tokens of each source in steps 1 to `step`, padding included, from the plan's arithmetic alone."""
        counts = dict.fromkeys(self.sources, 0)
        for number, given in self._after(step):
            for source, sequences in zip(self.sources, given, strict=True):
                counts[source] += sequences * self.phases[number].sequence_length
        return counts

    def read_tokens(self, step: int) -> dict[str, int]:
        """Tokens of documents of each source in steps 1 to `step`: what was consumed less its padding."""
        reached = self._after(step)
        if not reached:
            return dict.fromkeys(self.sources, 0)
        number, given = reached[-1]
        return {
            source: self.packed[source].tokens_before(number, sequences)
            for source, sequences in zip(self.sources, given, strict=True)
        }

    def steps_of(self, source: str, start: int, end: int) -> list[int]:
        """The steps that consumed any of a source's tokens `start` to `end` (excluded) as input."""
        number = self.sources.index(source)
        before = np.cumsum([0, *(phase.steps for phase in self.phases)])
        found = self.packed[source].sequences_with(start, end)
        return sorted({int(before[phase]) + self._shares[phase].step_of(number, k) for phase, k in found})

    def digest(self, upto: int) -> str:
        """SHA-256 of every token of steps 1 to `upto`, in order, 4 bytes each: two runs with one digest saw one
        stream."""
        whole = hashlib.sha256()
        for step in range(1, upto + 1):
            whole.update(self.batch(step).tokens_BT.astype("<u4").tobytes())
        return whole.hexdigest()


def phases_of(plan: dict[str, Any], sources: list[str]) -> list[PhaseOrder]:
    """The phases of a plan.json, with each source's sequences in the order of `sources`."""
    phases = []
    for phase in plan["phases"]:
        given = {planned["source"]: planned["sequences"] for planned in phase["sources"]}
        length = phase["sequence_length"]
        lengths = length, phase["global_batch_tokens"] // length
        phases.append(PhaseOrder(phase["name"], phase["steps"], *lengths, tuple(given.get(s, 0) for s in sources)))
    return phases
