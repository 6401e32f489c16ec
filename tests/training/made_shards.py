"""Made token shards: documents of random lengths in which every token is its own position."""

from collections.abc import Sequence

import numpy as np

from xmodel_core.training.order.documents import TokenRanges


class Numbered:
    """A source whose token i is `base` + i. `lengths`: of each shard's documents; 0 is one that is held out."""

    def __init__(self, lengths: Sequence[Sequence[int]], base: int = 0) -> None:
        self.ends = [np.cumsum(shard).astype("<u8") for shard in lengths]
        self.base = base
        self.size = sum(sum(shard) for shard in lengths)

    def __len__(self) -> int:
        return self.size

    def read(self, starts: np.ndarray, lengths: np.ndarray, out: np.ndarray) -> None:
        at = 0
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            assert start >= 0 and start + length <= self.size
            out[at : at + length] = self.base + np.arange(start, start + length)
            at += length

    def fetch(self, ranges: Sequence[TokenRanges]) -> None:
        pass


def random_lengths(seed: int, documents: Sequence[int], mean: int) -> list[list[int]]:
    """That many documents per shard; about a tenth have no length, a few are many times the mean."""
    rng = np.random.default_rng(seed)
    shards = []
    for count in documents:
        lengths = rng.lognormal(np.log(mean), 1.0, count).astype(int) + 1
        shards.append((lengths * (rng.random(count) > 0.1)).tolist())
    return shards
