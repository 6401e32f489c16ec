"""Which tokens each step sees: a pure function of (plan, seed, step), without state or counters.

Takes a plan, each source's tokens and the seed; gives batches, exact counts of what was consumed, and the
steps that saw a given stretch of tokens. In a phase the k-th sequence of a source with n stands at time
(k + ½) / n; all sequences in order of time keep every source's share at every step. A source's windows come
in a new order each epoch, by a keyed permutation that is computed where it is asked for.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from xmodel_core.errors import XmodelError

Integers = npt.NDArray[np.int64]
FEISTEL_ROUNDS = 6


class Tokens(Protocol):
    """The train tokens of one source, all shards in order."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def slice(self, start: int, length: int) -> np.ndarray:
        """`length` tokens from `start` on, and round again from the first after the last."""
        ...


@dataclass(frozen=True)
class PhaseOrder:
    """One phase of a plan: its steps, and how many sequences of each source it holds."""

    name: str
    steps: int
    sequences: tuple[int, ...]


def slots(sequences: tuple[int, ...], first: int, last: int) -> tuple[Integers, Integers]:
    """Places `first` to `last` (excluded) of a phase's order: (source number, its sequence k) for each.

    Sequence k of n stands at time (2k + 1) / 2n; equal times go by source number. A place's time is off
    place / total by less than one place per source, so only sequences near the asked places are sorted.
    """
    total, margin = sum(sequences), len(sequences) + 1

    def begin(n: int, place: int) -> int:
        """The first k of n whose time is at least place / total, in exact integers."""
        return min(max(-((total - 2 * n * place) // (2 * total)), 0), n)

    low = [begin(n, first - margin) for n in sequences]
    high = [begin(n, last + margin) for n in sequences]
    sources = np.repeat(np.arange(len(sequences)), [h - lo for lo, h in zip(low, high, strict=True)])
    ks = np.concatenate([np.arange(lo, h, dtype=np.int64) for lo, h in zip(low, high, strict=True)])
    times = (2 * ks + 1) / (2 * np.asarray(sequences, dtype=np.int64)[sources])
    order = np.lexsort((sources, times))[first - sum(low) : last - sum(low)]
    return sources[order], ks[order]


def permuted(indexes: Integers, size: int, key: str) -> Integers:
    """Where a keyed permutation of 0 … size-1 sends the indexes: a Feistel network on the next power of
    four, walked on until inside. Own arithmetic, since numpy's generators may change between versions."""
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    digest = hashlib.sha512(key.encode()).digest()
    keys = np.frombuffer(digest, dtype="<u8")[:FEISTEL_ROUNDS]
    values = indexes.astype(np.uint64)
    outside = np.ones(len(values), dtype=bool)
    while outside.any():
        walking = values[outside]
        left, right = walking >> shift, walking & mask
        for round_key in keys:
            mixed = (right ^ round_key) * np.uint64(0xBF58476D1CE4E5B9)  # SplitMix64's constants
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            left, right = right, left ^ ((mixed ^ (mixed >> np.uint64(31))) & mask)
        values[outside] = (left << shift) | right
        outside = values >= np.uint64(size)
    return values.astype(np.int64)


class TokenStream:
    """The batches of one run. Steps count from 1 over all phases."""

    def __init__(
        self,
        phases: list[PhaseOrder],
        tokens: Mapping[str, Tokens],
        sequence_length: int,
        batch_sequences: int,
        seed: int,
    ) -> None:
        """`phases[i].sequences` go by the order of `tokens`. XmodelError where steps and sequences differ."""
        self.phases = phases
        self.tokens = dict(tokens)
        self.sources = list(tokens)
        self.sequence_length = sequence_length
        self.batch_sequences = batch_sequences
        self.seed = seed
        for phase in phases:
            if sum(phase.sequences) != phase.steps * batch_sequences:
                raise XmodelError(
                    f"the plan's phase {phase.name} is not of the schedule's length",
                    expected=f"{phase.steps} steps of {batch_sequences} sequences",
                    found=f"{sum(phase.sequences)} sequences",
                    remedy="the plan belongs to another schedule; run again from `xmodel pretrain`",
                )

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

    def _earlier(self, number: int) -> Integers:
        """Sequences of each source in the phases before one."""
        earlier = [np.asarray(phase.sequences, dtype=np.int64) for phase in self.phases[:number]]
        return np.sum(earlier, axis=0) if earlier else np.zeros(len(self.sources), dtype=np.int64)

    def rows(self, step: int) -> list[tuple[str, int]]:
        """(source, first token of the window) for each sequence of a step's global batch."""
        number, before = self.phase_of(step)
        place = (step - 1 - before) * self.batch_sequences
        sources, ks = slots(self.phases[number].sequences, place, place + self.batch_sequences)
        ks = ks + self._earlier(number)[sources]
        starts = np.empty(len(ks), dtype=np.int64)
        for source in np.unique(sources):
            mine = sources == source
            starts[mine] = self._windows(self.sources[source], ks[mine]) * self.sequence_length
        return [(self.sources[s], int(start)) for s, start in zip(sources, starts, strict=True)]

    def _windows(self, source: str, ks: Integers) -> Integers:
        """The window that a source's k-th sequence of the whole run is: a new order each epoch."""
        windows = self.windows(source)
        result = np.empty(len(ks), dtype=np.int64)
        epochs = ks // windows
        for epoch in np.unique(epochs):
            mine = epochs == epoch
            result[mine] = permuted(ks[mine] % windows, windows, f"{self.seed}/{source}/{epoch}")
        return result

    def windows(self, source: str) -> int:
        """Sequences that a source's tokens give: whole ones, or one that wraps where there is not one."""
        return max(1, len(self.tokens[source]) // self.sequence_length)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Integers:
        """A worker's share of a step: (sequences, sequence_length + 1); inputs and targets are its columns
        without the last and without the first."""
        mine = self.rows(step)[rank::world]
        result = np.empty((len(mine), self.sequence_length + 1), dtype=np.int64)
        for row, (source, start) in zip(result, mine, strict=True):
            row[:] = self.tokens[source].slice(start, len(row))
        return result

    def consumed(self, step: int) -> dict[str, int]:
        """Tokens of each source that steps 1 to `step` consumed, from the plan's arithmetic alone."""
        if not step:
            return dict.fromkeys(self.sources, 0)
        number, before = self.phase_of(step)
        sequences = self.phases[number].sequences
        place = (step - before) * self.batch_sequences
        sources, ks = slots(sequences, max(0, place - 1), place)
        # Every source has as many behind it as stand at or before the last place.
        last = (int(2 * ks[-1] + 1) / (2 * sequences[sources[-1]]), int(sources[-1]))
        counts = self._earlier(number)
        counts += [_up_to(n, source, *last) for source, n in enumerate(sequences)]
        return {name: int(n) * self.sequence_length for name, n in zip(self.sources, counts, strict=True)}

    def steps_of(self, source: str, start: int, end: int) -> list[int]:
        """The steps that consumed any of a source's tokens `start` to `end` (excluded) as input."""
        number_of_source = self.sources.index(source)
        first, last = start // self.sequence_length, (end - 1) // self.sequence_length
        found: list[int] = []
        earlier, before = 0, 0
        for phase in self.phases:
            n = phase.sequences[number_of_source]
            windows = self._windows(source, np.arange(earlier, earlier + n, dtype=np.int64))
            for k in np.flatnonzero((windows >= first) & (windows <= last)):
                time = (2 * int(k) + 1) / (2 * n)
                place = sum(_up_to(m, other, time, number_of_source) for other, m in enumerate(phase.sequences))
                found.append(before + (place - 1) // self.batch_sequences + 1)
            earlier, before = earlier + n, before + phase.steps
        return sorted(set(found))

    def digest(self, upto: int) -> str:
        """SHA-256 of every token of steps 1 to `upto`, in order: two runs with one digest saw one stream."""
        whole = hashlib.sha256()
        for step in range(1, upto + 1):
            whole.update(self.batch(step).astype("<u4").tobytes())
        return whole.hexdigest()


def _up_to(n: int, source: int, time: float, at_source: int) -> int:
    """How many of a source's n sequences stand at or before (time, at_source) in the order of `slots`."""
    if not n:
        return 0
    k = max(0, min(n, int(n * time)) - 2)
    while k < n and ((2 * k + 1) / (2 * n), source) <= (time, at_source):
        k += 1
    return k


def phases_of(plan: dict[str, Any], sources: list[str]) -> list[PhaseOrder]:
    """The phases of a plan.json, with each source's sequences in the order of `sources`."""
    phases = []
    for phase in plan["phases"]:
        given = {planned["source"]: planned["sequences"] for planned in phase["sources"]}
        phases.append(PhaseOrder(phase["name"], phase["steps"], tuple(given.get(name, 0) for name in sources)))
    return phases
