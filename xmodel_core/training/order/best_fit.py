"""Best-fit packing: whole documents where they fit, long ones in full windows; what stays empty is padding.

Ding et al. 2024, Fewer Truncations Improve Language Modeling (arXiv 2404.10830), section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xmodel_core.training.order.documents import Documents, Integers, TokenRanges, joined, shuffled


def best_fit(lengths: Sequence[int], capacity: int) -> list[int]:
    """The bin of each length, all at most `capacity` and longest first: the fullest bin that still has room, else a new
    one (best-fit decreasing).

    Open bins are kept by the room they have left. The rooms that occur are the bits of one integer, so that the
    smallest sufficient room is its lowest bit at or above the length.
    """
    open_bins: list[list[int]] = [[] for _ in range(capacity + 1)]
    rooms, bins, bin_of_length = 0, 0, []
    for length in lengths:
        if fitting := rooms >> length:
            room = length + (fitting & -fitting).bit_length() - 1
            chosen = open_bins[room].pop()
            if not open_bins[room]:
                rooms ^= 1 << room
        else:
            room, chosen, bins = capacity, bins, bins + 1
        room -= length
        if room:
            open_bins[room].append(chosen)
            rooms |= 1 << room
        bin_of_length.append(chosen)
    return bin_of_length


@dataclass(frozen=True)
class Pieces:
    """Parts of documents."""

    ranges: TokenRanges
    closes: npt.NDArray[np.bool_]
    """[ranges] Whether each ends with its document's last token."""

    def __getitem__(self, which: slice | np.ndarray) -> "Pieces":
        return Pieces(self.ranges[which], self.closes[which])


class _Packed(NamedTuple):
    """Documents packed into sequences."""

    pieces: Pieces
    """Sequence by sequence."""
    ends: Integers
    """[sequences] The end of each among the pieces."""


def _pack(documents: Pieces, length: int, *key: object) -> _Packed:
    """Documents packed into sequences of `length` tokens: longer ones as full windows and a rest that is packed like a
    document. `key` decides the order of the sequences."""
    starts, lengths = documents.ranges.starts, documents.ranges.lengths
    windows, left = np.divmod(lengths, length)
    number = np.arange(windows.sum()) - np.repeat(np.cumsum(windows) - windows, windows)
    full = TokenRanges(np.repeat(starts, windows) + number * length, np.full(len(number), length, dtype=np.int64))
    last = (number + 1 == np.repeat(windows, windows)) & np.repeat((left == 0) & documents.closes, windows)
    by_length = np.argsort(-left, kind="stable")[: np.count_nonzero(left)]
    rests = TokenRanges((starts + windows * length)[by_length], left[by_length])
    pieces = Pieces(joined([full, rests]), np.concatenate((last, documents.closes[by_length])))
    chosen = np.array(best_fit(rests.lengths.tolist(), length), dtype=np.int64) + len(number)
    bins = np.concatenate((np.arange(len(number), dtype=np.int64), chosen))
    count = int(bins.max()) + 1 if len(bins) else 0
    place = np.empty(count, dtype=np.int64)
    place[shuffled(count, *key)] = np.arange(count)
    order = np.argsort(place[bins], kind="stable")
    return _Packed(pieces[order], np.cumsum(np.bincount(place[bins], minlength=count)))


def _uncut(documents: TokenRanges) -> Pieces:
    return Pieces(documents, np.ones(len(documents.starts), dtype=bool))


class _Place(NamedTuple):
    """Where a phase begins."""

    epoch: int
    slot: int
    """Groups of the epoch that are used up."""
    rest: Pieces | None
    """What is left of the last of them."""


class BestFit:
    """Sequences packed group by group.

    How many sequences a group makes depends on its documents' lengths alone, so its place in the order is arithmetic;
    counting them takes two microseconds per document, once. Where the length changes inside a group, what is left of it
    is packed anew.
    """

    def __init__(self, documents: Documents, phases: Sequence[tuple[int, int]]) -> None:
        """`phases`: (sequence length in tokens, the source's sequences) of each."""
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
        """[groups] How many sequences each group makes at a length."""
        groups = map(self.documents.whole_group, range(len(self.documents.group_tokens)))
        return np.array([len(_pack(_uncut(group), length).ends) for group in groups], dtype=np.int64)

    def _count_ends(self, epoch: int, length: int) -> Integers:
        """[groups] The end of each group in sequences, in the order of an epoch."""
        return np.cumsum(self._sequences(length)[self.documents.groups_of(epoch)[0]])

    def _pack_group(self, epoch: int, group: int, length: int) -> _Packed:
        documents = self.documents
        uncut = _uncut(documents.group(epoch, group)[0])
        return _pack(uncut, length, documents.seed, documents.source, epoch, group, length)

    def _pack_rest(self, phase: int) -> _Packed:
        rest = self._places[phase].rest
        assert rest is not None
        return _pack(rest, self._phases[phase][0], self.documents.seed, self.documents.source, "rest", phase)

    def _find(self, phase: int, k: int) -> tuple[int, int, int]:
        """(epoch, slot, sequence inside) of a phase's k-th sequence; slot -1: what was left at the phase's start."""
        epoch, slot, rest = self._places[phase]
        length = self._phases[phase][0]
        if rest is not None:
            sequences = len(self._rests(phase).ends)
            if k < sequences:
                return epoch, -1, k
            k -= sequences
        ends = self._ends(epoch, length)
        k += int(ends[slot - 1]) if slot else 0
        if k >= ends[-1]:
            epochs, k = divmod(k, int(ends[-1]))
            epoch += epochs
            ends = self._ends(epoch, length)
        slot = int(ends.searchsorted(k, side="right"))
        return epoch, slot, k - (int(ends[slot - 1]) if slot else 0)

    def _unit(self, phase: int, epoch: int, slot: int) -> _Packed:
        """The packed group at a slot of an epoch; slot -1: what was left at the phase's start."""
        if slot < 0:
            return self._rests(phase)
        return self._packed(epoch, int(self.documents.groups_of(epoch)[0][slot]), self._phases[phase][0])

    def pieces(self, phase: int, k: int) -> Pieces:
        """The pieces of the k-th sequence of a phase."""
        epoch, slot, inside = self._find(phase, k)
        packed = self._unit(phase, epoch, slot)
        return packed.pieces[(int(packed.ends[inside - 1]) if inside else 0) : int(packed.ends[inside])]

    def sequence(self, phase: int, k: int) -> TokenRanges:
        return self.pieces(phase, k).ranges

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
        tokens = int(pieces.ranges.lengths[: int(ends[inside])].sum())
        if slot < 0:
            return tokens
        if place.rest is not None:
            tokens += int(place.rest.ranges.lengths.sum())

        def through(epoch: int, slot: int) -> int:
            """Tokens of all epochs before, and of the first groups of this one."""
            return epoch * self.documents.tokens + (int(self.documents.groups_of(epoch)[1][slot - 1]) if slot else 0)

        return tokens + through(epoch, slot) - through(place.epoch, place.slot)

    def tokens_before(self, phase: int, k: int) -> int:
        return self._before[phase] + self._tokens(phase, k)

    def sequences_with(self, start: int, end: int) -> list[tuple[int, int]]:
        groups = set(self.documents.groups_with(start, end))
        holding = []
        for phase, (_, sequences) in enumerate(self._phases):
            k = 0
            while k < sequences:
                epoch, slot, _ = self._find(phase, k)
                packed = None
                if slot < 0 or int(self.documents.groups_of(epoch)[0][slot]) in groups:
                    packed = self._unit(phase, epoch, slot)
                    ranges = packed.pieces.ranges
                    overlaps = (ranges.starts < end) & (ranges.starts + ranges.lengths > start)
                    inside = np.unique(np.searchsorted(packed.ends, np.flatnonzero(overlaps), side="right"))
                    holding += [(phase, k + int(one)) for one in inside if k + one < sequences]
                k += len(packed.ends) if packed else self._unit_size(phase, epoch, slot)
        return holding

    def _unit_size(self, phase: int, epoch: int, slot: int) -> int:
        return int(self._sequences(self._phases[phase][0])[self.documents.groups_of(epoch)[0][slot]])
