"""The interface of a packing: what turns a source's documents into the sequences of a run."""

from typing import Protocol

from xmodel_core.training.order.documents import Documents, TokenRanges


class Packing(Protocol):
    """Makes the sequences of one source's documents."""

    documents: Documents

    def sequence(self, phase: int, k: int) -> TokenRanges:
        """The token ranges of the k-th sequence of a phase; their lengths add up to the phase's less the padding."""
        ...

    def tokens_before(self, phase: int, k: int) -> int:
        """Tokens of documents in the run up to that sequence, padding not counted."""
        ...

    def sequences_with(self, start: int, end: int) -> list[tuple[int, int]]:
        """(phase, k) of every sequence that holds any of the source's tokens `start` to `end` (excluded)."""
        ...
