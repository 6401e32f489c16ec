"""Concat packing, as in the reports: documents end to end, cut wherever a sequence is full. Nothing is padded."""

from collections.abc import Sequence

import numpy as np

from xmodel_core.training.order.documents import Documents, TokenRanges


class Concat:
    """Sequences cut from the documents of all epochs end to end."""

    def __init__(self, documents: Documents, phases: Sequence[tuple[int, int]]) -> None:
        """`phases`: (sequence length in tokens, the source's sequences) of each."""
        self.documents, self._phases = documents, phases
        self._first = np.cumsum([0, *(length * sequences for length, sequences in phases)], dtype=np.int64)

    def tokens_before(self, phase: int, k: int) -> int:
        return int(self._first[phase]) + k * self._phases[phase][0]

    def sequence(self, phase: int, k: int) -> TokenRanges:
        return self.documents.ranges(self.tokens_before(phase, k), self._phases[phase][0])

    def and_the_next(self, phase: int, k: int) -> TokenRanges:
        """A sequence and the one token after it, which its last position predicts."""
        return self.documents.ranges(self.tokens_before(phase, k), self._phases[phase][0] + 1)

    def sequences_with(self, start: int, end: int) -> list[tuple[int, int]]:
        sequences: set[tuple[int, int]] = set()
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
                    sequences |= self._between(at + int(low[one]), min(at + int(high[one]), total))
        return sorted(sequences)

    def _between(self, first: int, end: int) -> set[tuple[int, int]]:
        """(phase, k) of the sequences that hold places `first` to `end` (excluded) of all epochs end to end."""
        sequences = set()
        while first < end:
            phase = int(np.searchsorted(self._first, first, side="right")) - 1
            k = (first - int(self._first[phase])) // self._phases[phase][0]
            sequences.add((phase, k))
            first = self.tokens_before(phase, k + 1)
        return sequences
