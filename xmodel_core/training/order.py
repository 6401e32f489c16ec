"""The order of all tokens: (phase, step, position) → (source, shard, document, offset), from plan and seed alone.

Three pure functions, none of which knows workers, prefetch or restarts. `Shares`: how many sequences of each source
the first t steps hold, never a whole sequence off its share. `Documents`: a source's documents in a new order each
epoch. `Concat` and `BestFit`: which stretches of which documents a source's k-th sequence of a phase is made of. An
epoch ends with its last token and the next begins there, so a phase may change lengths anywhere and lose nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
BLOCKS_PER_GROUP = 64
"""Documents are shuffled in groups, each of so many stretches of the source that lie far apart: as good as a shuffle
of everything, and no more than a group has to be at hand."""
SNAPSHOT_EVERY_STEPS = 256


def shuffled(size: int, *key: object) -> Integers:
    """A permutation of 0 … size-1, a function of its key: the order of SplitMix64's outputs. Our own arithmetic, since
    numpy's generators may change between versions."""
    seed = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    values = np.arange(size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.frombuffer(seed[:8], "<u8")
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(values ^ (values >> np.uint64(31)), kind="stable")


class Shares:
    """How a phase's sequences are spread over its steps: after each step every source has given the floor or the
    ceiling of its share, and all together exactly the steps' batches.

    Sequence k of a source with n in S steps may come once more than k · S / n steps are begun and must be there by
    the step that ends at (k + 1) · S / n; among those that may, the most urgent come first. That is earliest deadline
    first, which keeps all such deadlines (Baruah et al. 1996, Proportionate progress). A recurrence from the phase's
    first step, some ten microseconds a step, with snapshots to go on from.
    """

    def __init__(self, sequences: Sequence[int], steps: int, batch_sequences: int) -> None:
        """`sequences`: of each source in the whole phase; they add up to steps · batch_sequences."""
        self._sequences = np.asarray(sequences, dtype=np.int64)
        self._steps, self._batch = steps, batch_sequences
        self._snapshots: list[Integers] = [np.zeros(len(self._sequences), dtype=np.int64)]
        self._last = (0, self._snapshots[0])

    def after(self, step: int) -> Integers:
        """Sequences of each source in the phase's first `step` steps."""
        at, counts = self._last
        known = min(step // SNAPSHOT_EVERY_STEPS, len(self._snapshots) - 1)
        if not known * SNAPSHOT_EVERY_STEPS <= at <= step:
            at, counts = known * SNAPSHOT_EVERY_STEPS, self._snapshots[known]
        for now in range(at + 1, step + 1):
            counts = self._next(counts, now)
            if now == len(self._snapshots) * SNAPSHOT_EVERY_STEPS:
                self._snapshots.append(counts)
        self._last = (step, counts)
        return counts

    def _next(self, counts: Integers, step: int) -> Integers:
        floors, remainders = np.divmod(self._sequences * step, self._steps)
        counts = np.maximum(counts, floors)
        missing = step * self._batch - int(counts.sum())
        if missing:
            able = np.flatnonzero((counts == floors) & (remainders > 0))
            urgent = able[np.argsort((floors[able] + 1) / self._sequences[able], kind="stable")[:missing]]
            counts[urgent] += 1
        return counts

    def of_step(self, step: int) -> tuple[Integers, Integers]:
        """(source number, its sequence k) for each place of a step of this phase, the sources well mixed."""
        before, after = self.after(step - 1), self.after(step)
        given = after - before
        sources = np.repeat(np.arange(len(given)), given)
        ks = np.concatenate([np.arange(low, high, dtype=np.int64) for low, high in zip(before, after, strict=True)])
        order = np.lexsort((sources, (2 * ks + 1) / self._sequences[sources]))
        return sources[order], ks[order]

    def step_of(self, source: int, k: int) -> int:
        """The step of this phase that holds a source's k-th sequence."""
        n = int(self._sequences[source])
        low, high = k * self._steps // n, -(-(k + 1) * self._steps // n)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.after(middle)[source] > k else (middle, high)
        return high


@dataclass(frozen=True)
class TokenRanges:
    """TokenRanges of documents: where each starts among the source's tokens, and how many tokens it has."""

    starts: Integers
    lengths: Integers

    def __getitem__(self, which: slice | np.ndarray) -> "TokenRanges":
        return TokenRanges(self.starts[which], self.lengths[which])


def _joined(parts: list[TokenRanges]) -> TokenRanges:
    return TokenRanges(np.concatenate([p.starts for p in parts]), np.concatenate([p.lengths for p in parts]))


class Documents:
    """A source's documents, epoch after epoch. Tokens count over all shards in order."""

    def __init__(self, source: str, ends: Sequence[np.ndarray], seed: int, shuffle_tokens: int) -> None:
        """`ends`: per shard, the end of each of its documents in tokens, as its .index holds them (they stay mapped);
        `shuffle_tokens`: about how many tokens a group of documents has."""
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
        """(shard, first row, end row, tokens) of stretches of documents, about so many tokens each."""
        found = []
        for shard, ends in enumerate(self._ends):
            total = int(ends[-1]) if len(ends) else 0
            # In the index's own type: otherwise all of it would be converted, and read.
            marks = np.arange(tokens, total, tokens, dtype=np.uint64)
            rows = np.unique([0, *(np.searchsorted(ends, marks) + 1), len(ends)]) if total else np.zeros(1, np.int64)
            rows = rows[rows <= len(ends)].astype(np.int64)
            at = np.array([int(ends[row - 1]) if row else 0 for row in rows], dtype=np.int64)
            found.append(np.stack([np.full(len(rows) - 1, shard), rows[:-1], rows[1:], np.diff(at)], 1))
        blocks = np.concatenate(found) if found else np.empty((0, 4), np.int64)
        return blocks[blocks[:, 3] > 0]

    def whole_group(self, group: int) -> TokenRanges:
        """The documents of a group, whole, in the order of the source."""
        parts = []
        for shard, first, end, _ in self._groups[group]:
            ends = np.asarray(self._ends[shard][max(0, first - 1) : end]).astype(np.int64)
            borders = ends if first else np.concatenate(([0], ends))
            parts.append(TokenRanges(self._before[shard] + borders[:-1], np.diff(borders)))
        joined = _joined(parts)
        return joined[joined.lengths > 0]  # a document that is held out has no length here

    def _group(self, epoch: int, group: int) -> tuple[TokenRanges, Integers]:
        """The documents of a group in the order of an epoch, and the end of each in that order."""
        documents = self.whole_group(group)
        documents = documents[shuffled(len(documents.starts), self.seed, self.source, epoch, group)]
        return documents, np.cumsum(documents.lengths)

    def _groups_of(self, epoch: int) -> tuple[Integers, Integers]:
        """The groups in the order of an epoch, and the end of each in tokens."""
        order = shuffled(len(self._groups), self.seed, self.source, epoch)
        return order, np.cumsum(self.group_tokens[order])

    def stretch(self, first: int, length: int) -> TokenRanges:
        """What stands at tokens `first` to `first + length` of all epochs end to end."""
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
            got = min(length, int(document_ends[last]) - inside)
            lengths[-1] -= int(document_ends[last]) - inside - got
            parts.append(TokenRanges(starts, lengths))
            first, length = first + got, length - got
        return parts[0] if len(parts) == 1 else _joined(parts)

    def locate(self, token: int) -> tuple[int, int, int]:
        """(shard, document's row, offset in it) of one of the source's tokens."""
        shard = int(np.searchsorted(self._before, token, side="right")) - 1
        inside = token - int(self._before[shard])
        row = int(np.searchsorted(self._ends[shard], np.uint64(inside), side="right"))
        return shard, row, inside - (int(self._ends[shard][row - 1]) if row else 0)

    def groups_with(self, start: int, end: int) -> list[int]:
        """The groups that hold any of the source's tokens `start` to `end` (excluded)."""
        first, last = self.locate(start)[:2], self.locate(end - 1)[:2]
        return [
            number
            for number, group in enumerate(self._groups)
            if any((shard, low) <= last and first < (shard, high) for shard, low, high, _ in group.tolist())
        ]


class Packing(Protocol):
    """What makes sequences of one source's documents."""

    documents: Documents

    def sequence(self, phase: int, k: int) -> TokenRanges:
        """What the k-th sequence of a phase is made of; short of the phase's length by its padding."""
        ...

    def tokens_before(self, phase: int, k: int) -> int:
        """Tokens of documents in the run up to that sequence, padding not counted."""
        ...

    def sequences_with(self, start: int, end: int) -> list[tuple[int, int]]:
        """(phase, k) of every sequence that holds any of the source's tokens `start` to `end` (excluded)."""
        ...


class Concat:
    """The reports' packing: documents end to end, cut wherever a sequence is full. Nothing is padded."""

    def __init__(self, documents: Documents, phases: Sequence[tuple[int, int]]) -> None:
        """`phases`: (sequence length, the source's sequences) of each."""
        self.documents, self._phases = documents, phases
        self._first = np.cumsum([0, *(length * sequences for length, sequences in phases)], dtype=np.int64)

    def tokens_before(self, phase: int, k: int) -> int:
        return int(self._first[phase]) + k * self._phases[phase][0]

    def sequence(self, phase: int, k: int) -> TokenRanges:
        return self.documents.stretch(self.tokens_before(phase, k), self._phases[phase][0])

    def and_the_next(self, phase: int, k: int) -> TokenRanges:
        """A sequence and the one token after it, which its last position predicts."""
        return self.documents.stretch(self.tokens_before(phase, k), self._phases[phase][0] + 1)

    def sequences_with(self, start: int, end: int) -> list[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        total = int(self._first[-1])
        for group in self.documents.groups_with(start, end):
            for epoch in range(-(-total // self.documents.tokens)):
                groups, group_ends = self.documents.groups_of(epoch)
                slot = int(np.flatnonzero(groups == group)[0])
                before = epoch * self.documents.tokens + (int(group_ends[slot - 1]) if slot else 0)
                documents, ends = self.documents.group(epoch, group)
                low = np.maximum(documents.starts, start)
                high = np.minimum(documents.starts + documents.lengths, end)
                for one in np.flatnonzero(low < high):
                    at = before + int(ends[one] - documents.lengths[one] - documents.starts[one])
                    found |= self._between(at + int(low[one]), min(at + int(high[one]), total))
        return sorted(found)

    def _between(self, first: int, end: int) -> set[tuple[int, int]]:
        """The sequences that hold places `first` to `end` (excluded) of all epochs end to end."""
        found = set()
        while first < end:
            phase = int(np.searchsorted(self._first, first, side="right")) - 1
            k = (first - int(self._first[phase])) // self._phases[phase][0]
            found.add((phase, k))
            first = self.tokens_before(phase, k + 1)
        return found


def best_fit(lengths: Sequence[int], capacity: int) -> list[int]:
    """The bin of each length, all at most `capacity` and longest first: into the fullest bin that still has room, else
    into a new one (best-fit decreasing; Ding et al. 2024, Fewer Truncations Improve Language Modeling, section 3).

    Bins wait by how much room they have left; which rooms are to be had is one integer with a bit for each, so that
    the smallest that suffices is its lowest bit above the length.
    """
    waiting: list[list[int]] = [[] for _ in range(capacity + 1)]
    rooms, bins, found = 0, 0, []
    for length in lengths:
        if fitting := rooms >> length:
            room = length + (fitting & -fitting).bit_length() - 1
            chosen = waiting[room].pop()
            if not waiting[room]:
                rooms ^= 1 << room
        else:
            room, chosen, bins = capacity, bins, bins + 1
        room -= length
        if room:
            waiting[room].append(chosen)
            rooms |= 1 << room
        found.append(chosen)
    return found


@dataclass(frozen=True)
class Pieces:
    """Parts of documents, and whether each ends with its document's last token."""

    stretches: TokenRanges
    closes: npt.NDArray[np.bool_]

    def __getitem__(self, which: slice | np.ndarray) -> "Pieces":
        return Pieces(self.stretches[which], self.closes[which])


class _Packed(NamedTuple):
    """Some documents packed into sequences: their pieces, sequence by sequence, and the end of each sequence."""

    pieces: Pieces
    ends: Integers


def _pack(given: Pieces, length: int, *key: object) -> _Packed:
    """Whole documents in sequences of a length; of longer ones full windows, and their rest as a document."""
    starts, lengths = given.stretches.starts, given.stretches.lengths
    windows, left = np.divmod(lengths, length)
    number = np.arange(windows.sum()) - np.repeat(np.cumsum(windows) - windows, windows)
    full = TokenRanges(np.repeat(starts, windows) + number * length, np.full(len(number), length, dtype=np.int64))
    last = (number + 1 == np.repeat(windows, windows)) & np.repeat((left == 0) & given.closes, windows)
    by_length = np.argsort(-left, kind="stable")[: np.count_nonzero(left)]
    rests = TokenRanges((starts + windows * length)[by_length], left[by_length])
    pieces = Pieces(_joined([full, rests]), np.concatenate((last, given.closes[by_length])))
    chosen = np.array(best_fit(rests.lengths.tolist(), length), dtype=np.int64) + len(number)
    bins = np.concatenate((np.arange(len(number), dtype=np.int64), chosen))
    count = int(bins.max()) + 1 if len(bins) else 0
    place = np.empty(count, dtype=np.int64)
    place[shuffled(count, *key)] = np.arange(count)
    order = np.argsort(place[bins], kind="stable")
    return _Packed(pieces[order], np.cumsum(np.bincount(place[bins], minlength=count)))


def _whole(documents: TokenRanges) -> Pieces:
    return Pieces(documents, np.ones(len(documents.starts), dtype=bool))


class _Place(NamedTuple):
    """Where a phase begins: an epoch, how many of its groups are used up, and what is left of the last of them."""

    epoch: int
    slot: int
    rest: Pieces | None


class BestFit:
    """Documents whole where they fit, long ones in full windows; what stays empty is padding. Packed group by group.

    How many sequences a group makes depends on its documents' lengths alone, so its place in the order is arithmetic;
    counting them is two microseconds per document, once. Where the length changes inside a group, what is left of it
    is packed anew.
    """

    def __init__(self, documents: Documents, phases: Sequence[tuple[int, int]]) -> None:
        """`phases`: (sequence length, the source's sequences) of each."""
        self.documents, self._phases = documents, phases
        self._sequences = lru_cache(self._count_sequences)
        self._ends = lru_cache(maxsize=4)(self._count_ends)
        self._packed = lru_cache(maxsize=4)(self._pack_group)
        self._rests = lru_cache(maxsize=4)(self._pack_rest)
        self._places = [_Place(0, 0, None)]
        self._before = [0]
        for phase, (_, sequences) in enumerate(phases):
            self._before.append(self._before[-1] + self._tokens(phase, sequences))
            self._places.append(self._place_after(phase, sequences))

    def _count_sequences(self, length: int) -> Integers:
        """How many sequences each group makes."""
        groups = map(self.documents.whole_group, range(len(self.documents.group_tokens)))
        return np.array([len(_pack(_whole(group), length).ends) for group in groups], dtype=np.int64)

    def _count_ends(self, epoch: int, length: int) -> Integers:
        """The end of each group in sequences, in the order of an epoch."""
        return np.cumsum(self._sequences(length)[self.documents.groups_of(epoch)[0]])

    def _pack_group(self, epoch: int, group: int, length: int) -> _Packed:
        documents = self.documents
        whole = _whole(documents.group(epoch, group)[0])
        return _pack(whole, length, documents.seed, documents.source, epoch, group, length)

    def _pack_rest(self, phase: int) -> _Packed:
        rest = self._places[phase].rest
        assert rest is not None
        return _pack(rest, self._phases[phase][0], self.documents.seed, self.documents.source, "rest", phase)

    def _find(self, phase: int, k: int) -> tuple[int, int, int]:
        """(epoch, slot, sequence inside) of a phase's k-th sequence; slot -1: what was left at the phase's start."""
        epoch, slot, rest = self._places[phase]
        length = self._phases[phase][0]
        if rest is not None:
            left = len(self._rests(phase).ends)
            if k < left:
                return epoch, -1, k
            k -= left
        ends = self._ends(epoch, length)
        k += int(ends[slot - 1]) if slot else 0
        if k >= ends[-1]:
            more, k = divmod(k, int(ends[-1]))
            epoch += more
            ends = self._ends(epoch, length)
        slot = int(ends.searchsorted(k, side="right"))
        return epoch, slot, k - (int(ends[slot - 1]) if slot else 0)

    def _unit(self, phase: int, epoch: int, slot: int) -> _Packed:
        if slot < 0:
            return self._rests(phase)
        return self._packed(epoch, int(self.documents.groups_of(epoch)[0][slot]), self._phases[phase][0])

    def pieces(self, phase: int, k: int) -> Pieces:
        """What the k-th sequence of a phase is made of."""
        epoch, slot, inside = self._find(phase, k)
        packed = self._unit(phase, epoch, slot)
        return packed.pieces[(int(packed.ends[inside - 1]) if inside else 0) : int(packed.ends[inside])]

    def sequence(self, phase: int, k: int) -> TokenRanges:
        return self.pieces(phase, k).stretches

    def _place_after(self, phase: int, sequences: int) -> _Place:
        if not sequences:
            return self._places[phase]
        epoch, slot, inside = self._find(phase, sequences - 1)
        pieces, ends = self._unit(phase, epoch, slot)
        rest = pieces[int(ends[inside]) :] if inside + 1 < len(ends) else None
        return _Place(epoch, slot + 1 if slot >= 0 else self._places[phase].slot, rest)

    def _tokens(self, phase: int, k: int) -> int:
        """Tokens of documents in a phase's first k sequences."""
        if not k:
            return 0
        place, (epoch, slot, inside) = self._places[phase], self._find(phase, k - 1)
        pieces, ends = self._unit(phase, epoch, slot)
        tokens = int(pieces.stretches.lengths[: int(ends[inside])].sum())
        if slot < 0:
            return tokens
        if place.rest is not None:
            tokens += int(place.rest.stretches.lengths.sum())

        def through(epoch: int, slot: int) -> int:
            """Tokens of all epochs before, and of the first groups of this one."""
            return epoch * self.documents.tokens + (int(self.documents.groups_of(epoch)[1][slot - 1]) if slot else 0)

        return tokens + through(epoch, slot) - through(place.epoch, place.slot)

    def tokens_before(self, phase: int, k: int) -> int:
        return self._before[phase] + self._tokens(phase, k)

    def sequences_with(self, start: int, end: int) -> list[tuple[int, int]]:
        groups = set(self.documents.groups_with(start, end))
        found = []
        for phase, (_, sequences) in enumerate(self._phases):
            k = 0
            while k < sequences:
                epoch, slot, _ = self._find(phase, k)
                packed = None
                if slot < 0 or int(self.documents.groups_of(epoch)[0][slot]) in groups:
                    packed = self._unit(phase, epoch, slot)
                    its = packed.pieces.stretches
                    held = (its.starts < end) & (its.starts + its.lengths > start)
                    inside = np.unique(np.searchsorted(packed.ends, np.flatnonzero(held), side="right"))
                    found += [(phase, k + int(one)) for one in inside if k + one < sequences]
                k += len(packed.ends) if packed else self._unit_size(phase, epoch, slot)
        return found

    def _unit_size(self, phase: int, epoch: int, slot: int) -> int:
        return int(self._sequences(self._phases[phase][0])[self.documents.groups_of(epoch)[0][slot]])
