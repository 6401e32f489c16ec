"""Polynomial rolling hashes of runs of values, modulo 2^64, in numpy and inside compiled loops.

Takes uint64 values (folded code points, or hashes of words); gives a hash of any run of them. The hash of values
v_0 .. v_n-1 is mix(sum of v_j * BASE^j), so it does not depend on where in a batch a run stands, and a window moves on
by one value in two operations. Wrap-around is intended.
"""

from typing import Any

import numpy as np

from xmodel_core.corpus.text.compiled import helper

Array = np.ndarray

_BASE = 0x9E3779B97F4A7C15
BASE = np.uint64(_BASE)
"""Odd, so it has an inverse modulo 2^64, and the first value of a window can be divided out."""
INVERSE = np.uint64(pow(_BASE, -1, 2**64))
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)


@helper
def mix(value: Any) -> Any:
    """Spreads a uint64, or an array of them, over all 64 bits (the finaliser of SplitMix64)."""
    value = (value ^ (value >> _30)) * _MIX_1
    value = (value ^ (value >> _27)) * _MIX_2
    return value ^ (value >> _31)


# hash(a..b) = (S[b] - S[a]) * INVERSE^a, with the prefix sums S[i] = sum of value_j * BASE^j.
_powers: dict[int, Array] = {}


def _power(base: np.uint64, count: int) -> Array:
    """base^0 .. base^(count-1) modulo 2^64; the longest array so far is kept."""
    kept = _powers.get(int(base))
    if kept is None or len(kept) < count:
        factors = np.full(max(count, 1 << 16), base, np.uint64)
        factors[0] = 1
        kept = _powers[int(base)] = np.cumprod(factors, dtype=np.uint64)
    return kept[:count]


class SliceHashes:
    """Hashes of any slices of a sequence of uint64 values."""

    def __init__(self, values: Array) -> None:
        self._sums = np.zeros(len(values) + 1, np.uint64)
        np.cumsum(values * _power(BASE, len(values)), out=self._sums[1:])

    def of(self, starts: Array, ends: Array) -> Array:
        """uint64 hashes of [start, end) for each pair; equal slices have equal hashes at any position."""
        return mix((self._sums[ends] - self._sums[starts]) * _power(INVERSE, len(self._sums))[starts])


def word_hash(word: str) -> int:
    """The hash that `TextBatch.words` gives to this word (lower case)."""
    codes = np.array([ord(character) for character in word], np.uint64)
    return int(SliceHashes(codes).of(np.array([0]), np.array([len(codes)]))[0])
