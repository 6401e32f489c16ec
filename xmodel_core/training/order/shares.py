"""How the sequences of a phase are spread over its steps: each source's share is kept after every step."""

from collections.abc import Sequence

import numpy as np

from xmodel_core.training.order.documents import Integers

SNAPSHOT_EVERY_STEPS = 256


class Shares:
    """The counts of a phase: after each step every source has given the floor or the ceiling of its share, and all
    together exactly the steps' batches.

    Sequence k of a source with n sequences in S steps is released once more than k · S / n steps have begun, and its
    deadline is the step that ends at (k + 1) · S / n; of the released ones the most urgent come first. That is earliest
    deadline first, which meets all such deadlines (Baruah et al. 1996, Proportionate progress). A recurrence from the
    phase's first step, about ten microseconds a step, with snapshots to continue from.
    """

    def __init__(self, sequences: Sequence[int], steps: int, batch_sequences: int) -> None:
        """`sequences` [sources]: how many of each source the phase holds; they add up to steps · batch_sequences."""
        self._sequences = np.asarray(sequences, dtype=np.int64)
        self._steps, self._batch = steps, batch_sequences
        self._snapshots: list[Integers] = [np.zeros(len(self._sequences), dtype=np.int64)]
        self._last = (0, self._snapshots[0])

    def after(self, step: int) -> Integers:
        """[sources] sequences of each source in the phase's first `step` steps."""
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
            released = np.flatnonzero((counts == floors) & (remainders > 0))
            urgent = released[np.argsort((floors[released] + 1) / self._sequences[released], kind="stable")[:missing]]
            counts[urgent] += 1
        return counts

    def of_step(self, step: int) -> tuple[Integers, Integers]:
        """(source numbers, their sequences k), both [batch_sequences], of a step of this phase; sources are mixed."""
        before, after = self.after(step - 1), self.after(step)
        counts = after - before
        sources = np.repeat(np.arange(len(counts)), counts)
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
